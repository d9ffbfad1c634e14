"""A table of which endpoints have which leading parts of prompts.

One table for all endpoints of a pool: the number of a block leads to the set of its holders, so a prompt is looked up
once, whatever the number of endpoints. Each endpoint's blocks are forgotten in the order of their last use once it has
more than its capacity.

*Layout.* A slot of :class:`BlockSlots` for each block: its number leads to the epoch of its last use and to the set of its
holders, which is kept once for all blocks that have the same. Ages are in epochs, a 32nd of what the pool holds, so the order
of forgetting is that of least recent use up to two epochs. New blocks get their places sixteen prompts at a time, or
earlier if one of them is looked up.

*Guarantee.* Nothing is believed that was not recorded, up to equal tags in one set: 4 of 2**32 for a block that is not there.
What was recorded may be lost early, by sets that are full: a few in a hundred blocks when endpoints are full. A block stands for
all before it, and the first of a prompt is used as recently as any, so a lost one is mostly passed over. A block that several
hold is as recent for all of them as for the one that used it last.

Cost: a few single items for a look-up, some 3 microseconds; a dozen array operations for the new blocks of sixteen prompts, and
eight for those that are used again after an epoch; flat in the number of endpoints. 11 bytes for each block and endpoint at most.

Sans-IO; one thread at a time.

Source: holders of blocks as a bit set, as in llm-d's approximate index.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

import numpy as np

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit.errors import ConfigurationError
from balancekit.inference._block_slots import EPOCH_SHIFT, HOLDERS, TAG, TAG_SHIFT, WAYS, BlockSlots
from balancekit.inference._blocks import MAX_BLOCKS, Blocks
from balancekit.inference._prefix_match import PrefixMatch

__all__ = ["PrefixTable"]

MAX_RATIO: Final = 1.3
"""Slots for each block that endpoints can hold: 8 * 1.3 < 11 bytes."""
MIN_SETS: Final = 64
MAX_SETS: Final = 1 << 20
"""34 MB: pools whose endpoints hold more together forget earlier."""
NO_BLOCK: Final = (0, -1, 0)
"""Where the first run of a look-up ended, the number of that block and its fact: none."""
EPOCHS: Final = 32
"""In which a pool takes as many blocks as it holds."""
MAX_AGE: Final = 63
"""Epochs that a block is believed at most; one less than a power of two, of which counters are kept."""
SUM: Final = MAX_AGE + 1
"""Where the counters of an endpoint have their sum."""
MAX_LAG: Final = 1
"""Epochs that the last use of a block may be ahead of its stamp: what is in steady use is stamped once in two."""
MAX_PENDING: Final = 16
"""Prompts whose new blocks are given their places together."""
MAX_EPOCH: Final = 0xFFFF
MAX_HOLDER_SETS: Final = 0x1_0000


@final
class PrefixTable(StateRepr, prints=("capacity",)):
    """Which endpoints have which leading parts of prompts.

    Parameters
    ----------
    capacity
        Blocks that an endpoint holds, >= 1.

    Example
    -------
    >>> from balancekit.inference import prompt_blocks
    >>> table = PrefixTable(1_000)
    >>> table.resize(["a", "b"])
    >>> blocks, _ = prompt_blocks(b"x" * 1_000, 256)
    >>> table.record("a", table.find(blocks))
    >>> match = table.find(blocks[:2])
    >>> match.depth(table.bits["a"]), match.depth(table.bits["b"])
    (2, 0)
    """

    __slots__ = (
        "_alive",
        "_counts",
        "_epoch",
        "_fresh",
        "_holder_ids",
        "_holders",
        "_horizons",
        "_pending",
        "_per_epoch",
        "_recent",
        "_slots",
        "_view",
        "bits",
        "capacity",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity: int = valid.integer("capacity", capacity, minimum=1)
        self.bits: dict[str, int] = {}
        """By name of an endpoint, its bit in sets of holders."""
        # blocks by epoch of their last use, modulo 64; last, their sum
        self._counts: dict[str, list[int]] = {}
        self._horizons: dict[str, int] = {}  # what an endpoint used before this epoch, it has forgotten
        self._per_epoch = 1
        self._clear(0)

    def _clear(self, sets: int) -> None:
        self._install(BlockSlots.empty(sets))
        self._epoch = MAX_AGE + 1
        self._fresh = 0
        self._pending: dict[int, tuple[Blocks, int]] = {}  # new blocks without a place, by their first
        self._holders: list[int] = [0]
        self._holder_ids: dict[int, int] = {0: 0}
        self._alive: dict[int, int] = {}
        self._recent: tuple[int, int, int] = NO_BLOCK
        for name in self.bits:
            self._counts[name] = [0] * (MAX_AGE + 2)
            self._horizons[name] = 1

    def _install(self, slots: BlockSlots) -> None:
        self._slots = slots
        self._view: tuple[memoryview[int], int] = slots.view

    def __len__(self) -> int:
        """Return how many blocks have a place, forgotten ones included."""
        self._flush()
        return int(np.count_nonzero(self._slots.cells))

    @property
    def nbytes(self) -> int:
        """The bytes of its array."""
        return self._slots.cells.nbytes

    # ------------------------------------------------------------------ endpoints

    def resize(self, names: Iterable[str]) -> None:
        """Hold these endpoints and no others; forget what has gone. O(blocks) if the table grows or shrinks."""
        wanted = dict.fromkeys(names)
        for name in [name for name in self.bits if name not in wanted]:
            self.forget(name)
            del self.bits[name], self._counts[name], self._horizons[name]
        used = 0
        for bit in self.bits.values():
            used |= bit
        bit = 1
        for name in wanted:
            if name not in self.bits:
                while used & bit:
                    bit <<= 1
                used |= bit
                self.bits[name] = bit
                self._counts[name] = [0] * (MAX_AGE + 2)
                self._horizons[name] = self._epoch
        self._changed()
        self._per_epoch = max(1, self.capacity * len(self.bits) // EPOCHS)
        sets = int(self.capacity * len(self.bits) * MAX_RATIO) // WAYS
        wanted_sets = min(MAX_SETS, max(MIN_SETS, sets // MIN_SETS * MIN_SETS))
        self._flush()
        if len(self._slots):
            self._install(self._slots.fitted(wanted_sets, least=MIN_SETS * 2))
        else:
            self._clear(wanted_sets)

    def forget(self, name: str) -> None:
        """Forget what an endpoint holds: its engine has restarted. O(sets of holders)."""
        bit = self.bits.get(name)
        if bit is None:
            raise ConfigurationError("name", name, "an endpoint of the table")
        self._holders = [holders & ~bit for holders in self._holders]
        self._holder_ids = {holders: id for id, holders in enumerate(self._holders)}
        self._counts[name] = [0] * (MAX_AGE + 2)
        self._horizons[name] = self._epoch
        self._changed()

    def _changed(self) -> None:
        """Forget what was worked out from facts: which endpoints are believed to hold blocks has changed."""
        self._alive.clear()
        self._recent = NO_BLOCK

    # ------------------------------------------------------------------ blocks

    def find(self, blocks: Blocks) -> PrefixMatch:
        """Look up the blocks of a prompt, the first 2,048 of them. O(runs x log(blocks)).

        Of two blocks with equal facts, those between have the same: they have at least the holders of the last, at most those
        of the first, and their last uses are between, too. So the ends of runs are found by bisection.
        """
        if blocks.size > MAX_BLOCKS:
            blocks = blocks[:MAX_BLOCKS]
        numbers, last = blocks.data, blocks.size - 1
        guess, number, fact = self._recent
        if (
            guess < last
            and numbers[guess] == number  # the same beginning as before, and nothing after it
            and not self._fact(numbers[last])
            and not self._fact(numbers[guess + 1])
            and numbers[guess + 1] not in self._pending
        ):
            return PrefixMatch(blocks, [guess, last], [fact, 0], [(self._holding(fact), guess + 1)])
        fact = self._fact(numbers[0])
        if not fact:
            if numbers[0] in self._pending:
                self._flush()
                return self.find(blocks)
            return PrefixMatch(blocks, [last], [0], [])
        ends, facts = self._bisect(numbers, last, fact)
        self._recent = ends[0], numbers[ends[0]], fact
        if self._pending and 0 in facts and numbers[ends[facts.index(0) - 1] + 1] in self._pending:
            self._flush()
            return self.find(blocks)
        runs = [(self._holding(fact), end + 1) for end, fact in zip(ends, facts, strict=True) if fact]
        return PrefixMatch(blocks, ends, facts, runs)

    def _bisect(self, numbers: memoryview[int], last: int, fact: int) -> tuple[list[int], list[int]]:
        """Return the last block of each run and its fact, for a prompt whose first block has this one."""
        at = 0
        ends: list[int] = []
        facts: list[int] = []
        ahead = [(last, self._fact(numbers[last]))]
        guess = self._recent[0]
        # Each block once: a signal handler that picks may change a fact between two looks at the same one.
        ahead += [(place, self._fact(numbers[place])) for place in (guess + 1, guess) if 0 < place < last]
        while ahead:
            end, there = ahead[-1]
            if there == fact:
                at, _ = ahead.pop()
            elif end == at + 1:
                ends.append(at)
                facts.append(fact)
                at, fact = ahead.pop()
            else:
                middle = (at + end) >> 1
                ahead.append((middle, self._fact(numbers[middle])))
        ends.append(last)
        facts.append(fact)
        return ends, facts

    def _fact(self, number: int) -> int:
        """Return the epoch and holders of a block, 0 if it has none that has not forgotten it."""
        cells, sets = self._view
        at, tag = number % sets * WAYS, number >> TAG_SHIFT & TAG
        fact = cells[at] ^ tag
        if not fact & TAG and (self._alive.get(fact) or self._holding(fact)):
            return fact
        # A block that was forgotten, and recorded again, may be there twice.
        for slot in (at + 1, at + 2, at + 3):
            fact = cells[slot] ^ tag
            if not fact & TAG and (self._alive.get(fact) or self._holding(fact)):
                return fact
        return 0

    def _holding(self, fact: int) -> int:
        """Return those holders of a block that have not forgotten it."""
        found = self._alive.get(fact)
        if found is None:
            epoch, alive = fact >> EPOCH_SHIFT, 0
            if self._epoch - epoch <= MAX_AGE:
                for name, horizon in self._horizons.items():
                    if epoch >= horizon:
                        alive |= self.bits[name]
            found = self._alive[fact] = self._holders[fact & HOLDERS] & alive
        return found

    def record(self, name: str, match: PrefixMatch) -> None:
        """Note that an endpoint is sent a prompt, as :meth:`find` has just found it. O(blocks)."""
        bit, epoch, alive = self.bits[name], self._epoch, self._alive
        counts, recently = self._counts[name], epoch - MAX_LAG << EPOCH_SHIFT
        used = begin = 0
        for last, fact in zip(match.ends, match.facts):  # noqa: B905 - dear
            if fact:
                holders = alive.get(fact) or self._holding(fact)
                if not holders & bit or fact < recently:
                    if holders & bit:
                        age = fact >> EPOCH_SHIFT & MAX_AGE
                        moved = min(last + 1 - begin, counts[age])
                        counts[age] -= moved
                        counts[SUM] -= moved
                    self._recent = NO_BLOCK
                    stamp = epoch << EPOCH_SHIFT | self._id(holders | bit)
                    self._slots.stamp(match.blocks[begin : last + 1], stamp)
                    used += last + 1 - begin
            else:
                blocks = match.blocks[begin : last + 1]
                self._pending[blocks.item(0)] = blocks, epoch << EPOCH_SHIFT | self._id(bit)
                self._fresh += last + 1 - begin
                used += last + 1 - begin
            begin = last + 1
        if used:
            counts[epoch & MAX_AGE] += used
            counts[SUM] += used
            if counts[SUM] > self.capacity or self._fresh >= self._per_epoch:
                self._age(name)
            if len(self._pending) >= MAX_PENDING:
                self._flush()
            if len(self._holders) > MAX_HOLDER_SETS - MAX_BLOCKS - 2:  # that a record may add
                self._compact()

    def _flush(self) -> None:
        """Give new blocks a place."""
        if self._pending:
            prompts = list(self._pending.values())
            self._pending.clear()
            self._recent = NO_BLOCK
            self._slots.place(prompts)

    def _age(self, name: str) -> None:
        """Forget what is beyond an endpoint's capacity; begin a new epoch when enough is new."""
        counts = self._counts[name]
        while counts[SUM] > self.capacity and self._horizons[name] < self._epoch:
            horizon = max(self._horizons[name], self._epoch - MAX_AGE)
            counts[SUM] -= counts[horizon & MAX_AGE]
            counts[horizon & MAX_AGE] = 0
            self._horizons[name] = horizon + 1
            self._changed()
        if self._fresh >= self._per_epoch:
            self._fresh = 0
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        if self._epoch == MAX_EPOCH:  # stamps are of 16 bits: all move down by half
            down = MAX_EPOCH // 2 // (MAX_AGE + 1) * (MAX_AGE + 1)
            self._flush()
            self._install(self._slots.earlier(down))
            self._epoch -= down
            self._horizons = {name: max(1, horizon - down) for name, horizon in self._horizons.items()}
        self._epoch += 1
        for counts in self._counts.values():
            counts[SUM] -= counts[self._epoch & MAX_AGE]
            counts[self._epoch & MAX_AGE] = 0
        self._changed()

    def _id(self, holders: int) -> int:
        """Return the number of a set of holders."""
        found = self._holder_ids.get(holders)
        if found is None:
            found = self._holder_ids[holders] = len(self._holders)
            self._holders.append(holders)
        return found

    def _compact(self) -> None:
        """Give new numbers to the sets of holders in use; forget all if there are too many of them."""
        self._flush()
        used = self._slots.holders()
        if len(used) > MAX_HOLDER_SETS // 2:
            self._clear(len(self._slots))
            return
        kept = {0: 0} | {self._holders[id]: 0 for id in used}
        self._holder_ids = {holders: id for id, holders in enumerate(kept)}
        self._install(self._slots.renamed([self._holder_ids.get(holders, 0) for holders in self._holders]))
        self._holders = list(kept)
        self._changed()
