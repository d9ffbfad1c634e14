"""Many balancers on servers of mixed speed: what probes, reports and shared counts are worth, in virtual time.

    uv run python -m benchmarks.probing            the tables, some minutes
    uv run python -m benchmarks.probing --check    fail if an order or a bound does not hold

Balancers, selectors, loads and meters are those of production. Servers have a queue and two workers each, of three speeds. Each
is promised its speed and runs at 1.6 times that, except where an *antagonist* is at work, which takes what is not promised; it
is on a third of the servers, and on others every four seconds. Load 1 is what is promised, so at 1.2 servers with an antagonist
have more than they can do, and the others have room: the setting of the Prequal paper, where balancing decides.

A probe answers after a millisecond. Weighted round robin and the counts in flight know the promised speeds as weights, the others
know nothing. Kinds have the same arrivals and services in each seed, so ratios are taken within a seed; an interval is that of
Student over seeds, of 95 %. Counts of a fleet are exchanged once a period, as through a store.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

from benchmarks._harness import add_save, save
from benchmarks._queueing import MEAN_S, World

from balancekit import Endpoint, LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight, PeakEwmaLatency
from balancekit.reported import Prequal, ReportedRoundRobin, ReportedWeights
from balancekit.selectors import SmoothWeightedRoundRobin
from balancekit.sharing import Shared
from balancekit.sharing._exchange import NO_PLACE, Counts

LOADS = (0.75, 1.0, 1.2)
FLEET_BOUND = 1.3
SPARE = 1.6
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Quantile 0.975 by the number of seeds."""

ORDER = ("Prequal", "two choices, Peak EWMA", "two choices, in flight", "weighted round robin")
"""The order that is expected; by the paper, and with servers of several speeds."""
CLAIMS = {
    ("Prequal", "two choices, Peak EWMA"),
    ("two choices, in flight", "weighted round robin"),
    ("default", "Prequal"),
}
"""Pairs whose order is claimed in the documents: with --check, none may be above in the mean. Of Peak EWMA and counts in flight
none is claimed: counts that know the promised speeds are as good at load 0.75 and 1, and better at 1.2."""
OTHERS = ("weighted round robin, reports", "default", "default, reports")


def antagonist(world: World, period: float, seed: int = 99) -> None:
    """Take from a third of the servers what is not promised, and from another third after each period."""
    rng = Random(seed)

    def move() -> None:
        taken = set(rng.sample(sorted(world.servers), len(world.servers) // 3))
        for name, server in world.servers.items():
            server.resize(1.0 if name in taken else SPARE)

    move()
    world.every(period, move)


def mixed(kind: str, load: float, seed: int, *, clients: int, seconds: float) -> tuple[float, float]:
    """Return mean and 99th percentile of one kind of balancer, in mean times of service."""
    world = World([1.5, 1.0, 0.5] * 8, 2, seed, reporting=kind.endswith("reports"))
    antagonist(world, 4.0)
    lbs = [make_balancer(kind, world, Random(1000 * seed + number)) for number in range(clients)]
    rate = load * world.capacity
    found = world.run(lbs, rate, int(rate * seconds))
    return statistics.fmean(found), statistics.quantiles(found, n=100)[98]


def make_balancer(kind: str, world: World, rng: Random) -> LoadBalancer[Any]:
    """Return a balancer of one kind for all servers of a world."""
    options: dict[str, Any] = {"clock": world.time, "rng": rng, "health": None}
    names = list(world.servers)
    weighted = [Endpoint(name, weight=server.speed) for name, server in world.servers.items()]
    rng.shuffle(weighted)
    if kind == "Prequal":
        prequal = Prequal()
        lb = LoadBalancer(names, selector=prequal, **options)
        prequal.on_due = _prober(world, prequal, rng)
        return lb
    if kind == "two choices, Peak EWMA":
        return LoadBalancer(names, selector=PowerOfChoices(), load=PeakEwmaLatency(), **options)
    if kind == "two choices, in flight":
        return LoadBalancer(weighted, selector=PowerOfChoices(), load=InFlight(), **options)
    if kind == "weighted round robin":
        return LoadBalancer(weighted, selector=SmoothWeightedRoundRobin(), load=InFlight(), **options)
    if kind == "weighted round robin, reports":
        selector = ReportedRoundRobin(ReportedWeights(blackout=1.0))
        return LoadBalancer(names, selector=selector, **options)
    return LoadBalancer(names, **options)


def _prober(world: World, selector: Prequal, rng: Random) -> Callable[[], None]:
    names = list(world.servers)

    def ask() -> None:
        for name in selector.pool.due(names, rng):
            in_flight, latency = world.servers[name].meter.probed()

            def answered(name: str = name, in_flight: float = in_flight, latency: float = latency) -> None:
                selector.pool.add(name, in_flight=in_flight, latency=latency, now=world.now)

            world.at(world.now + 0.001, answered)

    return ask


def ratio(below: list[float], above: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ratios within seeds, and the ends of its interval."""
    logs = [math.log(a / b) for a, b in zip(below, above, strict=True)]
    mean = statistics.fmean(logs)
    if len(logs) == 1:
        return math.exp(mean), 0.0, math.inf
    half = STUDENT.get(len(logs), 2.0) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


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

    @property
    def full(self) -> bool:
        """Answer that there is room for every endpoint."""
        return False

    def join(self, id: str) -> Any:
        """Return where a process writes a count: nowhere."""
        return NO_PLACE

    def leave(self, id: str, place: Any) -> None:
        """Do nothing."""

    def log_notes(self) -> None:
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
    lbs: list[LoadBalancer[Any]] = []
    for number in range(1 if kind == "one balancer" else processes):
        load: Any = InFlight() if kind != "shared" else Shared(InFlight(), store=together)
        rng = Random(1000 * seed + number)
        lbs.append(
            LoadBalancer(
                list(world.servers),
                selector=PowerOfChoices(),
                load=load,
                rng=rng,
                clock=world.time,
                health=None,
            )
        )
    return statistics.quantiles(world.run(lbs, 0.8 * world.capacity, requests), n=100)[98]


def orders(seeds: int, clients: int, seconds: float) -> tuple[dict[str, float], bool]:
    """Print the table of one number of clients; return its figures, and whether what is claimed holds."""
    figures: dict[str, float] = {}
    good = True
    print(f"{clients} clients, 24 servers of three speeds, an antagonist; {seeds} seeds of {seconds:g} s")
    for load in LOADS:
        p99: dict[str, list[float]] = {}
        print(f"  load {load:g}, in mean times of service{'':8} mean    p99  (least to greatest)")
        for kind in (*ORDER, *OTHERS):
            runs = [mixed(kind, load, seed, clients=clients, seconds=seconds) for seed in range(1, seeds + 1)]
            p99[kind] = [high for _, high in runs]
            mean, high = statistics.fmean(mean for mean, _ in runs), statistics.fmean(p99[kind])
            print(f"    {kind:36} {mean:6.2f} {high:6.2f}  ({min(p99[kind]):.2f} to {max(p99[kind]):.2f})")
            figures |= {f"{kind}, load {load:g}, p99": high, f"{kind}, load {load:g}, mean": mean}
        for below, above in [*pairwise(ORDER), ("default", "Prequal"), ("default, reports", "default")]:
            middle, low, high = ratio(p99[below], p99[above])
            verdict = "below" if high < 1.0 else "above" if low > 1.0 else "not told apart"
            print(f"      {below} / {above}: {middle:.3f} ({low:.3f} to {high:.3f}) {verdict}")
            good = good and (middle < 1.0 or (below, above) not in CLAIMS)
    return figures, good


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probing", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if an order or a bound does not hold"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="of virtual time, of each run")
    add_save(parser)
    options = parser.parse_args()
    figures, good = orders(options.seeds, options.clients, options.seconds)
    print(
        "p99 in mean times of service; two choices, ten servers, 80 % load, counts shared twice per time of service"
    )
    whole, shared, own = (fleet(kind, 1) for kind in ("one balancer", "shared", "own"))
    figures["fleet of 1,000, shared / one balancer"] = shared / whole
    figures["fleet of 1,000, own / one balancer"] = own / whole
    print(f"  one balancer {whole:.2f}  1,000 that share {shared:.2f}  1,000 that do not {own:.2f}")
    print(f"  shared / one {shared / whole:.3f} (bound {FLEET_BOUND})")
    save("probing", figures, options.save)
    return 1 if options.check and not (good and shared / whole <= FLEET_BOUND) else 0


if __name__ == "__main__":
    raise SystemExit(main())
