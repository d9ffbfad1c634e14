"""Which point comes next, clockwise? Sorted positions on a circle, found in constant expected time.

The circle is cut into a power of two of equal *slots*, at least one per point. ``starts`` says for each slot how
many points lie before it, so a search begins at most a few points from its end::

    positions   0 .. 31 | 32 .. 63 | 64 .. 95 | 96 .. 127
    points          12  |  40  41  |    90    |
    starts           0  |     1    |     3    |     4

    at(35): slot 1 starts at point 1 (40), which is not before 35: point 1
    at(42): slot 1 starts at point 1; 40 and 41 are passed: point 3
    at(91): slot 2 starts at point 3; 90 is passed, nobody is left: around to point 0

Cost: memory of two array entries and one to two slots per point (12 to 16 bytes for 32-bit positions, 20 to 24
for 64-bit ones). ``at`` is O(1) expected for points that lie like random ones, and never worse than
O(points in a slot).

Source: the slot table in front of a ring is the direct-address step of interpolation search (Perl, Itai,
Avni 1978); measured against bisection in ``benchmarks/hashing``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from balancekit.errors import ConfigurationError

__all__ = ["SortedPoints"]

_WIDTHS: Final = {32: "I", 64: "Q"}
_FEWEST: Final = 6
"""A circle has at least 2**6 slots."""


@final
class SortedPoints:
    """Points on a circle of ``2**bits`` positions, and who owns each. Immutable.

    Parameters
    ----------
    points
        Positions from 0 to ``2**bits - 1``, ascending; equal ones are allowed, the first of them wins.
    owners
        For each point a whole number >= 0 of the caller's choice.
    bits
        32 or 64.

    Raises
    ------
    ConfigurationError
        If there are no points, they are not ascending, or owners are not as many.

    Example
    -------
    >>> ring = SortedPoints([100, 200, 3_000_000_000], [0, 1, 0])
    >>> ring.at(150), ring.at(200), ring.at(4_000_000_000)
    (1, 1, 0)
    >>> list(ring.walk(150))
    [1, 0, 0]
    """

    __slots__ = ("bits", "owners", "points", "shift", "starts")

    def __init__(
        self,
        points: Sequence[int] | NDArray[Any],
        owners: Sequence[int] | NDArray[Any],
        *,
        bits: int = 32,
    ) -> None:
        if bits not in _WIDTHS:
            raise ConfigurationError("bits", bits, "32 or 64")
        if len(points) == 0 or len(points) != len(owners):
            raise ConfigurationError(
                "points", f"{len(points)} and {len(owners)} owners", "one owner per point"
            )
        try:
            places = np.asarray(points, dtype=np.uint64)
            holders = np.asarray(owners, dtype=np.uint32)
        except (OverflowError, TypeError, ValueError):
            raise ConfigurationError(
                "points", points, f"whole numbers of {bits} bits, and owners >= 0"
            ) from None
        if (places[1:] < places[:-1]).any() or int(places[-1]) >> bits:
            raise ConfigurationError("points", points, f"ascending numbers from 0 to 2**{bits} - 1")
        self._adopt(bits, places.astype(_dtype(bits)), holders, _starts(places, bits))

    def _adopt(
        self,
        bits: int,
        places: NDArray[Any],
        holders: NDArray[np.uint32],
        starts: NDArray[np.uint32],
    ) -> None:
        # One entry more than there are points: a search that passes the last point stops at the largest
        # position, which nothing exceeds, and finds the owner of the first.
        self.bits: int = bits
        self.shift: int = bits - (len(starts).bit_length() - 1)
        self.points: array[int] = _array(_WIDTHS[bits], places, [(1 << bits) - 1])
        self.owners: array[int] = _array("I", holders, [int(holders[0])])
        self.starts: array[int] = _array("I", starts, [])

    def __len__(self) -> int:
        return len(self.points) - 1

    def at(self, position: int) -> int:
        """Return the index of the first point at or after a position, clockwise."""
        index = self.starts[position >> self.shift]
        points = self.points
        while points[index] < position:
            index += 1
        return index if index < len(points) - 1 else 0

    def walk(self, position: int) -> Iterator[int]:
        """Yield the owner of each point once around, from a position on; owners come again and again."""
        owners, size, first = self.owners, len(self), self.at(position)
        for index in range(first, size):
            yield owners[index]
        for index in range(first):
            yield owners[index]

    def owners_of(self, positions: NDArray[Any]) -> NDArray[np.uint32]:
        """Return the owners of the points at or after many positions, without a Python loop per position.

        Parameters
        ----------
        positions
            An array of unsigned integers of the circle's width.
        """
        points, owners, starts = self.arrays()
        index = starts.take(positions >> positions.dtype.type(self.shift)).astype(np.intp)
        behind = np.flatnonzero(points.take(index) < positions)
        while len(behind):
            ahead = index[behind] + 1
            index[behind] = ahead
            behind = behind[points.take(ahead) < positions[behind]]
        found: NDArray[np.uint32] = owners.take(index)
        return found

    def arrays(self) -> tuple[NDArray[Any], NDArray[np.uint32], NDArray[np.uint32]]:
        """Return views of points, owners and starts; the first two have one entry more than points."""
        return (
            np.frombuffer(self.points, _dtype(self.bits)),
            np.frombuffer(self.owners, np.uint32),
            np.frombuffer(self.starts, np.uint32),
        )

    def inserted(self, owner: int, points: NDArray[Any]) -> SortedPoints:
        """Return a copy with one owner more, which takes a number and shifts those from there on up by one.

        O(points), a few copies of memory. Points at the same position lie in the order of their owners.

        Parameters
        ----------
        owner
            The number that the new owner gets.
        points
            Its points, ascending, at least one.
        """
        old, owners, starts = self.arrays()
        old, owners = old[:-1], owners[:-1]
        new = np.asarray(points, old.dtype)
        holders = owners + (owners >= owner)
        index = np.searchsorted(old, new)
        for number in np.flatnonzero(old.take(index, mode="clip") == new):
            while (
                index[number] < len(old)
                and old[index[number]] == new[number]
                and (holders[index[number]] < owner)
            ):
                index[number] += 1
        old_ones = np.ones(len(old) + len(new), bool)
        old_ones[index + np.arange(len(new))] = False
        return self._variant(
            _spread(old, old_ones, new),
            _spread(holders, old_ones, owner),
            starts,
            new,
            grow=True,
        )

    def removed(self, owner: int) -> SortedPoints:
        """Return a copy without one owner; those after it move down by one. O(points).

        Parameters
        ----------
        owner
            The number of an owner that is not the only one.
        """
        old, owners, starts = self.arrays()
        old, owners = old[:-1], owners[:-1]
        kept = owners != owner
        holders = owners[kept]
        return self._variant(old[kept], holders - (holders > owner), starts, old[~kept], grow=False)

    def _variant(
        self,
        places: NDArray[Any],
        holders: NDArray[np.uint32],
        starts: NDArray[np.uint32],
        changed: NDArray[Any],
        *,
        grow: bool,
    ) -> SortedPoints:
        made = SortedPoints.__new__(SortedPoints)
        if len(starts) != _slots(len(places)):
            starts = _starts(places, self.bits)
        else:
            # A slot starts later by the number of new points in the slots before it.
            edges = (changed >> changed.dtype.type(self.shift)).astype(np.int64) + 1
            lengths = np.diff(edges, prepend=0, append=max(len(starts), int(edges[-1])))
            steps = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)[: len(starts)]
            starts = starts + steps if grow else starts - steps
        made._adopt(self.bits, places, holders, starts)
        return made

    @property
    def nbytes(self) -> int:
        """The memory that points, owners and starts take, in bytes."""
        return sum(len(one) * one.itemsize for one in (self.points, self.owners, self.starts))


def _dtype(bits: int) -> Any:
    return np.uint32 if bits == 32 else np.uint64


def _slots(points: int) -> int:
    """Return into how many slots a circle of so many points is cut."""
    return 1 << max(_FEWEST, (points - 1).bit_length())


def _starts(places: NDArray[Any], bits: int) -> NDArray[np.uint32]:
    slots = _slots(len(places))
    shift = places.dtype.type(bits - (slots.bit_length() - 1))
    counts = np.bincount((places >> shift).astype(np.int64), minlength=slots)
    return (np.cumsum(counts) - counts).astype(np.uint32)


def _array(code: str, values: NDArray[Any], more: list[int]) -> array[int]:
    """Return a standard array: reading one entry costs a third of what it costs in numpy's."""
    made = array(code)
    made.frombytes(values.tobytes())
    made.extend(more)
    return made


def _spread(values: NDArray[Any], old_ones: NDArray[np.bool_], new: Any) -> NDArray[Any]:
    """Return an array with old values where ``old_ones`` says so and new ones between them."""
    made = np.empty(len(old_ones), values.dtype)
    made[old_ones] = values
    made[~old_ones] = new
    return made
