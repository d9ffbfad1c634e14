"""Slots of eight bytes for blocks of prompts, in sets of four as in a processor's cache.

The number of a block modulo the count of sets is that of its set. A slot holds the *epoch* of the block's last use, the upper
half of its number as a *tag*, and the number of the set of its holders: epoch and holders are the *fact* of a block. A new
block takes the place of the one in its set that was used longest ago: the least of four numbers, for the epoch comes first.

Cost: one cache line a block, and a dozen array operations for all that are placed or stamped together.
Source: set-associative caches with last-use replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from balancekit.inference._blocks import Blocks

__all__ = ["EPOCH_SHIFT", "HOLDERS", "TAG", "TAG_SHIFT", "WAYS", "BlockSlots"]

WAYS: Final = 4
"""Slots of a set, written as shifts by 2 below."""
EPOCH_SHIFT: Final = 48
TAG_SHIFT: Final = 16
TAG: Final = 0xFFFF_FFFF << TAG_SHIFT
HOLDERS: Final = 0xFFFF
"""Bits of a slot: epoch, tag, holders."""
_EPOCH_SHIFT: Final = np.uint64(EPOCH_SHIFT)
_TAG_SHIFT: Final = np.uint64(TAG_SHIFT)
_TAG: Final = np.uint64(TAG)
_HOLDERS: Final = np.uint64(HOLDERS)


@final
class BlockSlots:
    """Epoch, tag and holders of blocks, by their numbers.

    Parameters
    ----------
    cells
        Rows of four slots; 0 is an empty one.
    """

    __slots__ = ("_modulus", "cells", "view")

    def __init__(self, cells: NDArray[np.uint64]) -> None:
        self.cells: NDArray[np.uint64] = cells
        self._modulus: np.uint64 = np.uint64(len(cells))
        self.view: tuple[memoryview[int], int] = cells.reshape(-1).data, len(cells)
        """The slots as single items, which take a fifth of what arrays do, and how many sets there are."""

    @classmethod
    def empty(cls, sets: int) -> BlockSlots:
        """Return a number of empty sets."""
        return cls(np.zeros((sets, WAYS), dtype=np.uint64))

    def __len__(self) -> int:
        """Return how many sets there are."""
        return len(self.cells)

    def stamp(self, blocks: Blocks, fact: int) -> None:
        """Give known blocks another fact."""
        sets, tags = self._sets(blocks), _tags(blocks)
        hits = ((self.cells.take(sets, axis=0) ^ tags[:, None]) & _TAG == 0).ravel().nonzero()[0]
        rows = hits >> 2
        self.cells.put((sets.take(rows) << 2) + (hits & 3), tags.take(rows) | np.uint64(fact))

    def place(self, prompts: Sequence[tuple[Blocks, int]]) -> None:
        """Give new blocks of several prompts a place, with the fact of each prompt.

        Of several that want one place the first of its prompt gets it, as the last one written. The others try once more,
        for a place that no new block has.
        """
        blocks = np.concatenate([blocks for blocks, _ in prompts])[::-1]
        facts = np.array([fact for _, fact in prompts], dtype=np.uint64)
        sets, cells = self._sets(blocks), _tags(blocks)
        cells |= facts.repeat([blocks.size for blocks, _ in prompts])[::-1]
        slots = self._oldest(sets)
        self.cells.put(slots, cells)
        lost = (self.cells.take(slots) != cells).nonzero()[0]
        if lost.size:
            slots, cells = self._oldest(sets.take(lost)), cells.take(lost)
            older = self.cells.take(slots) >> _EPOCH_SHIFT < cells >> _EPOCH_SHIFT
            self.cells.put(slots[older], cells[older])

    def fitted(self, wanted: int, least: int) -> BlockSlots:
        """Return slots of at most the wanted sets, and more than half of them, by doubling or halving; at least ``least``.

        A set whose number is that of a block modulo n is found again, modulo 2 n, in both copies. Where two slots become one, the
        block used last stays.
        """
        cells, sets = self.cells, len(self.cells)
        while sets * 2 <= wanted:
            cells = np.concatenate([cells, cells])
            sets *= 2
        while sets > max(wanted, least) and not sets & 1:
            sets //= 2
            cells = np.maximum(cells[:sets], cells[sets:])
        return BlockSlots(cells)

    def earlier(self, epochs: int) -> BlockSlots:
        """Return slots whose epochs are some less; what had no more is forgotten."""
        moved = self.cells - np.uint64(epochs << EPOCH_SHIFT)
        return BlockSlots(np.where(self.cells >> _EPOCH_SHIFT > epochs, moved, np.uint64(0)))

    def holders(self) -> list[int]:
        """Return the numbers of sets of holders that are in use."""
        found: list[int] = np.unique(self.cells & _HOLDERS).tolist()
        return found

    def renamed(self, holders: Sequence[int]) -> BlockSlots:
        """Return slots with other numbers of sets of holders: by their numbers until now."""
        ids = self.cells & _HOLDERS
        return BlockSlots(self.cells - ids + np.array(holders, dtype=np.uint64)[ids.view(np.int64)])

    def _sets(self, blocks: Blocks) -> NDArray[np.int64]:
        """Return the set of each block."""
        return (blocks % self._modulus).view(np.int64)

    def _oldest(self, sets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot in each set that was used longest ago."""
        slots: NDArray[np.int64] = self.cells.take(sets, axis=0).argmin(axis=1)
        slots += sets << 2
        return slots


def _tags(blocks: Blocks) -> Blocks:
    """Return the tags of blocks, where slots have them."""
    tags = blocks >> _TAG_SHIFT
    tags &= _TAG
    return tags
