"""Slots of blocks: what is placed is found by its number, and keeps its fact until something newer needs the place."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from balancekit.inference._block_slots import EPOCH_SHIFT, TAG, TAG_SHIFT, WAYS, BlockSlots


def numbers(count, seed=1):
    """Return numbers of blocks that share nothing."""
    rng = Random(seed)
    return np.array([rng.getrandbits(64) for _ in range(count)], dtype=np.uint64)


def fact(epoch, holders):
    """Return a fact."""
    return epoch << EPOCH_SHIFT | holders


def facts_of(slots, blocks):
    """Return the fact of each block, 0 if it has none, by a walk over the slots of its set."""
    cells, sets = slots.view
    found = []
    for number in blocks.tolist():
        tag, at = number >> TAG_SHIFT & TAG, number % sets * WAYS
        there = [cell ^ tag for cell in cells[at : at + WAYS].tolist() if cell and not (cell ^ tag) & TAG]
        found.append(max(there, default=0))
    return found


def test_what_is_placed_has_the_fact_of_its_prompt():
    """Blocks of two prompts that are placed together have the facts of their prompts; another has none."""
    slots, one, two = BlockSlots.empty(64), numbers(20), numbers(20, seed=2)
    slots.place([(one, fact(70, 1)), (two, fact(70, 2))])
    assert facts_of(slots, one) == [fact(70, 1)] * 20
    assert facts_of(slots, two) == [fact(70, 2)] * 20
    assert facts_of(slots, numbers(20, seed=3)) == [0] * 20


def test_a_stamp_changes_known_blocks_only():
    """Stamped blocks have the new fact, those beside them the old one, and unknown ones still none."""
    slots, blocks, unknown = BlockSlots.empty(64), numbers(30), numbers(5, seed=2)
    slots.place([(blocks, fact(70, 1))])
    slots.stamp(np.concatenate([blocks[:10], unknown]), fact(0xFFFF, 0xFFFF))
    assert facts_of(slots, blocks) == [fact(0xFFFF, 0xFFFF)] * 10 + [fact(70, 1)] * 20
    assert facts_of(slots, unknown) == [0] * 5


def test_a_new_block_takes_the_place_used_longest_ago():
    """In one full set each new block takes the place of the one with the least epoch, in that order."""
    slots, old, new = BlockSlots.empty(1), numbers(4), numbers(4, seed=2)
    for at, epoch in enumerate((73, 71, 74, 72)):
        slots.place([(old[at : at + 1], fact(epoch, 1))])
    for at, gone in enumerate((1, 3, 0, 2)):
        assert facts_of(slots, old)[gone] != 0
        slots.place([(new[at : at + 1], fact(80, 2))])
        assert facts_of(slots, old)[gone] == 0
        assert facts_of(slots, new[: at + 1]) == [fact(80, 2)] * (at + 1)


@pytest.mark.parametrize(("wanted", "sets"), [(256, 256), (500, 256), (64, 64), (10, 32)])
def test_blocks_are_found_after_doubling_and_halving(wanted, sets):
    """Slots fit what is wanted by powers of two, not below the least; where two come together, the one used last stays."""
    slots, blocks, later = BlockSlots.empty(128), numbers(40), numbers(40, seed=2)
    slots.place([(blocks, fact(70, 3))])
    slots.place([(later, fact(71, 3))])
    before = facts_of(slots, blocks), facts_of(slots, later)
    fitted = slots.fitted(wanted, least=32)
    assert len(fitted) == sets
    after = facts_of(fitted, blocks), facts_of(fitted, later)
    if sets >= 128:
        assert after == before
    else:
        assert after[0].count(fact(70, 3)) < after[1].count(fact(71, 3))


def test_epochs_move_and_holders_are_renamed():
    """Epochs become less by the same, and what had no more is forgotten; holders have their new numbers."""
    slots, old, new = BlockSlots.empty(64), numbers(8), numbers(8, seed=2)
    slots.place([(old, fact(100, 1)), (new, fact(101, 2))])
    moved = slots.earlier(100)
    assert facts_of(moved, old) == [0] * 8
    assert facts_of(moved, new) == [fact(1, 2)] * 8
    assert moved.holders() == [0, 2]
    assert facts_of(moved.renamed([0, 0, 7]), new) == [fact(1, 7)] * 8
