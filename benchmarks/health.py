"""The cost of health checking for requests while nothing fails: requests with and without it, in one run.

    uv run python -m benchmarks.health            the ratios
    uv run python -m benchmarks.health --check    fail if a request with full health costs more than 1.3 times one without

*Full* health has all parts: damping, warm-up, probation, every rule evaluated once a second, and checks that have reported.
Both balancers have the same selector, load and measurement of time. Rules of latency have all requests timed, so without
it those are left out.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

from benchmarks._harness import Group, add_save, machine, save

from balancekit import LoadBalancer, PowerOfChoices, RoundRobin
from balancekit.exhaustion import FailOpen
from balancekit.health import (
    CheckResult,
    FailurePercentage,
    FlapDamping,
    LatencyLimit,
    Lifecycle,
    MedianFailures,
    MedianLatency,
    SuccessRate,
    SuccessRateOutlier,
    WarmUp,
)
from balancekit.loads import FailureAware, InFlight

BOUND = 1.3
SIZES = (10, 1_000)
COUNTED = (SuccessRate(), SuccessRateOutlier(), FailurePercentage(), MedianFailures())
UNTIMED = Lifecycle(damping=FlapDamping(), warm_up=WarmUp(), rules=COUNTED)
FULL = UNTIMED.replace(rules=(*COUNTED, LatencyLimit(limit=10.0), MedianLatency()))
KINDS: dict[str, tuple[Any, Any, bool]] = {
    "P2C, default load": (PowerOfChoices, FailureAware, True),
    "P2C, in-flight, timed": (PowerOfChoices, InFlight, True),
    "P2C, in-flight, untimed": (PowerOfChoices, InFlight, False),
    "RoundRobin, untimed": (RoundRobin, InFlight, False),
}


def balancer_of(size: int, kind: str, *, full: bool) -> LoadBalancer[str]:
    """Return a balancer that has served requests."""
    selector, load, timed = KINDS[kind]
    balancer = LoadBalancer(
        [f"10.0.{k >> 8}.{k & 255}:8080" for k in range(size)],
        selector=selector(),
        load=load(),
        health=(FULL if timed else UNTIMED) if full else None,
        exhaustion=FailOpen(),
        timed=timed,
        rng=random.Random(1),
    )
    if full:
        for endpoint in balancer.endpoints:
            balancer.report_check(endpoint.id, CheckResult(passed=True))
    for _ in range(70 * size):
        balancer.acquire().release()
    return balancer


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a ratio is over its bound")
    parser.add_argument("--rounds", type=int, default=15)
    add_save(parser)
    options = parser.parse_args()
    print(machine())
    print(f"\n{'a request, full health over none':34}" + "".join(f"{'n=' + str(size):>10}" for size in SIZES))
    worst = 0.0
    rows: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for size in SIZES:
        group = Group(rounds=options.rounds, milliseconds=30.0)
        for kind in KINDS:
            for full in (False, True):
                acquire = balancer_of(size, kind, full=full).acquire
                group.add(f"{kind} {full}", "with a(): pass", a=acquire)
        results = group.run()
        for kind, row in rows.items():
            row.append(results[f"{kind} True"].ratio / results[f"{kind} False"].ratio)
    for kind, row in rows.items():
        print(f"{kind:34}" + "".join(f"{ratio:10.2f}" for ratio in row))
        worst = max(worst, *row)
    figures = {f"{k}, n={n}": r for k, row in rows.items() for n, r in zip(SIZES, row, strict=True)}
    save("health", figures, options.save)
    return 1 if options.check and worst > BOUND else 0


if __name__ == "__main__":
    raise SystemExit(main())
