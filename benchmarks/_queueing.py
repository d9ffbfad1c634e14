"""A small world in virtual time: servers with a few workers or processors, and balancers that make requests.

Requests wait in a queue for a worker, or all are worked on at once and share the processors. Servers tell of themselves
by ``LoadMeter``, as real ones do: with each answer, and when probed.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from balancekit import LoadBalancer
from balancekit.reported import LoadMeter

MEAN_S = 0.05
"""Mean time of service at speed 1; exponential."""


WINDOW_S = 1.0
"""Over which servers average what they report."""


class Server:
    """Workers behind one queue; the factor is how fast they are at present, as a multiple of what is promised."""

    utilization: Callable[[], float] | None = None

    def __init__(self, world: World, speed: float, workers: int) -> None:
        self.world = world
        self.speed = speed
        self.workers = workers
        self.factor = 1.0
        self.open = 0
        self.busy = 0
        self.queue: deque[tuple[float, Callable[[], None]]] = deque()
        self.meter = LoadMeter(
            capacity=workers,
            utilization=self.utilization,
            clock=world.time,
            processors=lambda: 0.0,
            window=WINDOW_S,
        )

    def resize(self, factor: float) -> None:
        """Work at another speed, from the next request on."""
        self.factor = factor

    def begin(self, work: float, ended: Callable[[], None]) -> None:
        """Take a request."""
        self.queue.append((work, ended))
        self._serve()

    def _serve(self) -> None:
        """Start what can be started."""
        while self.queue and self.busy < self.workers:
            work, ended = self.queue.popleft()
            self.busy += 1

            def done(ended: Callable[[], None] = ended) -> None:
                self.busy -= 1
                ended()
                self._serve()

            self.world.at(self.world.now + work / (self.speed * self.factor), done)


class SharingServer(Server):
    """Processors that all requests share, each using at most one; the factor is how many there are at present."""

    def __init__(self, world: World, speed: float, workers: int) -> None:
        self.jobs: list[tuple[float, int, Callable[[], None]]] = []
        self.done = 0.0  # the work that each request has had that has been here from the beginning
        self.since = 0.0
        self.used = 0.0
        self.version = 0
        super().__init__(world, speed, workers)

    def utilization(self) -> float:
        """Return the processors used, as a share of those promised, averaged over the window."""
        self._advance()
        return self.used

    def resize(self, factor: float) -> None:
        """Have another number of processors, from now on."""
        self._advance()
        self.factor = factor
        self._plan()

    def begin(self, work: float, ended: Callable[[], None]) -> None:
        """Take a request."""
        self._advance()
        self.version += 1
        heapq.heappush(self.jobs, (self.done + work, self.version, ended))
        self._plan()

    def _processors(self) -> float:
        return min(len(self.jobs), self.workers * self.factor)

    def _advance(self) -> None:
        passed = self.world.now - self.since
        busy = self._processors()
        if self.jobs:
            self.done += passed * self.speed * busy / len(self.jobs)
        self.used += (busy / self.workers - self.used) * -math.expm1(-passed / WINDOW_S)
        self.since = self.world.now

    def _plan(self) -> None:
        """Say when the next request ends if none comes before."""
        self.version += 1
        if not self.jobs:
            return
        version, left = self.version, max(0.0, self.jobs[0][0] - self.done)

        def finish() -> None:
            if version != self.version:
                return
            self._advance()
            _, _, ended = heapq.heappop(self.jobs)
            self._plan()
            ended()

        self.world.at(self.world.now + left * len(self.jobs) / (self.speed * self._processors()), finish)


class World:
    """Servers and one clock.

    The work of a request is drawn by a function of its own, of mean 1; exponential if none is given.
    """

    def __init__(
        self,
        speeds: list[float],
        workers: int,
        seed: int,
        *,
        reporting: bool = False,
        kind: type[Server] = Server,
        work: Callable[[Random], float] | None = None,
    ) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self.servers = {f"s{number}": kind(self, speed, workers) for number, speed in enumerate(speeds)}
        self.capacity = sum(speeds) * workers / MEAN_S
        self.reporting = reporting
        self.work = work or (lambda rng: rng.expovariate(1.0))
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = 0
        self.found: list[float] = []

    def time(self) -> float:
        """Return the time in seconds."""
        return self.now

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something later."""
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, what))

    def every(self, period: float, what: Callable[[], None]) -> None:
        """Do something again and again."""

        def again() -> None:
            what()
            self.at(self.now + period, again)

        self.at(self.now + period, again)

    def send(self, lb: LoadBalancer[str], work: float, *, measured: bool) -> None:
        """Make one request."""
        lease, arrived = lb.acquire(), self.now
        server = self.servers[lease.target]
        server.open += 1
        arrival = server.meter.started()

        def ended() -> None:
            server.open -= 1
            server.meter.finished(arrival)
            if self.reporting:
                lease.report_load(server.meter.report())
            lease.release()
            if measured:
                self.found.append(self.now - arrived)

        server.begin(work, ended)

    def run(
        self, lbs: list[LoadBalancer[Any]], rate: float, requests: int, measured: float = 0.8
    ) -> list[float]:
        """Make requests through balancers at random; return latencies of the last, a share, in mean times of service."""

        def arrive(left: int = requests) -> None:
            lb = lbs[self.rng.randrange(len(lbs))]
            self.send(lb, MEAN_S * self.work(self.rng), measured=left < measured * requests)
            if left > 1:
                self.at(self.now + self.rng.expovariate(rate), lambda: arrive(left - 1))

        self.at(0.0, arrive)
        wanted = int(measured * requests) - 1
        while self.events and len(self.found) < wanted:
            self.now, _, what = heapq.heappop(self.events)
            what()
        return [latency / MEAN_S for latency in self.found]
