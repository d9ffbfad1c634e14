"""Weighted round robin: each in turn, heavier ones more often, evenly spread.

Both selectors compute their order when the snapshot changes and then only follow it, so a pick costs the
same at any number of endpoints. The first order starts at its beginning (5, 1, 1 gives a a b a c a a).
Later orders start at a random place: an order that started over with every change would favour the
heaviest endpoint under churn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import ClassVar, Final, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.loads import InFlight
from balancekit.scheduling import (
    SmoothWrr,
    StaggeredEdf,
    smooth_cycle,
    staggered_cycle,
    whole_weights,
)
from balancekit.selectors._cyclic import CyclicOrder, CyclicState, cycle
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["SmoothWeightedRoundRobin", "StrideScheduling"]

MAX_PLAIN_NODES: Final = 64
"""Up to this many endpoints the order is smooth whatever the weights are."""
SMOOTH_STEPS: Final = 1 << 16
"""Turns times distinct weights that one smooth cycle may cost to make: some 20 ms."""
CYCLE_TURNS: Final = 1 << 20
"""Turns that one cycle may keep: 8 MiB of references."""
MAX_SKIPPED_TURNS: Final = 1024
"""An endless order is entered at most this many turns in."""


@final
class SmoothWeightedRoundRobin(ConstructorRepr):
    """Each endpoint in turn, in proportion to weight, as evenly as nginx does it.

    *Guarantee.* Over a cycle (weights in lowest whole terms, summed) each endpoint gets exactly its
    weight, and none is ever a whole turn ahead of its exact share. This always holds for up to 64 endpoints.
    For more, it holds while the cycle times the number of distinct weights is at most 65 536. Beyond that,
    the order is that of :class:`StrideScheduling`.

    *When to use it:* endpoints of known, different capacity. *When not:* capacity that varies; use
    :class:`PowerOfChoices`, which adapts to it. Nor for many processes that begin together, or send few requests each:
    all begin with the heaviest endpoint; use :class:`WeightedRandom`.

    Cost: O(1) per pick at any number of endpoints.
    Source: nginx 1.22, ``ngx_http_upstream_round_robin.c``.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer, SmoothWeightedRoundRobin
    >>> pool = [Endpoint("a", weight=5), Endpoint("b"), Endpoint("c")]
    >>> lb = LoadBalancer(pool, selector=SmoothWeightedRoundRobin())
    >>> "".join(lb.explain().picked for _ in range(7))
    'aabacaa'
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self) -> None:
        self._order = CyclicOrder(_smoothly)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate whose turn it is."""
        return self._order.select(snapshot, ctx)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        return self._order.picker(snapshot, rng)


@final
class StrideScheduling(ConstructorRepr):
    """Each endpoint in turn, in proportion to weight, for large pools and weights of any kind.

    *Guarantee.* Shares are exact over a cycle if the weights have a cycle of at most a million turns, else in
    the long run. At any moment they are about one turn from the exact share (measured, not proven).

    *When to use it:* hundreds of endpoints of many different weights, or weights like 1/3. *When not:*
    where the exact smooth order matters; use :class:`SmoothWeightedRoundRobin`. Nor for many processes that begin together:
    all go through the same order from its beginning; use :class:`WeightedRandom`.

    Cost: O(1) per pick; a change costs 5 ms for a cycle of 50 000 turns.
    Source: stride scheduling (Waldspurger 1995), with phases staggered within each weight.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer, StrideScheduling
    >>> pool = [Endpoint("a", weight=2.5), Endpoint("b", weight=0.5)]
    >>> lb = LoadBalancer(pool, selector=StrideScheduling())
    >>> "".join(lb.explain().picked for _ in range(6)).count("a")
    5
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self) -> None:
        self._order = CyclicOrder(_staggered)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate whose turn it is."""
        return self._order.select(snapshot, ctx)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        return self._order.picker(snapshot, rng)


def _smoothly(snapshot: Snapshot, before: CyclicState | None, rng: Random) -> CyclicState:
    nodes, weights = _weighted(snapshot)
    distinct = len(set(weights))
    whole = whole_weights(weights, limit=SMOOTH_STEPS // distinct)
    if whole is not None:
        return _round(snapshot, nodes, smooth_cycle(whole), before, rng)
    if len(nodes) <= MAX_PLAIN_NODES:
        return _endless(snapshot, nodes, SmoothWrr(weights).take, before, rng)
    return _staggered(snapshot, before, rng)


def _staggered(snapshot: Snapshot, before: CyclicState | None, rng: Random) -> CyclicState:
    nodes, weights = _weighted(snapshot)
    whole = whole_weights(weights, limit=CYCLE_TURNS)
    if whole is not None:
        return _round(snapshot, nodes, staggered_cycle(whole), before, rng)
    return _endless(snapshot, nodes, StaggeredEdf(weights).take, before, rng)


def _weighted(snapshot: Snapshot) -> tuple[Sequence[Node], Sequence[float]]:
    """Return the nodes that take turns, and their weights: all alike if every weight is zero."""
    nodes = [node for node in snapshot.eligible if node.weight]
    if nodes:
        return nodes, [node.weight for node in nodes]
    return snapshot.eligible, [1.0] * len(snapshot.eligible)


def _round(
    snapshot: Snapshot,
    nodes: Sequence[Node],
    turns: Sequence[int],
    before: CyclicState | None,
    rng: Random,
) -> CyclicState:
    first = 0 if before is None else rng.randrange(len(turns))
    order = [nodes[turn] for turn in (*turns[first:], *turns[:first])]
    return CyclicState(snapshot, order, cycle(order))


def _endless(
    snapshot: Snapshot,
    nodes: Sequence[Node],
    turn: Callable[[], int],
    before: CyclicState | None,
    rng: Random,
) -> CyclicState:
    for _ in range(0 if before is None else rng.randrange(MAX_SKIPPED_TURNS)):
        turn()
    lock = new_lock()

    def take() -> Node:
        with lock:
            return nodes[turn()]

    return CyclicState(snapshot, nodes, iter(take, None))
