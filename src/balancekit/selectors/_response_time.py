"""Least response time: of all endpoints, the one with the shortest expected wait.

The expectation is the load's: an average of latency times the requests ahead. A full scan believes it more
than two random draws do, so it needs loads that are true *now*: one balancer, or few.
"""

from __future__ import annotations

from typing import ClassVar, final

from balancekit.loads import PeakEwmaLatency
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["LeastResponseTime"]


@final
class LeastResponseTime:
    """The endpoint whose load is least of all; ties at random.

    Over ``PeakEwmaLatency()`` unless the balancer is given another load: ``EwmaLatency()`` for a
    symmetric average, ``FailureAware()`` where endpoints may fail fast.

    *When to use it:* a handful of endpoints of different speed. *When not:* many endpoints (it looks at
    all of them), many balancers (they all see the same best one), or endpoints that fail: the two latency
    loads then take turns at feeding the failing one. Prefer :class:`PowerOfChoices`.

    Cost: O(n), one load value per endpoint.
    Source: nginx ``least_time``, Finagle's Peak EWMA with a full scan.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> lb = LoadBalancer(["a", "b"], selector=LeastResponseTime())
    >>> first, second = lb.acquire(), lb.acquire()
    >>> first.target != second.target
    True
    """

    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[PeakEwmaLatency] = PeakEwmaLatency()

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a candidate of the least load."""
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
