"""Settings of Envoy's outlier detection.

Source: Envoy 1.40, ``config.cluster.v3.OutlierDetection``.
"""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.compat.envoy._outlier_rates import RateLimits

__all__ = ["ENFORCING", "OutlierDetection"]

COUNTS: Final = (
    "success_rate_minimum_hosts",
    "success_rate_request_volume",
    "success_rate_stdev_factor",
    "failure_percentage_minimum_hosts",
    "failure_percentage_request_volume",
)
RUNS: Final = ("consecutive_5xx", "consecutive_gateway_failure", "consecutive_local_origin_failure")
ENFORCING: Final = {
    "consecutive_5xx": "enforcing_consecutive_5xx",
    "consecutive_gateway_failure": "enforcing_consecutive_gateway_failure",
    "consecutive_local_origin_failure": "enforcing_consecutive_local_origin_failure",
    "success_rate": "enforcing_success_rate",
    "failure_percentage": "enforcing_failure_percentage",
    "local_origin_success_rate": "enforcing_local_origin_success_rate",
    "local_origin_failure_percentage": "enforcing_failure_percentage_local_origin",
}
"""Name of the setting with the percentage of detected outliers that are ejected, by kind."""


class OutlierDetection(Policy):
    """Settings of outlier detection, with Envoy's names and defaults.

    Parameters
    ----------
    consecutive_5xx, consecutive_gateway_failure, consecutive_local_origin_failure
        Number of failures in a row that eject a host, >= 1.
    split_external_local_origin_errors
        Whether requests without a response count as failures of local origin instead of 5xx.
    interval
        Seconds between ticks, > 0.
    base_ejection_time
        Length of the first ejection in seconds, > 0.
    max_ejection_time
        Maximum length of an ejection in seconds, without jitter. If left out, the larger of 300 and ``base_ejection_time``.
    max_ejection_percent
        Maximum share of the hosts that are ejected, in percent, 0 to 100.
    always_eject_one_host
        Whether one host may be ejected even if that exceeds ``max_ejection_percent``.
    max_ejection_time_jitter
        Maximum random extension of an ejection in seconds, >= 0.
    success_rate_minimum_hosts, success_rate_request_volume
        Success rates are compared if at least this number of hosts have at least this number of requests in an interval. >= 0.
    success_rate_stdev_factor
        Factor on the standard deviation in thousandths: 1900 means 1.9. >= 0.
    failure_percentage_threshold
        Percentage of failed requests from which a host is an outlier, 0 to 100.
    failure_percentage_minimum_hosts, failure_percentage_request_volume
        Failure percentages are compared if at least this number of hosts have at least this number of requests in an interval.
        >= 0.
    enforcing_consecutive_5xx, enforcing_consecutive_gateway_failure, enforcing_consecutive_local_origin_failure
        Percentage of the outliers of this kind that are ejected, at random, 0 to 100.
    enforcing_success_rate, enforcing_failure_percentage
        The same for outliers by rates of statuses.
    enforcing_local_origin_success_rate, enforcing_failure_percentage_local_origin
        The same for outliers by rates of requests that got a response.
    successful_active_health_check_uneject_host
        Whether a passed active health check ends an ejection.

    Raises
    ------
    ConfigurationError
        If a number of consecutive errors is no integer >= 1; ``interval`` or ``base_ejection_time`` is no number > 0;
        ``max_ejection_time`` is below ``base_ejection_time``; ``max_ejection_time_jitter`` is no number >= 0; a percentage is
        no integer from 0 to 100; a minimum number is no integer >= 0; or a flag is no bool.
    """

    consecutive_5xx: int = 5
    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_time: float | None = None
    max_ejection_percent: int = 10
    always_eject_one_host: bool = False
    max_ejection_time_jitter: float = 0.0
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 100
    success_rate_stdev_factor: int = 1900
    failure_percentage_threshold: int = 85
    failure_percentage_minimum_hosts: int = 5
    failure_percentage_request_volume: int = 50
    enforcing_consecutive_5xx: int = 100
    enforcing_success_rate: int = 100
    enforcing_failure_percentage: int = 0
    consecutive_gateway_failure: int = 5
    enforcing_consecutive_gateway_failure: int = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failure: int = 5
    enforcing_consecutive_local_origin_failure: int = 100
    enforcing_local_origin_success_rate: int = 100
    enforcing_failure_percentage_local_origin: int = 0
    successful_active_health_check_uneject_host: bool = True

    def _check(self) -> None:
        for name in RUNS:
            valid.integer(name, getattr(self, name), minimum=1)
        valid.number("interval", self.interval, above=0.0)
        base = valid.number("base_ejection_time", self.base_ejection_time, above=0.0)
        if self.max_ejection_time is not None:
            valid.number("max_ejection_time", self.max_ejection_time, minimum=base)
        valid.integer("max_ejection_percent", self.max_ejection_percent, minimum=0, maximum=100)
        valid.flag("always_eject_one_host", self.always_eject_one_host)
        for name in ("split_external_local_origin_errors", "successful_active_health_check_uneject_host"):
            valid.flag(name, getattr(self, name))
        valid.number("max_ejection_time_jitter", self.max_ejection_time_jitter, minimum=0.0)
        for name in COUNTS:
            valid.integer(name, getattr(self, name), minimum=0)
        for name in ("failure_percentage_threshold", *ENFORCING.values()):
            valid.integer(name, getattr(self, name), minimum=0, maximum=100)

    @property
    def rate_limits(self) -> RateLimits:
        """Minimum numbers and thresholds of outliers by rates."""
        return RateLimits(
            self.success_rate_minimum_hosts,
            self.success_rate_request_volume,
            self.success_rate_stdev_factor / 1000.0,
            self.failure_percentage_minimum_hosts,
            self.failure_percentage_request_volume,
            float(self.failure_percentage_threshold),
        )

    @property
    def longest(self) -> float:
        """Maximum length of an ejection in seconds, without jitter."""
        return (
            max(300.0, self.base_ejection_time) if self.max_ejection_time is None else self.max_ejection_time
        )
