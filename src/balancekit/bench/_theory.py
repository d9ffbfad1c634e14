"""Expected values: formulas for shares and queues, and values of independent programs where there is no formula.

Rings: the shares of n nodes of v uniform points have a Dirichlet(v, ..., v) distribution. Queues: the mean service time is
1, the load is from 0 to 1 per server, and there are ten servers unless stated otherwise.

Source: order statistics; Erlang (1917); Karlin and McGregor for GI/M/1; Daley for the error of a simulated M/M/1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

__all__ = [
    "JSQ_TEN",
    "MAGLEV_EXCESS",
    "MAGLEV_RUNS",
    "PEAK_SKEW",
    "TWO_CHOICES_TEN",
    "largest_arc_over",
    "many_servers_mean",
    "many_servers_tail",
    "peak_moments",
    "quantile",
    "ring_spread",
    "round_robin_mean",
    "single_server_error",
]

GRID: Final = 20_000

TWO_CHOICES_TEN: Final[Mapping[float, tuple[float, float]]] = {
    0.5: (1.2859, 0.0004),
    0.7: (1.6777, 0.0006),
    0.8: (2.0756, 0.0007),
    0.9: (2.9852, 0.0010),
    0.95: (4.3546, 0.0032),
}
"""Mean time in the system and its standard error, by load, for two distinct choices of ten servers, from an independent
simulation. The limit for infinitely many servers (Mitzenmacher 1996) is 14 % lower at a load of 0.9."""

JSQ_TEN: Final[Mapping[float, tuple[float, float]]] = {
    0.5: (1.0244, 0.0005),
    0.7: (1.1604, 0.0005),
    0.8: (1.3572, 0.0005),
    0.9: (1.9149, 0.0010),
    0.95: (2.956, 0.002),
}
"""Mean time in the system and its standard error, by load, for joining the shortest of ten queues, from an independent
simulation."""

PEAK_SKEW: Final = 1.14
"""Upper bound of the skewness of the largest of many variables: that of a Gumbel distribution."""
MAGLEV_RUNS: Final = 200
"""Number of repetitions behind :data:`MAGLEV_EXCESS`."""
MAGLEV_EXCESS: Final[Mapping[int, tuple[float, float]]] = {
    5: (0.00102, 0.00093),
    10: (0.00241, 0.00067),
    100: (0.00564, 0.00030),
    1000: (0.00576, 0.00029),
}
"""Mean share of 65 537 slots that change needlessly when one node leaves, and its standard deviation, by number of nodes.
It was measured by an independent program with the protocol of Eisenbud et al. (2016), section 5.3."""


def largest_arc_over(nodes: int, share: float) -> float:
    """Return the probability that one of several nodes owns more than ``share`` of a ring with one point per node.

    Example
    -------
    >>> [round(largest_arc_over(n, 0.6), 2) for n in (3, 4, 5)]
    [0.48, 0.26, 0.13]
    """
    return math.fsum(
        (-1) ** (k + 1) * math.comb(nodes, k) * (1.0 - k * share) ** (nodes - 1)
        for k in range(1, nodes + 1)
        if k * share < 1.0
    )


def ring_spread(nodes: int, points: int) -> float:
    """Return the standard deviation of a node's share, divided by the mean share."""
    return math.sqrt((nodes - 1) / (nodes * points + 1))


def peak_moments(nodes: int, points: int) -> tuple[float, float]:
    """Return mean and standard deviation of the largest share on a ring, divided by the mean share.

    Shares are Gamma(points) variables divided by their sum, and these ratios are independent of the sum. So the moments of
    the largest ratio are the moments of the largest variable divided by those of the sum.

    Example
    -------
    >>> [round(peak_moments(n, 150)[0], 2) for n in (3, 1000)]
    [1.07, 1.29]
    """
    reach = 14.0 * math.sqrt(points) + 40.0
    low = max(0.0, points - reach)
    x = np.linspace(low, points + reach, GRID + 1)
    log_density = (points - 1) * np.log(np.maximum(x, 1e-300)) - x - math.lgamma(points)
    density, step = np.exp(log_density), float(x[1] - x[0])
    below = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) * step / 2.0)))
    over = 1.0 - np.clip(below / below[-1], 0.0, 1.0) ** nodes
    first = low + _area(over, step)
    second = low * low + _area(2.0 * x * over, step)
    total = nodes * points
    mean = nodes * first / total
    square = nodes * nodes * second / (total * (total + 1))
    return mean, math.sqrt(max(0.0, square - mean * mean))


def _area(values: np.ndarray[tuple[int], np.dtype[np.float64]], step: float) -> float:
    return float((values[1:] + values[:-1]).sum()) * step / 2.0


def many_servers_mean(servers: int, load: float) -> float:
    """Return the mean time in the system of M/M/n: one queue and n servers."""
    return 1.0 + _must_wait(servers, load) / (servers * (1.0 - load))


def many_servers_tail(servers: int, load: float, time: float) -> float:
    """Return the share of requests whose time in the system of M/M/n exceeds ``time``."""
    waits, rate = _must_wait(servers, load), servers * (1.0 - load)
    if abs(rate - 1.0) < 1e-9:
        both = (1.0 + time) * math.exp(-time)
    else:
        both = (rate * math.exp(-time) - math.exp(-rate * time)) / (rate - 1.0)
    return (1.0 - waits) * math.exp(-time) + waits * both


def _must_wait(servers: int, load: float) -> float:
    """Return the probability that a request waits in M/M/n (Erlang C), computed from Erlang B."""
    offered, blocked = servers * load, 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


def round_robin_mean(servers: int, load: float) -> float:
    """Return the mean time in the system when Poisson arrivals go to n servers by round robin.

    Each server then is a GI/M/1 queue whose times between arrivals have an Erlang(n) distribution.

    Example
    -------
    >>> round(round_robin_mean(10, 0.8), 3), round(round_robin_mean(1, 0.8), 3)
    (2.922, 5.0)
    """
    sigma = load
    for _ in range(20_000):
        sigma = (servers * load / (servers * load + 1.0 - sigma)) ** servers
    return 1.0 / (1.0 - sigma)


def quantile(tail: Callable[[float], float], share: float) -> float:
    """Return the quantile ``share`` of a time, given the function ``tail`` that returns the share above a time."""
    low, high = 0.0, 1.0
    while tail(high) > 1.0 - share:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if tail(middle) > 1.0 - share else (low, middle)
    return high


def single_server_error(load: float, requests: int) -> float:
    """Return the standard error of the mean time in the system in a simulation of M/M/1.

    Daley's formula gives the error of the mean waiting time. That of the time in the system is 3 to 11 % larger, so 11 % are
    added.
    """
    spread = load * (2.0 + 5.0 * load - 4.0 * load**2 + load**3) / (1.0 - load) ** 4
    return 1.11 * math.sqrt(spread / requests)
