"""Many balancers on servers of mixed speed: the effect of probes, reports and shared counts, in virtual time.

    uv run python -m benchmarks.probing            the tables, some minutes
    uv run python -m benchmarks.probing --check    fail if an order or a bound does not hold

Balancers, selectors, loads and meters are those of the library. Each server has one queue and two workers, of one of three
speeds. A server runs at 1.6 times its promised speed. A server with an *antagonist*, which is another program on its machine,
only runs at the promised speed. A third of the servers have an antagonist, and every four seconds another third. Load 1 is the
sum of the promised speeds. So at load 1.2, servers with an antagonist are overloaded, and the others have spare capacity. The
Prequal paper has the same setting.

A probe is answered after a millisecond. Weighted round robin and the counts in flight have the promised speeds as weights. The
other kinds have no weights. All kinds have the same arrivals and work in each seed, so ratios are computed within a seed. The
intervals are Student's, of 95 %, over seeds. Counts of a fleet are exchanged once per period, as through a store.
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
"""The quantile 0.975 of Student's distribution, by the number of seeds."""

ORDER = ("Prequal", "two choices, Peak EWMA", "two choices, in flight", "weighted round robin")
"""The expected order, from the lowest 99th percentile, by the paper and for servers of several speeds."""
CLAIMS = {
    ("Prequal", "two choices, Peak EWMA"): (1.2,),
    ("two choices, in flight", "weighted round robin"): (1.0, 1.2),
    ("default", "Prequal"): LOADS,
    ("default, reports", "default"): LOADS,
}
"""The pairs whose order the documents claim, and the loads. With --check, the interval of each ratio must be below 1.

At load 0.75, no two of the four in ``ORDER`` can be distinguished, nor can the first two at load 1. No order of Peak EWMA and
counts in flight is claimed: counts with the promised speeds as weights are ahead at 1.2. The order without given speeds is that
of ``benchmarks.probing_order``.
"""
OTHERS = ("weighted round robin, reports", "default", "default, reports")


def antagonist(world: World, period: float, seed: int = 99) -> None:
    """Limit a third of the servers to the promised speed, and after each period another third."""
    rng = Random(seed)

    def move() -> None:
        taken = set(rng.sample(sorted(world.servers), len(world.servers) // 3))
        for name, server in world.servers.items():
            server.resize(1.0 if name in taken else SPARE)

    move()
    world.every(period, move)


def mixed(kind: str, load: float, seed: int, *, clients: int, seconds: float) -> tuple[float, float]:
    """Return the mean and the 99th percentile of latency with one kind of balancer, in mean service times."""
    world = World([1.5, 1.0, 0.5] * 8, 2, seed, reporting=kind.endswith("reports"))
    antagonist(world, 4.0)
    lbs = [make_balancer(kind, world, Random(1000 * seed + number)) for number in range(clients)]
    rate = load * world.capacity
    found = world.run(lbs, rate, int(rate * seconds))
    return statistics.fmean(found), statistics.quantiles(found, n=100)[98]


def make_balancer(kind: str, world: World, rng: Random) -> LoadBalancer[Any]:
    """Return a balancer of one kind for all servers of a simulation."""
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

    def probe() -> None:
        for name in selector.pool.due(names, rng):
            in_flight, latency = world.servers[name].meter.probed()

            def answered(name: str = name, in_flight: float = in_flight, latency: float = latency) -> None:
                selector.pool.add(name, in_flight=in_flight, latency=latency, now=world.now)

            world.at(world.now + 0.001, answered)

    return probe


def ratio(below: list[float], above: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of the ratios within seeds, and the ends of its interval."""
    logs = [math.log(a / b) for a, b in zip(below, above, strict=True)]
    mean = statistics.fmean(logs)
    if len(logs) == 1:
        return math.exp(mean), 0.0, math.inf
    half = STUDENT.get(len(logs), 2.0) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


class FleetCounts:
    """A store without a server. It holds the requests in flight of all processes, as of the last period.

    A process reads them at its next pick.
    """

    def __init__(self, world: World, period: float) -> None:
        self.world = world
        self.period = period
        self.sums = dict.fromkeys(world.servers, 0)
        self.taken_at = 0.0
        world.every(period, self.copy_counts)

    def copy_counts(self) -> None:
        """Copy the requests in flight of all servers."""
        self.sums = {name: server.open for name, server in self.world.servers.items()}
        self.taken_at = self.world.now

    @property
    def full(self) -> bool:
        """Whether there is no place for another count: never."""
        return False

    def exchange(self) -> FleetCounts:
        """Return the exchange of another process: the same object."""
        return self

    def join(self, id: str) -> Any:
        """Return the place of a process's count. There is none, because counts are read from the servers."""
        return NO_PLACE

    def leave(self, id: str, place: Any) -> None:
        """Do nothing."""

    def log_notes(self) -> None:
        """Do nothing."""

    def after_fork(self) -> None:
        """Do nothing."""

    def hold(self, pool: Counts, now: float) -> None:
        """Do nothing, because no other client has these locations."""

    def refresh(self, pool: Counts, now: float) -> float:
        """Write the requests in flight of other processes into the nodes. Return the time of the next exchange."""
        for name, load in pool.loads.items():
            load.node.latency_estimate = max(0, self.sums[name] - load.node.inflight)
        return self.taken_at + self.period


def fleet(
    kind: str, seed: int, *, processes: int = 1000, requests: int = 16_000, period: float = 0.5
) -> float:
    """Return the 99th percentile of latency of a fleet on ten equal servers at 80 % load, in mean service times.

    ``period`` is in mean service times too.
    """
    world = World([1.0] * 10, 1, seed)
    counts = FleetCounts(world, period * MEAN_S)
    lbs: list[LoadBalancer[Any]] = []
    for number in range(1 if kind == "one balancer" else processes):
        load: Any = InFlight() if kind != "shared" else Shared(InFlight(), store=counts)
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
    """Print the table of one number of clients. Return its figures, and whether the claims hold."""
    figures: dict[str, float] = {}
    good = True
    print(f"{clients} clients, 24 servers of three speeds, an antagonist; {seeds} seeds of {seconds:g} s")
    for load in LOADS:
        p99: dict[str, list[float]] = {}
        print(f"  load {load:g}, in mean service times{'':11} mean    p99  (least to greatest)")
        for kind in (*ORDER, *OTHERS):
            runs = [mixed(kind, load, seed, clients=clients, seconds=seconds) for seed in range(1, seeds + 1)]
            p99[kind] = [high for _, high in runs]
            mean, high = statistics.fmean(mean for mean, _ in runs), statistics.fmean(p99[kind])
            print(f"    {kind:36} {mean:6.2f} {high:6.2f}  ({min(p99[kind]):.2f} to {max(p99[kind]):.2f})")
            figures |= {f"{kind}, load {load:g}, p99": high, f"{kind}, load {load:g}, mean": mean}
        for below, above in [*pairwise(ORDER), ("default", "Prequal"), ("default, reports", "default")]:
            middle, low, high = ratio(p99[below], p99[above])
            verdict = "below" if high < 1.0 else "above" if low > 1.0 else "undecided"
            print(f"      {below} / {above}: {middle:.3f} ({low:.3f} to {high:.3f}) {verdict}")
            good = good and (high < 1.0 or load not in CLAIMS.get((below, above), ()))
    return figures, good


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probing", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if an order or a bound does not hold"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="virtual seconds of each run")
    add_save(parser)
    options = parser.parse_args()
    figures, good = orders(options.seeds, options.clients, options.seconds)
    print(
        "p99 in mean service times; two choices, ten servers, 80 % load, counts shared twice per mean service time"
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
