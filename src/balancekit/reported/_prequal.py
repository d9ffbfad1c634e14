"""Probing to reduce queuing and latency: the endpoint is chosen from a pool of recent probe results.

A probe returns two numbers of a server: its requests in flight and the expected latency at that number. Three servers are
probed for each request, asynchronously. A server is *hot* if its requests in flight exceed a quantile of the reported
numbers. A request goes to the fastest server that is not hot; if all are hot, to the one with the fewest requests.

A probe is removed after a few uses. In addition, each request removes the oldest and the worst probe alternately. No probe
is older than a second. So a balancer sees the load from other clients without waiting.

Source: Wydrowski, Kleinberg, Rumble, Archer, *Load is not what you should balance: introducing Prequal*, NSDI 2024
(arXiv 2312.10172). Keeping only the latest probe of each endpoint is our choice, because earlier ones are outdated.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import ClassVar, Final, final

from sortedcontainers import SortedList

from balancekit._selection.sampling import sample, sampler
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr, StateRepr
from balancekit._support.fork import new_lock
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError
from balancekit.node import Node
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.reported._timed_load import TimedInFlight
from balancekit.snapshot import PickContext, Snapshot

__all__ = ["Prequal", "ProbePool", "ProbePoolMachine"]

RECENT_PROBES: Final = 128
"""The number of probes for the quantile of requests in flight."""
MAX_PROBES: Final = 10_000
"""The most probes of a pool. Each pick compares all of them."""
MIN_PROBES: Final = 2
"""The fewest probes for a choice; with fewer, endpoints are sampled at random."""
MAX_USES: Final = 1_000
"""The most uses of one probe in a pool so small that probes never run out."""


class ProbePool(Policy):
    """The settings for keeping and using probes.

    Parameters
    ----------
    quantile
        Servers with more requests in flight than this quantile of recent probes are hot, 0 to 1.
    size
        The most probes kept, 2 to 10,000.
    max_age
        Seconds after which a probe expires, > 0.
    rate
        Probes per request, > 0.
    removal
        Probes removed per request, alternately the oldest and the worst, >= 0, < rate.
    surplus
        The growth rate of the pool, > 0; the paper's delta.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.reported import ProbePool
    >>> pool = ProbePool(quantile=0.5)()
    >>> pool.add("a", in_flight=3, latency=0.2, now=0.0)
    >>> pool.add("b", in_flight=9, latency=0.1, now=0.0)
    >>> pool.choose({"a", "b"}, Random(1), now=0.1)
    'a'
    """

    quantile: float = 0.84
    size: int = 16
    max_age: float = 1.0
    rate: float = 3.0
    removal: float = 1.0
    surplus: float = 1.0

    def _check(self) -> None:
        valid.number("quantile", self.quantile, minimum=0.0, maximum=1.0)
        valid.integer("size", self.size, minimum=MIN_PROBES, maximum=MAX_PROBES)
        valid.number("max_age", self.max_age, above=0.0)
        valid.number("rate", self.rate, above=0.0)
        valid.number("removal", self.removal, minimum=0.0)
        valid.number("surplus", self.surplus, above=0.0)
        if self.removal >= self.rate:
            raise ConfigurationError("removal", self.removal, f"less than the rate, {self.rate:g}")

    def __call__(self) -> ProbePoolMachine:
        """Return the pool of one balancer."""
        return ProbePoolMachine(self)


@final
class _Probe:
    """The latest answer of one endpoint."""

    __slots__ = ("at", "in_flight", "latency", "uses")

    def __init__(self, in_flight: float, latency: float, at: float) -> None:
        self.in_flight = in_flight
        self.latency = latency
        self.at = at
        self.uses = 0


@final
class ProbePoolMachine(StateRepr):
    """The probes of one balancer. Sans-IO; created by :class:`ProbePool`. Any thread may call."""

    __slots__ = (
        "_lock",
        "_owed",
        "_probes",
        "_recent",
        "_removals",
        "_shunned",
        "_sorted",
        "_to_remove",
        "config",
        "rejected",
    )

    @checked_arguments
    def __init__(self, config: ProbePool) -> None:
        self.config: ProbePool = config
        self.rejected: int = 0
        """The number of impossible answers: negative, infinite or not a number."""
        self._lock = new_lock()
        self._probes: dict[str, _Probe] = {}  # in the order of their answers
        self._recent: deque[float] = deque()
        self._sorted: SortedList[float] = SortedList()
        self._owed = 0.0
        self._to_remove = 0.0
        self._removals = 0
        self._shunned: dict[str, float] = {}

    @checked_arguments
    def add(self, endpoint: str, *, in_flight: float, latency: float, now: float) -> None:
        """Record the answer of an endpoint; ignore and count an impossible one."""
        if not (0.0 <= in_flight < math.inf and 0.0 <= latency < math.inf):
            with self._lock:
                self.rejected += 1
            return
        valid.text("endpoint", endpoint)
        at, open, seconds = valid.number("now", now), float(in_flight), float(latency)
        with self._lock:
            if len(self._sorted) != len(self._recent):  # an interrupt came between
                self._sorted = SortedList(self._recent)
            self._recent.append(open)
            self._sorted.add(open)
            if len(self._recent) > RECENT_PROBES:
                self._sorted.remove(self._recent.popleft())
            if self._shunned.get(endpoint, -math.inf) > at:
                return
            self._probes.pop(endpoint, None)
            self._probes[endpoint] = _Probe(open, seconds, at)
            if len(self._probes) > self.config.size:
                del self._probes[next(iter(self._probes))]

    @checked_arguments
    def choose(self, eligible: set[str] | Mapping[str, object], rng: Random, *, now: float) -> str | None:
        """Return the endpoint by the hot-cold rule and count its coming request; ``None`` with too few probes."""
        return self._choose(eligible, rng, valid.number("now", now))

    def _choose(self, eligible: set[str] | Mapping[str, object], rng: Random, now: float) -> str | None:
        """Choose for a pick, whose arguments need no check."""
        oldest = now - self.config.max_age
        with self._lock:
            known = self._known(eligible, oldest)
            max_uses = self._max_uses(max(1, len(eligible)), rng)
            self._owed = min(self._owed + self.config.rate, float(self.config.size))
            if len(known) != len(self._probes):
                self._expire(oldest)
            if len(known) < max(1, min(MIN_PROBES, len(eligible))):
                return None
            limit = self._limit()
            chosen, probe = min(known, key=lambda item: _rank(item[1], limit))
            probe.in_flight += 1.0
            probe.uses += 1
            if probe.uses >= max_uses:
                self._probes.pop(chosen, None)
            self._remove(limit)
            return chosen

    @checked_arguments
    def due(self, eligible: list[str], rng: Random) -> list[str]:
        """Return the endpoints to probe now, without repetition; the requests since the last call determine their number."""
        with self._lock:
            count = min(int(self._owed), len(eligible))
            chosen = rng.sample(eligible, count)
            self._owed -= count
        return chosen

    @checked_arguments
    def failed(self, endpoint: str, *, now: float) -> None:
        """Ignore probes of a failed endpoint for a while, because an endpoint that fails fast looks idle."""
        until = valid.number("now", now) + self.config.max_age
        with self._lock:
            self._shunned[endpoint] = until
            self._probes.pop(endpoint, None)

    @checked_arguments
    def keep(self, endpoints: set[str]) -> None:
        """Drop the probes of all other endpoints."""
        with self._lock:
            self._forget({*self._probes, *self._shunned} - endpoints)

    def _known(self, eligible: set[str] | Mapping[str, object], oldest: float) -> list[tuple[str, _Probe]]:
        return [
            (name, probe)
            for name, probe in list(self._probes.items())
            if name in eligible and probe.at >= oldest
        ]

    def _forget(self, endpoints: set[str]) -> None:
        for name in endpoints:
            self._probes.pop(name, None)
            self._shunned.pop(name, None)

    def _expire(self, oldest: float) -> None:
        for name in [name for name, probe in list(self._probes.items()) if probe.at < oldest]:
            self._probes.pop(name, None)

    def _max_uses(self, endpoints: int, rng: Random) -> float:
        config = self.config
        spare = (1.0 - min(config.size, endpoints / 2.0) / endpoints) * config.rate - config.removal
        if spare <= 0.0:
            return MAX_USES
        uses = min(max(1.0, (1.0 + config.surplus) / spare), MAX_USES)
        return math.floor(uses) + (rng.random() < uses % 1.0)

    def _limit(self) -> float:
        """Return the requests in flight above which a server is hot."""
        if not self._sorted:
            return 0.0
        return self._sorted[max(0, math.ceil(self.config.quantile * len(self._sorted)) - 1)]

    def _remove(self, limit: float) -> None:
        self._to_remove += self.config.removal
        while self._to_remove >= 1.0:
            self._to_remove -= 1.0
            if len(self._probes) <= MIN_PROBES:
                continue
            self._removals += 1
            if self._removals & 1:
                del self._probes[next(iter(self._probes))]
            else:
                worst, _ = max(list(self._probes.items()), key=lambda item: _rank(item[1], limit))
                self._probes.pop(worst, None)


def _rank(probe: _Probe, limit: float) -> tuple[bool, float, float]:
    """Return the sort key of a probe, best first: the fastest cold one, then the least loaded hot one."""
    if probe.in_flight <= limit:
        return False, probe.latency, probe.in_flight
    return True, probe.in_flight, probe.latency


@final
class Prequal(ConstructorRepr):
    """Selection of the fastest endpoint that is not hot, by answers to probes.

    Parameters
    ----------
    pool
        The settings of the pool of probes; those of the paper if left out.

    A runner sends the probes: ``ThreadProbes`` or ``AsyncProbes`` of :mod:`balancekit.checks`. Without a runner, or while
    servers do not answer, endpoints are sampled at random, by weight. A choice by probes ignores weights.

    *Guarantee.* A probe in use is no older than ``max_age``. An endpoint that fails is not chosen by probes for ``max_age``
    seconds.

    *When to use it:* with many clients, and servers of different speed or with noisy neighbours. *When not:* with a few
    clients that send most of the traffic, whose own counts give the same information at no cost; with servers that cannot
    answer a probe much faster than a request.

    Cost: O(pool) per pick, some 10 microseconds, and ``rate`` probes per request.
    Source: Wydrowski et al., NSDI 2024.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.reported import Prequal
    >>> from balancekit.testing import ManualClock
    >>> prequal = Prequal()
    >>> lb = LoadBalancer(["a", "b", "c"], selector=prequal, clock=ManualClock())
    >>> for endpoint, in_flight in (("a", 5), ("b", 1), ("c", 7)):
    ...     prequal.pool.add(endpoint, in_flight=in_flight, latency=0.1, now=0.0)
    >>> lb.acquire().target
    'b'
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    learns_from_successes: ClassVar[bool] = False
    default_load: ClassVar[TimedInFlight] = TimedInFlight()

    @checked_arguments
    def __init__(self, pool: ProbePool | None = None) -> None:
        self.pool: ProbePoolMachine = (ProbePool() if pool is None else pool)()
        """The probes; a runner adds to it."""
        self.on_due: Callable[[], None] = _nothing
        """The callback of each pick, in its thread; probes may be due."""

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Drop the probes of removed endpoints."""
        self.pool.keep({node.id for node in snapshot.members.nodes})

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate by the hot-cold rule."""
        candidates = {node.id: node for node in snapshot.candidates(ctx)}
        if not candidates:
            return None
        if ctx.trace is not None:
            ctx.trace.note("by probes of servers: an explanation uses none, and samples at random")
            return sample(snapshot, ctx)
        chosen = self.pool._choose(candidates, ctx.rng, ctx.now)  # noqa: SLF001 - of this module
        self.on_due()
        return sample(snapshot, ctx) if chosen is None else candidates[chosen]

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[[float], Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        random = Random() if rng is None else rng
        eligible = {node.id: node for node in snapshot.eligible}

        at_random = sampler(snapshot, random)

        def pick(now: float) -> Node:
            chosen = self.pool._choose(eligible, random, now)  # noqa: SLF001 - of this module
            self.on_due()
            return at_random() if chosen is None else eligible[chosen]

        return pick

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Ignore the probes of an endpoint that fails."""
        if completion.outcome in FAILURES and completion.outcome is not Outcome.TIMEOUT:
            self.pool.failed(node.id, now=completion.ended_at)


def _nothing() -> None:
    """Do nothing; the placeholder while no runner is attached."""
