"""The command ``balancekit simulate``: comparison of balancers in a scenario."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from balancekit import bench
from balancekit._support import validation as valid
from balancekit.cli._console import output
from balancekit.cli._first_list import first_list
from balancekit.cli._out_folder import out_folder
from balancekit.cli._simulate_proxy import with_proxy
from balancekit.cli._status import remark
from balancekit.cli._tables import figure_tables
from balancekit.errors import ConfigurationError
from balancekit.sim import (
    QUANTILES,
    Finding,
    Scenario,
    SimulationReport,
    builtin_scenarios,
    load_scenario,
    scenario_text,
)

__all__ = ["run_simulate"]

WIDE = 150
"""Width of tables in columns if standard output is no terminal."""
COLUMNS: Final = (
    ("balancer", False),
    *[
        (name, True)
        for name in ("mean", *QUANTILES, "errors", "attempts", "overload", "evenness", "least", "most")
    ],
)


def run_simulate(options: argparse.Namespace) -> int:
    """Run a scenario with each of its balancers, print the results, and check its claims.

    Returns the exit status, which is 1 if a claim does not hold.
    """
    if options.scenario is None:
        return _list(options)
    if options.out is not None and find_spec("matplotlib") is None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    scenario = load_scenario(options.scenario, discovered=first_list)
    if options.seed is not None:
        scenario = scenario.replace(seed=valid.integer("--seed", options.seed, minimum=0))
    if options.proxy is not None or options.pool is not None:
        scenario, notes = with_proxy(scenario, options.proxy, options.pool)
        for note in notes:
            remark(f"not as in {options.proxy}: {note}")
    folder = None if options.out is None else out_folder(options.out)
    reports = _run(scenario, quiet=options.json)
    files: list[Path] = []
    if folder is not None:
        source = scenario_text(options.scenario)
        files = bench.write_scenario(scenario, reports, folder, command=_command(options), source=source)
    findings = scenario.check(reports)
    if options.json:
        data = {
            "title": scenario.title,
            "why": scenario.why,
            "balancers": {name: report.data() for name, report in reports.items()},
            "claims": [finding.data() for finding in findings],
        }
        json.dump(data, sys.stdout, indent=2, allow_nan=False)
        sys.stdout.write("\n")
    else:
        _print(scenario, reports, findings)
    if files:
        written = f"{len(files)} files in {folder}, begin with {files[-1]}"
        if options.json:
            remark(written)
        else:
            sys.stdout.write(f"{written}\n")
    return 0 if all(finding.holds for finding in findings) else 1


def _command(options: argparse.Namespace) -> str:
    """Return the shell command that repeats the run."""
    words = ["balancekit", "simulate", options.scenario]
    for name in ("seed", "proxy", "pool", "out"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _list(options: argparse.Namespace) -> int:
    """Print the built-in scenarios."""
    for name in ("out", "seed", "proxy", "pool"):
        if getattr(options, name) is not None:
            raise ConfigurationError(
                f"--{name}", getattr(options, name), "an option of a run: name a scenario"
            )
    titles = {name: load_scenario(name).title for name in builtin_scenarios()}
    if options.json:
        json.dump(titles, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        width = max(map(len, titles))
        sys.stdout.writelines(f"{name:{width}}  {title}\n" for name, title in titles.items())
    return 0


def _print(scenario: Scenario, reports: Mapping[str, SimulationReport], findings: Sequence[Finding]) -> None:
    console = output(
        WIDE, markup=False, emoji=False
    )  # brackets in texts of a scenario are printed as they are
    for table in figure_tables(COLUMNS, _rows(reports), width=console.width, title=scenario.title):
        console.print(table)
    if findings:
        console.print(_claims(findings))
    if scenario.why:
        console.print(scenario.why, highlight=False)


def _run(scenario: Scenario, *, quiet: bool) -> dict[str, SimulationReport]:
    found = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(escape(scenario.title), total=len(scenario.balancers))
        for name in scenario.balancers:
            found[name] = scenario.run(name)
            progress.advance(task)
    return found


def _rows(reports: Mapping[str, SimulationReport]) -> list[list[str]]:
    rows = []
    for name, report in reports.items():
        shares = report.shares
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        figures = [
            _seconds(report.mean),
            *[_seconds(report.quantile(share)) for share in QUANTILES.values()],
            f"{report.errors:.2%}",
            f"{report.attempts:.3f}",
            f"{report.overload:.0f} s",
            f"{report.evenness:.3f}",
            f"{shares[least]:.1%} {least}",
            f"{shares[most]:.1%} {most}",
        ]
        rows.append([name, *figures])
    return rows


def _claims(findings: Sequence[Finding]) -> Table:
    table = Table(title="Claims", title_justify="left")
    for column in ("", "claim", "measured"):
        table.add_column(column, no_wrap=column == "", overflow="fold")
    for column in ("value", "right", "source"):
        table.add_column(column, justify="left" if column == "source" else "right", overflow="fold")
    for finding in findings:
        claim = finding.claim
        over = f" over {claim.over}" if claim.over else ""
        table.add_row(
            "holds" if finding.holds else Text("FAILS", style="bold red"),
            claim.text,
            f"{claim.measure} of {claim.balancer}{over}",
            f"{finding.value:.4g}",
            _bounds(claim.low, claim.high),
            claim.source,
        )
    return table


def _bounds(low: float, high: float) -> str:
    if high == math.inf:
        return f">= {low:g}"
    if low == -math.inf:
        return f"<= {high:g}"
    return f"{low:g} to {high:g}"


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value * 1e3:.1f} ms" if value < 1.0 else f"{value:.2f} s"
