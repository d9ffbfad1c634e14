"""The order of Prequal, Peak EWMA, counts in flight and weighted round robin, in a setting like that of the Prequal paper.

    uv run python -m benchmarks.probing_order                the table, half an hour
    uv run python -m benchmarks.probing_order --loads 0.9    one load
    uv run python -m benchmarks.probing_order --check        fail if a claimed order of a pair does not hold

The expected order of the 99th percentiles at loads from 0.75 to 1.2 was, from the lowest: Prequal, two choices by Peak EWMA,
two choices by requests in flight, weighted round robin. There are three settings. Each was written down before its first run:

- ``full``: 100 clients, 100 servers, 8 s, and the last four fifths are measured. It was only run at load 0.75. It cannot judge
  rules that learn: in the whole run, a client sends a server 1.8 requests. So Peak EWMA still tries servers for the first time,
  and the weights of weighted round robin are still equal.
- ``steady``: 25 clients, 50 servers, 16 s, and the second half is measured. In the first half, a client sends a server seven
  requests or more, and weights are used for seconds. All else is the same.
- ``standing``: as ``steady``, but antagonists do not move. In ``steady``, Peak EWMA was equal to counts in flight at load 1, and
  above them at 1.2. In three seeds at 1.2 without moves, it was not above. This setting tests whether the moves are the cause.

From the paper (Wydrowski, Kleinberg, Rumble, Archer, *Load is not what you should balance: introducing Prequal*, NSDI 2024,
arXiv 2312.10172, section 5):

- There are 100 clients and 100 servers (``full``). Requests only use a processor. Their work has a normal distribution with a
  standard deviation equal to its mean; negative values are drawn again.
- Half of the servers are *slow*: a request is twice the work there. The paper has this in its runs over the quantile of requests
  in flight (figure 9).
- A server has promised processors. It uses more of them while the other programs of its machine do not; an antagonist uses them
  all. Load 1 is the sum of the promised processors. The requests of a server share its processors, and do not queue.
- Prequal has the paper's parameters: 3 probes per request, a pool of 16, 1 probe removed per request, quantile 0.84, age 1 s.
- Weighted round robin computes its weights from reports: requests per second per unit of utilization. Utilization is the used
  share of the promised processors, averaged over a second. Counts in flight do not use speeds. Each client only counts its own
  requests.

These parameters are not in the paper. They were in ``benchmarks.probing`` before: two processors per server; without an
antagonist, 1.6 times the promised processors; an antagonist on a third of the servers, and every four seconds on another third;
a mean service time of 50 ms on a fast server; probes that are answered after a millisecond; weights that are used from one
second after the first report. The servers with an antagonist differ by seed. Requests have no deadline (5 s in the paper).

The paper does not measure Peak EWMA. The nearest rule in it is C3, by latency and counts. According to reports of others, weighted
round robin is far *below* requests in flight in the paper at the 99th percentile at 70 % load, and above at 90 %. So the
third pair of the expected order was doubtful at the lowest load.

Results of ``steady``, ten seeds: the order of four pairs holds at all loads, with intervals below 1. Prequal is below both kinds
with two choices, and both are below weighted round robin. Peak EWMA is below counts in flight only at 0.75. They are equal at
0.9 and 1, and Peak EWMA is above at 1.1 and 1.2. In ``standing``, the whole order holds at all loads, with intervals below 1.
So the moves are the cause. The estimate of a client is based on one request per second, so it is older than the last move of
the antagonists, every four seconds. Counts in flight grow at once if a server becomes slow. Two changes did not improve Peak EWMA
in ``steady`` at 1.2 (three seeds each): reads that change the estimate, as in Finagle, and a decay of 2 s instead of 10 s.

Arrivals and work are the same for all kinds in a seed. Ratios are computed within seeds, with Student's interval of 95 %.
"""

from __future__ import annotations

import argparse
import math
import statistics
from itertools import pairwise
from random import Random

from benchmarks._harness import add_save, save
from benchmarks._queueing import SharingServer, World
from benchmarks.probing import ORDER, antagonist, make_balancer, ratio

LOADS = (0.75, 0.9, 1.0, 1.1, 1.2)
SETTINGS = {
    "full": (100, 100, 8.0, 0.8, 4.0),
    "steady": (25, 50, 16.0, 0.5, 4.0),
    "standing": (25, 50, 16.0, 0.5, math.inf),
}
"""Clients, servers, virtual seconds, the measured share of requests, and seconds between moves of antagonists."""
SPEEDS = (1.0, 0.5)
PROCESSORS = 2
REPORTED = "weighted round robin, reports"
KINDS = (*ORDER[:3], REPORTED)
CLAIMS = {
    (ORDER[0], ORDER[1]),
    (ORDER[0], ORDER[2]),
    (ORDER[1], REPORTED),
    (ORDER[2], REPORTED),
}
"""The pairs whose order is claimed. With --check, the interval of each must be below 1."""
TRUNCATED_MEAN = 1.2876
"""The mean of a normal variable of mean and standard deviation 1 whose negative values are drawn again."""


def work(rng: Random) -> float:
    """Return the work of a request, of mean 1."""
    while (drawn := rng.gauss(1.0, 1.0)) <= 0.0:
        pass
    return drawn / TRUNCATED_MEAN


def run(kind: str, load: float, seed: int, setting: str = "steady") -> tuple[float, float]:
    """Return the mean and the 99th percentile of latency with one kind, in mean service times of a fast server."""
    clients, servers, seconds, measured, period = SETTINGS[setting]
    speeds = [SPEEDS[number % 2] for number in range(servers)]
    world = World(speeds, PROCESSORS, seed, reporting=kind.endswith("reports"), kind=SharingServer, work=work)
    antagonist(world, period, 1000 + seed)
    lbs = [make_balancer(kind, world, Random(1000 * seed + number)) for number in range(clients)]
    rate = load * world.capacity
    found = world.run(lbs, rate, int(rate * seconds), measured)
    return statistics.fmean(found), statistics.quantiles(found, n=100)[98]


def table(load: float, seeds: int, setting: str) -> tuple[dict[str, float], bool]:
    """Print the table of one load. Return its figures, and whether the claims hold."""
    p99: dict[str, list[float]] = {}
    figures: dict[str, float] = {}
    good = True
    print(
        f"load {load:g}, {setting}, {seeds} seeds, in mean service times{'':2} mean    p99  (least to greatest)"
    )
    for kind in KINDS:
        runs = [run(kind, load, seed, setting) for seed in range(1, seeds + 1)]
        p99[kind] = [high for _, high in runs]
        mean, high = statistics.fmean(mean for mean, _ in runs), statistics.fmean(p99[kind])
        figures |= {f"{kind}, load {load:g}, p99": high, f"{kind}, load {load:g}, mean": mean}
        print(
            f"  {kind:40} {mean:12.2f} {high:6.2f}  ({min(p99[kind]):.2f} to {max(p99[kind]):.2f})",
            flush=True,
        )
    for below, above in [*pairwise(KINDS), (KINDS[0], KINDS[2]), (KINDS[1], KINDS[3])]:
        middle, low, high = ratio(p99[below], p99[above])
        verdict = "below" if high < 1.0 else "above" if low > 1.0 else "undecided"
        print(f"    {below} / {above}: {middle:.3f} ({low:.3f} to {high:.3f}) {verdict}", flush=True)
        figures[f"{below} / {above}, load {load:g}"] = middle
        good = good and (high < 1.0 or (below, above) not in CLAIMS)
    return figures, good


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.probing_order", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a claim does not hold")
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--setting", choices=SETTINGS, default="steady")
    add_save(parser)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    good = True
    for load in options.loads:
        found, holds = table(load, options.seeds, options.setting)
        prefix = "" if options.setting == "steady" else f"{options.setting}: "
        figures |= {f"{prefix}{label}": figure for label, figure in found.items()}
        good = good and holds
    save("probing_order", figures, options.save)
    return 1 if options.check and not good else 0


if __name__ == "__main__":
    raise SystemExit(main())
