"""Many balancers on servers of mixed speed: what probes and shared counts are worth, in virtual time.

    uv run python -m benchmarks.probing            the tables
    uv run python -m benchmarks.probing --check    fail if an order or a bound does not hold

Balancers, selectors and loads are those of production. Servers have a queue and a few workers each; an *antagonist* slows
a random third of them to a half for four seconds, then another. A probe answers after a millisecond with requests in flight,
and with the latency that those of late which found about as many say. Counts are exchanged once a period, as through a store. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks._harness import add_save, save

from balancekit import Endpoint, LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight, PeakEwmaLatency
from balancekit.reported import Prequal
from balancekit.selectors import SmoothWeightedRoundRobin
from balancekit.sharing import Shared
from balancekit.sharing._exchange import NO_PLACE, Counts

MEAN_S = 0.05
LOADS = (0.75, 1.0, 1.2)
FLEET_BOUND = 1.3


class Server:
    """Workers behind one queue."""

    def __init__(self, speed: float, workers: int) -> None:
        self.speed = speed
        self.workers = workers
        self.slowed = 1.0
        self.open = 0
        self.busy = 0
        self.queue: deque[tuple[float, Any, float]] = deque()
        self.samples: deque[tuple[int, float]] = deque([(0, MEAN_S / speed)], maxlen=64)
        """Requests in flight when one came, and what it took."""

    def probe(self) -> tuple[int, float]:
        """Return requests in flight, and the median latency of those that found about as many."""
        nearest = heapq.nsmallest(7, reversed(self.samples), key=lambda sample: abs(sample[0] - self.open))
        return self.open, statistics.median([took * (self.open + 1) / (found + 1) for found, took in nearest])


class World:
    """Servers, balancers and one clock."""

    def __init__(self, speeds: list[float], workers: int, seed: int) -> None:
        self.now = 0.0
        self.rng = Random(seed)
        self.servers = {f"s{number}": Server(speed, workers) for number, speed in enumerate(speeds)}
        self.capacity = sum(speeds) * workers / MEAN_S
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.serial = 0
        self.found: list[float] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something later."""
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, what))

    def every(self, period: float, what: Callable[[], None]) -> None:
        """Do something again and again."""

        def again() -> None:
            what()
            self.at(self.now + period, again)

        self.at(period, again)

    def send(self, lb: LoadBalancer[str], work: float, *, measured: bool) -> None:
        """Make one request."""
        lease, arrived = lb.acquire(), self.now
        server = self.servers[lease.target]
        before = server.open
        server.open += 1

        def ended() -> None:
            server.open -= 1
            server.samples.append((before, self.now - arrived))
            lease.release()
            if measured:
                self.found.append(self.now - arrived)

        server.queue.append((work, ended, arrived))
        self.serve(server)

    def serve(self, server: Server) -> None:
        """Start what can be started."""
        while server.queue and server.busy < server.workers:
            work, ended, _ = server.queue.popleft()
            server.busy += 1

            def done(ended: Callable[[], None] = ended) -> None:
                server.busy -= 1
                ended()
                self.serve(server)

            self.at(self.now + work / (server.speed * server.slowed), done)

    def run(self, lbs: list[LoadBalancer[str]], rate: float, requests: int) -> list[float]:
        """Make requests through balancers at random; return latencies in mean times of service."""

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


def antagonist(world: World) -> None:
    """Slow a third of the servers to a half, another third every four seconds."""
    rng = Random(99)

    def move() -> None:
        slow = set(rng.sample(sorted(world.servers), len(world.servers) // 3))
        for name, server in world.servers.items():
            server.slowed = 0.5 if name in slow else 1.0

    move()
    world.every(4.0, move)


KINDS = ("Prequal", "two choices, Peak EWMA", "two choices, in flight", "weighted round robin")


def mixed(kind: str, load: float, seed: int, *, clients: int = 20, requests: int) -> float:
    """Return the 99th percentile of one kind of selector, in mean times of service."""
    speeds = [1.5, 1.0, 0.5] * 16
    world = World(speeds, 4, seed)
    antagonist(world)
    lbs = []
    for number in range(clients):
        pool = [Endpoint(name, weight=server.speed) for name, server in world.servers.items()]
        rng = Random(1000 * seed + number)
        options: dict[str, Any] = {"clock": lambda: world.now, "rng": rng, "health": None}
        if kind == "Prequal":
            selector: Any = Prequal()
            lb = LoadBalancer(
                [endpoint.replace(weight=1.0) for endpoint in pool], selector=selector, **options
            )
            selector.on_due = _prober(world, selector, rng)
        elif kind == "weighted round robin":
            rng.shuffle(pool)
            lb = LoadBalancer(pool, selector=SmoothWeightedRoundRobin(), load=InFlight(), **options)
        else:
            policy = InFlight() if kind.endswith("flight") else PeakEwmaLatency()
            lb = LoadBalancer(pool, selector=PowerOfChoices(), load=policy, **options)
        lbs.append(lb)
    slowed = world.capacity * (1.0 - 0.5 / 3.0)
    return statistics.quantiles(world.run(lbs, load * slowed, requests), n=100)[98]


def _prober(world: World, selector: Prequal, rng: Random) -> Callable[[], None]:
    names = list(world.servers)

    def ask() -> None:
        for name in selector.pool.due(names, rng):
            in_flight, latency = world.servers[name].probe()

            def answered(name: str = name, in_flight: int = in_flight, latency: float = latency) -> None:
                selector.pool.add(name, in_flight=in_flight, latency=latency, now=world.now)

            world.at(world.now + 0.001, answered)

    return ask


class Together:
    """A store without a server: what all have in flight, as of the last period, read by the next pick of each."""

    def __init__(self, world: World, period: float) -> None:
        self.world = world
        self.period = period
        self.sums = dict.fromkeys(world.servers, 0)
        self.taken_at = 0.0
        world.every(period, self.take)

    def take(self) -> None:
        """Look at all servers."""
        self.sums = {name: server.open for name, server in self.world.servers.items()}
        self.taken_at = self.world.now

    def exchange(self) -> Together:
        """Return the exchange of one more process."""
        return self

    def join(self, id: str) -> Any:
        """Return where a process writes a count: nowhere."""
        return NO_PLACE

    def leave(self, id: str, place: Any) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing."""

    def refresh(self, pool: Counts, now: float) -> float:
        """Write what others have in flight."""
        for name, load in pool.loads.items():
            load.node.latency_estimate = max(0, self.sums[name] - load.node.inflight)
        return self.taken_at + self.period


def fleet(
    kind: str, seed: int, *, processes: int = 1000, requests: int = 16_000, period: float = 0.5
) -> float:
    """Return the 99th percentile of a fleet on ten equal servers at 80 % load; the period in mean times of service."""
    world = World([1.0] * 10, 1, seed)
    together = Together(world, period * MEAN_S)
    lbs = []
    for number in range(1 if kind == "one balancer" else processes):
        load: Any = InFlight() if kind != "shared" else Shared(InFlight(), store=together)
        rng = Random(1000 * seed + number)
        lbs.append(
            LoadBalancer(
                list(world.servers),
                selector=PowerOfChoices(),
                load=load,
                rng=rng,
                clock=lambda: world.now,
                health=None,
            )
        )
    return statistics.quantiles(world.run(lbs, 0.8 * world.capacity, requests), n=100)[98]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probing", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if an order or a bound does not hold"
    )
    parser.add_argument("--requests", type=int, default=12_000, help="of each run with an antagonist")
    parser.add_argument("--seed", type=int, default=1)
    add_save(parser)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    good = True
    print("p99 in mean times of service; 20 clients, 48 servers of three speeds, an antagonist")
    for load in LOADS:
        row = [mixed(kind, load, options.seed, requests=options.requests) for kind in KINDS]
        good = good and row == sorted(row)
        figures |= {f"{kind}, load {load:g}": p99 for kind, p99 in zip(KINDS, row, strict=True)}
        print(
            f"  load {load:4g}  "
            + "  ".join(f"{kind} {p99:.2f}" for kind, p99 in zip(KINDS, row, strict=True))
        )
    print(
        "p99 in mean times of service; two choices, ten servers, 80 % load, counts shared twice per time of service"
    )
    whole, shared, own = (fleet(kind, options.seed) for kind in ("one balancer", "shared", "own"))
    ratio = shared / whole
    figures["fleet of 1,000, shared / one balancer"] = ratio
    figures["fleet of 1,000, own / one balancer"] = own / whole
    print(f"  one balancer {whole:.2f}  1,000 that share {shared:.2f}  1,000 that do not {own:.2f}")
    print(f"  shared / one {ratio:.3f} (bound {FLEET_BOUND})")
    save("probing", figures, options.save)
    return 1 if options.check and not (good and ratio <= FLEET_BOUND) else 0


if __name__ == "__main__":
    raise SystemExit(main())
