"""Slots of eight bytes for blocks of prompts, in sets of four as in a processor's cache.

The set of a block is its number modulo the count of sets. A slot holds the *epoch* of the block's last use, the upper half of
its number as a *tag*, and the number of the set of its holders. Epoch and holders are the *fact* of a block. A new block
replaces the least recently used one of its set: the smallest of four numbers, because the epoch is the highest field.

Cost: one cache line per block, and a dozen array operations for all blocks that are placed or stamped together.
Source: set-associative caches with least-recently-used replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from balancekit.inference._blocks import Blocks

__all__ = ["EPOCH_SHIFT", "HOLDERS", "TAG", "TAG_SHIFT", "WAYS", "BlockSlots"]

WAYS: Final = 4
"""The number of slots in a set, written as shifts by 2 below."""
EPOCH_SHIFT: Final = 48
TAG_SHIFT: Final = 16
TAG: Final = 0xFFFF_FFFF << TAG_SHIFT
HOLDERS: Final = 0xFFFF
"""The bits of a slot: epoch, tag, holders."""
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
        Rows of four slots; 0 marks an empty slot.
    """

    __slots__ = ("_modulus", "cells", "view")

    def __init__(self, cells: NDArray[np.uint64]) -> None:
        self.cells: NDArray[np.uint64] = cells
        self._modulus: np.uint64 = np.uint64(len(cells))
        self.view: tuple[memoryview[int], int] = cells.reshape(-1).data, len(cells)
        """The slots as single items, which take a fifth of the time of arrays, and the number of sets."""

    @classmethod
    def empty(cls, sets: int) -> BlockSlots:
        """Return slots with this number of empty sets."""
        return cls(np.zeros((sets, WAYS), dtype=np.uint64))

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self.cells)

    def stamp(self, blocks: Blocks, fact: int) -> None:
        """Set the fact of known blocks."""
        sets, tags = self._sets(blocks), _tags(blocks)
        hits = ((self.cells.take(sets, axis=0) ^ tags[:, None]) & _TAG == 0).ravel().nonzero()[0]
        rows = hits >> 2
        self.cells.put((sets.take(rows) << 2) + (hits & 3), tags.take(rows) | np.uint64(fact))

    def place(self, prompts: Sequence[tuple[Blocks, int]]) -> None:
        """Place new blocks of several prompts, with the fact of each prompt.

        If several blocks want one slot, the first block of its prompt gets it, because it is written last. The others try once
        more, for a slot without a new block.
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
        """Return slots resized by doubling or halving: at most the wanted sets, more than half of them, at least ``least``.

        After doubling, a block is found in both copies of its set, because its number modulo 2 n leads to one of them. After
        halving, the more recently used of two blocks stays.
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
        """Return slots with their epochs reduced by a number; blocks of earlier epochs are dropped."""
        moved = self.cells - np.uint64(epochs << EPOCH_SHIFT)
        return BlockSlots(np.where(self.cells >> _EPOCH_SHIFT > epochs, moved, np.uint64(0)))

    def holders(self) -> list[int]:
        """Return the numbers of the sets of holders in use."""
        found: list[int] = np.unique(self.cells & _HOLDERS).tolist()
        return found

    def renamed(self, holders: Sequence[int]) -> BlockSlots:
        """Return slots with new numbers for the sets of holders, indexed by the old numbers."""
        ids = self.cells & _HOLDERS
        return BlockSlots(self.cells - ids + np.array(holders, dtype=np.uint64)[ids.view(np.int64)])

    def _sets(self, blocks: Blocks) -> NDArray[np.int64]:
        """Return the set of each block."""
        return (blocks % self._modulus).view(np.int64)

    def _oldest(self, sets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the least recently used slot of each set."""
        slots: NDArray[np.int64] = self.cells.take(sets, axis=0).argmin(axis=1)
        slots += sets << 2
        return slots


def _tags(blocks: Blocks) -> Blocks:
    """Return the tags of blocks, at their bit position in a slot."""
    tags = blocks >> _TAG_SHIFT
    tags &= _TAG
    return tags
