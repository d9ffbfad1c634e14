"""Outlier rules that compare all endpoints in one sweep.

*Why compare.* When a database that all endpoints need is slow, all are slow and none is to blame. An endpoint
that stands out from its peers is itself at fault.

*Worked example* for the standard deviation rule: rates 1, 1, 1, 1, 0.5 have mean 0.9 and population standard
deviation 0.2; the limit is ``0.9 - 1.9 * 0.2 = 0.52``, and 0.5 is out. Among four endpoints none is ever out:
the farthest that one of n values can be from the mean is ``sqrt(n - 1)`` deviations, 1.73 for four. The rule of
the median has no such limit and works from three.

Cost: O(n) a sweep, O(n log n) for medians. Requests pay nothing.

Source: Envoy outlier detection (1.30) and gRPC A50, which agree but for one sign: Envoy ejects at a failure
percentage of the threshold, gRPC above it. Median and scaled absolute deviation: Iglewicz and Hoaglin 1993,
whose 3.5 is the default.
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
"""Causes by id."""


class SuccessRateOutlier(Policy):
    """Eject endpoints that succeed less often than the mean of the peers by some standard deviations.

    Parameters
    ----------
    factor
        How many population standard deviations, > 0. (Envoy and gRPC write 1900, in thousandths.)
    min_hosts
        Endpoints with enough volume without which none is compared, >= 2.
    volume
        Requests in the window without which an endpoint is not compared, >= 1.
    window
        Seconds to look back, > 0; both look from one sweep to the next.
    enforcing
        The probability that an outlier is ejected, in (0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* in pools of fewer than five, where it ejects none. Use :class:`MedianFailures`.

    Example
    -------
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
    """Eject endpoints by the share of their requests that fails, whatever that of the others is."""

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
        """Answer whether this share is too much."""


class FailurePercentage(_FailureShare):
    """Eject endpoints that fail at least ``threshold`` of their requests (Envoy).

    Parameters
    ----------
    threshold
        A share, in (0, 1].
    min_hosts
        Endpoints with enough volume without which none is judged, >= 1.
    volume, window, enforcing
        As for :class:`SuccessRateOutlier`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* as the only rule; it says nothing of an endpoint that fails 84 % of its requests.

    Example
    -------
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
    """Eject endpoints that fail more than ``threshold`` of their requests (gRPC A50).

    Parameters
    ----------
    threshold
        A share, in [0, 1]; 1 ejects none.
    min_hosts, volume, window, enforcing
        As for :class:`FailurePercentage`, which differs at the threshold itself.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* as the only rule; it says nothing of an endpoint that fails 85 % of its requests.

    Example
    -------
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
    """Eject endpoints that fail far more often than the median of their peers.

    Parameters
    ----------
    factor
        How many scaled median absolute deviations above the median, > 0.
    min_excess
        A deviation is taken for at least this share, in (0, 1]: when all peers fail equally rarely, a hair
        more is not an outlier. With the defaults none is an outlier below 17.5 % over the median.
    min_hosts
        Endpoints with enough volume without which none is compared, >= 3.
    volume, window, enforcing
        As for :class:`SuccessRateOutlier`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *Guarantee.* While fewer than half of the endpoints are bad, they do not move the median.

    *When not to use it:* for two endpoints, of which either may be the outlier.

    Example
    -------
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
    """Eject endpoints that answer far more slowly than the median of their peers.

    Parameters
    ----------
    factor
        How many scaled median absolute deviations above the median, > 0.
    min_excess
        A deviation is taken for at least this share of the median, > 0: in a pool of equals a hair more
        is not an outlier. With the defaults none is an outlier below 2.75 times the median.
    quantile
        The quantile of an endpoint's latencies that is compared, in [0, 1].
    min_hosts
        Endpoints with enough volume without which none is compared, >= 3.
    volume
        Latencies in the window without which an endpoint is not compared, >= 1; see :class:`LatencyLimit`.
    window, enforcing
        As for :class:`SuccessRateOutlier`.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* when endpoints differ in latency by design (other regions): the far ones would be
    out for ever. A load that measures latency sends them less instead.

    Example
    -------
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
    """Return a figure of each endpoint with enough requests; of none if too few have."""
    figures = {report.endpoint: figure(report) for report in reports if report.volume >= volume}
    return figures if len(figures) >= min_hosts else {}


def _limit(values: Collection[float], factor: float, *, least: float) -> float:
    middle = median(values)
    return middle + factor * max(least, deviation(values, around=middle))
