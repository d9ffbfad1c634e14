"""Outlier rules: they compare the endpoints of a pool with each other.

*Why compare?* If a database that all endpoints use is slow, all endpoints are slow, and an ejection does not help. If one
endpoint differs from the others, the cause is probably that endpoint.

*Worked example* of the standard deviation rule: rates of 1, 1, 1, 1 and 0.5 have the mean 0.9 and the population
standard deviation 0.2. The limit is ``0.9 - 1.9 * 0.2 = 0.52``, so 0.5 is an outlier. Among four endpoints there is
never an outlier, because one of n values is at most ``sqrt(n - 1)`` deviations from the mean, 1.73 for four. The rules
with medians have no such limit; they need three endpoints.

Cost: O(n) per sweep, O(n log n) for medians. Nothing per request.

Source: Envoy outlier detection (1.30) and gRPC A50. They differ in one point: Envoy ejects an endpoint whose failure
percentage equals the threshold, gRPC only above it. Median and scaled absolute deviation: Iglewicz and Hoaglin 1993,
with their factor of 3.5.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter, methodcaller
from typing import ClassVar, TypeAlias

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit._support.text import figure
from balancekit.health._report import EndpointReport
from balancekit.health._sweep import check_window
from balancekit.stats import deviation, median

__all__ = [
    "FailurePercentage",
    "FailurePercentageAbove",
    "MedianFailures",
    "MedianLatency",
    "SuccessRateOutlier",
]

Outliers: TypeAlias = Mapping[str, str]
"""The causes of ejection, by endpoint id."""


class SuccessRateOutlier(Policy):
    """Rule that ejects endpoints whose success rate is more than ``factor`` standard deviations below the mean.

    Parameters
    ----------
    factor
        The number of population standard deviations, > 0. (Envoy and gRPC express it in thousandths: 1900.)
    min_hosts
        The number of endpoints with enough volume, >= 2, that the rule needs to compare.
    volume
        The number of requests in the window, >= 1, that an endpoint needs to be compared.
    window
        The length of the window in seconds, > 0. (Envoy and gRPC use the time between two sweeps.)
    enforcing
        The probability that an outlier is ejected, in (0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* in pools of fewer than five endpoints: with the default factor it ejects none. Use
    :class:`MedianFailures`.

    Example
    -------
    >>> from balancekit.health import EndpointReport, SuccessRateOutlier
    >>> good = [EndpointReport(id, successes=100, failures=0) for id in "abcd"]
    >>> SuccessRateOutlier()([*good, EndpointReport("e", successes=50, failures=50)])
    {'e': 'success rate 0.500 < 0.520, the mean less 1.9 deviations'}
    """

    timed: ClassVar[bool] = False
    factor: float = 1.9
    min_hosts: int = 5
    volume: int = 100
    window: float = 10.0
    enforcing: float = 1.0

    def _check(self) -> None:
        valid.number("factor", self.factor, above=0.0)
        valid.integer("min_hosts", self.min_hosts, minimum=2)
        check_window(self.volume, self.window, self.enforcing)

    def __call__(self, reports: Sequence[EndpointReport], /) -> Outliers:
        """Return the ids of the outliers, each with its cause."""
        rates = _compared(reports, attrgetter("success_rate"), volume=self.volume, min_hosts=self.min_hosts)
        if not rates:
            return {}
        mean = math.fsum(rates.values()) / len(rates)
        spread = math.sqrt(math.fsum([(rate - mean) ** 2 for rate in rates.values()]) / len(rates))
        limit = mean - self.factor * spread
        rest = f"< {limit:.3f}, the mean less {self.factor:g} deviations"
        return {id: f"success rate {rate:.3f} {rest}" for id, rate in rates.items() if rate < limit}


class _FailureShare(Policy):
    """The common part of the rules about the failure rate of a single endpoint."""

    timed: ClassVar[bool] = False
    threshold: float = 0.85
    min_hosts: int = 5
    volume: int = 50
    window: float = 10.0
    enforcing: float = 1.0

    def _check(self) -> None:
        valid.integer("min_hosts", self.min_hosts, minimum=1)
        check_window(self.volume, self.window, self.enforcing)

    def __call__(self, reports: Sequence[EndpointReport], /) -> Outliers:
        """Return the ids of the outliers, each with its cause."""
        rates = _compared(reports, attrgetter("failure_rate"), volume=self.volume, min_hosts=self.min_hosts)
        cause = f"threshold {self.threshold:g}"
        return {id: f"failure rate {rate:.3f}, {cause}" for id, rate in rates.items() if self._fails(rate)}

    @abstractmethod
    def _fails(self, rate: float) -> bool:
        """Return whether a failure rate is too high."""


class FailurePercentage(_FailureShare):
    """Rule that ejects endpoints with a failure rate of at least ``threshold`` (Envoy).

    Parameters
    ----------
    threshold
        The failure rate, in (0, 1].
    min_hosts
        The number of endpoints with enough volume, >= 1, that the rule needs.
    volume, window, enforcing
        As for :class:`SuccessRateOutlier`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* as the only rule, because it does not eject an endpoint that fails 84 % of its requests.

    Example
    -------
    >>> from balancekit.health import EndpointReport, FailurePercentage, FailurePercentageAbove
    >>> pool = [EndpointReport(id, successes=15, failures=85) for id in "abcde"]
    >>> len(FailurePercentage()(pool)), len(FailurePercentageAbove()(pool))
    (5, 0)
    """

    def _check(self) -> None:
        valid.number("threshold", self.threshold, above=0.0, maximum=1.0)
        super()._check()

    def _fails(self, rate: float) -> bool:
        return rate >= self.threshold


class FailurePercentageAbove(_FailureShare):
    """Rule that ejects endpoints with a failure rate above ``threshold`` (gRPC A50).

    Parameters
    ----------
    threshold
        The failure rate, in [0, 1]; 1 ejects none.
    min_hosts, volume, window, enforcing
        As for :class:`FailurePercentage`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* as the only rule, because it does not eject an endpoint that fails 85 % of its requests.

    Example
    -------
    >>> from balancekit.health import EndpointReport, FailurePercentageAbove
    >>> pool = [EndpointReport(id, successes=14, failures=86) for id in "abcde"]
    >>> len(FailurePercentageAbove()(pool)), len(FailurePercentageAbove(threshold=0.86)(pool))
    (5, 0)
    """

    def _check(self) -> None:
        valid.number("threshold", self.threshold, minimum=0.0, maximum=1.0)
        super()._check()

    def _fails(self, rate: float) -> bool:
        return rate > self.threshold


class MedianFailures(Policy):
    """Rule that ejects endpoints whose failure rate is far above the median of all endpoints.

    Parameters
    ----------
    factor
        The number of scaled median absolute deviations above the median, > 0.
    min_excess
        The least value of the deviation, as a failure rate in (0, 1]. If all endpoints have almost the same failure
        rate, a slightly higher one is then no outlier. With the defaults, an outlier is at least 17.5 percentage points
        above the median.
    min_hosts
        The number of endpoints with enough volume, >= 3, that the rule needs to compare.
    volume, window, enforcing
        As for :class:`SuccessRateOutlier`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *Guarantee.* If fewer than half of the endpoints are bad, the median is the failure rate of a good endpoint, or
    between those of two good ones.

    *When not to use it:* for two endpoints, because either of them could be the outlier.

    Example
    -------
    >>> from balancekit.health import EndpointReport, MedianFailures
    >>> pool = [EndpointReport(id, successes=20, failures=0) for id in "ab"]
    >>> list(MedianFailures()([*pool, EndpointReport("c", successes=10, failures=10)]))
    ['c']
    """

    timed: ClassVar[bool] = False
    factor: float = 3.5
    min_excess: float = 0.05
    min_hosts: int = 3
    volume: int = 20
    window: float = 10.0
    enforcing: float = 1.0

    def _check(self) -> None:
        valid.number("factor", self.factor, above=0.0)
        valid.number("min_excess", self.min_excess, above=0.0, maximum=1.0)
        valid.integer("min_hosts", self.min_hosts, minimum=3)
        check_window(self.volume, self.window, self.enforcing)

    def __call__(self, reports: Sequence[EndpointReport], /) -> Outliers:
        """Return the ids of the outliers, each with its cause."""
        rates = _compared(reports, attrgetter("failure_rate"), volume=self.volume, min_hosts=self.min_hosts)
        if not rates:
            return {}
        limit = _limit(rates.values(), self.factor, least=self.min_excess)
        return {id: f"failure rate {rate:.3f} > {limit:.3f}" for id, rate in rates.items() if rate > limit}


class MedianLatency(Policy):
    """Rule that ejects endpoints whose latency is far above the median of all endpoints.

    Parameters
    ----------
    factor
        The number of scaled median absolute deviations above the median, > 0.
    min_excess
        The least value of the deviation, as a share of the median, > 0. If all endpoints have almost the same latency, a
        slightly higher one is then no outlier. With the defaults, an outlier has at least 2.75 times the median latency.
    quantile
        The quantile of an endpoint's latencies that is compared, in [0, 1].
    min_hosts
        The number of endpoints with enough volume, >= 3, that the rule needs to compare.
    volume
        The number of latencies in the window, >= 1, that an endpoint needs to be compared; see :class:`LatencyLimit`.
    window, enforcing
        As for :class:`SuccessRateOutlier`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* for endpoints whose latencies differ by design, for example in other regions. The distant ones
    would be ejected again and again. A load that measures latency sends them fewer requests instead.

    Example
    -------
    >>> from balancekit.health import EndpointReport, MedianLatency
    >>> def of(id, latency):
    ...     return EndpointReport(id, successes=20, failures=0, latencies=(latency,) * 20)
    >>> MedianLatency()([of("a", 0.010), of("b", 0.011), of("c", 0.300)])
    {'c': 'latency 0.300 s > 0.030 s'}
    """

    factor: float = 3.5
    min_excess: float = 0.5
    quantile: float = 0.5
    min_hosts: int = 3
    volume: int = 10
    window: float = 10.0
    enforcing: float = 1.0

    def _check(self) -> None:
        valid.number("factor", self.factor, above=0.0)
        valid.number("min_excess", self.min_excess, above=0.0)
        valid.number("quantile", self.quantile, minimum=0.0, maximum=1.0)
        valid.integer("min_hosts", self.min_hosts, minimum=3)
        check_window(self.volume, self.window, self.enforcing)

    def __call__(self, reports: Sequence[EndpointReport], /) -> Outliers:
        """Return the ids of the outliers, each with its cause."""
        volume = self.volume
        measured = [one for one in reports if one.successes >= volume and len(one.latencies) >= volume]
        latency = methodcaller("latency", self.quantile)
        known = _compared(measured, latency, volume=volume, min_hosts=self.min_hosts)
        if not known:
            return {}
        limit = _limit(known.values(), self.factor, least=self.min_excess * median(known.values()))
        return {
            id: f"latency {figure(value, '.3f')} s > {figure(limit, '.3f')} s"
            for id, value in known.items()
            if value > limit
        }


def _compared(
    reports: Sequence[EndpointReport],
    figure: Callable[[EndpointReport], float],
    *,
    volume: int,
    min_hosts: int,
) -> dict[str, float]:
    """Return a value of each endpoint with enough requests, by id; nothing if fewer than ``min_hosts`` have enough."""
    figures = {report.endpoint: figure(report) for report in reports if report.volume >= volume}
    return figures if len(figures) >= min_hosts else {}


def _limit(values: Collection[float], factor: float, *, least: float) -> float:
    middle = median(values)
    return middle + factor * max(least, deviation(values, around=middle))
