"""The cost of the simulation in tiers: one second with a million requests, and the growth of the cost.

    uv run --group bench python -m benchmarks.tiers [--check] [--full]

Without ``--full``, the rate is a tenth, on the same nodes. Figures are CPU time per request, in empty function calls.
"""

from __future__ import annotations

import argparse
import resource
import time
from timeit import repeat

from benchmarks._harness import add_save, machine, save

from balancekit.sim import Exponential, Server
from balancekit.sim.tiers import Nodes, Site, TierSimulation

BOUND = 3_000.0
"""The largest accepted cost of a request, in empty calls: twice that on an idle machine with cold caches."""


def empty_call() -> float:
    """Return the CPU seconds of a call of a function that does nothing."""
    return min(repeat("f()", "def f(): pass", timer=time.process_time, number=1_000_000, repeat=5)) / 1e6


def run(
    rate: float, *, sites: int = 4, l4: int = 4, l7: int = 20, servers: int = 200
) -> tuple[int, float, float, int]:
    """Simulate one second. Return the requests, the CPU seconds to build and to run, and the failures."""
    each = rate / sites
    site = Site(
        l4=Nodes(count=l4, requests_per_second=each / l4 / 0.5),
        l7=Nodes(count=l7, requests_per_second=each / l7 / 0.5),
        servers=servers,
        server=Server(service=Exponential(0.1), workers=max(1, round(each * 0.1 / servers / 0.7))),
    )
    simulation = TierSimulation(
        {f"s{number}": site for number in range(sites)},
        requests_per_second=rate,
        connections=max(100, round(rate / 10)),
        per_connection=100,
    )
    begin = time.process_time()
    simulation.run(1e-6)
    built = time.process_time() - begin
    begin = time.process_time()
    report = simulation.run(1.0)
    return report.requests, built, time.process_time() - begin - built, report.failures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiers", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument("--full", action="store_true", help="a million requests instead of 100,000")
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    call = empty_call()
    rate = 1_000_000.0 if options.full else 100_000.0
    cases = {
        f"4 sites x (4 L4, 20 L7, 200 servers), {rate:,.0f}/s": {"rate": rate},
        "1 site x (2 L4, 2 L7, 10 servers)": {"rate": 50_000.0, "sites": 1, "l4": 2, "l7": 2, "servers": 10},
        "the same, 100 servers": {"rate": 50_000.0, "sites": 1, "l4": 2, "l7": 2, "servers": 100},
        "the same, 1,000 servers": {"rate": 50_000.0, "sites": 1, "l4": 2, "l7": 2, "servers": 1_000},
        "the same as the second, 20 L4 and 20 L7": {
            "rate": 50_000.0,
            "sites": 1,
            "l4": 20,
            "l7": 20,
            "servers": 10,
        },
    }
    figures: dict[str, float] = {}
    for name, sizes in cases.items():
        requests, built, seconds, failures = run(**sizes)  # type: ignore[arg-type]  # numbers by name
        figures[name] = seconds / requests / call
        print(
            f"{name:52} {requests:9,} requests {failures} failed; built in {built:5.1f} s, ran {seconds:6.1f} s: "
            f"{figures[name]:6.0f} empty calls a request"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    save("tiers", figures, options.save)
    return 1 if options.check and max(figures.values()) > BOUND else 0


if __name__ == "__main__":
    raise SystemExit(main())
