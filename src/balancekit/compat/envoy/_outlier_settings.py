"""The settings of Envoy's outlier detection.

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
"""The setting that says how many of the outliers of each kind are ejected."""


class OutlierDetection(Policy):
    """The settings, named and defaulted as Envoy's.

    Parameters
    ----------
    consecutive_5xx, consecutive_gateway_failure, consecutive_local_origin_failure
        How many in a row eject, >= 1.
    split_external_local_origin_errors
        Whether requests without an answer are failures of local origin, and no 5xx.
    interval
        Seconds between ticks, > 0.
    base_ejection_time
        Seconds of the first ejection, > 0.
    max_ejection_time
        Seconds of any ejection at most; 300, or the base if that is longer.
    max_ejection_percent
        How much of the cluster may be out, 0 to 100.
    always_eject_one_host
        Whether the first one may go even if that is more.
    max_ejection_time_jitter
        Seconds added at random, at most, after the cap.
    success_rate_minimum_hosts, success_rate_request_volume
        Hosts with so many requests in an interval, and requests of a host, from which success rates count.
    success_rate_stdev_factor
        Thousandths: 1900 is 1.9 standard deviations.
    failure_percentage_threshold
        Percent that fail, 0 to 100, from which a host is an outlier.
    failure_percentage_minimum_hosts, failure_percentage_request_volume
        The same two for failure percentages.
    enforcing_consecutive_5xx, enforcing_success_rate, enforcing_failure_percentage
        Percent of the outliers found that are ejected, at random.
    enforcing_consecutive_gateway_failure, enforcing_consecutive_local_origin_failure
        The same for the other runs.
    enforcing_local_origin_success_rate, enforcing_failure_percentage_local_origin
        The same for the rates of requests that got an answer.
    successful_active_health_check_uneject_host
        Whether an active health check that passes ends an ejection.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.
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
        """What is an outlier by rates."""
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
        """Seconds of any ejection at most, the jitter aside."""
        return (
            max(300.0, self.base_ejection_time) if self.max_ejection_time is None else self.max_ejection_time
        )
