"""Least request: the endpoint with the fewest open leases per weight.

The minimum is exact, at a cost that does not grow with the pool (``scheduling/_score_buckets.py`` explains how).
Exactness has a drawback that no data structure can remove: all callers that compare at the same moment see the
same minimum. One balancer sees its own requests at once and does not herd; a thousand balancers do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import ClassVar, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.loads import InFlight
from balancekit.scheduling import ScoreBuckets
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["LeastRequest"]


@final
class LeastRequest(ConstructorRepr):
    """The endpoint with the least ``(inflight + 1) / weight``; ties at random.

    *Guarantee.* Each pick is one of those with the least score at that moment, all equally likely.

    *When to use it:* few balancers in front of the endpoints, requests of very different length. *When not:*
    many balancers, or endpoints that fail fast, which are always the least loaded; use
    :class:`PowerOfChoices`.

    Cost: O(1) amortised for equal weights, O(log distinct scores) otherwise, with exclusions too.
    Source: Envoy ``LEAST_REQUEST`` with full scan; nginx ``least_conn``.

    Example
    -------
    >>> from balancekit import Endpoint, LeastRequest, LoadBalancer
    >>> pool = [Endpoint("a"), Endpoint("b", weight=2)]
    >>> lb = LoadBalancer(pool, selector=LeastRequest())
    >>> leases = [lb.acquire() for _ in range(6)]
    >>> lb.stats()["b"].inflight
    4
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self) -> None:
        self._buckets: ScoreBuckets[Node] | None = None
        self._snapshot: Snapshot | None = None

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a candidate of the least score. O(1) for the snapshot of the last picker, else O(n)."""
        buckets = self._buckets
        if buckets is not None and self._snapshot is snapshot and ctx.trace is None:
            found = buckets.lowest_except(ctx.exclude)
            if found is not None:
                return found
        candidates = snapshot.candidates(ctx)
        node = _least(candidates, ctx.rng)
        if ctx.trace is not None and node is not None:
            ctx.trace.note(f"{node.id!r} has {node.inflight} in flight at weight {node.weight:g}")
        return node

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes.

        The nodes notify this picker when their in-flight falls, until the next one is made; in-flight must
        be changed by leases only.
        """
        generator = Random() if rng is None else rng
        if self._buckets is not None:
            self._buckets.retire()
        nodes = [node for node in snapshot.eligible if node.weight]
        self._snapshot = self._buckets = None
        if not nodes:
            return lambda _now=0.0: _least(snapshot.eligible, generator) or snapshot.eligible[0]
        self._buckets = buckets = ScoreBuckets(nodes, generator, new_lock())
        self._snapshot = snapshot
        for node in nodes:
            node.on_low_water = buckets.record_fall
        lowest = buckets.lowest

        def pick(_now: float = 0.0, /) -> Node:
            return lowest()

        return pick


def _least(nodes: Sequence[Node], rng: Random) -> Node | None:
    """Return one of the least score, by in-flight alone if no weight is above zero. O(n)."""
    weighted = [node for node in nodes if node.weight]
    if weighted:
        scores = [(node.inflight + 1) / node.weight for node in weighted]
    else:
        weighted, scores = list(nodes), [float(node.inflight) for node in nodes]
    if not weighted:
        return None
    least = min(scores)
    return rng.choice([node for node, score in zip(weighted, scores, strict=True) if score == least])
