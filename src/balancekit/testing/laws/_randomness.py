"""Sources of randomness that a selector hides: generators of its own, and the order of sets of text."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, Final
from unittest import mock

from balancekit.protocols import Selector
from balancekit.snapshot import Key, Node
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing.laws._fast_picks import fast_picks
from balancekit.testing.laws._subject import Subject

__all__ = ["check_generators", "check_set_order"]

EARLIER_PICKS: Final = 3
"""Number of picks that may fill tables first, with generators of their own."""
PICKS: Final = 20
MIN_PICKS_THAT_DRAW: Final = 2
"""Number of picks that draw from a generator of the selector, from which it is no table that was late."""
SALTS: Final = range(4)
SHARES: Final = {"web-1": 5.0, "web-2": 3.0, "db": 2.0, "cache": 2.0, "eu": 1.0, "us": 1.0, "asia": 1.0}


class SaltedId(str):
    """An id with a hash of its own, as in another process."""

    __slots__ = ("salt",)
    salt: int

    def __hash__(self) -> int:
        return hash((self.salt, str(self)))

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other


def check_generators(subject: Subject, law: str) -> None:
    """Refuse a selector that draws from a ``Random`` of its own in several picks, without seeding it in the pick.

    A generator that the pick makes or seeds, such as one seeded by the key, is a hash function and no source of randomness.

    Raises
    ------
    LawBroken
        Naming the number of picks that drew from it.
    """
    snapshot = make_snapshot(subject.nodes(SHARES))
    for key in (None, "user:1"):
        recorder = _Recorder()
        with recorder.recording():
            selector = subject.make()
            for name, pick in _picks(selector, snapshot, recorder.allowed, key):
                drew = 0
                for number in range(EARLIER_PICKS + PICKS):
                    with recorder.pick():
                        pick()
                    drew += number >= EARLIER_PICKS and recorder.foreign
                if drew >= MIN_PICKS_THAT_DRAW:
                    raise LawBroken(
                        law,
                        f"{drew} of {PICKS} picks by {name} drew from a generator that is not the one of the context: "
                        "draw from ctx.rng, or from the rng of the picker",
                    )


def check_set_order(subject: Subject, law: str) -> None:
    """Refuse a selector whose picks depend on the order of a set of ids, which differs between processes.

    It is tried with ids whose hashes change. A selector that raises with these is not judged.

    Raises
    ------
    LawBroken
        Naming two sequences of picks.
    """
    for key in (None, "user:1"):
        seen: list[list[str | None]] = []
        for salt in SALTS:
            nodes = subject.nodes(SHARES)
            for node in nodes:
                node.id = _salted(node.id, salt)
            ctx = make_context(5, key=key)
            selector, snapshot = subject.make(), make_snapshot(nodes)
            try:
                picked = [selector.select(snapshot, ctx) for _ in range(PICKS)]
            except Exception:
                return
            seen.append([None if node is None else str(node.id) for node in picked])
        for other in seen[1:]:
            if other != seen[0]:
                raise LawBroken(
                    law, f"{seen[0]} became {other} with other hashes of ids: sort a set before it is used"
                )


def _salted(id: str, salt: int) -> str:
    made = SaltedId(id)
    made.salt = salt
    return made


def _picks(
    selector: Selector, snapshot: Any, rng: Random, key: Key | None
) -> Iterator[tuple[str, Callable[[], Node | None]]]:
    """Yield the ways to pick."""
    ctx = make_context(rng, key=key)
    yield "select", lambda: selector.select(snapshot, ctx)
    for fast in fast_picks(selector, snapshot, rng):
        yield fast.name, fast.bind("user:1")


class _Recorder:
    """A record of the generators from which this thread draws in a pick."""

    def __init__(self) -> None:
        self.allowed = Random(6)
        """The generator of the context."""
        self.foreign = False
        """Whether the last pick drew from another one that it had not seeded."""
        self._thread = threading.get_ident()
        self._in_pick = False
        self._seeded: list[Random] = []

    @contextmanager
    def pick(self) -> Iterator[None]:
        """Record a pick."""
        self.foreign, self._in_pick = False, True
        self._seeded.clear()
        try:
            yield
        finally:
            self._in_pick = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Replace the methods of ``Random`` by those that record."""
        with ExitStack() as patches:
            for name in ("random", "getrandbits"):
                patches.enter_context(mock.patch.object(random.Random, name, self._drawing(name)))
            for name in ("seed", "setstate"):
                patches.enter_context(mock.patch.object(random.Random, name, self._seeding(name)))
            yield

    def _drawing(self, name: str) -> Callable[..., Any]:
        usual = getattr(random.Random, name)

        def draw(generator: Random, *arguments: Any) -> Any:
            if self._in_pick and threading.get_ident() == self._thread:
                known = generator is self.allowed or any(generator is one for one in self._seeded)
                self.foreign = self.foreign or not known
            return usual(generator, *arguments)

        return draw

    def _seeding(self, name: str) -> Callable[..., Any]:
        usual = getattr(random.Random, name)

        def seed(generator: Random, *arguments: Any, **options: Any) -> Any:
            self._seeded.append(generator)
            return usual(generator, *arguments, **options)

        return seed
