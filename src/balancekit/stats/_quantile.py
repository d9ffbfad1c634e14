"""Quantiles of the most recent values.

A window keeps the last ``size`` values. Quantiles are computed when they are read. The values are in one array of doubles,
8 bytes each, so that a thousand windows need no quarter of a million float objects. A window is imprecise in the extreme
tail: with 256 values, p99 depends on the three highest.

Source: the empirical quantile of type 7, with linear interpolation (Hyndman and Fan 1996).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Quantiles", "RecentWindow", "quantile", "summary"]

MAX_SIZE: Final = 100_000_000
"""The most values of a window, 800 MB."""


class Quantiles(Record):
    """Quantiles of ``count`` values. The unit is that of the values, for example seconds."""

    count: int
    p50: float
    p95: float
    p99: float


@final
class RecentWindow(StateRepr, prints=("recorded",)):
    """The last ``size`` values, and their quantiles.

    Threads may record at the same time. Two threads that record at the same instant may lose one of the two values.

    *When not to use it:* for exact p99.9 or for quantiles of a whole day; export the values to a metrics system instead.

    Parameters
    ----------
    size
        The number of values to keep, 1 to 100,000,000. Each needs 8 bytes.

    Raises
    ------
    ConfigurationError
        If ``size`` is not an integer from 1 to 100,000,000.

    Example
    -------
    >>> from balancekit.stats import RecentWindow
    >>> window = RecentWindow(size=100)
    >>> for k in range(1, 101):
    ...     window.record(float(k))
    >>> window.read().p50
    50.5
    """

    __slots__ = ("_count", "_size", "_values")

    @checked_arguments
    def __init__(self, *, size: int = 256) -> None:
        self._size = valid.integer("size", size, minimum=1, maximum=MAX_SIZE)
        self._count = 0
        # The array has its full length from the start. On a free-threaded build, two threads that make an array grow crash
        # the interpreter (3.13.5); two threads that write to it do not.
        self._values = array("d", bytes(8 * self._size))

    def record(self, value: float) -> None:
        """Add one value. O(1).

        Raises
        ------
        ConfigurationError
            If ``value`` is no finite number.
        """
        count = self._count
        try:
            if value.__class__ is not float or value - value != 0.0:
                value = valid.number("value", value)
            self._values[count % self._size] = value
        except Exception as error:
            refuse(error, RecentWindow.record, self, value)
        self._count = count + 1

    @property
    def recorded(self) -> int:
        """The number of values that were ever added."""
        return self._count

    @checked_arguments
    def latest(self, count: int) -> list[float]:
        """Return the last ``count`` values, oldest first; fewer if the window holds fewer. O(size).

        Raises
        ------
        ConfigurationError
            If ``count`` is not an integer >= 0.
        """
        values, place = self._values, self._count % self._size
        known = min(valid.integer("count", count, minimum=0), self._count, self._size)
        ordered = values[place:] + values[:place]
        return ordered[self._size - known :].tolist()

    def read(self) -> Quantiles | None:
        """Return the quantiles of the values in the window; ``None`` if it is empty. O(size log size)."""
        return summary(self.values())

    def values(self) -> list[float]:
        """Return a copy of the values in the window, in no particular order. O(size)."""
        return self._values[: self._count].tolist()


@checked_arguments
def summary(values: Iterable[float]) -> Quantiles | None:
    """Return the quantiles of values; ``None`` if there are none. O(n log n).

    Raises
    ------
    ConfigurationError
        If ``values`` holds anything but numbers.

    Example
    -------
    >>> from balancekit.stats import summary
    >>> summary([3.0, 1.0, 2.0]).p50
    2.0
    """
    ordered = sorted(values)
    if not ordered:
        return None
    return Quantiles(
        count=len(ordered),
        p50=quantile(ordered, 0.50),
        p95=quantile(ordered, 0.95),
        p99=quantile(ordered, 0.99),
    )


@checked_arguments
def quantile(ordered: list[float], q: float) -> float:
    """Return the ``q``-quantile of a sorted, non-empty list, with linear interpolation. O(1).

    Raises
    ------
    ConfigurationError
        If ``ordered`` is empty, or ``q`` is outside [0, 1].

    Example
    -------
    >>> from balancekit.stats import quantile
    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    if not ordered:
        raise ConfigurationError("ordered", ordered, "at least one value")
    position = valid.number("q", q, minimum=0.0, maximum=1.0) * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
