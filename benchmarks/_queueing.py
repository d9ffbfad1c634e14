"""A small world in virtual time: servers with a queue and a few workers, and balancers that make requests.

Servers tell of themselves by ``LoadMeter``, as real ones do: with each answer, and when probed.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from balancekit import LoadBalancer
from balancekit.reported import LoadMeter

MEAN_S = 0.05
"""Mean time of service at speed 1; exponential."""


class Server:
    """Workers behind one queue."""

    def __init__(self, speed: float, workers: int, clock: Callable[[], float]) -> None:
        self.speed = speed
        self.workers = workers
        self.factor = 1.0
        self.open = 0
        self.busy = 0
        self.queue: deque[tuple[float, Callable[[], None]]] = deque()
        self.meter = LoadMeter(capacity=workers, clock=clock, processors=lambda: 0.0, window=1.0)


class World:
    """Servers and one clock."""

    def __init__(self, speeds: list[float], workers: int, seed: int, *, reporting: bool = False) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self.servers = {
            f"s{number}": Server(speed, workers, self.time) for number, speed in enumerate(speeds)
        }
        self.capacity = sum(speeds) * workers / MEAN_S
        self.reporting = reporting
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

        server.queue.append((work, ended))
        self.serve(server)

    def serve(self, server: Server) -> None:
        """Start what can be started."""
        while server.queue and server.busy < server.workers:
            work, ended = server.queue.popleft()
            server.busy += 1

            def done(ended: Callable[[], None] = ended) -> None:
                server.busy -= 1
                ended()
                self.serve(server)

            self.at(self.now + work / (server.speed * server.factor), done)

    def run(self, lbs: list[LoadBalancer[Any]], rate: float, requests: int) -> list[float]:
        """Make requests through balancers at random; return latencies of the last 80 % in mean times of service."""

        def arrive(left: int = requests) -> None:
            lb = lbs[self.rng.randrange(len(lbs))]
            self.send(lb, self.rng.expovariate(1.0 / MEAN_S), measured=left < 0.8 * requests)
            if left > 1:
                self.at(self.now + self.rng.expovariate(rate), lambda: arrive(left - 1))

        self.at(0.0, arrive)
        wanted = int(0.8 * requests) - 1
        while self.events and len(self.found) < wanted:
            self.now, _, what = heapq.heappop(self.events)
            what()
        return [latency / MEAN_S for latency in self.found]
