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
    """Make the rule, with the names, units and defaults of Envoy 1.40.0.

    Envoy has one limit for each of its listeners; ``MaxInFlight`` has one for each endpoint.

    Parameters
    ----------
    concurrency_update_interval
        Seconds between two changes of the limit.
    sample_aggregate_percentile
        Of latencies, 0 to 100.
    max_concurrency_limit, min_concurrency
        The limit is between; it is ``min_concurrency`` if that is the larger.
    interval, fixed_value
        Seconds between two measurements of the least latency, or that latency in seconds: one of them.
    request_count
        Requests of a measurement.
    jitter
        By how many per cent the time between measurements is longer at random.
    buffer
        How many per cent above the least latency are normal.

    Raises
    ------
    ConfigurationError
        If neither or both of ``interval`` and ``fixed_value`` are given, or a figure is out of its range.

    Example
    -------
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
