"""The default decision compared with every other choice of the library, in every cell of the league.

    uv run python -m benchmarks.league --quick          a smaller league, five minutes on two cores
    uv run python -m benchmarks.league                  the whole league, an hour; continues an earlier run
    uv run python -m benchmarks.league --check          fail if a cell or a mean is over its bound
    uv run python -m benchmarks.league --only "two speeds"

A cell is a scenario, a number of balancers and a load. All other choices run in each cell with a first set of seeds, to find
the best of them. The best others, the central queue and the default then run with a second set of seeds, and are compared. If
a ratio is within its bound but the end of its interval is not, the cell is compared again with more seeds, at most twice, because
16 pairs of runs with heavy tails are not enough. Runs are stored in ``--file``, one line of JSON each. A stored run is not
repeated, so a change of the default needs a new file. Seeds are fixed, so equal code gives equal figures.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeAlias

from balancekit.bench._league import (
    BALANCERS,
    CENTRAL,
    DEFAULT,
    LOADS,
    OTHERS,
    SCENARIOS,
    Cell,
    Run,
    Standing,
    best_others,
    runs,
    standing,
)

MAX_MEAN_RATIO = 0.95
"""The largest accepted geometric mean of the ratios of all cells."""

Key: TypeAlias = tuple[Cell, str, int, int]
"""A run: its cell, its choice, its seed and its number of requests."""


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.league", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half of the balancers and loads, few requests")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is over its bound")
    parser.add_argument(
        "--only", action="append", choices=list(SCENARIOS), help="a scenario; may be repeated"
    )
    parser.add_argument("--file", type=Path, default=Path("league.jsonl"), help="where runs are stored")
    parser.add_argument("--choosing", type=int, help="seeds that find the best others; 8, with --quick 4")
    parser.add_argument("--measured", type=int, help="seeds that compare them; 16, with --quick 8")
    parser.add_argument(
        "--undecided",
        type=int,
        help="the most seeds that compare undecided cells, after half as many; 128, with --quick 8",
    )
    parser.add_argument("--requests", type=int, help="requests of each run; 20,000, with --quick 3,000")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    requests = options.requests or (3_000 if options.quick else 20_000)
    cells = [
        Cell(scenario=name, balancers=count, load=load)
        for name in options.only or SCENARIOS
        for count in (BALANCERS[::2] if options.quick else BALANCERS)
        for load in (LOADS[1::2] if options.quick else LOADS)
    ]
    chosen_by = options.choosing or (4 if options.quick else 8)
    compared_by = options.measured or (8 if options.quick else 16)
    most = options.undecided or (compared_by if options.quick else 8 * compared_by)
    choosing = range(1, chosen_by + 1)
    kept = _read(options.file)
    with options.file.open("a") as file, ProcessPoolExecutor(options.processes) as executor:

        def run_all(wanted: Iterable[Key]) -> None:
            jobs = [executor.submit(runs, *key) for key in wanted if key not in kept]
            for job in as_completed(jobs):
                run = job.result()
                kept[run.cell, run.choice, run.seed, requests] = run
                line = {**vars(run), "cell": vars(run.cell), "requests": requests}
                print(json.dumps(line), file=file, flush=True)

        chosen = {
            cell: [(cell, other, seed, requests) for other in OTHERS for seed in choosing] for cell in cells
        }
        run_all(key for keys in chosen.values() for key in keys)

        def compare(cells: Sequence[Cell], count: int) -> list[Standing]:
            compared: dict[Cell, list[Key]] = {}
            for cell in cells:
                ones = {DEFAULT, CENTRAL, *best_others([kept[key] for key in chosen[cell]])}
                seeds = range(chosen_by + 1, chosen_by + count + 1)
                compared[cell] = [(cell, one, seed, requests) for one in ones for seed in seeds]
            run_all(key for keys in compared.values() for key in keys)
            return [standing(cell, [kept[key] for key in chosen[cell] + compared[cell]]) for cell in cells]

        standings = {one.cell: one for one in compare(cells, compared_by)}
        for count in [count for count in (most // 2, most) if count > compared_by]:
            undecided = [cell for cell, one in standings.items() if one.undecided]
            standings |= {one.cell: one for one in compare(undecided, count)}
    over = _print(list(standings.values()))
    return 1 if over and options.check else 0


def _read(path: Path) -> dict[Key, Run]:
    found = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        requests, cell = line.pop("requests"), Cell(**line.pop("cell"))
        found[cell, line["choice"], line["seed"], requests] = Run(cell=cell, **line)
    return found


def _print(standings: list[Standing]) -> list[str]:
    """Print the table. Return the cells and means that are over their bounds."""
    over, p99s, means = [], [], []
    print(
        f"{'scenario':14}{'balancers':>10}{'load':>6}{'p99':>7}{'to':>6}{'mean':>7}{'to':>6}{'central':>9}  best"
    )
    for one in standings:
        cell = one.cell
        p99s.append(one.p99)
        means.append(one.mean)
        mark = "" if one.good else " <"
        print(
            f"{cell.scenario:14}{cell.balancers:10}{cell.load:6.0%}{one.p99:7.2f}{one.p99_high:6.2f}"
            f"{one.mean:7.2f}{one.mean_high:6.2f}{one.central:9.2f}  {one.best}{mark}"
        )
        if not one.good:
            over.append(f"{cell.scenario}, {cell.balancers} balancers, {cell.load:.0%}")
    for name, ratios in (("p99", p99s), ("mean", means)):
        middle = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"{name}: geometric mean {middle:.3f}, at most {MAX_MEAN_RATIO}; worst {max(ratios):.2f}")
        if middle > MAX_MEAN_RATIO:
            over.append(name)
    print(f"{len(over)} over their bounds: {'; '.join(over) or 'none'}")
    return over


if __name__ == "__main__":
    raise SystemExit(main())
