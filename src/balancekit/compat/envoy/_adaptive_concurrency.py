"""Envoy's ``adaptive_concurrency`` filter with its gradient controller, as a rule for ``MaxInFlight``."""

from __future__ import annotations

from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.routing import Gradient

__all__ = ["gradient_controller"]


@checked_arguments
def gradient_controller(
    *,
    concurrency_update_interval: float,
    sample_aggregate_percentile: float = 50.0,
    max_concurrency_limit: int = 1000,
    interval: float | None = None,
    fixed_value: float | None = None,
    request_count: int = 50,
    jitter: float = 15.0,
    min_concurrency: int = 3,
    buffer: float = 25.0,
) -> Gradient:
    """Return the rule for a limit, with the names, units and defaults of Envoy 1.40.0.

    Envoy has one limit for each listener. ``MaxInFlight`` has one for each endpoint.

    Parameters
    ----------
    concurrency_update_interval
        Seconds between two changes of the limit.
    sample_aggregate_percentile
        Percentile of latencies that is compared with the minimum latency, 0 to 100.
    max_concurrency_limit, min_concurrency
        Bounds of the limit. If ``min_concurrency`` is larger, it is also the maximum.
    interval
        Seconds between two measurements of the minimum latency. Give either this or ``fixed_value``.
    fixed_value
        The minimum latency in seconds, which is then not measured.
    request_count
        Number of requests of a measurement.
    jitter
        Maximum random extension of the time between two measurements, in percent.
    buffer
        Percentage above the minimum latency that counts as normal.

    Raises
    ------
    ConfigurationError
        If neither or both of ``interval`` and ``fixed_value`` are given, or a number is outside its bounds.

    Example
    -------
    >>> from balancekit.compat.envoy import gradient_controller
    >>> gradient_controller(concurrency_update_interval=0.1, fixed_value=0.02).buffer
    0.25
    """
    if (interval is None) == (fixed_value is None):
        raise ConfigurationError("interval", interval, "a number of seconds, or a fixed_value in its place")
    return Gradient(
        min_rtt=fixed_value,
        buffer=buffer / 100.0,
        quantile=sample_aggregate_percentile / 100.0,
        interval=concurrency_update_interval,
        min_limit=min_concurrency,
        max_limit=max(max_concurrency_limit, min_concurrency),
        min_rtt_interval=60.0 if interval is None else interval,
        min_rtt_requests=request_count,
        jitter=jitter / 100.0,
    )
