"""Law 19: the optional hooks of a selector, whose exceptions a balancer logs and does not raise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from balancekit.outcome import Completion, Outcome
from balancekit.protocols import SupportsFeedback, SupportsPrepare, SupportsReasons, SupportsRetryAt
from balancekit.snapshot import Node, Snapshot
from balancekit.testing._broken import LawBroken
from balancekit.testing._factories import make_context, make_snapshot
from balancekit.testing.laws._subject import Subject

__all__ = ["hooks_raise_nothing"]

LAW: Final = "19, hooks_raise_nothing"
LATENCIES_S: Final = (0.0, 0.05, 3600.0)


def hooks_raise_nothing(subject: Subject) -> None:
    """Law 19. ``learn``, ``refusals`` and ``retry_at`` raise nothing, and return what their protocols state.

    ``learn`` is called with each outcome, with and without a first byte, for endpoints that are in the pool, down, or gone,
    and for one that was never picked. After that, picks are candidates.
    """
    nodes = subject.nodes({"a": 2.0, "b": 1.0, "c": 1.0})
    whole, fewer = make_snapshot(nodes), make_snapshot(nodes[:2], down={"b"}, version=2)
    one = subject.make()
    selector: object = one
    for snapshot in (whole, fewer):
        if isinstance(selector, SupportsPrepare):
            selector.prepare(snapshot)
        one.select(snapshot, make_context(1, key="user:1"))
    if isinstance(selector, SupportsFeedback):
        _check_learn(selector, nodes)
        for snapshot in (whole, fewer):
            picked = one.select(snapshot, make_context(2, key="user:1", now=1e4))
            if picked not in snapshot.eligible:
                raise LawBroken(LAW, f"picked {picked!r} from {snapshot!r} after requests had ended")
    for snapshot, exclude in itertools.product(
        (whole, fewer, make_snapshot({})), ((), ("a",), ("a", "b", "c"))
    ):
        _check_refusals(selector, snapshot, exclude)


def _check_learn(selector: SupportsFeedback, nodes: tuple[Node, ...]) -> None:
    for node, outcome, latency, answered in itertools.product(nodes, Outcome, LATENCIES_S, (False, True)):
        first = 100.0 + latency / 2 if answered else None
        done = Completion(outcome, started_at=100.0, ended_at=100.0 + latency, first_byte_at=first)
        _call(f"learn({node!r}, {done!r})", partial(selector.learn, node, done))


def _check_refusals(selector: object, snapshot: Snapshot, exclude: tuple[str, ...]) -> None:
    ctx = make_context(3, key="user:1", exclude=exclude, now=100.0)
    how = f"from {snapshot!r} with {exclude or 'none'} excluded"
    if isinstance(selector, SupportsReasons):
        reasons = _call(f"refusals {how}", lambda: selector.refusals(snapshot, ctx))
        ids = {node.id for node in snapshot.members.nodes}
        if not isinstance(reasons, Mapping) or not reasons.keys() <= ids:
            raise LawBroken(LAW, f"refusals {how} returned {reasons!r}: expected reasons by id")
    if isinstance(selector, SupportsRetryAt):
        at = _call(f"retry_at {how}", lambda: selector.retry_at(snapshot, ctx))
        if at is not None and (not isinstance(at, int | float) or math.isnan(at)):
            raise LawBroken(LAW, f"retry_at {how} returned {at!r}: expected a time or None")


def _call(what: str, call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        raise LawBroken(LAW, f"{what} raised {type(error).__name__}: {error}") from error
