"""Statistical tests of shares, with tolerances by formula.

Every gate is a number of standard deviations ``z``. A correct program passes 4.5 in all but seven of a million runs;
most incorrect programs never pass it. An estimated tolerance is not a test: "within 25 %" passes code that ignores
weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["Z", "chi_square_z", "share_z"]

Z = 4.5
"""The usual gate, one-sided: 3.4 false alarms in a million."""


@checked_arguments
def chi_square_z(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Return the distance of counts from the proportions of weights, in standard deviations, over all counts.

    Pearson's chi-square over the items of positive weight, brought to a normal variable by the cube root
    (Wilson and Hilferty 1931). Large and positive means off; negative means more even than chance would be,
    as round robin is. An item of weight zero must not have been counted: infinity if it was.

    Parameters
    ----------
    counts
        How often each item came.
    weights
        Numbers >= 0 for the same items.

    Example
    -------
    >>> chi_square_z({"a": 500, "b": 500}, {"a": 1, "b": 1}) < 0
    True
    >>> chi_square_z({"a": 600, "b": 400}, {"a": 1, "b": 1}) > 4.5
    True
    """
    if any(counts.get(item, 0) for item, weight in weights.items() if not weight):
        return math.inf
    shares = {item: weight for item, weight in weights.items() if weight}
    total, whole = sum(counts.values()), sum(shares.values())
    if len(shares) < 2 or not total:
        return -math.inf
    expected = {item: total * weight / whole for item, weight in shares.items()}
    statistic = math.fsum((counts.get(item, 0) - mean) ** 2 / mean for item, mean in expected.items())
    freedom = len(shares) - 1
    spread = 2.0 / (9.0 * freedom)
    return (math.cbrt(statistic / freedom) - (1.0 - spread)) / math.sqrt(spread)


@checked_arguments
def share_z(hits: int, trials: int, share: float) -> float:
    """Return how far ``hits`` of ``trials`` are from ``share``, in standard deviations of a binomial.

    Raises
    ------
    ConfigurationError
        If ``share`` is outside (0, 1], ``trials`` is below 1, or ``hits`` is outside 0 to ``trials``.

    Example
    -------
    >>> round(share_z(60, 100, 0.5), 1)
    2.0
    """
    valid.number("share", share, above=0.0, maximum=1.0)
    valid.integer("trials", trials, minimum=1)
    found = valid.number("hits", hits, minimum=0.0, maximum=float(trials))
    if share == 1.0:
        return 0.0 if found == trials else -math.inf
    return (found - trials * share) / math.sqrt(trials * share * (1.0 - share))
