"""Envoy's ring and Maglev table.

Both are built from labels and normalized weights, which are shares of the sum of weights in doubles. The arithmetic is that of Envoy,
including rounding, because one entry more or less moves keys.

Cost: O(r log r) to build a ring of r entries; about ``m ln m`` steps to build a table of m slots. A look-up is a bisection in the ring,
or one modulo operation.
Source: Envoy 1.40, ``ring_hash`` and ``maglev``.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from balancekit.compat.envoy._hash import xxh64

__all__ = ["Maglev", "Ring", "maglev", "normalised", "ring"]


class Ring(NamedTuple):
    """The entries of a ring, sorted by position."""

    points: array[int]
    owners: array[int]

    def at(self, position: int) -> int:
        """Return the owner of the first entry at or after a position; after the last entry, that of the first entry."""
        return self.owners[self.start(position)]

    def start(self, position: int) -> int:
        """Return the index of this entry."""
        index = bisect_left(self.points, position)
        return index if index < len(self.points) else 0


class Maglev(NamedTuple):
    """The slots of a Maglev table."""

    owners: array[int]

    def at(self, position: int) -> int:
        """Return the owner of the slot of a position."""
        return self.owners[position % len(self.owners)]

    def start(self, position: int) -> int:
        """Return the index of this slot."""
        return position % len(self.owners)


def normalised(weights: Sequence[float]) -> list[float]:
    """Return the share of each weight in the sum of weights."""
    total = float(sum(weights))
    return [weight / total for weight in weights]


def ring(
    labels: Sequence[str],
    shares: Sequence[float],
    *,
    minimum: int,
    maximum: int,
    place: Callable[[bytes], int],
) -> Ring:
    """Build a ring. The position of entry i of a host is ``place(label + "_" + i)``.

    The size of the ring is the smallest one of at least ``minimum`` entries in which the lightest host has a whole number of entries,
    but at most ``maximum``. Hosts get entries in order, until the number of entries reaches the sum of their shares so far. So a host
    can have no entry.

    Example
    -------
    >>> found = ring(["a", "b"], [0.25, 0.75], minimum=3, maximum=100, place=xxh64)
    >>> list(found.owners).count(0), list(found.owners).count(1)
    (1, 3)
    """
    least = min(shares)
    scale = min(math.ceil(least * minimum) / least, float(maximum))
    entries: list[tuple[int, int]] = []
    wanted = 0.0
    for owner, (label, share) in enumerate(zip(labels, shares, strict=True)):
        wanted += scale * share
        start = len(entries)
        while len(entries) < wanted:
            entries.append((place(f"{label}_{len(entries) - start}".encode()), owner))
    entries.sort(key=_point)
    return Ring(array("Q", [point for point, _ in entries]), array("L", [owner for _, owner in entries]))


def _point(entry: tuple[int, int]) -> int:
    return entry[0]


def maglev(labels: Sequence[str], shares: Sequence[float], *, size: int) -> Maglev:
    """Fill a Maglev table of ``size`` slots, a prime number.

    Hosts take slots in rounds, in the order of their labels' bytes. In round k, a host of share s is skipped if ``k * s`` is below its
    target. Its target grows by the largest share with each slot that it takes.

    Example
    -------
    >>> list(maglev(["90", "91", "92", "93", "94", "95"], [1 / 6] * 6, size=7).owners)
    [2, 5, 0, 3, 4, 1, 0]
    """
    owners = array("L", [0]) * size
    free = bytearray(b"\1") * size
    order = sorted(range(len(labels)), key=lambda owner: labels[owner].encode())
    places = [xxh64(labels[owner].encode()) % size for owner in order]
    skips = [xxh64(labels[owner].encode(), 1) % (size - 1) + 1 for owner in order]
    pace = [shares[owner] for owner in order]
    targets = [0.0] * len(order)
    largest = max(shares)
    turns = range(len(order))
    left = size
    turn = 0
    while left:
        turn += 1
        for host in turns:
            if turn * pace[host] < targets[host]:
                continue
            targets[host] += largest
            place, skip = places[host], skips[host]
            while not free[place]:
                place = (place + skip) % size
            free[place] = 0
            owners[place] = order[host]
            places[host] = (place + skip) % size
            left -= 1
            if not left:
                break
    return Maglev(owners)
