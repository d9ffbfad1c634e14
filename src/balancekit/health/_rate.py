"""Rules about the success rate or the latency of a single endpoint.

Consecutive failures do not detect an endpoint that fails every other request. A rate over a window does. A rule needs a
minimum number of requests, because one failure in one request is a rate of 100 %.

Cost: one subtraction of counters per endpoint and sweep. Nothing per request.

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
    """Rule that ejects endpoints with a success rate below ``min_rate``.

    Parameters
    ----------
    min_rate
        The lowest success rate that is allowed, in (0, 1].
    volume
        The number of requests in the window, >= 1, that an endpoint needs to be judged.
    window
        The length of the window in seconds, > 0.
    enforcing
        The probability that an outlier is ejected, in (0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* if all endpoints depend on one service that may fail. Then all would be ejected, up to the cap
    of :class:`Ejection`. Use :class:`SuccessRateOutlier`, which compares endpoints.

    Example
    -------
    >>> from balancekit.health import EndpointReport, SuccessRate
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
    """Rule that ejects endpoints with a latency above ``limit``.

    Parameters
    ----------
    limit
        The highest latency that is allowed, in seconds, > 0.
    quantile
        The quantile of the latencies that is compared, in [0, 1]. With 0.95, one answer in twenty may be slower.
    volume
        The number of latencies in the window, >= 1, that an endpoint needs to be judged. (The balancer records the
        first 64 latencies of an endpoint, then one in eight, and keeps the last 256.)
    window
        The length of the window in seconds, > 0.
    enforcing
        The probability that an outlier is ejected, in (0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* if the latency rises with the load. Each ejection then makes the other endpoints slower.

    Example
    -------
    >>> from balancekit.health import EndpointReport, LatencyLimit
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
