"""Rules about one endpoint alone: its success rate, and its latency.

A run of failures says nothing of an endpoint that fails every other request; a rate over a window does. It
needs a minimum volume: one failure of one request is a rate of 100 %.

Cost: a subtraction of counters that are kept anyway, once a sweep. Requests pay nothing.

Source: Finagle's failure accrual (success rate < 0.8 over 30 s, at least 5 requests); YARP's
``TransportFailureRate``; Caddy's latency limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from balancekit._support import validation as valid
from balancekit._support.record import Policy, field
from balancekit._support.text import figure
from balancekit.health._report import EndpointReport
from balancekit.health._sweep import check_window

__all__ = ["LatencyLimit", "SuccessRate"]


class SuccessRate(Policy):
    """Eject endpoints that succeed in less than ``min_rate`` of their requests.

    Parameters
    ----------
    min_rate
        The least share that is good enough, in (0, 1].
    volume
        Requests in the window without which nothing is said, >= 1.
    window
        Seconds to look back, > 0.
    enforcing
        The probability that an outlier is ejected, in (0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* where a shared dependency makes all endpoints fail: each is an outlier, and only the cap
    on ejections keeps the pool. :class:`SuccessRateOutlier` compares.

    Example
    -------
    >>> SuccessRate()([EndpointReport("a", successes=7, failures=3), EndpointReport("b", successes=0, failures=4)])
    {'a': 'success rate 0.70 < 0.8 over 10 requests'}
    """

    timed: ClassVar[bool] = False
    min_rate: float = field(default=0.8, kw_only=False)
    volume: int = 5
    window: float = 30.0
    enforcing: float = 1.0

    def _check(self) -> None:
        valid.number("min_rate", self.min_rate, above=0.0, maximum=1.0)
        check_window(self.volume, self.window, self.enforcing)

    def __call__(self, reports: Sequence[EndpointReport], /) -> Mapping[str, str]:
        """Return the ids of the outliers, each with its cause."""
        return {
            report.endpoint: (
                f"success rate {report.success_rate:.2f} < {self.min_rate:g} over {report.volume} requests"
            )
            for report in reports
            if report.volume >= self.volume and report.success_rate < self.min_rate
        }


class LatencyLimit(Policy):
    """Eject endpoints whose answers take longer than ``limit`` seconds.

    Parameters
    ----------
    limit
        Seconds, > 0.
    quantile
        The quantile that is compared, in [0, 1]: 0.95 says that one answer in twenty may be slower.
    volume
        Latencies in the window without which nothing is said, >= 1. (The balancer keeps the first 64 of an
        endpoint, then one in eight, and at most the last 256.)
    window
        Seconds to look back, > 0.
    enforcing
        The probability that an outlier is ejected, in (0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* when latency rises with load: taking an endpoint out makes the others slower.

    Example
    -------
    >>> slow = EndpointReport("a", successes=20, failures=0, latencies=(0.5,) * 20)
    >>> LatencyLimit(limit=0.2)([slow])
    {'a': 'latency 0.500 s > 0.2 s at quantile 0.95'}
    """

    limit: float = field(kw_only=False)
    quantile: float = 0.95
    volume: int = 10
    window: float = 30.0
    enforcing: float = 1.0

    def _check(self) -> None:
        valid.number("limit", self.limit, above=0.0)
        valid.number("quantile", self.quantile, minimum=0.0, maximum=1.0)
        check_window(self.volume, self.window, self.enforcing)

    def __call__(self, reports: Sequence[EndpointReport], /) -> Mapping[str, str]:
        """Return the ids of the outliers, each with its cause."""
        found = {}
        for report in reports:
            if report.successes < self.volume or len(report.latencies) < self.volume:
                continue
            latency = report.latency(self.quantile)
            if latency > self.limit:
                cause = f"latency {figure(latency, '.3f')} s > {self.limit:g} s at quantile {self.quantile:g}"
                found[report.endpoint] = cause
        return found
