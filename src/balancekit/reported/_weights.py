"""Weights from load reports: requests per second per unit of utilization.

.. code-block:: text

    weight = rps / (utilization + error_penalty * eps / rps)

The utilization is the largest figure of the report that is named in ``metrics``, else the application's, else the CPU's. A
report without requests or without utilization changes nothing.

An endpoint gets its own weight ``blackout`` seconds after its first report, and loses it after ``expiry`` seconds without a
report. Without an own weight, it has the mean or the median of the others. Own weights are limited to between
``min_ratio`` and ``max_ratio`` times their mean. So a server that reports almost no load does not get all traffic, and one
that reports a high load still gets some.

Cost: O(1) per report, O(n) when weights are read.

Source: gRPC proposal A58 and C-core 1.85; Envoy 1.40.0, ``client_side_weighted_round_robin``.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError
from balancekit.outcome import LoadReport
from balancekit.reported._orca import FIELDS, MAPS

__all__ = ["MissingWeight", "ReportedWeights", "ReportedWeightsMachine", "utilization"]

FIGURES: Final = FIELDS | {name: name for name in FIELDS.values()}
"""Names of the figures of a report, in the message and in this library."""
MAX_WHOLE: Final = 2**32 - 1
DEFAULT_WEIGHT: Final = 1.0
"""The weight of every endpoint while too few have an own one."""


class MissingWeight(enum.StrEnum):
    """The weight of an endpoint without a valid report."""

    MEAN = "mean"
    """The mean of the other endpoints (gRPC)."""
    MEDIAN = "median"
    """The median of the other endpoints (Envoy)."""


class ReportedWeights(Policy):
    """The rule from load reports to weights.

    Parameters
    ----------
    blackout
        Seconds from an endpoint's first report until it has an own weight, >= 0; a server that has just started reports
        low utilization.
    expiry
        Seconds without a report after which an endpoint loses its own weight, > 0.
    error_penalty
        The increase of the utilization for one error per request, >= 0.
    metrics
        Names of figures to use before the application's, as in the message: ``"named_metrics.kv"``,
        ``"cpu_utilization"``, ``"utilization.*"`` for all of a kind.
    missing
        The weight of endpoints without an own one.
    min_reports
        The fewest endpoints that must have an own weight, >= 1; with fewer, all weights are equal.
    min_ratio, max_ratio
    Bounds of a weight, in means of all own weights: 0 to 1, and at least 1 or ``None`` for no bound. The defaults are gRPC's.
    errors_alone
    Whether a report without utilization gives a weight if its errors have a penalty, as in Envoy.
    whole
    Whether weights are truncated to whole numbers of 1 to 4,294,967,295, as Envoy does.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, a flag is no bool, ``metrics`` is no tuple of strings, or
        ``missing`` is unknown.

    Example
    -------
    >>> from balancekit.outcome import LoadReport
    >>> from balancekit.reported import ReportedWeights
    >>> machine = ReportedWeights(blackout=0.0)()
    >>> for endpoint, used in (("a", 0.2), ("b", 0.8)):
    ...     machine.record(endpoint, LoadReport(application_utilization=used, rps=100.0), now=0.0)
    >>> machine.weights(["a", "b", "c"], now=1.0)
    {'a': 500.0, 'b': 125.0, 'c': 312.5}
    """

    blackout: float = 10.0
    expiry: float = 180.0
    error_penalty: float = 1.0
    metrics: tuple[str, ...] = ()
    missing: MissingWeight = MissingWeight.MEAN
    min_reports: int = 2
    min_ratio: float = 0.01
    max_ratio: float | None = 10.0
    errors_alone: bool = False
    whole: bool = False

    def _check(self) -> None:
        valid.number("blackout", self.blackout, minimum=0.0)
        valid.number("expiry", self.expiry, above=0.0)
        valid.number("error_penalty", self.error_penalty, minimum=0.0)
        valid.integer("min_reports", self.min_reports, minimum=1)
        valid.number("min_ratio", self.min_ratio, minimum=0.0, maximum=1.0)
        if self.max_ratio is not None:
            valid.number("max_ratio", self.max_ratio, minimum=1.0)
        valid.flag("errors_alone", self.errors_alone)
        valid.flag("whole", self.whole)
        if not isinstance(self.metrics, tuple) or not all(isinstance(name, str) for name in self.metrics):
            raise ConfigurationError("metrics", self.metrics, "a tuple of names")
        self.__dict__["missing"] = valid.member("missing", self.missing, MissingWeight)

    def __call__(self) -> ReportedWeightsMachine:
        """Return the reports of one pool."""
        return ReportedWeightsMachine(self)

    @checked_arguments
    def weight(self, report: LoadReport) -> float:
        """Return the weight from a report; 0 if the report gives none."""
        return self._weight(report)

    def _weight(self, report: LoadReport) -> float:
        if report.rps <= 0.0:
            return 0.0
        used = _utilization(report, self.metrics)
        penalized = used + self.error_penalty * report.eps / report.rps
        if (penalized if self.errors_alone else used) <= 0.0:
            return 0.0
        weight = report.rps / penalized
        # Infinite for a utilization so small that it is meaningless.
        return weight if math.isfinite(weight) else 0.0


@final
class ReportedWeightsMachine(StateRepr):
    """The reports of one pool; created by :class:`ReportedWeights`. One caller at a time."""

    @checked_arguments
    def __init__(self, config: ReportedWeights) -> None:
        self.config: ReportedWeights = config
        self._weight: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._last: dict[str, float] = {}

    @checked_arguments
    def record(self, endpoint: str, report: LoadReport, *, now: float) -> None:
        """Record a report of an endpoint."""
        weight = self.config._weight(report)  # noqa: SLF001 - of this module; the report is checked
        if weight <= 0.0:
            return
        at, last = valid.number("now", now), self._last.get(endpoint)
        if last is None or at - last >= self.config.expiry:
            self._since[endpoint] = at
        self._weight[endpoint], self._last[endpoint] = weight, at

    @checked_arguments
    def keep(self, endpoints: Iterable[str]) -> None:
        """Drop the reports of all other endpoints."""
        kept = set(endpoints)
        for endpoint in [known for known in self._last if known not in kept]:
            del self._weight[endpoint], self._since[endpoint], self._last[endpoint]

    @checked_arguments
    def weights(self, endpoints: Iterable[str], *, now: float) -> dict[str, float]:
        """Return a weight > 0 for each of these endpoints."""
        config = self.config
        names = valid.items("endpoints", endpoints)
        own = {
            name: float(min(int(self._weight[name]), MAX_WHOLE)) if config.whole else self._weight[name]
            for name in names
            if name in self._last
            and now - self._last[name] < config.expiry
            and now - self._since[name] >= config.blackout
        }
        if len(own) < config.min_reports:
            return dict.fromkeys(names, DEFAULT_WEIGHT)
        mean = statistics.fmean(own.values())
        other = mean if config.missing is MissingWeight.MEAN else statistics.median(own.values())
        low = config.min_ratio * mean
        high = math.inf if config.max_ratio is None else config.max_ratio * mean
        own = {name: max(low, min(weight, high)) for name, weight in own.items()}
        if config.whole:  # the median is that of the truncated weights, and the smallest weight is 1
            return {name: max(1.0, float(int(own.get(name, other)))) for name in names}
        return {name: own.get(name, other) for name in names}


@checked_arguments
def utilization(report: LoadReport, metrics: Iterable[str] = ()) -> float:
    """Return the utilization of a server: the largest named figure, else the application's, else the CPU's.

    Example
    -------
    >>> from balancekit.outcome import LoadReport
    >>> from balancekit.reported import utilization
    >>> utilization(LoadReport(cpu_utilization=0.3, named_metrics={"kv": 0.5}), ["named_metrics.kv"])
    0.5
    """
    return _utilization(report, metrics)


def _utilization(report: LoadReport, metrics: Iterable[str]) -> float:
    found = 0.0
    for name in metrics:
        field, _, key = name.partition(".")
        if field in MAPS and key:
            figures: Mapping[str, float] = getattr(report, field)
            found = max([found, *figures.values()] if key == "*" else [found, figures.get(key, 0.0)])
        else:
            found = max(found, getattr(report, FIGURES[name]) if name in FIGURES else 0.0)
    return found or report.application_utilization or report.cpu_utilization
