"""Shortest expected delay: the endpoint that will answer soonest, as far as the loads know.

Up to 16 endpoints, all are compared. In larger pools, each pick compares six, going round in an order drawn at random
once, with eight that have just answered. Going round looks at every endpoint again soon, and what is remembered keeps
the queues finite whatever the speeds are (Shah and Prabhakar), where two draws at random do not. Nodes that were made
together lie in memory in that order.

*What is remembered.* Each endpoint has one of eight seats. When it answers, it takes the seat if it is at least as good
as the one that has it. So no endpoint is remembered twice, and good ones stay until something better comes.

The comparison is of one number per endpoint (``node.latency_estimate``), which :class:`~balancekit.loads.ExpectedDelay`
restates whenever a request begins or ends there. Of other loads it compares the values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from math import inf
from operator import attrgetter
from random import Random
from typing import Any, ClassVar, Final, NamedTuple, final

from balancekit._support.display import ConstructorRepr
from balancekit.loads import ExpectedDelay
from balancekit.loads._expected_delay_load import RECENT
from balancekit.loads._expected_delay_pool import MAX_FOUND, QUEUES, ExpectedDelayPool, queue_count
from balancekit.selectors._cyclic import cycle
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["ShortestExpectedDelay"]

MAX_SCANNED: Final = 16
"""Pools up to this size are compared whole: it costs little more than six and eight of a larger one."""
WINDOW: Final = 6
"""Endpoints looked at in turn by each pick from a larger pool."""


class Rota(NamedTuple):
    """In what order the endpoints of one snapshot are looked at."""

    snapshot: Snapshot
    windows: Iterator[Sequence[Node]]
    """Never ends; the whole pool is one window if it is small."""
    recent: list[Node]
    """Endpoints that have just answered, each in its seat; empty if the pool is small."""
    pool: ExpectedDelayPool | None
    """What the loads share, if they are expected delays."""
    recorded: bool
    """Whether loads record each request that ends, so that delays are stated as they are."""


@final
class ShortestExpectedDelay(ConstructorRepr):
    """The endpoint with the shortest expected delay, of all or of fourteen; the default.

    *Guarantee.* No queue grows without bound if any policy can keep all of them finite. Among endpoints that are healthy
    and equally fast, none goes without a pick for longer than 30 s or 20 requests per endpoint, whichever is longer.
    At rest, endpoints of about the same speed are picked in turn, in proportion to weight.

    *When to use it:* nearly always. *When not:* if the same key must go to the same endpoint (:class:`RingHash`), if
    shares must be exact (:class:`SmoothWeightedRoundRobin`), or if durations say nothing of the endpoint: then
    ``PowerOfChoices(load=InFlight())`` or :class:`LeastRequest`.

    Cost: O(1): at most 16 comparisons. With exclusions, as many again, and O(n) if nearly all are excluded.
    Source: Shah and Prabhakar, *The use of memory in randomized load balancing* (2002); the name is that of the
    IPVS scheduler ``sed``, which knows weights but not speeds; the loads are described in ``ExpectedDelay``.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.selectors import ShortestExpectedDelay
    >>> lb = LoadBalancer(["a", "b"], selector=ShortestExpectedDelay())
    >>> first, second = lb.acquire(), lb.acquire()
    >>> first.target != second.target
    True
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[ExpectedDelay] = ExpectedDelay()

    def __init__(self) -> None:
        self._rota: Rota | None = None

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate with the shortest expected delay."""
        rota = self._rota
        if rota is None or rota.snapshot is not snapshot:
            self._rota = rota = _rota(snapshot, ctx.rng)
        _, windows, recent, pool, recorded = rota  # a fifth of what the attributes of a named tuple cost
        if recorded and pool is not None and ctx.trace is None:
            window = next(windows)
            stated = _soonest_stated((*recent, *window) if recent else window, pool, ctx.exclude)
            if stated is not None:
                return stated
        compare = _soonest_value if pool is None else _soonest
        chosen: Node | None = None
        looked, size = 0, len(snapshot.eligible)
        while chosen is None and looked < size:
            window = next(windows)
            looked += len(window)
            chosen = compare((*recent, *window), ctx)
        if chosen is None:
            return None
        if ctx.trace is not None:
            ctx.trace.note(
                f"{chosen.id!r} has the shortest expected delay: {chosen.load.value(now=ctx.now):.4g}"
            )
        if pool is not None:
            _take(chosen, pool)
        return chosen

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        generator = Random() if rng is None else rng
        self._rota = rota = _rota(snapshot, generator)
        if rota.pool is None:
            return _compare(rota, generator)
        if not rota.recent:
            return _scan(next(rota.windows), rota.pool)
        for node in snapshot.eligible:
            load: Any = node.load
            load.recent = rota.recent
        return _roll(rota, rota.pool)


_place_of: Final = attrgetter("load.place")


def _rota(snapshot: Snapshot, rng: Random) -> Rota:
    """Draw an order, or find the one that was drawn, and learn what the loads share."""
    order = [node for node in snapshot.eligible if node.weight] or list(snapshot.eligible)
    pools = {id(pool): pool for pool in [getattr(node.load, "pool", None) for node in order]}
    pool = next(iter(pools.values()), None) if len(pools) == 1 else None
    shared = pool if isinstance(pool, ExpectedDelayPool) else None
    recorded = all(map(attrgetter("needs_completion"), order))
    if len(order) <= MAX_SCANNED:
        rng.shuffle(order)
        return Rota(snapshot, cycle([tuple(order)]), [], shared, recorded)
    if shared is None:
        rng.shuffle(order)
    else:
        order = _by_place(order, rng)
    looped = order + order[:WINDOW]
    windows = [tuple(looped[start : start + WINDOW]) for start in range(0, len(order), WINDOW)]
    return Rota(snapshot, cycle(windows), order[:RECENT], shared, recorded)


def _by_place(nodes: Sequence[Node], rng: Random) -> list[Node]:
    """Return nodes in the order of their places, which stays as long as they do.

    It begins anywhere: if changes follow each other closely, no endpoint is among the first more often than others.
    """
    for node in nodes:
        load: Any = node.load
        if load.place is None:
            load.place = rng.random()
    order = sorted(nodes, key=_place_of)
    start = rng.randrange(len(order))
    return order[start:] + order[:start]


def _scan(nodes: Sequence[Node], pool: ExpectedDelayPool) -> Callable[..., Node]:
    """Compare all."""
    first = nodes[0]

    def pick(_now: float = 0.0, /) -> Node:
        chosen, least = first, inf
        for node in nodes:
            if node.latency_estimate < least:
                chosen, least = node, node.latency_estimate
        found = chosen.inflight
        if found >= MAX_FOUND or chosen.capacity != 1.0:
            _take(chosen, pool)
            return chosen
        # What follows is _take, written out for a capacity of 1.
        load: Any = chosen.load
        price, turn = load.price, load.turn
        if turn < pool.clock:
            turn = pool.clock
        else:
            pool.clock = turn
        paid = price if price < pool.longest else pool.longest  # noqa: FURB136 - min() is a call
        load.turn = turn = turn + pool.turn * paid
        chosen.latency_estimate = price * QUEUES[found + 1] + turn
        return chosen

    return pick


def _roll(rota: Rota, pool: ExpectedDelayPool) -> Callable[..., Node]:
    """Compare the next window with those remembered."""
    recent, following = rota.recent, rota.windows.__next__
    first = recent[0]

    def pick(_now: float = 0.0, /) -> Node:
        chosen, least = first, inf
        for node in recent:
            if node.latency_estimate < least:
                chosen, least = node, node.latency_estimate
        for node in following():
            if node.latency_estimate < least:
                chosen, least = node, node.latency_estimate
        found = chosen.inflight
        if found >= MAX_FOUND or chosen.capacity != 1.0:
            _take(chosen, pool)
            return chosen
        # What follows is _take, written out for a capacity of 1.
        load: Any = chosen.load
        price, turn = load.price, load.turn
        if turn < pool.clock:
            turn = pool.clock
        else:
            pool.clock = turn
        paid = price if price < pool.longest else pool.longest  # noqa: FURB136 - min() is a call
        load.turn = turn = turn + pool.turn * paid
        chosen.latency_estimate = price * QUEUES[found + 1] + turn
        return chosen

    return pick


def _compare(rota: Rota, rng: Random) -> Callable[..., Node]:
    """Compare the values of loads of any kind."""
    recent, following = rota.recent, rota.windows.__next__

    first = rota.snapshot.eligible[0]

    def pick(now: float = 0.0, /) -> Node:
        return _soonest_value((*recent, *following()), PickContext(rng=rng, now=now)) or first

    return pick


def _soonest_stated(nodes: Sequence[Node], pool: ExpectedDelayPool, exclude: Collection[str]) -> Node | None:
    """Take the shortest of the delays as last stated; ``None`` if in-flight has changed since, or all are excluded."""
    taken = pool.taken
    if taken is not None and taken.latency_estimate == pool.taken_delay:  # its request may not have begun
        taken.latency_estimate = _delay(taken)
    chosen: Node | None = None
    least = inf
    for node in nodes:
        if node.latency_estimate < least:
            chosen, least = node, node.latency_estimate
    if exclude and chosen is not None and chosen.id in exclude:
        chosen, least = None, inf
        for node in nodes:
            if node.latency_estimate < least and node.id not in exclude:
                chosen, least = node, node.latency_estimate
    if chosen is None:
        return None
    found = chosen.inflight
    if found >= MAX_FOUND or chosen.capacity != 1.0:
        if chosen is not taken and least not in (_delay(chosen), -inf):
            return None
        _take(chosen, pool)
        return chosen
    # What follows is the same, written out for a capacity of 1.
    load: Any = chosen.load
    price, turn = load.price, load.turn
    if least != price * QUEUES[found] + turn and chosen is not taken and least != -inf:
        return None
    pool.taken = chosen
    if turn < pool.clock:
        turn = pool.clock
    else:
        pool.clock = turn
    paid = price if price < pool.longest else pool.longest  # noqa: FURB136 - min() is a call
    load.turn = turn = turn + pool.turn * paid
    chosen.latency_estimate = pool.taken_delay = price * QUEUES[found + 1] + turn
    return chosen


def _delay(node: Node) -> float:
    """Return the delay of one more request, whatever was stated."""
    load: Any = node.load
    found, capacity = node.inflight, node.capacity
    counted = QUEUES[found] if found <= MAX_FOUND and capacity == 1.0 else queue_count(found, capacity)
    delay: float = load.price * counted + load.turn
    return delay


def _soonest(nodes: Sequence[Node], ctx: PickContext) -> Node | None:
    """Return the one with the shortest delay that is not excluded, as of now, whatever has happened to in-flight."""
    exclude = ctx.exclude
    chosen, least = None, inf
    for node in nodes:
        if node.id not in exclude:
            delay = _delay(node)
            if delay < least:
                chosen, least = node, delay
            if node.latency_estimate == -inf:  # to be tried
                return node
    return chosen


def _soonest_value(nodes: Sequence[Node], ctx: PickContext) -> Node | None:
    """Return the same of loads of any kind; ties at random."""
    now, exclude = ctx.now, ctx.exclude
    values = [(node.load.value(now=now), node) for node in nodes if node.id not in exclude]
    if not values:
        return None
    least = min([value for value, _ in values])
    return ctx.rng.choice([node for value, node in values if value == least])


def _take(node: Node, pool: ExpectedDelayPool) -> None:
    """Give an endpoint its turn, and count on its request."""
    pool.taken = node
    load: Any = node.load
    price, turn = load.price, load.turn
    if turn < pool.clock:
        turn = pool.clock
    else:
        pool.clock = turn
    paid = price if price < pool.longest else pool.longest  # noqa: FURB136 - min() is a call
    load.turn = turn = turn + pool.turn * paid / node.capacity
    node.latency_estimate = pool.taken_delay = price * queue_count(node.inflight + 1, node.capacity) + turn
