"""Results of a scenario as claims and tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from balancekit.bench._claims import Claim, Column, Findings, Table
from balancekit.sim import QUANTILES, Scenario, SimulationReport

__all__ = ["compared"]

POINTS: Final = 80
"""Number of quantiles of each curve."""


def compared(scenario: Scenario, reports: Mapping[str, SimulationReport]) -> Findings:
    """Return the claims of a scenario, and tables of figures, shares and the slowest requests.

    Parameters
    ----------
    scenario
        The scenario.
    reports
        Reports of its balancers, by name.
    """
    claims = [
        Claim(
            name=f"{number} {finding.claim.balancer}",
            text=f"{finding.claim.text}: {finding.claim.measure} of {finding.claim.balancer}"
            + (f" over {finding.claim.over}" if finding.claim.over else ""),
            measured=finding.value,
            right=None,
            low=finding.claim.low,
            high=finding.claim.high,
            form=".4g",
            source=finding.claim.source,
        )
        for number, finding in enumerate(scenario.check(reports), 1)
    ]
    return Findings(claims=tuple(claims), tables=(_figures(reports), _shares(reports), _slowest(reports)))


def _figures(reports: Mapping[str, SimulationReport]) -> Table:
    second = Column(name="mean", form=".4f")
    return Table(
        name="figures",
        title="Times in seconds, of requests that succeeded; overload in seconds of endpoints",
        columns=(
            Column(name="balancer"),
            second,
            *[second.replace(name=name) for name in QUANTILES],
            Column(name="errors", form=".2%"),
            Column(name="attempts", form=".3f"),
            Column(name="overload", form=".0f"),
            Column(name="evenness", form=".3f"),
        ),
        rows=tuple(
            (
                name,
                _known(report.mean),
                *[_known(report.quantile(share)) for share in QUANTILES.values()],
                report.errors,
                report.attempts,
                report.overload,
                report.evenness,
            )
            for name, report in reports.items()
        ),
    )


def _shares(reports: Mapping[str, SimulationReport]) -> Table:
    return Table(
        name="shares",
        title="Each endpoint's share of all attempts, and the share of time in which its workers worked",
        columns=(
            Column(name="balancer"),
            Column(name="endpoint"),
            Column(name="share", form=".1%"),
            Column(name="busy", form=".1%"),
        ),
        rows=tuple(
            (name, id, share, report.busy[id])
            for name, report in reports.items()
            for id, share in report.shares.items()
        ),
    )


def _slowest(reports: Mapping[str, SimulationReport]) -> Table:
    """Return a table of latency quantiles, up to the one that the ten slowest requests exceed."""
    rows: list[tuple[str, float, float]] = []
    for name, report in reports.items():
        count = len(report.latency)
        if count:
            slower = np.logspace(0.0, math.log10(min(1.0, 10.0 / count)), POINTS)
            times = np.quantile(report.latency, 1.0 - slower)
            rows += [(name, float(part), float(time)) for part, time in zip(slower, times, strict=True)]
    return Table(
        name="slowest",
        title="Share of the requests that took longer than this many seconds",
        columns=(
            Column(name="balancer"),
            Column(name="slower", form=".3%"),
            Column(name="seconds", form=".4f"),
        ),
        rows=tuple(rows),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
