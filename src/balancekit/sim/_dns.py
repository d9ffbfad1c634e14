"""DNS in virtual time: a policy, monitors, and resolvers that cache its answers.

Caches decide what a DNS change does. Here each resolver has one: it queries the policy when its answer has
expired, and sends its clients' requests to what it holds, alive or not. So it is known how long requests go to a dead
site::

    last failed request <= death + detection + TTL

with ``detection`` of the monitor: ``fall`` checks, ``interval`` apart.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from random import Random
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Policy, Query, ResolverCache, Standing, Ttl
from balancekit.health import AccruedFailures

__all__ = ["DnsReport", "DnsRequest", "DnsSimulation", "EndpointChange"]


class EndpointChange(NamedTuple):
    """Something that happens to endpoints: from a time on they are up, or not."""

    at: float
    """Seconds."""
    endpoints: tuple[str, ...]
    up: bool


class DnsRequest(NamedTuple):
    """One request of a client behind a resolver."""

    at: float
    resolver: int
    endpoint: str | None
    """Where it went; ``None`` if the answer was empty."""
    served: bool
    """Whether the endpoint was up."""
    cached: bool
    """Whether the resolver had the answer."""


class DnsReport(Record):
    """What a simulation saw.

    Parameters
    ----------
    requests
        All requests, in order.
    detected
        When monitors changed what they say of an endpoint: time, endpoint, up.
    """

    requests: tuple[DnsRequest, ...]
    detected: tuple[tuple[float, str, bool], ...]

    def last_failure(self) -> float | None:
        """Return when the last request failed, for its endpoint was down or its answer empty; ``None`` if none did."""
        return max((request.at for request in self.requests if not request.served), default=None)

    @checked_arguments
    def shares(self, start: float, end: float, /) -> dict[str | None, float]:
        """Return which share of the requests in ``[start, end)`` went where."""
        found = Counter(request.endpoint for request in self.requests if start <= request.at < end)
        total = sum(found.values())
        return {endpoint: count / total for endpoint, count in found.items()}

    @checked_arguments
    def failed_share(self, start: float, end: float, /) -> float:
        """Return which share of the requests in ``[start, end)`` failed."""
        inside = [request.served for request in self.requests if start <= request.at < end]
        return 1.0 - sum(inside) / len(inside) if inside else 0.0


@final
class DnsSimulation(ConstructorRepr):
    """Resolvers with caches in front of a policy whose endpoints are monitored.

    Parameters
    ----------
    policy
        What answers. A policy with a fail-back keeps its machines: make a new one for each run.
    resolvers
        How many; each has a /24 of its own in 10.0.0.0/8 and sends it as client subnet.
    clients
        One resolver for each of these instead.
    ttl
        Limits of TTLs.
    detection
        The monitor of each endpoint.
    interval
        Seconds between its checks, > 0.
    every
        Mean seconds between the requests of one resolver's clients, > 0; times are exponential.
    subnets
        Whether resolvers send client subnets; without, all answers are by the resolver's address.
    seed
        Of everything that is random.

    Raises
    ------
    ConfigurationError
        If ``policy`` is no policy, ``clients`` is empty, a number is outside its bounds, or ``subnets`` is no
        bool.

    The first answer in each cache expires at a random phase of its TTL, as in caches that have been in use.

    *Guarantee.* Equal arguments give equal reports. No request fails later than ``detection + TTL`` after the
    endpoint's death, where detection is at most ``fall`` intervals.

    *When not to use it:* for queues and latencies inside a site: :class:`Simulation`.

    Example
    -------
    >>> from balancekit.gslb import PrimaryBackup
    >>> world = DnsSimulation(PrimaryBackup("eu", "us"), resolvers=50, ttl=Ttl(minimum=10, maximum=10))
    >>> report = world.run(60.0, [EndpointChange(20.0, ("eu",), up=False)])
    >>> report.shares(0.0, 20.0), report.shares(50.0, 60.0)
    ({'eu': 1.0}, {'us': 1.0})
    >>> 20.0 < report.last_failure() <= 20.0 + 3 * 2.0 + 10.0
    True
    """

    @checked_arguments
    def __init__(
        self,
        policy: Policy,
        *,
        resolvers: int = 200,
        clients: Sequence[Client] | None = None,
        ttl: Ttl = Ttl(),  # noqa: B008 - immutable
        detection: AccruedFailures = AccruedFailures(fall=3, reset=2, rise=2),  # noqa: B008 - immutable
        interval: float = 2.0,
        every: float = 1.0,
        subnets: bool = True,
        seed: int = 1,
    ) -> None:
        allowed = "a policy of balancekit.gslb"
        self._policy: Final = valid.instance("policy", policy, "answer", "members", allowed=allowed)
        count = valid.integer("resolvers", resolvers, minimum=1, maximum=1 << 16)
        valid.flag("subnets", subnets)
        if clients is None:
            clients = [_client(number, subnets=subnets) for number in range(count)]
        if not clients:
            raise ConfigurationError("clients", clients, "at least one client")
        self._queries: Final = [Query(name="www", client=client) for client in clients]
        self._ttl: Final = ttl
        self._detection: Final = detection
        self._interval: Final = valid.number("interval", interval, above=0.0)
        self._every: Final = valid.number("every", every, above=0.0)
        self._seed: Final = valid.integer("seed", seed, minimum=0)

    @checked_arguments
    def run(self, seconds: float, changes: Sequence[EndpointChange] = (), /) -> DnsReport:
        """Simulate some seconds, in which endpoints go down and come back.

        Parameters
        ----------
        seconds
            How long, > 0.
        changes
            What happens; of changes of one endpoint at one time the last counts.

        Raises
        ------
        ConfigurationError
            If ``seconds`` is not > 0, or a change names an endpoint that the policy does not have.

        Cost: about 15 us a request.
        """
        seconds = valid.number("seconds", seconds, above=0.0)
        rng = Random(self._seed)
        monitors = _Monitors(self._policy.members(), _checked(changes), self._detection, self._interval, rng)
        queries = self._queries
        caches = [ResolverCache() for _ in queries]
        due = [(rng.random() * self._every, number) for number in range(len(queries))]
        heapq.heapify(due)
        requests: list[DnsRequest] = []
        queried: set[int] = set()
        while due and due[0][0] < seconds:
            now, number = due[0]
            heapq.heapreplace(due, (now + rng.expovariate(1.0 / self._every), number))
            monitors.advance(now)
            query, cache = queries[number], caches[number]
            answer = cache.look_up(query, now=now)
            cached = answer is not None
            if answer is None:
                answer = self._policy.answer(query, monitors.standing, now=now, rng=rng)
                ttl = float(self._ttl.of(answer.ttl))
                if number not in queried:  # as if it had queried before the beginning, at any phase
                    queried.add(number)
                    ttl *= rng.random()
                cache.store(query, answer._replace(ttl=ttl), now=now)
            endpoint = answer.chosen[0] if answer.chosen else None
            served = endpoint is not None and monitors.up(endpoint, now)
            requests.append(DnsRequest(now, number, endpoint, served, cached))
        monitors.advance(seconds)
        return DnsReport(requests=tuple(requests), detected=tuple(monitors.detected))


def _client(number: int, *, subnets: bool) -> Client:
    network = IPv4Network((10 << 24 | number << 8, 24))
    return Client(address=network.network_address + 53, subnet=network if subnets else None)


def _checked(changes: Sequence[EndpointChange]) -> list[EndpointChange]:
    """Return changes in the order of their times.

    Raises
    ------
    ConfigurationError
        For what is no change.
    """
    for change in changes:
        if not isinstance(change, EndpointChange):
            raise ConfigurationError("changes", change, "EndpointChange objects")
        valid.number("changes", change.at, minimum=0.0)
        valid.ids("changes", change.endpoints)
        valid.flag("changes", change.up)
    return sorted(changes, key=lambda change: change.at)


class _Monitors:
    """What is true of endpoints by changes in the order of their times, and what their monitors say of them."""

    def __init__(
        self,
        endpoints: Iterable[str],
        changes: Sequence[EndpointChange],
        detection: AccruedFailures,
        interval: float,
        rng: Random,
    ) -> None:
        self._interval: Final = interval
        self._truth: Final[dict[str, tuple[list[float], list[bool]]]] = {
            endpoint: ([-math.inf], [True]) for endpoint in sorted(endpoints)
        }
        for change in changes:
            for endpoint in change.endpoints:
                if endpoint not in self._truth:
                    raise ConfigurationError("changes", endpoint, f"one of {', '.join(self._truth)}")
                self._truth[endpoint][0].append(change.at)
                self._truth[endpoint][1].append(change.up)
        self._machines: Final = {endpoint: detection() for endpoint in self._truth}
        self._checked: Final = dict.fromkeys(self._truth, 0.0)
        self._due: Final = [(rng.random() * interval, endpoint) for endpoint in self._truth]
        heapq.heapify(self._due)
        self.detected: Final[list[tuple[float, str, bool]]] = []
        for endpoint, machine in self._machines.items():
            machine.observe(passed=self.up(endpoint, 0.0), now=0.0)

    def up(self, endpoint: str, now: float) -> bool:
        """Return whether an endpoint is up in truth."""
        times, states = self._truth[endpoint]
        return states[bisect_right(times, now) - 1]

    def advance(self, now: float) -> None:
        """Run the checks that are due."""
        while self._due and self._due[0][0] <= now:
            at, endpoint = self._due[0]
            heapq.heapreplace(self._due, (at + self._interval, endpoint))
            machine = self._machines[endpoint]
            before = machine.up
            machine.observe(passed=self.up(endpoint, at), now=at)
            self._checked[endpoint] = at
            if machine.up is not before:
                self.detected.append((at, endpoint, bool(machine.up)))

    def standing(self, endpoint: str) -> Standing:
        """Return what the monitor says, and until when it cannot say anything else."""
        machine = self._machines[endpoint]
        until = self._checked[endpoint] + machine.checks_left * self._interval
        return Standing(up=bool(machine.up), until=until)
