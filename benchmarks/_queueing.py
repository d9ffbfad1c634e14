"""A small simulation: servers with a few workers or processors, and balancers that send requests.

Requests wait in a queue for a worker, or all run at once and share the processors. Servers report their load by
``LoadMeter``, as real servers do: with each response, and in reply to a probe.
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
"""The mean service time at speed 1, in seconds."""


WINDOW_S = 1.0
"""The seconds over which servers average their reports."""


class Server:
    """Workers behind one queue. ``factor`` is their present speed, as a multiple of the promised speed."""

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
        """Set the speed, from the next request on."""
        self.factor = factor

    def begin(self, work: float, ended: Callable[[], None]) -> None:
        """Receive a request. Call ``ended`` when it is served."""
        self.queue.append((work, ended))
        self._serve()

    def _serve(self) -> None:
        """Give queued requests to the idle workers."""
        while self.queue and self.busy < self.workers:
            work, ended = self.queue.popleft()
            self.busy += 1

            def done(ended: Callable[[], None] = ended) -> None:
                self.busy -= 1
                ended()
                self._serve()

            self.world.at(self.world.now + work / (self.speed * self.factor), done)


class SharingServer(Server):
    """Processors that all requests share. Each request uses at most one.

    ``factor`` is the present number of processors, as a multiple of the promised number.
    """

    def __init__(self, world: World, speed: float, workers: int) -> None:
        self.jobs: list[tuple[float, int, Callable[[], None]]] = []
        self.done = 0.0  # the work done, since the start of the run, for a request that was always present
        self.since = 0.0
        self.used = 0.0
        self.version = 0
        super().__init__(world, speed, workers)

    def utilization(self) -> float:
        """Return the used processors, as a share of the promised ones, averaged over the window."""
        self._advance()
        return self.used

    def resize(self, factor: float) -> None:
        """Set the number of processors, from now on."""
        self._advance()
        self.factor = factor
        self._plan()

    def begin(self, work: float, ended: Callable[[], None]) -> None:
        """Receive a request. Call ``ended`` when it is served."""
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
        """Schedule the end of the next request. A later change of the requests or processors cancels it."""
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

    ``work`` draws the work of a request, with a mean of 1. If left out, work has an exponential distribution.
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
        """Call a function at a time."""
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, what))

    def every(self, period: float, what: Callable[[], None]) -> None:
        """Call a function after every period."""

        def call() -> None:
            what()
            self.at(self.now + period, call)

        self.at(self.now + period, call)

    def send(self, lb: LoadBalancer[str], work: float, *, measured: bool) -> None:
        """Send one request through a balancer."""
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
        """Send requests through balancers chosen at random.

        Return the latencies of the last requests, in mean service times. ``measured`` is their share of all requests.
        """

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
