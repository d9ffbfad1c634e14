"""Cyclic orders: one order that a selector's fast path and slow path share.

A *cyclic state* is an endless order over the eligible nodes of one snapshot. The fast path calls ``next`` on it. The
slow path calls ``next`` until the node is not excluded. So excluded endpoints lose their turns, and the others
keep their proportions, whatever is excluded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Final, NamedTuple, TypeAlias, TypeVar, final

from balancekit._selection.sampling import by_weight
from balancekit.lease import FREE_THREADED
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["Arrange", "CyclicOrder", "CyclicState", "cycle"]

D = TypeVar("D")

MAX_ROUNDS: Final = 2
"""Turns to take, per eligible node, before a candidate is sampled at random instead."""


class CyclicState(NamedTuple):
    """An order in progress."""

    snapshot: Snapshot
    order: Sequence[Node]
    turns: Iterator[Node]
    """Never ends."""


Arrange: TypeAlias = Callable[[Snapshot, CyclicState | None, Random], CyclicState]
"""Makes the state for a snapshot with eligible nodes, from the state before it."""


@final
class CyclicOrder:
    """Selection in a cyclic order: holds the current state of the order."""

    __slots__ = ("_arrange", "_state")

    def __init__(self, arrange: Arrange) -> None:
        self._arrange = arrange
        self._state: CyclicState | None = None

    def picker(self, snapshot: Snapshot, rng: Random | None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        state = self._turn_to(snapshot, Random() if rng is None else rng)
        return partial(next, state.turns)  # what a picker receives, the time, is taken for next's default

    def select(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
        """Return the next node in the order that is not excluded; ``None`` if there is none."""
        if not snapshot.eligible:
            return None
        state = self._state
        if state is None or state.snapshot is not snapshot:
            state = self._turn_to(snapshot, ctx.rng)
        node = _next_of(state, ctx)
        if ctx.trace is not None and node is not None:
            ctx.trace.note(f"it is the turn of {node.id!r}")
        return node

    def _turn_to(self, snapshot: Snapshot, rng: Random) -> CyclicState:
        self._state = state = self._arrange(snapshot, self._state, rng)
        return state


def _next_of(state: CyclicState, ctx: PickContext) -> Node | None:
    exclude = ctx.exclude
    if not exclude:
        return next(state.turns)
    eligible = state.snapshot.eligible
    if len(exclude) < len(eligible):
        for _ in range(MAX_ROUNDS * len(eligible)):
            node = next(state.turns)
            if node.id not in exclude:
                return node
    return by_weight(state.snapshot.candidates(ctx), ctx.rng)


def cycle(order: Sequence[D]) -> Iterator[D]:
    """Repeat ``order`` for ever, for many threads at once.

    Under the interpreter lock that is a C iterator. A shared ``itertools.cycle`` crashes free-threaded
    builds, where an atomic counter takes its place.
    """
    if not FREE_THREADED:
        return itertools.cycle(order)
    size, count = len(order), itertools.count().__next__
    return iter(lambda: order[count() % size], None)
