"""A limit of requests in flight for each endpoint.

An endpoint at its limit is passed over; when all are, the caller is told at once (``SaturatedError``) instead of
joining an invisible queue.

Source: Envoy 1.40, circuit breakers (``max_requests``), here per endpoint; nginx ``max_conns``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from balancekit._support import validation as valid
from balancekit.errors import Reason
from balancekit.protocols import LoadPolicy
from balancekit.routing._grouping import ChildSelectors, Learn, MakeSelector, excluding
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["MaxInFlight"]

PART: Final = "all"


@final
class MaxInFlight:
    """Pass over endpoints that have as many requests in flight as they may.

    Parameters
    ----------
    max_inflight
        Per endpoint, a whole number >= 1.
    per_weight
        Whether the limit is for an endpoint of the pool's mean weight, and others in proportion.
    child
        Makes the selector. ``ShortestExpectedDelay`` if left out.

    *Guarantee.* While one thread picks, no endpoint is over its limit. Threads that pick at the very same
    moment may each see the last free place; at most as many too many as there are such threads.

    *When not to use it:* against endpoints that fail; health takes those out. The limit is for those that are
    slow.

    Cost: O(1) beside the child's while the pick has room; O(n) when it has not.

    Example
    -------
    >>> from balancekit import LoadBalancer, SaturatedError
    >>> lb = LoadBalancer(["a", "b"], selector=MaxInFlight(1))
    >>> first, second = lb.acquire(), lb.acquire()
    >>> try:
    ...     lb.acquire()
    ... except SaturatedError as error:
    ...     print(error)
    MaxInFlight picked none of 2 eligible endpoints: 2 at its limit; shed load, or wait for a lease to end
    >>> first.release(), second.release()
    (True, True)
    """

    def __init__(
        self,
        max_inflight: int,
        *,
        per_weight: bool = False,
        child: MakeSelector = ShortestExpectedDelay,
    ) -> None:
        self._limit = valid.integer("max_inflight", max_inflight, minimum=1)
        self._per_weight = valid.flag("per_weight", per_weight)
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return what the child picks among those that have room."""
        child = self._children.of(PART)
        node = child.select(snapshot, ctx)
        if node is None or self._has_room(node):
            return node
        return child.select(snapshot, excluding(ctx, self._full(snapshot)))

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child."""
        self._children.prepare({PART: snapshot})

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the endpoints at their limit, and the child's reasons for the others."""
        full = {node.id: Reason.SATURATED for node in snapshot.candidates(ctx) if not self._has_room(node)}
        return {**self._children.refusals(PART, snapshot, excluding(ctx, set(full))), **full}

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the child would pick one that is not at its limit."""
        return self._children.retry_at(PART, snapshot, excluding(ctx, self._full(snapshot)))

    def _full(self, snapshot: Snapshot) -> set[str]:
        return {node.id for node in snapshot.eligible if not self._has_room(node)}

    def _has_room(self, node: Node) -> bool:
        limit = max(1, int(self._limit * node.capacity)) if self._per_weight else self._limit
        return node.inflight < limit
