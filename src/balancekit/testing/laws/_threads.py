"""Law 17: picks that overlap, as those of several threads do.

Two threads overlap in one way at a time: one pick is stopped before one instruction of the selector, another thread picks
from another snapshot meanwhile, and the first goes on. This is repeated for many of the instructions. So a mistake that
shows once in millions of requests shows each time.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import Any, Final, NamedTuple, TypeAlias

from balancekit.protocols import Selector, SupportsPrepare
from balancekit.snapshot import Node, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing.laws._fast_picks import fast_picks
from balancekit.testing.laws._subject import Subject

__all__ = ["overlaps_safely"]

LAW: Final = "17, overlaps_safely"
MAX_STOPS: Final = 30
"""Number of instructions before which one pick is stopped, spread over all that it runs."""
MAX_INSTRUCTIONS: Final = 30_000
"""Number of instructions that are traced for one pair of picks: fewer stops for a pick that builds a large table first."""
EARLIER_PICKS: Final = (0, 1, 2)
"""Numbers of picks before the two: tables may be missing, and a cursor may be at its end."""
LATER_PICKS: Final = 3
WAIT_S: Final = 0.005
"""Seconds for which the stopped pick waits for the other one, which may wait for a lock that the stopped one holds."""
MAX_WAIT_S: Final = 20.0
"""Seconds after which a pick is taken to wait for ever."""

Pick: TypeAlias = Callable[[], Node | None]
Views: TypeAlias = tuple[Callable[[Sequence[Node]], Snapshot], Callable[[Sequence[Node]], Snapshot]]
"""Two ways to make a snapshot of the same endpoints."""


class Source(NamedTuple):
    """A way to pick, and the endpoints that are allowed."""

    name: str
    snapshot: Snapshot
    pick: Pick
    optional: bool = False


def overlaps_safely(subject: Subject) -> None:
    """Law 17. Picks that overlap raise nothing and are candidates of their snapshots, and so are the picks after them.

    This is checked for pickers, which a balancer calls from many threads at once, and for ``select`` if the selector has a
    true attribute ``thread_safe``. One pick is stopped before an instruction, and another thread picks meanwhile. An endpoint
    is down or gone in one of the snapshots.
    """
    for other in (_one_down, _one_gone):
        for views in ((_whole, other), (other, _whole)):
            one, two = _snapshots(subject, views)
            for ways in range(len(_sources(subject.make(), one, two))):
                for earlier in EARLIER_PICKS:
                    _overlap(subject, views, ways, earlier)


def _whole(nodes: Sequence[Node]) -> Snapshot:
    return make_snapshot(nodes)


def _one_down(nodes: Sequence[Node]) -> Snapshot:
    return make_snapshot(nodes, down={"c"}, version=2)


def _one_gone(nodes: Sequence[Node]) -> Snapshot:
    return make_snapshot(nodes[:2], version=3)


def _snapshots(subject: Subject, views: Views) -> tuple[Snapshot, Snapshot]:
    """Return two snapshots of new endpoints. A snapshot keeps what each selector has derived from it."""
    nodes = subject.nodes({"a": 2.0, "b": 1.0, "c": 1.0})
    return views[0](nodes), views[1](nodes)


def _sources(selector: Selector, one: Snapshot, two: Snapshot) -> list[tuple[Source, Source]]:
    """Return the pairs of picks that may overlap: each picker with itself and that of another snapshot, and ``select``."""
    rng = Random(1)
    pairs: list[tuple[Source, Source]] = []
    if isinstance(selector, SupportsPrepare):
        selector.prepare(one)
    first = [_fast(selector, one, rng, number) for number in range(len(fast_picks(selector, one, rng)))]
    pairs += [(source, source) for source in first]
    if getattr(selector, "thread_safe", False):
        if isinstance(selector, SupportsPrepare):
            selector.prepare(two)
        pairs.append((_slow(selector, one, rng), _slow(selector, two, rng)))
    pairs += [(source, _slow(selector, two, rng)) for source in first]
    return pairs


def _fast(selector: Selector, snapshot: Snapshot, rng: Random, number: int) -> Source:
    fast = fast_picks(selector, snapshot, rng)[number]
    return Source(fast.name, snapshot, fast.bind("user:1"), fast.optional)


def _slow(selector: Selector, snapshot: Snapshot, rng: Random) -> Source:
    ctx = make_context(rng, key="user:1")
    return Source("select", snapshot, lambda: selector.select(snapshot, ctx))


def _overlap(subject: Subject, views: Views, ways: int, earlier: int) -> None:
    """Stop the first of two picks before each of its instructions in turn, or before many of them."""

    def made() -> tuple[Source, Source]:
        pair = _sources(subject.make(), *_snapshots(subject, views))[ways]
        for _ in range(earlier):
            pair[0].pick()
        return pair

    total = _instructions(made()[0].pick)
    stops = max(1, min(MAX_STOPS, MAX_INSTRUCTIONS // max(1, total)))
    for stop in range(0, total, max(1, total // stops)):
        first, second = made()
        other = _Other(second.pick)
        with _stopped(stop, other.run):
            _require(first, _outcome(first.pick), second, stop)
        _require(second, other.result(), first, stop)
        for source in (first, second) * LATER_PICKS:
            _require(source, _outcome(source.pick), second, stop, after=True)


class _Other:
    """A pick by another thread."""

    def __init__(self, pick: Pick) -> None:
        self._outcome: list[object] = []
        self._thread = threading.Thread(target=lambda: self._outcome.append(_outcome(pick)), daemon=True)

    def run(self) -> None:
        """Start the pick, and wait until it ends or seems to wait for the thread that calls this."""
        self._thread.start()
        self._thread.join(WAIT_S)

    def result(self) -> object:
        """Return the outcome of the pick."""
        if not self._thread.ident:
            self._thread.start()
        self._thread.join(MAX_WAIT_S)
        if not self._outcome:
            raise LawBroken(LAW, f"a pick beside another one had not ended after {MAX_WAIT_S:.0f} s")
        return self._outcome[0]


def _outcome(pick: Pick) -> object:
    """Return what a pick returned or raised."""
    try:
        return pick()
    except Exception as error:
        return error


def _require(source: Source, found: object, other: Source, stop: int, *, after: bool = False) -> None:
    """Raise ``LawBroken`` unless a pick is a candidate."""
    if any(found is node for node in source.snapshot.eligible) or (found is None and source.optional):
        return
    ids = [node.id for node in source.snapshot.eligible]
    what = f"raised {found!r}" if isinstance(found, Exception) else f"returned {found!r}"
    when = "after" if after else "while"
    raise LawBroken(
        LAW,
        f"{source.name} from {ids} {what} {when} another thread used {other.name} from "
        f"{[node.id for node in other.snapshot.eligible]} before instruction {stop} of the first pick",
    )


def _instructions(pick: Pick) -> int:
    """Return the number of instructions and lines of a pick; 0 if it raises."""
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1

    with _traced(counted):
        _outcome(pick)
    return count


@contextmanager
def _stopped(stop: int, call: Callable[[], None]) -> Iterator[None]:
    """Call a function before an instruction of the block, by its number."""
    left = stop

    def counted() -> None:
        nonlocal left
        if left == 0:
            left = -1
            call()
        elif left > 0:
            left -= 1

    with _traced(counted):
        yield


@contextmanager
def _traced(call: Callable[[], None]) -> Iterator[None]:
    """Call a function before each instruction and line of the functions that the block calls, but for this module's."""
    before = sys.gettrace()
    sys.settrace(_Trace(call))
    try:
        yield
    finally:
        sys.settrace(before)


class _Trace:
    """A trace function. As a closure it would be in a reference cycle, and would keep the selectors of all picks."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> _Trace | None:
        if frame.f_code.co_filename == __file__:
            return None
        if event == "call":
            frame.f_trace_opcodes = True
        elif event in {"line", "opcode"}:
            self._call()
        return self
