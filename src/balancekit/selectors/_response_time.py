"""Least response time: of all endpoints, the one with the shortest expected wait.

The load provides the expectation: an average of latency times the requests ahead. A minimum over all depends on it
more than two random samples do, so it needs loads that are up to date: one balancer, or few.

Averages that fade at the same speed keep their order. So with the latency loads, the order is kept from pick to pick,
and only endpoints whose requests began or ended move in it; other loads are scanned.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, final

from balancekit._selection.pickers import NO_PICKERS, Pickers
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.loads import LatencyLoad, PeakEwmaLatency
from balancekit.scheduling import LowestFirst
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["LeastResponseTime"]


@final
class LeastResponseTime(ConstructorRepr):
    """The endpoint with the least load of all; ties at random.

    Over ``PeakEwmaLatency()`` unless the balancer is given another load: ``EwmaLatency()`` for a
    symmetric average, ``FailureAware()`` where endpoints may fail fast.

    *When to use it:* endpoints of different speed, seen by one balancer. *When not:* many balancers (they all see the
    same best endpoint), or endpoints that fail: one that fails fast looks idle and attracts traffic repeatedly. Prefer
    :class:`ShortestExpectedDelay`.

    *After a slow answer* an endpoint is picked again when its load has faded to that of the others; the load computes
    this time. It is not picked sooner while it alone has a request open that hangs, and not before the end of its very
    first request.

    Cost: O(log n) over ``PeakEwmaLatency`` and ``EwmaLatency``, exclusions too; O(n) over other loads, and while a pick
    is explained.
    Source: nginx ``least_time``, Finagle's Peak EWMA with a full scan.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.selectors import LeastResponseTime
    >>> lb = LoadBalancer(["a", "b"], selector=LeastResponseTime())
    >>> first, second = lb.acquire(), lb.acquire()
    >>> first.target != second.target
    True
    """

    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[PeakEwmaLatency] = PeakEwmaLatency()

    def __init__(self) -> None:
        self._order: LowestFirst[Node] | None = None
        self._snapshot: Snapshot | None = None

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a candidate of the least load."""
        if self._snapshot is snapshot and self._order is not None and ctx.trace is None:
            return self._order.lowest_except(ctx.exclude)
        candidates = snapshot.candidates(ctx)
        if not candidates:
            return None
        values = [node.load.value(now=ctx.now) for node in candidates]
        least = min(values)
        if ctx.trace is not None:
            ctx.trace.note(f"the least load of {len(candidates)} is {least:.4g}")
        return ctx.rng.choice(
            [node for node, value in zip(candidates, values, strict=True) if value == least]
        )

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast path for a snapshot with eligible nodes, if their loads keep an order.

        The loads report the ends of requests to this one until the next one is made; in-flight must be changed by
        leases only.
        """
        self._snapshot = self._order = None
        nodes = snapshot.eligible
        ranks = {node: node.load.rank for node in nodes if isinstance(node.load, LatencyLoad)}
        decays = {node.load.decay for node in nodes if isinstance(node.load, LatencyLoad)}
        if len(ranks) < len(nodes) or len(decays) > 1 or not all(node.needs_completion for node in nodes):
            return NO_PICKERS
        self._order = order = LowestFirst(ranks, rng, new_lock())
        self._snapshot = snapshot
        for node in nodes:
            if isinstance(node.load, LatencyLoad):
                node.load.ranked = order.ranked[node]
        return order.lowest, None
