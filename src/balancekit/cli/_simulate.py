"""``balancekit simulate``: which of these balancers suits this traffic?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from balancekit.cli._report import milliseconds
from balancekit.errors import ConfigurationError
from balancekit.sim import Report, Scenario, load_scenario, shipped

__all__ = ["run_simulate"]

WIDE = 150
"""Columns of a table that is not for a terminal."""
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def run_simulate(options: argparse.Namespace) -> int:
    """Run a scenario with every balancer it names and print what came of it."""
    if options.scenario is None:
        for name in shipped():
            sys.stdout.write(f"{name:16} {load_scenario(name).title}\n")
        return 0
    try:
        scenario = load_scenario(options.scenario)
        if options.seed is not None:
            scenario = scenario.replace(seed=options.seed)
        reports = _run(scenario, quiet=options.json)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.json:
        json.dump({"title": scenario.title, "balancers": _data(reports)}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        console = Console()
        (console if console.is_terminal else Console(width=WIDE)).print(_table(scenario, reports))
    return 0


def _run(scenario: Scenario, *, quiet: bool) -> dict[str, Report]:
    found = {}
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(scenario.title, total=len(scenario.balancers))
        for name in scenario.balancers:
            found[name] = scenario.run(name)
            progress.advance(task)
    return found


def _data(reports: Mapping[str, Report]) -> dict[str, object]:
    return {
        name: {
            "requests": report.requests,
            "failures": report.failures,
            "retries": report.retries,
            "mean": report.mean,
            **{label: report.quantile(share) for label, share in QUANTILES.items()},
            "evenness": report.evenness,
            "shares": report.shares,
        }
        for name, report in reports.items()
    }


def _table(scenario: Scenario, reports: Mapping[str, Report]) -> Table:
    table = Table(title=scenario.title, title_justify="left")
    table.add_column("balancer", no_wrap=True)
    for column in ("mean", *QUANTILES, "failures", "retries", "evenness", "least, most"):
        table.add_column(column, justify="right")
    for name, report in reports.items():
        shares = report.shares
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        table.add_row(
            name,
            milliseconds(report.mean),
            *[milliseconds(report.quantile(share)) for share in QUANTILES.values()],
            str(report.failures),
            str(report.retries),
            f"{report.evenness:.3f}",
            f"{least} {shares[least]:.1%}, {most} {shares[most]:.1%}",
        )
    return table
