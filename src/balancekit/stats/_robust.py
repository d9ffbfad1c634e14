"""Robust statistics: median and median absolute deviation.

A single extreme value changes a mean and a standard deviation without bound. This limits outlier rules: among ``n`` values,
none is more than ``sqrt(n - 1)`` population standard deviations from the mean. So a threshold of 1.9 deviations finds no
outlier among fewer than five values. The median and the median absolute deviation stay bounded until half of the values
are extreme.

Source: Rousseeuw and Croux 1993. The factor 1.4826 makes the deviation equal to the standard deviation for values with a
normal distribution.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError

__all__ = ["MAD_SCALE", "deviation", "median"]

MAD_SCALE: Final = 1.482602218505602
"""1 divided by the 3/4 quantile of the standard normal distribution."""


@checked_arguments
def median(values: Iterable[float]) -> float:
    """Return the median of values: for an even number of values, the mean of the two middle ones. O(n log n).

    Raises
    ------
    ConfigurationError
        If ``values`` is empty, or holds anything but numbers.

    Example
    -------
    >>> from balancekit.stats import median
    >>> median([3.0, 1.0, 100.0])
    3.0
    """
    ordered = sorted(values)
    if not ordered:
        raise ConfigurationError("values", ordered, "at least one value")
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


@checked_arguments
def deviation(values: Iterable[float], *, around: float) -> float:
    """Return the median absolute distance from ``around``, times :data:`MAD_SCALE`. O(n log n).

    Raises
    ------
    ConfigurationError
        If ``around`` is no finite number, or ``values`` is empty or holds anything but numbers.

    Example
    -------
    >>> from balancekit.stats import deviation
    >>> round(deviation([1.0, 2.0, 3.0, 4.0, 1000.0], around=3.0), 4)
    1.4826
    """
    middle = valid.number("around", around)
    return MAD_SCALE * median([abs(value - middle) for value in values])
