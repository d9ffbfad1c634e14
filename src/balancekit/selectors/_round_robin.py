"""Round robin: each in turn.

The position survives changes of membership or health: the next pick goes to the endpoint that would have followed.
The start is random, so that a thousand processes do not begin at the same endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar, final

from balancekit._support.display import ConstructorRepr
from balancekit.loads import InFlight
from balancekit.selectors._cyclic import CyclicOrder, CyclicState, cycle
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["RoundRobin"]


@final
class RoundRobin(ConstructorRepr):
    """Each endpoint in turn, from a random start.

    *Guarantee.* Of any n consecutive picks over n unchanged endpoints, each gets exactly one.

    *When to use it:* equal endpoints and requests of equal cost. *When not:* a slow endpoint gets as much
    as a fast one and its queue grows; use :class:`PowerOfChoices`. Weights other than zero are ignored;
    use :class:`SmoothWeightedRoundRobin`.

    Cost: O(1) per pick, one C iterator; O(n) when the snapshot changes.

    Example
    -------
    >>> from balancekit import LoadBalancer, RoundRobin
    >>> lb = LoadBalancer(["a", "b", "c"], selector=RoundRobin())
    >>> sorted(lb.explain().picked for _ in range(3))
    ['a', 'b', 'c']
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self) -> None:
        self._order = CyclicOrder(_in_turn)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the next candidate."""
        return self._order.select(snapshot, ctx)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        return self._order.picker(snapshot, rng)


def _in_turn(snapshot: Snapshot, before: CyclicState | None, rng: Random) -> CyclicState:
    nodes = snapshot.eligible
    first = rng.randrange(len(nodes)) if before is None else _successor(before, nodes)
    order = nodes[first:] + nodes[:first]
    return CyclicState(snapshot, order, cycle(order))


def _successor(state: CyclicState, nodes: tuple[Node, ...]) -> int:
    """Return where in ``nodes`` the order continues: at the first of its coming turns that is still there."""
    place = {node.id: position for position, node in enumerate(nodes)}
    due = next(state.turns)
    start = state.order.index(due)
    coming = (*state.order[start:], *state.order[:start])
    return next((place[node.id] for node in coming if node.id in place), 0)
