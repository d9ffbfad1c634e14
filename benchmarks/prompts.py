"""Language-model servers in virtual time: prefix affinity compared with a bounded ring by conversation.

    uv run python -m benchmarks.prompts            the tables
    uv run python -m benchmarks.prompts --check    fail if a bound does not hold
    uv run python -m benchmarks.prompts --gates    the sticky rule with different gates

There are eight servers of 16,000 prompt tokens per second. Workloads are those of ``balancekit.sim.MODEL_WORKLOADS``. Turns are
counted from a fifth of the duration until the last conversation has ended. *Steady* turns are those that arrived while
conversations still began. Ranges are over the seeds, which are the same for all rules.

The check is of ``PrefixAffinity()`` without options. The seeds and options were chosen before the first run with these seeds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks._harness import add_save, save

from balancekit import BoundedLoad, RingHash
from balancekit.inference import PrefixAffinity, RelativeLoad, StickyMatch
from balancekit.loads import WaitingCost
from balancekit.sim import MODEL_WORKLOADS, ModelReport, ModelWorkload, simulate_models

SEEDS = range(301, 307)
CACHE = 400_000 // 64
"""The number of blocks in the cache of a server."""
RATE = 16_000.0
MIN_HIT_GAIN = 0.03
MAX_TTFT_RATIO = 0.75
MAX_BUSIEST = 1.3

RULES: dict[str, dict[str, Any]] = {
    "bounded ring, 1.25": {
        "selector": lambda: BoundedLoad(RingHash(), factor=1.25),
        "by_conversation": True,
    },
    "prefix affinity": {"selector": PrefixAffinity},
}
OTHERS: dict[str, dict[str, Any]] = {
    "capacity 1 x cache": {"selector": lambda: PrefixAffinity(capacity=CACHE)},
    "capacity 2 x cache": {"selector": lambda: PrefixAffinity(capacity=2 * CACHE)},
    "relative load": {"selector": lambda: PrefixAffinity(RelativeLoad())},
    "sticky, gate 1 s": {
        "selector": lambda: PrefixAffinity(StickyMatch(gate=RATE)),
        "load": WaitingCost(),
    },
}


def row(reports: list[ModelReport]) -> str:
    """Return the means and ranges as a row of a table."""
    cells = []
    for values, form in (
        ([one.hit_rate for one in reports], "{:.3f}"),
        ([one.steady_hit_rate for one in reports], "{:.3f}"),
        ([one.ttft_mean * 1e3 for one in reports], "{:.0f}"),
        ([one.ttft_p99 * 1e3 for one in reports], "{:.0f}"),
        ([one.busiest for one in reports], "{:.2f}"),
    ):
        cells.append(
            f"{form.format(statistics.mean(values))} [{form.format(min(values))}..{form.format(max(values))}]"
        )
    return "".join(f"{cell:>24}" for cell in cells)


def runs(options: dict[str, Any], workload: ModelWorkload, seeds: range) -> list[ModelReport]:
    """Return the reports of one rule with each seed."""
    return [simulate_models(workload=workload, seed=seed, **options) for seed in seeds]


def compare(duration: float, seeds: range, rules: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Print the tables and return the figures."""
    figures: dict[str, float] = {}
    for name, workload in MODEL_WORKLOADS.items():
        shorter = ModelWorkload(**{**_fields(workload), "duration": duration})
        print(
            f"{name}\n{'':20}{'hit rate':>24}{'steady hit rate':>24}{'TTFT mean, ms':>24}{'p99, ms':>24}{'busiest':>24}"
        )
        found = {}
        for rule, options in rules.items():
            found[rule] = runs(options, shorter, seeds)
            print(f"{rule:20}{row(found[rule])}", flush=True)
        ring, ours = found["bounded ring, 1.25"], found["prefix affinity"]
        figures[f"{name}, hit rate gained"] = _mean(ours, lambda one: one.hit_rate) - _mean(
            ring, lambda one: one.hit_rate
        )
        figures[f"{name}, steady hit rate gained"] = _mean(ours, lambda one: one.steady_hit_rate) - _mean(
            ring, lambda one: one.steady_hit_rate
        )
        figures[f"{name}, TTFT"] = _mean(ours, lambda one: one.ttft_mean) / _mean(
            ring, lambda one: one.ttft_mean
        )
        figures[f"{name}, busiest"] = max(one.busiest for one in ours)
    return figures


def _fields(workload: ModelWorkload) -> dict[str, Any]:
    names = ("rate", "system_prompts", "skew", "turns", "hot")
    return {name: getattr(workload, name) for name in names}


def _mean(reports: list[ModelReport], of: Callable[[ModelReport], float]) -> float:
    return statistics.mean(map(of, reports))


def gates(duration: float, seeds: range) -> None:
    """Print the results of the sticky rule with gates of 0.1 to 18 seconds."""
    for name, workload in MODEL_WORKLOADS.items():
        shorter = ModelWorkload(**{**_fields(workload), "duration": duration})
        print(
            f"{name}\n{'':20}{'hit rate':>24}{'steady hit rate':>24}{'TTFT mean, ms':>24}{'p99, ms':>24}{'busiest':>24}"
        )
        for seconds in (0.1, 0.3, 1.0, 3.0, 10.0, 18.0):
            selector = _sticky(seconds * RATE)
            print(
                f"gate {seconds:4g} s         {row(runs({'selector': selector, 'load': WaitingCost()}, shorter, seeds))}",
                flush=True,
            )


def _sticky(gate: float) -> Callable[[], PrefixAffinity]:
    return lambda: PrefixAffinity(StickyMatch(gate=gate))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--gates", action="store_true")
    parser.add_argument("--all", action="store_true", help="other rules too")
    parser.add_argument("--duration", type=float, default=900.0)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    add_save(parser)
    options = parser.parse_args()
    seeds = range(SEEDS.start, SEEDS.start + options.seeds)
    if options.gates:
        gates(options.duration, seeds)
        return
    figures = compare(options.duration, seeds, RULES | (OTHERS if options.all else {}))
    save("prompts", figures, options.save)
    if options.check:
        for name in MODEL_WORKLOADS:
            assert figures[f"{name}, hit rate gained"] >= MIN_HIT_GAIN, name
            assert figures[f"{name}, TTFT"] <= MAX_TTFT_RATIO, name
            assert figures[f"{name}, busiest"] <= MAX_BUSIEST, name


if __name__ == "__main__":
    main()
