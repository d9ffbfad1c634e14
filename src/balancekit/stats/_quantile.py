"""Quantiles of the most recent samples.

A window of the last ``size`` values is kept as they are; quantiles are computed only when something
reads. The values lie in one array of doubles, eight bytes each: a thousand endpoints with their own
windows must not scatter a quarter of a million float objects over memory. A window is imprecise in the
extreme tail: with 256 values, p99 rests on the slowest three.

Source: the definition of the empirical quantile (Hyndman and Fan 1996, type 7, linear interpolation).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Quantiles", "RecentWindow", "quantile", "summary"]


class Quantiles(Record):
    """Quantiles of values, such as latencies in seconds, and the ``count`` of values behind them."""

    count: int
    p50: float
    p95: float
    p99: float


@final
class RecentWindow(StateRepr, prints=("recorded",)):
    """The last ``size`` values.

    Parameters
    ----------
    size
        How many values to keep, >= 1. Memory is 8 bytes each.

    Raises
    ------
    ConfigurationError
        If ``size`` is not a whole number >= 1.

    Recording from many threads at once may lose a value, never more.

    Example
    -------
    >>> window = RecentWindow(size=100)
    >>> for k in range(1, 101):
    ...     window.record(float(k))
    >>> window.read().p50
    50.5
    """

    __slots__ = ("_count", "_size", "_values")

    @checked_arguments
    def __init__(self, *, size: int = 256) -> None:
        self._size = valid.integer("size", size, minimum=1)
        self._count = 0
        # Of its full length from the start: an array that grows under two threads of a free-threaded
        # build crashes the interpreter (3.13.5), one that is only written to does not.
        self._values = array("d", bytes(8 * self._size))

    def record(self, value: float) -> None:
        """Take one value. O(1)."""
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
        """How many values have been taken altogether."""
        return self._count

    @checked_arguments
    def latest(self, count: int) -> list[float]:
        """Return the last ``count`` values, oldest first, or as many as are still here."""
        values, place = self._values, self._count % self._size
        known = min(valid.integer("count", count, minimum=0), self._count, self._size)
        ordered = values[place:] + values[:place]
        return ordered[self._size - known :].tolist()

    def read(self) -> Quantiles | None:
        """Return the quantiles of what is in the window; ``None`` if it is empty. O(size log size)."""
        return summary(self.values())

    def values(self) -> list[float]:
        """Return a copy of what is in the window, in no particular order."""
        return self._values[: self._count].tolist()


@checked_arguments
def summary(values: Iterable[float]) -> Quantiles | None:
    """Return the quantiles of some values, ``None`` if there are none."""
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
    """Return the ``q``-quantile of a sorted, non-empty list, interpolating between neighbours.

    Raises
    ------
    ConfigurationError
        If ``ordered`` is empty, or ``q`` is outside [0, 1].

    Example
    -------
    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    if not ordered:
        raise ConfigurationError("ordered", ordered, "at least one value")
    position = valid.number("q", q, minimum=0.0, maximum=1.0) * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
