"""A rate limit for each endpoint: a token bucket with a rate and a burst.

Services that sell requests or tokens by the minute refuse requests beyond the quota. An endpoint whose bucket is too low is
passed over before it has to refuse. When all buckets are too low, the error states when the first will have room.

The bucket is one number per endpoint, the time at which it will be full again. A request moves that time by its cost over
the rate, and there is room as long as it is not further away than the burst takes to fill.

*Threads.* The number is read, compared and written without a call in between: under the interpreter lock no other thread
runs in between, so a plain pick takes no lock. On a free-threaded build each charge is made under a lock.

Source: the generic cell rate algorithm (ITU-T I.371, virtual scheduling), a token bucket without a timer; Envoy 1.40, local rate
limit (``max_tokens``, ``tokens_per_fill``).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import ClassVar, Final, final

from balancekit._selection.grouping import WHOLE_POOL, ChildSelectors, Learn, MakeSelector
from balancekit._selection.pickers import NO_PICKERS, Pick, Pickers
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.errors import Reason
from balancekit.lease import FREE_THREADED
from balancekit.protocols import LoadPolicy
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import DEFAULT_COST, Key, Node, PickContext, Snapshot

__all__ = ["RateLimit"]

MIN_RATE: Final = 1e-100
MAX_RATE: Final = 1e100
"""Bounds of what comes to an endpoint per second, so that a wait for it is a finite number of seconds."""
MAX_SINGLE_EXCLUSIONS: Final = 4
"""Endpoints without room that are excluded one by one before all of them are."""


@final
class RateLimit(ConstructorRepr, makers=("child",)):
    """Pass over endpoints whose quota is used up.

    Parameters
    ----------
    rate
        What an endpoint may receive per second, 1e-100 to 1e100: requests, or their cost. ``500 / 60`` for 500 a minute.
    burst
        What it may receive at once after a rest, 1 to 1e100. One second's worth, and at least 1, if left out.
    by_cost
        Whether a request counts for what it costs (``acquire(cost=...)``, such as an estimate of tokens), or for one.
    per_weight
        Whether both figures are for an endpoint of the pool's mean weight, and others in proportion.
    child
        Makes the selector. ``ShortestExpectedDelay`` if left out.

    Raises
    ------
    ConfigurationError
        If ``rate`` or ``burst`` is outside its bounds, a flag is no bool, or ``child`` makes no selector.

    *Guarantee.* In any span of ``t`` seconds an endpoint receives at most ``burst + rate * t``, however many threads pick.
    A request that costs more than the burst goes to an endpoint whose bucket is full, which then owes the rest. A quota of 500
    in *any* minute is kept by a burst of 50 and a rate of 450 / 60.

    *When not to use it:* for a quota that several processes share: each counts its own requests only. Give each its share
    of the quota, and rely on ``Retry-After`` for the rest.

    *Below a router* each group counts for itself. An endpoint that moves to another group starts over. Below :class:`Subset`,
    requests with and without labels are counted separately. Put the limit around the router to count them together.

    *Charged at the pick,* so also for requests that are not sent: one that slow start redirects, or a retry that the
    budget refuses.

    Cost: O(1) plus the child's; O(n) when it picks endpoints without room four times in a row. Explaining a pick spends
    nothing.

    Example
    -------
    >>> from balancekit import LoadBalancer, SaturatedError
    >>> from balancekit.routing import RateLimit
    >>> lb = LoadBalancer(["key-a", "key-b"], selector=RateLimit(10 / 60, burst=2))
    >>> for _ in range(4):
    ...     lb.acquire().release()
    True
    True
    True
    True
    >>> try:
    ...     lb.acquire()
    ... except SaturatedError as error:
    ...     print(error)
    RateLimit picked none of 2 eligible endpoints: 2 at the limit; retry in 6.0 s, or shed load
    """

    timed: ClassVar[bool] = True

    def __init__(
        self,
        rate: float,
        *,
        burst: float | None = None,
        by_cost: bool = False,
        per_weight: bool = False,
        child: MakeSelector = ShortestExpectedDelay,
    ) -> None:
        self._rate = valid.number("rate", rate, minimum=MIN_RATE, maximum=MAX_RATE)
        self._burst = (
            max(1.0, self._rate)
            if burst is None
            else valid.number("burst", burst, minimum=1.0, maximum=MAX_RATE)
        )
        self._by_cost = valid.flag("by_cost", by_cost)
        self._per_weight = valid.flag("per_weight", per_weight)
        self._full_at: dict[Node, float] = {}  # when the bucket of each endpoint that was used is full
        self._owners: dict[str, Node] = {}  # by id: whose bucket it is
        self._corrections: deque[tuple[str, float]] = deque()
        self._now = -math.inf
        self._lock = new_lock()
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        self.thread_safe: bool = self._children.thread_safe
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return what the child picks among those that have room, and charge it."""
        child = self._children.of(WHOLE_POOL)
        short: set[str] = set()
        # What a timed child picks, it has charged.
        while len(short) < MAX_SINGLE_EXCLUSIONS and not self._children.timed:
            node = child.select(snapshot, ctx.excluding(short) if short else ctx)
            if node is None or self._admit(node, ctx):
                return node
            short.add(node.id)
        with self._lock:
            self._settle()
            short = self._short(snapshot.eligible, ctx)
        node = child.select(snapshot, ctx.excluding(short) if short else ctx)
        return None if node is None or not self._admit(node, ctx) else node

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes: the child's, while what it picks has room."""
        if self._children.timed:
            return NO_PICKERS
        pick, pick_by_key = self._children.pickers(WHOLE_POOL, snapshot, rng)
        return (
            None if pick is None else self._limited(pick),
            None if pick_by_key is None else self._limited_by_key(pick_by_key),
        )

    def _limited(self, pick: Pick) -> Pick:
        charge, buckets, corrections = self._charge, self._full_at, self._corrections
        spare, step = (self._burst - 1.0) / self._rate, 1.0 / self._rate

        def pick_limited(now: float = 0.0, /) -> Node | None:
            node = pick(now)
            return node if node is not None and charge(node, DEFAULT_COST, now) else None

        def pick_alike(now: float = 0.0, /) -> Node | None:
            node = pick(now)
            if node is None:
                return None
            if node not in buckets or corrections:
                return node if charge(node, DEFAULT_COST, now) else None
            # What follows is _charge, written out for a cost of 1.
            full_at = buckets[node]
            if full_at < now:
                full_at = now
            elif full_at - spare > now:
                return None
            buckets[node] = full_at + step
            return node

        return pick_limited if self._per_weight or FREE_THREADED else pick_alike

    def _limited_by_key(self, pick: Pick) -> Pick:
        charge = self._charge

        def pick_limited(key: Key, now: float = 0.0, /) -> Node | None:
            node = pick(key, now)
            return node if node is not None and charge(node, DEFAULT_COST, now) else None

        return pick_limited

    def correct(self, endpoint: str, by: float) -> None:
        """Correct the cost that an endpoint was charged for a request, as if the real cost had been known.

        Parameters
        ----------
        endpoint
            The id of one that was picked; one that is not known is left as it is.
        by
            The real cost less the one that was charged, finite.

        Any thread may call; it holds from the next pick on.

        Raises
        ------
        ConfigurationError
            If ``endpoint`` is no id, or ``by`` no number.

        Example
        -------
        >>> from balancekit import LoadBalancer
        >>> from balancekit.routing import RateLimit
        >>> tokens = RateLimit(500.0, burst=10_000, by_cost=True)
        >>> lb = LoadBalancer(["key-a", "key-b"], selector=tokens)
        >>> with lb.acquire(cost=800) as lease:
        ...     used = 1_250                      # as the answer says
        >>> tokens.correct(lease.endpoint.id, used - lease.cost)
        """
        self._corrections.append((valid.text("endpoint", endpoint), valid.number("by", by)))

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child; forget endpoints that had left and owed nothing when another was first used."""
        there = {node.id for node in snapshot.members.nodes}
        with self._lock:
            self._forget_all_but(there)
        self._children.prepare({WHOLE_POOL: snapshot})

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the endpoints whose bucket is too low, and the child's reasons."""
        with self._lock:
            short = self._short(snapshot.candidates(ctx), ctx)
        return self._children.refusals_at_limit(snapshot, ctx, short)

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the first of the candidates has room for this request, of those that the child does not rule out."""
        matching = self._children.matching(snapshot, ctx)
        own = min((self._room_at(node, ctx) for node in matching), default=-math.inf)
        childs = self._children.retry_at(WHOLE_POOL, snapshot, ctx)
        known = [at for at in (own, childs) if at is not None and at > ctx.now]
        return max(known, default=None)

    def _admit(self, node: Node, ctx: PickContext) -> bool:
        """Charge a node for a request if it has room; while a pick is explained, only look."""
        if ctx.trace is None:
            return self._charge(node, self._cost(ctx), ctx.now)
        with self._lock:
            self._settle()
            return self._room_at(node, ctx) <= ctx.now

    def _charge(self, node: Node, cost: float, now: float) -> bool:
        """Charge a node if it has room, in one step for all threads."""
        rate, burst = self._quota(node)
        with self._lock:
            self._now = now
            if self._corrections:
                self._settle()
            buckets = self._full_at
            if node not in buckets:
                self._inherit(node, now)
            spare, step = (burst - min(cost, burst)) / rate, cost / rate
            full_at = buckets[node]  # nothing is called from here on
            if full_at < now:
                full_at = now
            elif full_at - spare > now:
                return False
            buckets[node] = full_at + step
        return True

    def _inherit(self, node: Node, now: float) -> None:
        """Make the bucket of an endpoint, or take over that of one of the same id that has left."""
        before, buckets = self._owners.get(node.id), self._full_at
        full_at = now if before is None else buckets.get(before, now)
        # Nothing is called from here on, so no interrupt comes in between.
        buckets[node] = full_at
        self._owners[node.id] = node
        if before is not None and before is not node and before in buckets:
            del buckets[before]

    def _settle(self) -> None:
        """Charge what answers have said; a correction is in the queue until it is in the bucket."""
        corrections, buckets = self._corrections, self._full_at
        while corrections:
            id, by = corrections[0]
            node = self._owners.get(id)
            longer = 0.0 if node is None else by / self._quota(node)[0]
            # Nothing is called from here on: an interrupt charges neither twice nor never.
            if node is not None and node in buckets:
                buckets[node] += longer
            del corrections[0]

    def _cost(self, ctx: PickContext) -> float:
        return ctx.cost if self._by_cost else 1.0

    def _quota(self, node: Node) -> tuple[float, float]:
        """Return the rate and the burst of an endpoint."""
        if not self._per_weight:
            return self._rate, self._burst
        return max(MIN_RATE, self._rate * node.capacity), max(1.0, self._burst * node.capacity)

    def _short(self, nodes: Iterable[Node], ctx: PickContext) -> set[str]:
        """Return the endpoints without room for the request."""
        return {node.id for node in nodes if self._room_at(node, ctx) > ctx.now}

    def _forget_all_but(self, there: set[str]) -> None:
        """Forget endpoints that have left and owe nothing."""
        for node, full_at in list(self._full_at.items()):
            if node.id not in there and full_at <= self._now:
                self._full_at.pop(node, None)
                self._owners.pop(node.id, None)

    def _room_at(self, node: Node, ctx: PickContext) -> float:
        """Return when the node's bucket holds what the request costs, or is full."""
        owner = self._owners.get(node.id)
        full_at = None if owner is None else self._full_at.get(owner)
        if full_at is None:
            return -math.inf
        rate, burst = self._quota(node)
        return full_at - (burst - min(self._cost(ctx), burst)) / rate
