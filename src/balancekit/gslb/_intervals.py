"""Interval maps: from every address to a value, and how wide a block around it has that value.

An address space of ``bits`` bits is cut into intervals, sorted starts beside numbers of values; neighbours with
equal values are one interval. A look-up is one bisect. With the interval ``[lo, hi)`` around ``k``:

.. code-block:: text

    scope = max(0 if lo == 0 else bits + 1 - bit_length(k ^ (lo - 1)),
                0 if hi == 2 ** bits else bits + 1 - bit_length(k ^ hi))

the length of the shortest prefix of ``k`` whose block lies inside the interval: the block holds one value, and the
block one bit wider does not.

Source: RFC 7871 section 7.2.1 for what a scope means; the formula is checked against brute force.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import index, lt
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit.errors import ConfigurationError

__all__ = ["Block", "IntervalMap", "flatten", "overlay"]


class Block(NamedTuple):
    """A range of addresses with a value: ``[start, end)``."""

    start: int
    end: int
    value: int


def flatten(blocks: Iterable[Block], bits: int, default: int) -> tuple[list[int], list[int]]:
    """Return starts and values of the intervals made by nested blocks; the innermost block wins.

    Parameters
    ----------
    blocks
        Disjoint or nested, sorted by start, the widest first among equal starts. Of equal blocks the last wins.
    bits
        Of the address space.
    default
        The value where there is no block.

    Cost: O(n).
    """
    starts, values = [0], [default]

    def emit(start: int, value: int) -> None:
        if start == starts[-1]:
            values[-1] = value
            if len(values) > 1 and values[-2] == value:
                starts.pop()
                values.pop()
        elif values[-1] != value:
            starts.append(start)
            values.append(value)

    outer: list[tuple[int, int]] = [(1 << bits, default)]
    for start, end, value in blocks:
        while outer[-1][0] <= start:
            finished, _ = outer.pop()
            emit(finished, outer[-1][1])
        emit(start, value)
        outer.append((end, value))
    while len(outer) > 1:
        finished, _ = outer.pop()
        if finished < 1 << bits:
            emit(finished, outer[-1][1])
    return starts, values


def overlay(
    under: tuple[list[int], list[int]], over: tuple[list[int], list[int]], hole: int
) -> tuple[list[int], list[int]]:
    """Return ``over`` where it has a value, ``under`` where it has ``hole``."""
    starts: list[int] = []
    values: list[int] = []
    low, high = 0, 0
    under_starts, under_values = under
    over_starts, over_values = over
    start = 0
    while True:
        value = over_values[high] if over_values[high] != hole else under_values[low]
        if not values or values[-1] != value:
            starts.append(start)
            values.append(value)
        next_low = under_starts[low + 1] if low + 1 < len(under_starts) else None
        next_high = over_starts[high + 1] if high + 1 < len(over_starts) else None
        if next_low is None and next_high is None:
            return starts, values
        if next_high is None or (next_low is not None and next_low <= next_high):
            low += 1
        if next_low is None or (next_high is not None and next_high <= next_low):
            high += 1
        start = max(under_starts[low], over_starts[high])


@final
class IntervalMap(StateRepr, prints=()):
    """Numbers by address, with the scope in which they hold. Immutable.

    Parameters
    ----------
    bits
        Of the address space: 32, 128, or fewer in tests.
    starts
        Where intervals start, ascending, the first at 0.
    values
        A number >= 0 per interval, neighbours different.

    Raises
    ------
    ConfigurationError
        If ``bits`` is not a whole number from 1 to 128, ``starts`` does not ascend from 0, or the lengths of
        the lists differ.

    *Guarantee.* The block of :meth:`scope` bits around an address has one value; the block one bit wider has
    more than one.

    Cost: one bisect a look-up; 8 bytes an interval with up to 32 bits, about 56 with 128.

    Example
    -------
    >>> from balancekit.gslb import IntervalMap
    >>> halves = IntervalMap(4, [0, 12], [7, 8])  # 0 to 11, and 12 to 15
    >>> halves.value(3), halves.scope(3), halves.scope(9), halves.scope(12)
    (7, 1, 2, 2)
    """

    __slots__ = ("_bits", "_starts", "_top", "_values")

    @checked_arguments
    def __init__(self, bits: int, starts: list[int], values: list[int]) -> None:
        self._bits: Final = valid.integer("bits", bits, minimum=1, maximum=128)
        self._top: Final = 1 << bits
        ascends = all(map(lt, starts, islice(starts, 1, None)))
        if len(starts) != len(values) or starts[:1] != [0] or not ascends or starts[-1] >= self._top:
            raise ConfigurationError(
                "starts", starts, f"one for each value, ascending from 0, below 2**{bits}"
            )
        self._starts: Final[array[int] | list[int]] = (
            array("I", starts) if bits <= 32 else list(map(index, starts))
        )
        self._values: Final = array("I", values)

    @checked_arguments
    def value(self, address: int, /) -> int:
        """Return the value at an address."""
        return self._find(valid.integer("address", address, minimum=0, maximum=self._top - 1))[0]

    @checked_arguments
    def scope(self, address: int, /) -> int:
        """Return the length of the shortest prefix around an address that has one value."""
        return self._find(valid.integer("address", address, minimum=0, maximum=self._top - 1))[1]

    @checked_arguments
    def look_up(self, address: int, /) -> tuple[int, int]:
        """Return the value at an address and its scope."""
        return self._find(valid.integer("address", address, minimum=0, maximum=self._top - 1))

    def _find(self, address: int, /) -> tuple[int, int]:
        """Return the same as :meth:`look_up`. The range is not checked, because every query comes here."""
        starts = self._starts
        after = bisect_right(starts, address)
        low = starts[after - 1]
        scope = (address ^ (low - 1)).bit_length() if low else self._bits + 1
        if after < len(starts):
            scope = min(scope, (address ^ starts[after]).bit_length())
        return self._values[after - 1], self._bits + 1 - scope

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Block]:
        """Yield the intervals in order."""
        for place, (start, value) in enumerate(zip(self._starts, self._values, strict=True)):
            end = self._starts[place + 1] if place + 1 < len(self._starts) else self._top
            yield Block(start, end, value)
