"""A compressed ring: the owner of a position in one or two lines of the cache.

The 32-bit circle is cut into a power of two of equal *slots*, four to eight for three points. Each slot has one 32-bit word;
half of them or more hold no point and need only the number of the next owner::

    no point       owner
    one point      position within the slot, owner      its owner up to the point; after it, the next word's
    more points    highest bit, index                   where their words begin in ``groups``, closed by an end mark

A lookup reads one word and, for a sixth of the positions, two or three words of a group; the next word is nearly always in
the same line of the cache. 10,000 nodes of 150 points take 13 MB, where pairs of point and owner with an index take 20.

A change copies the words, renumbers owners, and rewrites the slots of the changed points and the empty slots before them.
Groups that are no longer used stay until there is a word of groups per point, about twice what is used.

Cost: 8 to 13 bytes a point. A lookup is O(1) expected for points that lie like random ones, and never worse than O(points in
a slot). A change is O(points), a few copies of memory.

Source: own construction; the slots are the direct-address step of interpolation search (Perl, Itai, Avni 1978).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from balancekit.hashing._nodes import WALKED, first_of_each

__all__ = ["GROUP", "Slots"]

Words: TypeAlias = "NDArray[np.uint32]"
Indices: TypeAlias = "NDArray[np.signedinteger[Any]]"

GROUP: Final = 0x8000_0000
"""Highest bit of a word that is an index into the groups; alone, the end of a group. Greater than any entry."""
MIN_SLOT_BITS: Final = 6
SPARE_WORDS: Final = 1024
"""Of groups, beyond one per point: when a change would leave more, the ring is rebuilt without those no longer used."""


@final
class Slots:
    """Sorted points on a circle of ``2**32`` positions, and the owner of each. Immutable.

    Parameters
    ----------
    points
        Positions, ascending; of equal ones the first wins.
    owners
        The number of each point's owner, below ``size``.
    size
        How many owners there are, >= 1.

    Example
    -------
    >>> ring = Slots(np.array([100, 200, 3_000_000_000]), np.array([0, 1, 0]), 2)
    >>> ring.owner(150), ring.owner(200), ring.owner(201)
    (1, 1, 0)
    >>> list(ring.walk(150))
    [1, 0, 0]
    """

    __slots__ = ("_count", "_size", "groups", "mask", "shift", "wide", "width", "words")

    def __init__(self, points: NDArray[Any], owners: NDArray[Any], size: int) -> None:
        places, holders = np.asarray(points, np.uint32), np.asarray(owners, np.uint32)
        self._size = size
        self.width: int = _width(size)
        """Bits of an owner's number."""
        bits = _slot_bits(len(places), self.width)
        self.shift: int = 32 - bits
        """Bits of a position within a slot."""
        self.mask: int = (1 << self.width) - 1
        """Of an owner's number. A word up to this is of a slot without a point."""
        self.wide: int = (1 << self.shift) - 1 << self.width
        """Of a position within a slot, where words have it."""
        self.words: array[int] = array("I", [0]) * ((1 << bits) + 1)
        """One for each slot, and one more with the number of the first owner."""
        words = np.frombuffer(self.words, np.uint32)
        first, filled = _slots_of(places, self.shift)
        lengths = np.diff(filled, prepend=-1, append=len(words) - 1)
        words[:] = np.repeat(np.append(holders[first], holders[0]), lengths)
        groups = self._fill(words, filled, first, self._low(places) | holders, 0)
        self.groups: array[int] = array("I", groups.tobytes())
        """The words of slots with more than one point, or with one at the very beginning."""
        self._count = len(places)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """The memory that words and groups take, in bytes."""
        return sum(len(one) * one.itemsize for one in (self.words, self.groups))

    def owner(self, position: int) -> int:
        """Return the owner of the first point at or after a position, clockwise."""
        words, width, mask = self.words, self.width, self.mask
        slot = position >> self.shift
        word = words[slot]
        if word <= mask:
            return word
        target, groups = position << width & self.wide, self.groups
        if word >= GROUP:
            index = word - GROUP
            while (word := groups[index]) < target:
                index += 1
        if word < target or word == GROUP:
            word = words[slot + 1]
        return (word if word < GROUP else groups[word - GROUP]) & mask

    def walk(self, position: int) -> Iterator[int]:
        """Yield the owner of each point once around, from a position on; owners come again and again."""
        words, mask, slot = self.words, self.mask, position >> self.shift
        target = position << self.width & self.wide
        here = list(self._entries(words[slot]))
        yield from [entry & mask for entry in here if entry >= target]
        for number in chain(range(slot + 1, len(words) - 1), range(slot)):
            word = words[number]
            if word > mask:
                for entry in self._entries(word):
                    yield entry & mask
        yield from [entry & mask for entry in here if entry < target]

    def order(self, position: int) -> Iterator[int]:
        """Yield each owner once, by its first point from a position on."""
        return first_of_each(islice(self.walk(position), WALKED), self._ahead(position), self._size)

    def owners_of(self, positions: Words) -> Words:
        """Return the owners of the points at or after many positions, without a Python loop per position."""
        words, groups = np.frombuffer(self.words, np.uint32), np.frombuffer(self.groups, np.uint32)
        slots = (positions >> np.uint32(self.shift)).view(np.int32)
        found: Words = words.take(slots)
        held = np.flatnonzero(found > self.mask)
        word, target = found[held], self._low(positions[held])
        many = np.flatnonzero(word >= GROUP)
        index = (word[many] ^ np.uint32(GROUP)).view(np.int32)
        while len(many):
            word[many] = entry = groups.take(index)
            behind = np.flatnonzero(entry < target[many])
            many, index = many[behind], index[behind] + 1
        after = np.flatnonzero((word < target) | (word >= GROUP))
        word[after] = _first_entries(words, groups, slots[held[after]] + 1)
        found[held] = word
        found &= np.uint32(self.mask)
        return found

    def points(self) -> tuple[Words, Words]:
        """Return all points, ascending, and their owners."""
        words, groups = np.frombuffer(self.words, np.uint32), np.frombuffer(self.groups, np.uint32)
        return self._contents(words, groups, np.flatnonzero(words[:-1] > self.mask))

    def inserted(self, owner: int, points: NDArray[Any]) -> Slots:
        """Return a copy with one owner more, which takes a number and shifts those from there on up by one.

        O(points), a few copies of memory. Points at the same position lie in the order of their owners.

        Parameters
        ----------
        owner
            The number that the new owner gets.
        points
            Its points, ascending, at least one.
        """
        return self._changed(owner, np.asarray(points, np.uint32), 1)

    def removed(self, owner: int, points: NDArray[Any]) -> Slots:
        """Return a copy without one owner; those after it move down by one. O(points).

        Parameters
        ----------
        owner
            The number of an owner that is not the only one.
        points
            All its points, ascending.
        """
        return self._changed(owner, np.asarray(points, np.uint32), -1)

    # ------------------------------------------------------------------ internals

    def _ahead(self, position: int) -> Iterator[Words]:
        """Yield the owners of points from a position on, in growing parts; at the end, all of its own slot again."""
        words, groups = np.frombuffer(self.words, np.uint32), np.frombuffer(self.groups, np.uint32)
        count, slot = len(words) - 1, position >> self.shift
        places, owners = self._contents(words, groups, np.array([slot]))
        yield owners[places >= position]
        begin, part = 1, WALKED
        while begin <= count:
            slots = np.arange(slot + begin, slot + min(begin + part, count + 1)) % count
            yield self._contents(words, groups, slots)[1]
            begin, part = begin + part, 2 * part

    def _low(self, positions: Words) -> Words:
        """Return positions within their slots, where words have them."""
        return positions << np.uint32(self.width) & np.uint32(self.wide)

    def _entries(self, word: int) -> Iterator[int]:
        """Yield the entry of each point of a slot: its position there, and its owner."""
        if word >= GROUP:
            index = word - GROUP
            while (entry := self.groups[index]) != GROUP:
                yield entry
                index += 1
        elif word > self.mask:
            yield word

    def _contents(self, words: Words, groups: Words, slots: Indices) -> tuple[Words, Words]:
        """Return the points of some slots and their owners."""
        word = words[slots]
        counts = (word > self.mask).astype(np.intp)
        many = np.flatnonzero(word >= GROUP)
        begins = (word[many] - np.uint32(GROUP)).astype(np.intp)
        while len(many):
            left = np.flatnonzero(groups.take(begins + counts[many]) != GROUP)
            many, begins = many[left], begins[left]
            counts[many] += 1
        entries = np.repeat(word, counts)
        many = np.flatnonzero(word >= GROUP)
        index = _ranges((word[many] - np.uint32(GROUP)).astype(np.intp), counts[many])
        entries[entries >= GROUP] = groups[index]
        places = np.repeat(slots, counts).astype(np.uint32) << np.uint32(self.shift)
        places |= (entries & np.uint32(self.wide)) >> np.uint32(self.width)
        return places, entries & np.uint32(self.mask)

    def _fill(self, words: Words, slots: Indices, first: Indices, entries: Words, base: int) -> Words:
        """Write the words of slots with points; return the groups, which begin at an index.

        The entries of the words begin at ``first``.
        """
        words[slots] = own = entries[first]
        counts = np.diff(first, append=len(entries))
        many = np.flatnonzero((counts > 1) | (own <= self.mask))
        sizes = counts[many]
        begins = np.cumsum(sizes + 1)
        total = int(begins[-1]) if len(begins) else 0
        begins -= sizes + 1
        groups = np.full(total, GROUP, np.uint32)
        groups[_ranges(begins, sizes)] = entries[_ranges(first[many], sizes)]
        words[slots[many]] = (begins + (base + GROUP)).astype(np.uint32)
        return groups

    def _changed(self, owner: int, own: Words, step: int) -> Slots:
        """Return the ring with an owner's points more or less, and the numbers after it shifted by the step."""
        count, size = self._count + step * len(own), self._size + step
        same = (self.width, 32 - self.shift) == (_width(size), _slot_bits(count, _width(size)))
        if not same or len(self.groups) > count + SPARE_WORDS:
            return Slots(*_merged(*self.points(), owner, own, step), size)
        made = Slots.__new__(Slots)
        made.width, made.shift, made.mask, made.wide = self.width, self.shift, self.mask, self.wide
        made._count, made._size = count, size  # noqa: SLF001 - of its own class
        made.words = self.words[:]
        words, groups = np.frombuffer(made.words, np.uint32), np.frombuffer(self.groups, np.uint32).copy()
        slots = np.unique(own >> np.uint32(self.shift)).astype(np.intp)
        places, holders = _merged(*self._contents(words, groups, slots), owner, own, step)
        for some in (words, groups):
            later = (some & np.uint32(self.mask)) >= (owner if step > 0 else owner + 1)
            later &= some < GROUP
            np.add(some, np.uint32(step % (1 << 32)), out=some, where=later)
        words[slots] = 0
        first, filled = _slots_of(places, self.shift)
        added = self._fill(words, filled, first, self._low(places) | holders, len(groups))
        groups = np.append(groups, added)
        _spread(words, groups, slots, self.mask)
        made.groups = array("I", groups.tobytes())
        return made


def _width(size: int) -> int:
    """Return how many bits the number of an owner has."""
    return (size - 1).bit_length() or 1


def _slot_bits(points: int, width: int) -> int:
    """Return the logarithm of the number of slots: at least four for three points, and room for an entry in 31 bits."""
    return max(MIN_SLOT_BITS, (4 * points // 3).bit_length(), width + 1)


def _slots_of(places: Words, shift: int) -> tuple[Indices, Indices]:
    """Return the first point of each slot that has any, and these slots; points are ascending."""
    slots = (places >> np.uint32(shift)).view(np.int32)
    begins = np.ones(len(slots), bool)
    np.not_equal(slots[1:], slots[:-1], out=begins[1:])
    first = np.flatnonzero(begins)
    return first, slots[first]


def _ranges(begins: Indices, sizes: Indices) -> Indices:
    """Return the indices of ranges, one after the other."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(begins - (ends - sizes), sizes) + np.arange(total)


def _first_entries(words: Words, groups: Words, slots: Indices) -> Words:
    """Return the owner that each of some slots begins with, maybe with the position of its point."""
    found: Words = words.take(slots)
    many = np.flatnonzero(found >= GROUP)
    found[many] = groups.take((found[many] ^ np.uint32(GROUP)).view(np.int32))
    return found


def _merged(places: Words, holders: Words, owner: int, own: Words, step: int) -> tuple[Words, Words]:
    """Return points and owners with those of one owner put in or left out, and the owners after it renumbered."""
    if step < 0:
        kept = holders != owner
        places, holders = places[kept], holders[kept]
        holders -= holders > owner
        return places, holders
    holders += holders >= owner
    joined = np.append(places, own).astype(np.uint64) << np.uint64(32)
    joined |= np.append(holders, np.full(len(own), owner, np.uint32))
    joined.sort()
    return (joined >> np.uint64(32)).astype(np.uint32), joined.astype(np.uint32)


def _spread(words: Words, groups: Words, slots: Indices, mask: int) -> None:
    """Write the owner that each slot leads to into the empty slots before it, and into the slot if it is empty itself."""
    size = len(words) - 1
    ahead = slots.copy()
    empty = np.flatnonzero(words[ahead] <= mask)
    while len(empty):
        ahead[empty] = (ahead[empty] + 1) % size
        empty = empty[words[ahead[empty]] <= mask]
    owner = _first_entries(words, groups, ahead) & np.uint32(mask)
    behind = np.where(words[slots] <= mask, slots, (slots - 1) % size)
    while len(behind):
        empty = np.flatnonzero(words[behind] <= mask)
        behind, owner = behind[empty], owner[empty]
        words[behind] = owner
        behind = (behind - 1) % size
    words[-1] = _first_entries(words, groups, np.zeros(1, np.intp))[0] & np.uint32(mask)
