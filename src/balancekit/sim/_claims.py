"""Claims about a scenario, each with a measure and the bounds of its value.

A claim names a measure of one balancer, or the ratio of that measure to the same measure of another balancer. It holds if
the value lies within its bounds. Choose bounds that are wide enough for another seed, and narrow enough to fail if the
statement is wrong.

Measures:

- ``mean``, ``p50``, ``p95``, ``p99``, ``p99.9``, ``errors``, ``retries``, ``hedges``, ``attempts``, ``evenness``,
  ``overload``, ``disruption`` and ``in_system``: see :class:`~balancekit.sim.SimulationReport`.
- ``share ID`` and ``busy ID``: the share and the utilization of the endpoint with that id.
- ``ejections``: the number of ejections.
- ``failover``: seconds from the first fault to the first ejection after it.
- ``drain``: seconds from the beginning of the first drain to its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.events import Drained, Draining, Ejected
from balancekit.sim._report import QUANTILES, SimulationReport

__all__ = ["Claim", "Finding"]

PLAIN: Final = (
    "mean",
    *QUANTILES,
    "errors",
    "retries",
    "hedges",
    "attempts",
    "evenness",
    "overload",
    "disruption",
    "in_system",
)
OF_AN_ENDPOINT: Final = {"share": "shares", "busy": "busy"}
TIMES: Final[Mapping[str, Callable[[SimulationReport, float], float]]] = {
    "ejections": lambda report, _: float(sum(isinstance(event, Ejected) for event in report.events)),
    "failover": lambda report, fault: _failover(report, fault),
    "drain": lambda report, _: _drain(report),
}


class Claim(Record):
    """A statement about a scenario.

    Parameters
    ----------
    text
        The statement.
    balancer
        The name of the balancer that is measured.
    measure
        The name of the measure: ``"mean"``, ``"p50"``, ``"p95"``, ``"p99"``, ``"p99.9"``, ``"errors"``, ``"retries"``,
        ``"hedges"``, ``"attempts"``, ``"evenness"``, ``"overload"``, ``"disruption"``, ``"in_system"``, ``"share ID"``,
        ``"busy ID"``, ``"ejections"``, ``"failover"`` or ``"drain"``.
    low, high
        The claim holds if ``low <= value <= high``. The unit is that of the measure. At least one bound must be finite.
    over
        The name of another balancer. If given, the value is the measure of ``balancer`` divided by that of ``over``.
    source
        Where the expected value comes from.

    Raises
    ------
    ConfigurationError
        If ``text``, ``balancer`` or ``measure`` is empty, ``measure`` is unknown, a bound is no number, ``low`` is
        above ``high``, or neither bound is finite.
    """

    text: str
    balancer: str
    measure: str
    low: float = -math.inf
    high: float = math.inf
    over: str | None = None
    source: str = ""

    def _check(self) -> None:
        for name in ("text", "balancer", "measure"):
            valid.text(name, getattr(self, name))
        if self.over is not None:
            valid.text("over", self.over)
        valid.text("source", self.source, empty=True)
        word, _, endpoint = self.measure.partition(" ")
        if not (self.measure in PLAIN or self.measure in TIMES or (word in OF_AN_ENDPOINT and endpoint)):
            known = (*PLAIN, *TIMES, *[f"{word} ID" for word in OF_AN_ENDPOINT])
            raise ConfigurationError("measure", self.measure, f"one of {', '.join(known)}")
        for name in ("low", "high"):
            bound = getattr(self, name)
            if not isinstance(bound, int | float) or isinstance(bound, bool) or math.isnan(bound):
                raise ConfigurationError(name, bound, "a number")
        if not self.low <= self.high or (self.low, self.high) == (-math.inf, math.inf):
            raise ConfigurationError("low", self.low, "a bound, not above the other one")

    @property
    def endpoint(self) -> str:
        """The id of the endpoint that is measured; empty if the measure is not of one endpoint."""
        return self.measure.partition(" ")[2]

    def find(self, reports: Mapping[str, SimulationReport], fault: float = 0.0) -> Finding:
        """Return the value of the measure.

        Parameters
        ----------
        reports
            Reports of one scenario, by name of the balancer.
        fault
            Time of the first fault, in seconds.

        Raises
        ------
        ConfigurationError
            If a report that the claim is about is missing.
        """
        for name in (self.balancer, self.over):
            if name is not None and name not in reports:
                raise ConfigurationError("reports", list(reports), f"a report of {name!r}")
        value = self._value(reports[self.balancer], fault)
        if self.over is not None:
            other = self._value(reports[self.over], fault)
            value = value / other if other else math.inf if value > 0.0 else math.nan
        return Finding(claim=self, value=value)

    def _value(self, report: SimulationReport, fault: float) -> float:
        if self.measure in TIMES:
            return TIMES[self.measure](report, fault)
        word, _, endpoint = self.measure.partition(" ")
        data = report.data()
        found = data[OF_AN_ENDPOINT[word]].get(endpoint) if endpoint else data[self.measure]
        return math.nan if found is None else float(found)


class Finding(Record):
    """A claim and the value that was measured; NaN if there was nothing to measure."""

    claim: Claim
    value: float

    @property
    def holds(self) -> bool:
        """Whether the value lies within the bounds."""
        return self.claim.low <= self.value <= self.claim.high

    def data(self) -> dict[str, object]:
        """Return the claim and its value as plain values for JSON. A number that is not finite becomes ``None``."""
        claim = self.claim
        facts = {"low": claim.low, "high": claim.high, "value": self.value}
        return {
            "text": claim.text,
            "balancer": claim.balancer,
            "measure": claim.measure,
            "over": claim.over,
            "source": claim.source,
            "holds": self.holds,
            **{name: value if math.isfinite(value) else None for name, value in facts.items()},
        }


def _failover(report: SimulationReport, fault: float) -> float:
    """Return the seconds from the fault to the first ejection after it; NaN if there was none."""
    ejected = [event.at for event in report.events if isinstance(event, Ejected) and event.at >= fault]
    return min(ejected, default=math.nan) - fault


def _drain(report: SimulationReport) -> float:
    """Return the length of the first drain in seconds; NaN if there was none, or it did not end."""
    first = next((event for event in report.events if isinstance(event, Draining)), None)
    if first is None:
        return math.nan
    ends = [
        event.at
        for event in report.events
        if isinstance(event, Drained) and event.endpoint == first.endpoint and event.at >= first.at
    ]
    return min(ends, default=math.nan) - first.at
