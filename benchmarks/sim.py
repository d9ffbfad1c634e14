"""The speed of the simulator: requests by two choices, by a constant pick, and by simpy.

    uv run --group bench python -m benchmarks.sim [--check]

All cases run alternately in one process. The figures are ratios of the best times of each.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks._harness import add_save, machine, save

from balancekit import First, LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight
from balancekit.sim import Exponential, Poisson, Server, simulate

REQUESTS = 40_000
LOAD = 0.8


def run_balancekit(selector: Callable[[], Any], servers: int, workers: int) -> None:
    """Simulate with this library."""

    def make(endpoints: Any, clock: Any, rng: Any) -> LoadBalancer[str]:
        return LoadBalancer(
            endpoints, selector=selector(), load=InFlight(), health=None, clock=clock, rng=rng
        )

    simulate(
        {f"s{k}": Server(service=Exponential(mean=1.0), workers=workers) for k in range(servers)},
        Poisson(rate=LOAD * 10),
        balancer=make,
        requests=REQUESTS,
    )


def run_simpy() -> None:
    """Simulate M/M/10 with simpy."""
    import simpy

    rng = random.Random(1)
    world = simpy.Environment()
    servers = simpy.Resource(world, capacity=10)

    def request() -> Any:
        with servers.request() as free:
            yield free
            yield world.timeout(rng.expovariate(1.0))

    def arrivals() -> Any:
        for _ in range(REQUESTS):
            yield world.timeout(rng.expovariate(LOAD * 10))
            world.process(request())

    world.process(arrivals())
    world.run()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sim", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    add_save(parser)
    options = parser.parse_args()
    cases: dict[str, Callable[[], None]] = {
        "constant pick, 10 servers": lambda: run_balancekit(First, 10, 10),
        "two choices, 10 servers": lambda: run_balancekit(PowerOfChoices, 10, 1),
        "M/M/10": lambda: run_balancekit(First, 1, 10),
    }
    try:
        import simpy
    except ImportError:
        print("simpy is not installed", file=sys.stderr)
    else:
        cases[f"M/M/10, simpy {simpy.__version__}"] = run_simpy
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(5):
        for name, run in cases.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begin)
    print(machine())
    for name, seconds in best.items():
        print(f"{name:32} {seconds / REQUESTS * 1e6:8.2f} us a request")
    choices = best["two choices, 10 servers"] / best["constant pick, 10 servers"]
    print(f"two choices over a constant pick {choices:8.2f} x, at most 4")
    save("sim", {name: seconds / best["M/M/10"] for name, seconds in best.items()}, options.save)
    over = choices > 4.0
    for name, seconds in best.items():
        if "simpy" in name:
            print(f"simpy over balancekit            {seconds / best['M/M/10']:8.2f} x, at least 5")
            over = over or seconds < 5.0 * best["M/M/10"]
    return 1 if over and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
