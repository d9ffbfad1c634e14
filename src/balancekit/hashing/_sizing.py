"""Sizing: the number of points or slots for a wanted evenness.

*Rings.* n nodes of v points each cut the circle into arcs whose sums are Gamma(v) variables over their total, so the
busiest node is expected at ``E[max of n Gamma(v)] / v`` of the mean: an integral over one distribution function.

*Tables.* n equal nodes own ``floor`` or ``ceil`` of ``size / n`` slots, so the busiest is at most ``1 + n / size``.

Source: order statistics; the asymptotic ``1 + sqrt(2 ln n / v)`` overshoots by one to three percent.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError
from balancekit.hashing._maglev import MAX_SLOTS, next_prime

__all__ = ["expected_peak", "table_size_for", "vnodes_for"]

GRID: Final = 8_192
"""Steps of the integral: an error of 1e-6."""
MAX_NODES: Final = 1_000_000_000
"""Nodes for which sizes are computed."""
MAX_VNODES: Final = 1 << 20
"""Points per node up to which a ring is sized."""


def expected_peak(nodes: int, vnodes: int) -> float:
    """Return the expected share of the busiest node of a ring, relative to the mean.

    Parameters
    ----------
    nodes
        How many, all of the same weight, >= 1.
    vnodes
        Points of each, >= 1.

    Raises
    ------
    ConfigurationError
        If ``nodes`` is not a whole number from 1 to 10**9, or ``vnodes`` is not one >= 1.

    Example
    -------
    >>> from balancekit.hashing import expected_peak
    >>> round(expected_peak(100, 150), 3)
    1.217
    """
    count = valid.integer("nodes", nodes, minimum=1, maximum=MAX_NODES)
    shape = valid.integer("vnodes", vnodes, minimum=1)
    reach = 12.0 * math.sqrt(shape) + 40.0
    low = max(0.0, shape - reach)
    # The density of one point may have its peak at 0; a little past it costs nothing at this grid.
    x = np.linspace(low, shape + reach, GRID + 1)
    log_density = (shape - 1) * np.log(np.maximum(x, 1e-300)) - x - math.lgamma(shape)
    density = np.exp(log_density)
    step = x[1] - x[0]
    below = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) * step / 2.0)))
    at_least = 1.0 - np.clip(below / below[-1], 0.0, 1.0) ** count
    return float((low + ((at_least[1:] + at_least[:-1]) * step / 2.0).sum()) / shape)


def vnodes_for(imbalance: float, nodes: int) -> int:
    """Return the least number of points per node for which the busiest is expected at most so far above the mean.

    Parameters
    ----------
    imbalance
        The busiest node's share over the mean, minus one: 0.1 for ten percent. > 0.
    nodes
        How many, all of the same weight.

    Raises
    ------
    ConfigurationError
        If it would take more than a million points per node; use a table.

    Example
    -------
    >>> from balancekit.hashing import vnodes_for
    >>> vnodes_for(0.25, nodes=10)
    43
    """
    wanted = 1.0 + valid.number("imbalance", imbalance, above=0.0)
    low, high = 0, 1
    while expected_peak(nodes, high) > wanted:
        low, high = high, 2 * high
        if high > MAX_VNODES:
            raise ConfigurationError("imbalance", imbalance, "one that a million points per node can keep")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if expected_peak(nodes, middle) > wanted else (low, middle)
    return high


def table_size_for(imbalance: float, nodes: int) -> int:
    """Return a prime size of a Maglev table in which no node of equal weight is farther above the mean.

    Parameters
    ----------
    imbalance
        The busiest node's share over the mean, minus one. > 0.
    nodes
        How many, >= 1.

    Raises
    ------
    ConfigurationError
        If the table would be too large.

    Example
    -------
    >>> from balancekit.hashing import table_size_for
    >>> table_size_for(0.01, nodes=100)
    10007
    """
    nodes = valid.integer("nodes", nodes, minimum=1, maximum=MAX_NODES)
    least = nodes / valid.number("imbalance", imbalance, above=0.0)
    if least > MAX_SLOTS:
        raise ConfigurationError("imbalance", imbalance, f"one that {MAX_SLOTS} slots can keep")
    return next_prime(max(2, nodes, math.ceil(least)))
