"""A table of which endpoints have which leading parts of prompts.

One table for all endpoints of a pool: the number of a block leads to the set of its holders, so a prompt is looked up
once, whatever the number of endpoints. Each endpoint's blocks are forgotten in the order of their last use once it has
more than its capacity.

*Layout.* Sets of four slots, as in a processor's cache. A slot is twelve bytes: the block's number, the *epoch* of its last
use, and the number of the set of its holders, which is kept once for all blocks that have the same. A new block takes
the place of the one in its set that was used longest ago. Ages are in epochs, a 32nd of what the pool holds, so the order
of forgetting is that of least recent use up to an epoch.

*Guarantee.* Nothing is believed that was not recorded, up to equal numbers. What was recorded may be lost early, by sets
that are full: a few in a hundred blocks when endpoints are full. As a block stands for all before it, a lost one costs the
blocks after the last that is left. A block that several hold is as recent for all of them as for the one that used it last.

Cost: about 20 array operations for a look-up and as many for a record, some 15 microseconds each for 100 blocks, flat in
the number of endpoints; 16 bytes for each block and endpoint at most.

Sans-IO; one thread at a time.

Source: set-associative caches with last-use replacement; holders of blocks as a bit set, as in llm-d's approximate index.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError
from balancekit.inference._blocks import MAX_BLOCKS, Blocks

__all__ = ["PrefixMatch", "PrefixTable"]

WAYS: Final = 4
"""Slots of a set, written as shifts by 2 below."""
MAX_RATIO: Final = 1.3
"""Slots for each block that endpoints can hold: 12 * 1.3 < 16 bytes."""
MIN_SETS: Final = 64
MAX_SETS: Final = 1 << 19
"""50 MB: pools whose endpoints hold more together forget earlier."""
EPOCHS: Final = 32
"""In which a pool takes as many blocks as it holds."""
MAX_AGE: Final = 63
"""Epochs that a block is believed at most; one less than a power of two, of which counters are kept."""
SUM: Final = MAX_AGE + 1
"""Where the counters of an endpoint have their sum."""
MAX_EPOCH: Final = 0xFFFF
MAX_HOLDER_SETS: Final = 0x1_0000


class PrefixMatch(NamedTuple):
    """Where a prompt's blocks are, as one look-up found it. Good until the table changes."""

    blocks: Blocks
    """The prompt."""
    sets: NDArray[np.int64]
    """The set of each block."""
    ages: NDArray[np.uint32]
    """What the slots of these sets hold, beside numbers: epochs and holders."""
    hits: NDArray[np.int64]
    """Which of these slots hold a block of the prompt, ascending."""
    facts: NDArray[np.uint32]
    """Their epochs and holders."""
    distinct: list[int]
    """The last of each run of equal ones."""
    runs: list[tuple[int, int]]
    """Holders as a bit set, and how many leading blocks they have; the deeper, the later."""

    def depth(self, bit: int) -> int:
        """Return how many leading blocks the endpoint of a bit has."""
        for holders, depth in reversed(self.runs):
            if holders & bit:
                return depth
        return 0


@final
class PrefixTable:
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
        "_facts",
        "_fresh",
        "_holder_ids",
        "_holders",
        "_horizons",
        "_modulus",
        "_numbers",
        "_per_epoch",
        "bits",
        "capacity",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity: int = valid.integer("capacity", capacity, minimum=1)
        self.bits: dict[str, int] = {}
        """By name of an endpoint, its bit in sets of holders."""
        self._counts: dict[
            str, list[int]
        ] = {}  # blocks by epoch of their last use, modulo 64; last, their sum
        self._horizons: dict[str, int] = {}  # what an endpoint used before this epoch, it has forgotten
        self._per_epoch = 1
        self._clear(0)

    def _clear(self, sets: int) -> None:
        self._numbers: NDArray[np.uint64] = np.zeros((sets, WAYS), dtype=np.uint64)
        self._facts: NDArray[np.uint32] = np.zeros((sets, WAYS), dtype=np.uint32)  # epoch << 16 | holders
        self._modulus: np.uint64 = np.uint64(sets)
        self._epoch = MAX_AGE + 1
        self._fresh = 0
        self._holders: list[int] = [0]
        self._holder_ids: dict[int, int] = {0: 0}
        self._alive: dict[int, int] = {}
        for name in self.bits:
            self._counts[name] = [0] * (MAX_AGE + 2)
            self._horizons[name] = 1

    def __len__(self) -> int:
        """Return how many blocks have a place, forgotten ones included."""
        return int(np.count_nonzero(self._facts))

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays."""
        return self._numbers.nbytes + self._facts.nbytes

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
        self._alive.clear()
        self._per_epoch = max(1, self.capacity * len(self.bits) // EPOCHS)
        sets = int(self.capacity * len(self.bits) * MAX_RATIO) // WAYS
        self._fit(min(MAX_SETS, max(MIN_SETS, sets // MIN_SETS * MIN_SETS)))

    def _fit(self, wanted: int) -> None:
        """Double or halve the table until it has at most the wanted sets, and more than half of them.

        A set whose number is that of a block modulo n is found again, modulo 2 n, in both copies of the table.
        """
        sets = len(self._facts)
        if not sets:
            self._clear(wanted)
            return
        while sets * 2 <= wanted:
            self._numbers = np.concatenate([self._numbers, self._numbers])
            self._facts = np.concatenate([self._facts, self._facts])
            sets *= 2
        while sets > max(wanted, MIN_SETS * 2) and not sets & 1:
            sets //= 2
            older = self._facts[:sets] < self._facts[sets:]
            self._numbers = np.where(older, self._numbers[sets:], self._numbers[:sets])
            self._facts = np.where(older, self._facts[sets:], self._facts[:sets])
        self._modulus = np.uint64(sets)

    def forget(self, name: str) -> None:
        """Forget what an endpoint holds: its engine has restarted. O(sets of holders)."""
        bit = self.bits.get(name)
        if bit is None:
            raise ConfigurationError("name", name, "an endpoint of the table")
        self._holders = [holders & ~bit for holders in self._holders]
        self._holder_ids = {holders: id for id, holders in enumerate(self._holders)}
        self._counts[name] = [0] * (MAX_AGE + 2)
        self._horizons[name] = self._epoch

    # ------------------------------------------------------------------ blocks

    def find(self, blocks: Blocks) -> PrefixMatch:
        """Look up the blocks of a prompt. O(blocks)."""
        sets = (blocks % self._modulus).view(np.int64)
        ages = self._facts.take(sets, axis=0)
        hits = (self._numbers.take(sets, axis=0) == blocks[:, None]).ravel().nonzero()[0]
        facts = ages.take(hits)
        if not hits.size:
            return PrefixMatch(blocks, sets, ages, hits, facts, [], [])
        ends = (facts[1:] != facts[:-1]).nonzero()[0].tolist()
        ends.append(facts.size - 1)
        distinct: list[int] = [facts.item(at) for at in ends]
        runs: list[tuple[int, int]] = []
        for at, fact in zip(ends, distinct, strict=True):
            holders = self._holding(fact)
            if holders:
                runs.append((holders, (hits.item(at) >> 2) + 1))
        return PrefixMatch(blocks, sets, ages, hits, facts, distinct, runs)

    def _holding(self, fact: int) -> int:
        """Return those holders of a block that have not forgotten it."""
        epoch = fact >> 16
        alive = self._alive.get(epoch)
        if alive is None:
            alive = 0
            if self._epoch - epoch <= MAX_AGE:
                for name, horizon in self._horizons.items():
                    if epoch >= horizon:
                        alive |= self.bits[name]
            self._alive[epoch] = alive
        return self._holders[fact & 0xFFFF] & alive

    def record(self, name: str, match: PrefixMatch) -> None:
        """Note that an endpoint is sent a prompt, as :meth:`find` has just found it. O(blocks)."""
        bit = self.bits[name]
        epoch, facts, distinct = self._epoch, match.facts, match.distinct
        fresh = epoch << 16 | self._id(bit)
        count, known = match.blocks.size, facts.size
        if distinct == [fresh] and known == count:
            return
        counts = self._counts[name]
        if known:
            updated: int | NDArray[np.uint32] = fresh
            for fact in {*distinct}:
                holders = self._holding(fact)
                if holders & bit:
                    moved = known if len(distinct) == 1 else int(np.count_nonzero(facts == fact))
                    moved = min(moved, counts[(fact >> 16) & MAX_AGE])
                    counts[(fact >> 16) & MAX_AGE] -= moved
                    counts[SUM] -= moved
                if holders & ~bit:
                    shared = epoch << 16 | self._id(holders | bit)
                    updated = (
                        shared if len(distinct) == 1 else np.where(facts == fact, np.uint32(shared), updated)
                    )
            self._facts.put((match.sets.take(match.hits >> 2) << 2) + (match.hits & 3), updated)
        if known < count:
            self._insert(match, fresh)
            self._fresh += count - known
        counts[epoch & MAX_AGE] += count
        counts[SUM] += count
        self._age(name)

    def _insert(self, match: PrefixMatch, fact: int) -> None:
        """Give the unknown blocks of a prompt a place: that of the block in their set used longest ago."""
        blocks, sets, ages = match.blocks, match.sets, match.ages
        if match.hits.size:
            unknown = np.ones(blocks.size, dtype=bool)
            unknown[match.hits >> 2] = False
            blocks, sets, ages = blocks[unknown], sets[unknown], ages[unknown]
        slots = (sets << 2) + ages.argmin(axis=1)
        self._numbers.put(slots, blocks)
        self._facts.put(slots, fact)

    def _age(self, name: str) -> None:
        """Forget what is beyond an endpoint's capacity; begin a new epoch when enough is new."""
        counts = self._counts[name]
        while counts[SUM] > self.capacity and self._horizons[name] < self._epoch:
            horizon = max(self._horizons[name], self._epoch - MAX_AGE)
            counts[SUM] -= counts[horizon & MAX_AGE]
            counts[horizon & MAX_AGE] = 0
            self._horizons[name] = horizon + 1
            self._alive.clear()
        if self._fresh >= self._per_epoch:
            self._fresh = 0
            self._begin_epoch()
        if len(self._holders) > MAX_HOLDER_SETS - MAX_BLOCKS - 2:  # that a record may add
            self._compact()

    def _begin_epoch(self) -> None:
        if self._epoch == MAX_EPOCH:  # stamps are of 16 bits: all move down by half
            down = MAX_EPOCH // 2 // (MAX_AGE + 1) * (MAX_AGE + 1)
            self._facts = np.where(
                self._facts >> 16 > down, self._facts - np.uint32(down << 16), np.uint32(0)
            )
            self._epoch -= down
            self._horizons = {name: max(1, horizon - down) for name, horizon in self._horizons.items()}
        self._epoch += 1
        for counts in self._counts.values():
            counts[SUM] -= counts[self._epoch & MAX_AGE]
            counts[self._epoch & MAX_AGE] = 0
        self._alive.clear()

    def _id(self, holders: int) -> int:
        """Return the number of a set of holders."""
        found = self._holder_ids.get(holders)
        if found is None:
            found = self._holder_ids[holders] = len(self._holders)
            self._holders.append(holders)
        return found

    def _compact(self) -> None:
        """Give new numbers to the sets of holders in use; forget all if there are too many of them."""
        used = np.unique(self._facts & np.uint32(0xFFFF)).tolist()
        if len(used) > MAX_HOLDER_SETS // 2:
            self._clear(len(self._facts))
            return
        kept = {0: 0} | {self._holders[id]: 0 for id in used}
        self._holder_ids = {holders: id for id, holders in enumerate(kept)}
        renamed = np.array([self._holder_ids.get(holders, 0) for holders in self._holders], dtype=np.uint32)
        self._facts = (self._facts & np.uint32(0xFFFF_0000)) | renamed[self._facts & np.uint32(0xFFFF)]
        self._holders = list(kept)
