"""Envoy's outlier detection by rates: success rates compared with those of the other hosts, and failure percentages.

Both use the requests of one interval, and only hosts with enough requests.

- *Success rate*: a host is an outlier if its success rate is below ``mean - factor * stdev``, where ``stdev`` is the standard
  deviation of a population.
- *Failure percentage*: a host is an outlier if at least a given percentage of its requests failed.

If fewer than the minimum number of hosts have enough requests, no host is an outlier.

Cost: O(hosts) per interval. Source: Envoy 1.40, ``DetectorImpl::processSuccessRateEjections``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["RateLimits", "Rates", "rates"]


class RateLimits(NamedTuple):
    """Minimum numbers of hosts and of requests per host for both rates, and the thresholds of outliers."""

    success_hosts: int
    success_requests: int
    stdev_factor: float
    failure_hosts: int
    failure_requests: int
    failure_percent: float


class Rates(NamedTuple):
    """Rates of one interval."""

    success_rates: Mapping[str, float]
    """Success rate in percent of each host that has enough requests for one of the two comparisons."""
    threshold: float | None
    """Success rate in percent below which a host is an outlier; ``None`` if too few hosts have enough requests."""
    slow_successes: tuple[str, ...]
    """Hosts whose success rate is below the threshold."""
    failing: tuple[str, ...]
    """Hosts whose failure percentage reaches its threshold."""


NOTHING = Rates({}, None, (), ())


def rates(answers: Mapping[str, tuple[int, int]], limits: RateLimits, *, hosts: int) -> Rates:
    """Return the rates of an interval.

    Parameters
    ----------
    answers
        Number of requests and of successes, by host that is not ejected.
    limits
        Minimum numbers and thresholds.
    hosts
        Number of hosts in the cluster.

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
