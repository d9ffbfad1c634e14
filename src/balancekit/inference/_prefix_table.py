"""A table of the endpoints that have each leading part of prompts.

There is one table for all endpoints of a pool. The number of a block leads to the set of its holders, so a prompt is looked
up once, whatever the number of endpoints. An endpoint that exceeds its capacity loses its least recently used blocks.

*Layout.* Each block has a slot of :class:`BlockSlots` with the epoch of its last use and the set of its holders. Blocks with
equal holders share one set. Ages are in epochs of a 32nd of the pool's capacity, so blocks are dropped in order of least
recent use up to two epochs. New blocks are placed sixteen prompts at a time, or earlier if one of them is looked up.

*Guarantee.* The table contains only recorded blocks, up to equal tags in one set: 4 of 2**32 for an absent block. Recorded
blocks may be lost early in full sets: a few percent when endpoints are full. Since a block implies all before it, and the
first block of a prompt is the most recently used, most losses have no effect. The age of a block is that of its last use by
any of its holders.

Cost: a few single items per look-up, some 3 microseconds. A dozen array operations place the new blocks of sixteen prompts, and
eight stamp those used again after an epoch; flat in the number of endpoints. At most 11 bytes per block and endpoint.

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

MAX_CAPACITY: Final = 1 << 40
"""The largest capacity: more blocks than any cache holds. Whatever it is, the table has at most ``MAX_SETS``."""
MAX_RATIO: Final = 1.3
"""The slots per block of capacity: 8 * 1.3 < 11 bytes."""
MIN_SETS: Final = 64
MAX_SETS: Final = 1 << 20
"""The most slots, 34 MB; pools with a larger total capacity drop blocks earlier."""
NO_BLOCK: Final = (0, -1, 0)
"""The initial end of the first run of a look-up, its block's number and its fact: none."""
EPOCHS: Final = 32
"""The epochs in which a pool takes as many blocks as its capacity."""
MAX_AGE: Final = 63
"""The most epochs that a block is kept; one less than the number of counters, a power of two."""
SUM: Final = MAX_AGE + 1
"""The index of the sum in the counters of an endpoint."""
MAX_LAG: Final = 1
"""The epochs by which a block's stamp may lag its last use; a block in steady use is stamped every second epoch."""
MAX_PENDING: Final = 16
"""The number of prompts whose new blocks are placed together."""
MAX_EPOCH: Final = 0xFFFF
MAX_HOLDER_SETS: Final = 0x1_0000


@final
class PrefixTable(StateRepr, prints=("capacity",)):
    """A table of the endpoints that have each leading part of prompts.

    Parameters
    ----------
    capacity
        Blocks that an endpoint holds, 1 to 2**40.

    Raises
    ------
    ConfigurationError
        If ``capacity`` is not a whole number from 1 to 2**40.

    Example
    -------
    >>> from balancekit.inference import PrefixTable, prompt_blocks
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
        self.capacity: int = valid.integer("capacity", capacity, minimum=1, maximum=MAX_CAPACITY)
        self.bits: dict[str, int] = {}
        """The bit of each endpoint in sets of holders, by name."""
        # blocks by epoch of their last use, modulo 64; last, their sum
        self._counts: dict[str, list[int]] = {}
        self._horizons: dict[str, int] = {}  # blocks that an endpoint used before this epoch are dropped
        self._per_epoch = 1
        self._clear(0)

    def _clear(self, sets: int) -> None:
        self._install(BlockSlots.empty(sets))
        self._epoch = MAX_AGE + 1
        self._fresh = 0
        self._pending: dict[
            int, tuple[Blocks, int]
        ] = {}  # new blocks that are not placed yet, by their first block
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
        """Return the number of placed blocks, including dropped ones."""
        self._flush()
        return int(np.count_nonzero(self._slots.cells))

    @property
    def nbytes(self) -> int:
        """The bytes of its array."""
        return self._slots.cells.nbytes

    # ------------------------------------------------------------------ endpoints

    def resize(self, names: Iterable[str]) -> None:
        """Set the endpoints; drop the blocks of removed ones. O(blocks) if the table grows or shrinks."""
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
        """Drop the blocks of an endpoint whose engine has restarted. O(sets of holders)."""
        bit = self.bits.get(name)
        if bit is None:
            raise ConfigurationError("name", name, "an endpoint of the table")
        self._holders = [holders & ~bit for holders in self._holders]
        self._holder_ids = {holders: id for id, holders in enumerate(self._holders)}
        self._counts[name] = [0] * (MAX_AGE + 2)
        self._horizons[name] = self._epoch
        self._changed()

    def _changed(self) -> None:
        """Drop cached results of look-ups, because the holders of blocks have changed."""
        self._alive.clear()
        self._recent = NO_BLOCK

    # ------------------------------------------------------------------ blocks

    def find(self, blocks: Blocks) -> PrefixMatch:
        """Look up the blocks of a prompt, the first 2,048 of them. O(runs x log(blocks)).

        If two blocks have equal facts, all blocks between them have the same fact: their holders and last uses lie between
        those of the two. So the ends of runs are found by bisection.
        """
        if blocks.size > MAX_BLOCKS:
            blocks = blocks[:MAX_BLOCKS]
        numbers, last = blocks.data, blocks.size - 1
        guess, number, fact = self._recent
        if (
            guess < last
            and numbers[guess] == number  # the same prefix as before, and no block after it
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
        # Read each block once: a signal handler that picks may change its fact between two reads.
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
        """Return the epoch and current holders of a block; 0 if it has none."""
        cells, sets = self._view
        at, tag = number % sets * WAYS, number >> TAG_SHIFT & TAG
        fact = cells[at] ^ tag
        if not fact & TAG and (self._alive.get(fact) or self._holding(fact)):
            return fact
        # A block that was dropped and recorded again may occur twice.
        for slot in (at + 1, at + 2, at + 3):
            fact = cells[slot] ^ tag
            if not fact & TAG and (self._alive.get(fact) or self._holding(fact)):
                return fact
        return 0

    def _holding(self, fact: int) -> int:
        """Return the current holders of a block."""
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
        """Record that a prompt, as just found by :meth:`find`, goes to an endpoint. O(blocks)."""
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
        """Place new blocks."""
        if self._pending:
            prompts = list(self._pending.values())
            self._pending.clear()
            self._recent = NO_BLOCK
            self._slots.place(prompts)

    def _age(self, name: str) -> None:
        """Drop blocks beyond an endpoint's capacity; start a new epoch after enough new blocks."""
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
        """Renumber the sets of holders in use; drop everything if there are too many of them."""
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
