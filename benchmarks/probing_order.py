"""The order of Prequal, Peak EWMA, counts in flight and weighted round robin, in a setting after the Prequal paper's testbed.

    uv run python -m benchmarks.probing_order                the table, half an hour
    uv run python -m benchmarks.probing_order --loads 0.9    one load of it

The order that was expected at the 99th percentile, with load 0.75 to 1.2: Prequal, two choices by Peak EWMA, two choices by
requests in flight, weighted round robin. This setting was written down before its first run, and nothing was changed after.

From the paper (Wydrowski, Kleinberg, Rumble, Archer, *Load is not what you should balance: introducing Prequal*, NSDI 2024,
arXiv 2312.10172, section 5):

- 100 clients and 100 servers. Requests only use a processor; their work is normal with a standard deviation equal to its mean,
  without what is negative.
- Half of the servers are *slow*: a request means twice the work there, as in the paper's runs over the quantile of requests in
  flight (its figure 9).
- Servers are promised processors and use more while the rest of their machine lets them; an antagonist takes that. Load 1 is
  what is promised. So the requests of a server share its processors, and do not queue.
- Prequal has its figures there: 3 probes a request, a pool of 16, 1 removed a request, quantile 0.84, age 1 s.
- Weighted round robin has its weights from reports, requests per second for each unit of utilization, where utilization is the
  processors used of those promised, averaged over a second. Counts in flight know nothing of speeds, and are each client's own.

What the paper leaves open and this has from ``benchmarks.probing``, which was there before: two processors a server; 1.6 times
the promised ones where there is no antagonist; one on a third of the servers, and on others every four seconds; a mean service
of 50 ms on a fast server; probes that are answered after a millisecond; weights from a second after the first report on. The
antagonist's servers differ by seed. Requests have no deadline (5 s in the paper).

Not from the paper: Peak EWMA, which it does not compare (its nearest is C3, latency and counts), and the default. Of its own
rules it reports, at 70 % of what is promised, weighted round robin well *ahead* of requests in flight, and behind at 90 %: so
the third pair of the order is not to be expected at the lowest load.

Arrivals and work are the same for all kinds in a seed; ratios are taken within seeds, with Student's interval of 95 %.
"""

from __future__ import annotations

import argparse
import statistics
from itertools import pairwise
from random import Random

from benchmarks._harness import add_save, save
from benchmarks._queueing import SharingServer, World
from benchmarks.probing import ORDER, antagonist, make_balancer, ratio

LOADS = (0.75, 0.9, 1.0, 1.1, 1.2)
CLIENTS = 100
SPEEDS = [1.0, 0.5] * 50
PROCESSORS = 2
ANTAGONIST_S = 4.0
REPORTED = "weighted round robin, reports"
KINDS = (*ORDER[:3], REPORTED, "default")
TRUNCATED_MEAN = 1.2876
"""Of a normal deviate of mean and standard deviation 1, if what is negative is drawn again."""


def work(rng: Random) -> float:
    """Return the work of a request, of mean 1."""
    while (drawn := rng.gauss(1.0, 1.0)) <= 0.0:
        pass
    return drawn / TRUNCATED_MEAN


def run(kind: str, load: float, seed: int, seconds: float) -> tuple[float, float]:
    """Return mean and 99th percentile of latency with one kind of balancer, in mean services on a fast server."""
    world = World(
        SPEEDS, PROCESSORS, seed, reporting=kind.endswith("reports"), kind=SharingServer, work=work
    )
    antagonist(world, ANTAGONIST_S, 1000 + seed)
    lbs = [make_balancer(kind, world, Random(1000 * seed + number)) for number in range(CLIENTS)]
    rate = load * world.capacity
    found = world.run(lbs, rate, int(rate * seconds))
    return statistics.fmean(found), statistics.quantiles(found, n=100)[98]


def table(load: float, seeds: int, seconds: float) -> dict[str, float]:
    """Print one load, pair by pair; return its figures."""
    p99: dict[str, list[float]] = {}
    figures = {}
    print(f"load {load:g}, {seeds} seeds of {seconds:g} s, in mean services{'':7} mean    p99  (least to greatest)")
    for kind in KINDS:
        runs = [run(kind, load, seed, seconds) for seed in range(1, seeds + 1)]
        p99[kind] = [high for _, high in runs]
        mean, high = statistics.fmean(mean for mean, _ in runs), statistics.fmean(p99[kind])
        figures |= {f"{kind}, load {load:g}, p99": high, f"{kind}, load {load:g}, mean": mean}
        print(
            f"  {kind:40} {mean:12.2f} {high:6.2f}  ({min(p99[kind]):.2f} to {max(p99[kind]):.2f})",
            flush=True,
        )
    for below, above in [*pairwise(KINDS[:4]), ("Prequal", REPORTED), ("default", "Prequal")]:
        middle, low, high = ratio(p99[below], p99[above])
        verdict = "below" if high < 1.0 else "above" if low > 1.0 else "not told apart"
        print(f"    {below} / {above}: {middle:.3f} ({low:.3f} to {high:.3f}) {verdict}", flush=True)
        figures[f"{below} / {above}, load {load:g}"] = middle
    return figures


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.probing_order", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=8.0, help="of virtual time, of each run")
    add_save(parser)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for load in options.loads:
        figures |= table(load, options.seeds, options.seconds)
    save("probing_order", figures, options.save)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
