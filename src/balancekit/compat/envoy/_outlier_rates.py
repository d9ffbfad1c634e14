"""Envoy's outlier detection by rates: success rates compared with those of the other hosts, and failure percentages.

Both look at the requests of one interval, host by host. *Success rate*: of hosts with enough requests, those whose
rate is strictly below ``mean - factor * stdev`` (the standard deviation of a population) are outliers. *Failure
percentage*: those are outliers that failed at least so much of their requests. Fewer than the minimum number of hosts
with enough requests: none is.

Cost: O(hosts) an interval. Source: Envoy 1.40, ``DetectorImpl::processSuccessRateEjections``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["RateLimits", "Rates", "rates"]


class RateLimits(NamedTuple):
    """From how many hosts and requests on rates count, and what is an outlier."""

    success_hosts: int
    success_requests: int
    stdev_factor: float
    failure_hosts: int
    failure_requests: int
    failure_percent: float


class Rates(NamedTuple):
    """What one interval showed."""

    success_rates: Mapping[str, float]
    """Percent, of hosts with enough requests for one of the two."""
    threshold: float | None
    """The success rate in percent below which hosts are outliers; ``None`` if too few hosts have one."""
    slow_successes: tuple[str, ...]
    """Hosts below the threshold."""
    failing: tuple[str, ...]
    """Hosts whose failure percentage is too high."""


NOTHING = Rates({}, None, (), ())


def rates(answers: Mapping[str, tuple[int, int]], limits: RateLimits, *, hosts: int) -> Rates:
    """Judge an interval.

    Parameters
    ----------
    answers
        Of hosts that are in, how many requests ended and how many of them well.
    limits
        What counts.
    hosts
        How many hosts the cluster has.

    Example
    -------
    >>> answers = {name: (100, 100) for name in "abcd"} | {"e": (100, 40)}
    >>> found = rates(answers, RateLimits(5, 100, 1.9, 5, 50, 85.0), hosts=5)
    >>> round(found.threshold, 3), found.slow_successes
    (42.4, ('e',))
    """
    if hosts < min(limits.success_hosts, limits.failure_hosts):
        return NOTHING
    enough = min(limits.success_requests, limits.failure_requests)
    seen = {
        host: 100.0 * well / ended for host, (ended, well) in answers.items() if ended and ended >= enough
    }
    compared = {host: rate for host, rate in seen.items() if answers[host][0] >= limits.success_requests}
    threshold = None
    if compared and len(compared) >= limits.success_hosts:
        mean = sum(compared.values()) / len(compared)
        spread = math.sqrt(sum((rate - mean) ** 2 for rate in compared.values()) / len(compared))
        threshold = mean - limits.stdev_factor * spread
    judged = [host for host in seen if answers[host][0] >= limits.failure_requests]
    return Rates(
        success_rates=seen,
        threshold=threshold,
        slow_successes=tuple(
            [h for h, rate in compared.items() if threshold is not None and rate < threshold]
        ),
        failing=tuple(
            [
                host
                for host in judged
                if len(judged) >= limits.failure_hosts and 100.0 - seen[host] >= limits.failure_percent
            ]
        ),
    )
