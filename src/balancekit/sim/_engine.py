"""What would happen? A balancer of the real library, simulated servers, virtual time.

The loop takes the next event off a heap, sets the clock, and does what a program would do: acquire, wait,
release. Selectors, loads, health and leases are the very ones production runs, and nothing in them knows
that the clock is not real. The same seed gives the same run.

Cost: one heap operation per request besides what the balancer costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeAlias, final

import numpy as np

from balancekit import _validation as valid
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.events import Event
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.sim._faults import Add, Fault
from balancekit.sim._report import Report
from balancekit.sim._station import Server, Station
from balancekit.sim._times import Arrivals
from balancekit.snapshot import Key

__all__ = ["MakeBalancer", "Simulation", "simulate"]

MakeBalancer: TypeAlias = Callable[[list[Endpoint[str]], Callable[[], float], Random], LoadBalancer[str]]
"""Makes a balancer from endpoints, a clock and a generator."""


def _plain(endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random) -> LoadBalancer[str]:
    return LoadBalancer(endpoints, clock=clock, rng=rng)


@final
class Job:
    """One request on its way."""

    __slots__ = ("arrived", "attempt", "balancer", "epoch", "key", "lease", "outcome", "station", "tried")

    def __init__(self, arrived: float, balancer: LoadBalancer[str], key: Key | None) -> None:
        self.arrived: float = arrived
        self.balancer: LoadBalancer[str] = balancer
        self.key: Key | None = key
        self.attempt: int = 0
        self.tried: tuple[str, ...] = ()
        self.lease: Lease[str] | None = None
        self.station: Station | None = None
        self.outcome: Outcome = Outcome.SUCCESS
        self.epoch: int = 0


class Simulation:
    """A model of clients, balancers and servers. Run it with :meth:`run`.

    Parameters
    ----------
    servers
        By endpoint id; at least one.
    arrivals
        When requests come.
    balancer
        Makes a balancer; ``LoadBalancer`` with its defaults if left out.
    balancers
        How many there are, >= 1; a request goes through any of them. Each sees only its own requests.
    attempts
        How often a request is tried, >= 1, each time elsewhere.
    timeout
        Seconds after which an attempt is given up, > 0; ``None`` for never.
    faults
        What goes wrong.
    keys
        Draws the key of a request from a generator; ``None`` for requests without keys.
    seed
        Of all randomness.

    Raises
    ------
    ConfigurationError
        For a wrong value of any of these.

    Example
    -------
    >>> from balancekit.sim import Exponential, Poisson, Server
    >>> servers = {f"s{k}": Server(service=Exponential(mean=1.0)) for k in range(10)}
    >>> report = Simulation(servers, Poisson(rate=5.0), seed=1).run(requests=2000)
    >>> report.requests, report.failures
    (2000, 0)
    """

    def __init__(
        self,
        servers: Mapping[str, Server],
        arrivals: Arrivals,
        *,
        balancer: MakeBalancer = _plain,
        balancers: int = 1,
        attempts: int = 1,
        timeout: float | None = None,
        faults: Iterable[Fault] = (),
        keys: Callable[[Random], Key] | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(servers, Mapping) or not servers:
            raise ConfigurationError("servers", servers, "Servers by endpoint id, at least one")
        for server in servers.values():
            if not isinstance(server, Server):
                raise ConfigurationError("servers", server, "Server objects")
        if not callable(getattr(arrivals, "times", None)):
            raise ConfigurationError("arrivals", arrivals, "arrivals such as Poisson(rate=100.0)")
        self._servers = dict(servers)
        self._arrivals = arrivals
        self._make = balancer
        self._balancers = valid.integer("balancers", balancers, minimum=1)
        self._attempts = valid.integer("attempts", attempts, minimum=1)
        self._timeout = math.inf if timeout is None else valid.number("timeout", timeout, above=0.0)
        self._faults: Sequence[Fault] = tuple(faults)
        for fault in self._faults:
            if not isinstance(fault, Fault) or fault.endpoint not in self._servers:
                raise ConfigurationError("faults", fault, f"faults of {', '.join(self._servers)}")
        self._keys = keys
        self._seed = valid.integer("seed", seed, minimum=0)

    def run(self, *, requests: int, warm_up: int = 0) -> Report:
        """Simulate until so many requests have been answered after the warm-up.

        Parameters
        ----------
        requests
            How many to count, >= 1.
        warm_up
            How many come before, not counted, >= 0.
        """
        run = _Run(self._servers, self._seed, self._attempts, self._timeout, self._keys)
        run.equip(self._make, self._balancers, self._faults)
        return run.play(
            self._arrivals,
            valid.integer("requests", requests, minimum=1),
            valid.integer("warm_up", warm_up, minimum=0),
        )


def simulate(servers: Mapping[str, Server], arrivals: Arrivals, *, requests: int, **options: Any) -> Report:
    """Make a :class:`Simulation` and run it."""
    warm_up = options.pop("warm_up", 0)
    return Simulation(servers, arrivals, **options).run(requests=requests, warm_up=warm_up)


class _Run:
    """One run: everything that changes."""

    def __init__(
        self,
        servers: Mapping[str, Server],
        seed: int,
        attempts: int,
        timeout: float,
        keys: Callable[[Random], Key] | None,
    ) -> None:
        self.now = 0.0
        self.servers = servers
        self.stations = {id: Station(server) for id, server in servers.items()}
        self.seed = seed
        self.chance = Random(f"{seed} service")
        self.attempts = attempts
        self.timeout = timeout
        self.keys = keys
        self.key_chance = Random(f"{seed} keys")
        self.heap: list[tuple[float, int, Any]] = []
        self.serial = count().__next__
        self.events: list[Event] = []
        self.balancers: list[LoadBalancer[str]] = []
        self.picked = dict.fromkeys(servers, 0)
        self.latencies: list[float] = []
        self.failures = self.retries = self.in_system = 0
        self.area = self.since = 0.0
        self.seen = self.arrived = 0

    def clock(self) -> float:
        """Tell the virtual time."""
        return self.now

    def equip(self, make: MakeBalancer, balancers: int, faults: Sequence[Fault]) -> None:
        """Make the balancers and put the faults on the heap."""
        late = {fault.endpoint for fault in faults if isinstance(fault, Add)}
        pool = [Endpoint(id, weight=s.weight) for id, s in self.servers.items() if id not in late]
        for number in range(balancers):
            balancer = make(pool, self.clock, Random(f"{self.seed} balancer {number}"))
            balancer.subscribe(self.events.append)
            self.balancers.append(balancer)
        for fault in faults:
            for at, what, how in fault.steps():
                heappush(self.heap, (at, self.serial(), (fault.endpoint, what, how)))

    def play(self, arrivals: Arrivals, requests: int, warm_up: int) -> Report:
        """Let everything happen."""
        times = arrivals.times(Random(f"{self.seed} arrivals"))
        spread = Random(f"{self.seed} spread")
        heap, balancers, total = self.heap, self.balancers, requests + warm_up
        upcoming = next(times, math.inf)
        counted_from, picks_before, busy_before = 0.0, self._picks(), self._busy()
        seconds, area, busy = math.nan, math.nan, busy_before
        while self.arrived < total or self.in_system:
            if heap and heap[0][0] <= upcoming:
                self.now, _, what = heappop(heap)
                if type(what) is Job:
                    self._ended(what)
                else:
                    self._happen(*what)
                continue
            if upcoming == math.inf or self.arrived == total:
                if not heap:
                    break
                upcoming = math.inf
                continue
            self.now = upcoming
            if self.arrived == warm_up:
                self.area, self.since, self.seen = 0.0, self.now, 0
                self.latencies.clear()
                self.failures = self.retries = 0
                counted_from, picks_before, busy_before = self.now, self._picks(), self._busy()
            self.arrived += 1
            self.seen += self.in_system
            self._count(1)
            balancer = balancers[0] if len(balancers) == 1 else spread.choice(balancers)
            key = None if self.keys is None else self.keys(self.key_chance)
            self._send(Job(self.now, balancer, key))
            upcoming = next(times, math.inf) if self.arrived < total else math.inf
            if self.arrived == total:  # what follows is the end of the run, not the steady state
                seconds, area, busy = self.now - counted_from, self.area, self._busy()
        picks = self._picks()
        return Report(
            requests=requests,
            failures=self.failures,
            retries=self.retries,
            seconds=seconds,
            latency=np.array(self.latencies),
            picks={id: picks[id] - picks_before[id] for id in picks},
            busy={id: (busy[id] - busy_before[id]) / (seconds * s.workers) for id, s in self.servers.items()},
            in_system=area / seconds,
            seen=self.seen / requests,
            events=tuple(self.events),
        )

    def _send(self, job: Job) -> None:
        try:
            if job.tried or job.key is not None:
                lease = job.balancer.acquire(job.key, exclude=job.tried)
            else:
                lease = job.balancer.acquire()
        except UnavailableError:
            self._finish(job, failed=True)
            return
        id = lease.target
        station = self.stations[id]
        job.lease, job.station, job.epoch, job.outcome = lease, station, station.epoch, Outcome.SUCCESS
        if station.down:
            end, job.outcome = self.now, Outcome.CONNECT_FAILED
        elif station.fail and self.chance.random() < station.fail:
            end, job.outcome = self.now + station.fail_after, Outcome.FAILURE
        else:
            end = station.serve(self.now, self.chance)
        if end - self.now > self.timeout:
            end, job.outcome = self.now + self.timeout, Outcome.TIMEOUT
        self.picked[id] += 1
        heappush(self.heap, (end, self.serial(), job))

    def _ended(self, job: Job) -> None:
        lease, station = job.lease, job.station
        assert lease is not None
        assert station is not None
        if job.epoch != station.epoch:
            job.outcome = Outcome.FAILURE
        lease.release(job.outcome)
        if job.outcome is Outcome.SUCCESS:
            self._finish(job, failed=False)
            return
        job.attempt += 1
        if job.attempt >= self.attempts:
            self._finish(job, failed=True)
            return
        self.retries += 1
        job.tried = (*job.tried, lease.target)
        self._send(job)

    def _finish(self, job: Job, *, failed: bool) -> None:
        self._count(-1)
        if failed:
            self.failures += 1
        else:
            self.latencies.append(self.now - job.arrived)

    def _count(self, step: int) -> None:
        self.area += self.in_system * (self.now - self.since)
        self.since = self.now
        self.in_system += step

    def _happen(self, id: str, what: str, how: float) -> None:
        station = self.stations[id]
        match what:
            case "crash":
                station.crash()
                self._break(station)
            case "recover":
                station.down = False
            case "hang":
                station.hang(how)
            case "fail":
                station.fail = how
            case "fail after":
                station.fail_after = how
            case "slow":
                station.scale = station.speed * how
            case "add":
                for balancer in self.balancers:
                    balancer.add(Endpoint(id, weight=self.servers[id].weight))
            case "remove":
                for balancer in self.balancers:
                    balancer.remove(id)
            case _:
                for balancer in self.balancers:
                    balancer.drain(id)

    def _break(self, station: Station) -> None:
        """End at once what a crashed server was working on."""
        broken = [entry[2] for entry in self.heap if type(entry[2]) is Job and entry[2].station is station]
        lost = set(map(id, broken))
        self.heap[:] = [entry for entry in self.heap if id(entry[2]) not in lost]
        self.heap.sort()
        for job in broken:
            self._ended(job)

    def _picks(self) -> dict[str, int]:
        return dict(self.picked)

    def _busy(self) -> dict[str, float]:
        return {id: station.busy for id, station in self.stations.items()}
