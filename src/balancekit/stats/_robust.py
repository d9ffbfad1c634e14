"""Median and spread that no single value can distort.

One wild value moves a mean and a standard deviation as far as it likes: among ``n`` values none can be more
than ``sqrt(n - 1)`` population standard deviations from the mean, so a rule of 1.9 is blind below five. The
median and the median absolute deviation do not move until half of the values are wild.

Source: Rousseeuw and Croux 1993; the factor 1.4826 makes the deviation that of a normal distribution.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError

__all__ = ["MAD_SCALE", "deviation", "median"]

MAD_SCALE: Final = 1.482602218505602
"""``1 / inverse normal distribution of 3/4``."""


@checked_arguments
def median(values: Iterable[float]) -> float:
    """Return the middle of some values, the mean of the two middle ones if they are even in number.

    Raises
    ------
    ConfigurationError
        If there are none.

    Example
    -------
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
    """Return the median distance from ``around``, scaled to be a standard deviation.

    Raises
    ------
    ConfigurationError
        If ``around`` is no finite number, or ``values`` is empty.

    Example
    -------
    >>> round(deviation([1.0, 2.0, 3.0, 4.0, 1000.0], around=3.0), 4)
    1.4826
    """
    middle = valid.number("around", around)
    return MAD_SCALE * median([abs(value - middle) for value in values])
