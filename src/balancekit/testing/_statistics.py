"""Statistical tests of shares, with tolerances from formulas.

Each function returns a distance in standard deviations, ``z``. The limit for a test is ``Z``, 4.5: a correct program
exceeds it in 3.4 of a million runs (6.8 if both signs are tested), and most incorrect programs exceed it in each run. Do
not use a guessed tolerance: "within 25 %" passes code that ignores weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["Z", "chi_square_z", "share_z"]

Z = 4.5
"""The usual limit in standard deviations. One-sided, a correct program exceeds it in 3.4 of a million runs."""


@checked_arguments
def chi_square_z(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Return the distance of counts from the proportions of weights, in standard deviations.

    It is Pearson's chi-square over the items of positive weight, transformed to a normal variable by the cube root (Wilson
    and Hilferty 1931). A large positive value means that the counts are not in proportion. A negative value means that they
    are closer to proportion than random counts, as with round robin. The value is infinity if an item without a positive
    weight was counted, and minus infinity if nothing was counted or only one item has a positive weight.

    Parameters
    ----------
    counts
        Number of occurrences of each item.
    weights
        Weight of each item, >= 0.

    Raises
    ------
    ConfigurationError
        If a count or a weight is not a finite number >= 0.

    Source: Wilson and Hilferty, "The distribution of chi-square", PNAS 17 (1931).

    Example
    -------
    >>> from balancekit.testing import chi_square_z
    >>> chi_square_z({"a": 500, "b": 500}, {"a": 1, "b": 1}) < 0
    True
    >>> chi_square_z({"a": 600, "b": 400}, {"a": 1, "b": 1}) > 4.5
    True
    """
    for parameter, numbers in (("counts", counts), ("weights", weights)):
        for number in numbers.values():
            valid.number(parameter, number, minimum=0.0)
    if any(count and not weights.get(item) for item, count in counts.items()):
        return math.inf
    largest = max(weights.values(), default=0.0)
    shares = {item: weight / largest for item, weight in weights.items() if weight}
    total, whole = sum(counts.values()), sum(shares.values())
    if len(shares) < 2 or not total:
        return -math.inf
    expected = {item: total * share / whole for item, share in shares.items()}
    statistic = math.fsum(_surplus(counts.get(item, 0), mean) for item, mean in expected.items())
    freedom = len(shares) - 1
    spread = 2.0 / (9.0 * freedom)
    return (math.cbrt(statistic / freedom) - (1.0 - spread)) / math.sqrt(spread)


def _surplus(count: float, mean: float) -> float:
    """Return the part of an item in Pearson's chi-square. A mean that is too small for a number is 0."""
    if not mean:
        return math.inf if count else 0.0
    return (count - mean) ** 2 / mean


@checked_arguments
def share_z(hits: int, trials: int, share: float) -> float:
    """Return the distance of ``hits`` of ``trials`` from ``share``, in standard deviations of a binomial variable.

    Parameters
    ----------
    hits
        Number of hits, 0 to ``trials``.
    trials
        Number of trials, >= 1.
    share
        Expected share of hits, above 0, at most 1.

    Raises
    ------
    ConfigurationError
        If ``share`` is outside (0, 1], ``trials`` is below 1, or ``hits`` is outside 0 to ``trials``.

    Example
    -------
    >>> from balancekit.testing import share_z
    >>> round(share_z(60, 100, 0.5), 1)
    2.0
    """
    valid.number("share", share, above=0.0, maximum=1.0)
    valid.integer("trials", trials, minimum=1)
    found = valid.number("hits", hits, minimum=0.0, maximum=float(trials))
    if share == 1.0:
        return 0.0 if found == trials else -math.inf
    return (found - trials * share) / math.sqrt(trials * share * (1.0 - share))
