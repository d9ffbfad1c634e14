"""Maglev's turns and fill beside their definitions, and figures and orders that may not change between versions."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from balancekit.hashing import AnchorHash, BoundedPlacement, HashRing, JumpHash, MaglevTable, RendezvousHash
from balancekit.hashing._maglev_fill import populate, turns
from balancekit.hashing._sizing import expected_peak


def by_hand(offsets, skips, order):
    """Fill slots by the paper's pseudocode: at its turn, a node takes the next free slot of its permutation."""
    size = len(order)
    table, place = [None] * size, [0] * len(offsets)
    for node in order:
        while True:
            slot = (offsets[node] + place[node] * skips[node]) % size
            place[node] += 1
            if table[slot] is None:
                table[slot] = node
                break
    return table


@pytest.mark.parametrize("size", [2, 3, 5, 31, 37, 67, 101, 4099])
@pytest.mark.parametrize("nodes", [1, 2, 7])
def test_the_table_is_that_of_the_pseudocode(size, nodes):
    """Slot by slot, for tables shorter and longer than the end that is filled in another way."""
    rng = Random(size * nodes)
    offsets = [rng.randrange(size) for _ in range(nodes)]
    skips = [rng.randrange(1, size) for _ in range(nodes)]
    order = [rng.randrange(nodes) for _ in range(size)]
    assert populate(offsets, skips, order) == by_hand(offsets, skips, order)


@pytest.mark.parametrize(
    "weights",
    [
        [1.0],
        [2.0, 2.0, 2.0],
        [1.0, 0.5],
        [0.5, 1.0],
        [10.0, 30.0, 20.0],
        [1.0, 0.3, 0.9],
        [7.0, 1.0, 1.0, 5.0],
    ],
)
def test_a_node_has_a_turn_whenever_its_share_of_rounds_is_whole(weights):
    """In round r, nodes in their order, each whose multiple of its weight over the greatest has reached a whole number."""
    order, round_ = [], 0
    had = [0] * len(weights)
    while len(order) < 97:
        round_ += 1
        for node, weight in enumerate(weights):
            whole = int(round_ * weight / max(weights) + 1e-9)
            order += [node] * (whole - had[node])
            had[node] = whole
    assert turns(weights, 97) == order[:97]


def test_expected_peaks():
    """One node has a peak of 1.0. With more nodes the peak is higher, and with more points lower."""
    assert expected_peak(1, 150) == pytest.approx(1.0, abs=1e-6)
    assert expected_peak(1, 1) == pytest.approx(1.0, abs=1e-3)
    assert expected_peak(2, 1) == pytest.approx(1.5, abs=1e-3)  # the greater of two exponential times
    assert expected_peak(3, 1) == pytest.approx(1.0 + 1 / 2 + 1 / 3, abs=1e-3)
    assert expected_peak(100, 150) == pytest.approx(1.217, abs=5e-4)


def test_a_bound_of_one_shares_out_exactly():
    """With a factor of 1, no node ever has more than its share of the keys placed, rounded up."""
    placed = BoundedPlacement(HashRing(["a", "b", "c"], vnodes=7), factor=1.0)
    counts = dict.fromkeys("abc", 0)
    for number in range(1, 61):
        counts[placed.place(f"k{number}")] += 1
        assert max(counts.values()) == -(-number // 3)


def order(structure, key):
    """Return the order in which a key tries all nodes, as one word."""
    return "".join(structure.candidates(key))


@pytest.mark.parametrize(
    ("structure", "orders"),
    [
        (HashRing(list("abcdef"), vnodes=20), ["abdfce", "bafdce", "fdaebc"]),
        (MaglevTable(list("abcdef"), size=1009), ["fcbead", "acfbed", "fdaceb"]),
        (RendezvousHash(list("abcdef")), ["feadcb", "cbaedf", "ecdafb"]),
        (AnchorHash(list("abcdef"), capacity=12), ["dabcef", "edfabc", "bfedac"]),
        (JumpHash(list("abcdef")), ["eabcdf", "befacd", "cfedab"]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_orders_of_keys_are_the_same_in_every_version(structure, orders):
    """The whole order in which three keys try six nodes is pinned, the same in every process, host and version."""
    assert [order(structure, key) for key in ("user:1", "user:2", 3)] == orders


@pytest.mark.parametrize("left", [1, 2, 3])
def test_anchors_that_have_lost_nearly_all_agree_for_one_key_and_for_many(left):
    """Down to one node, in any order of removal, anchors give one key and many keys the same owners."""
    nodes = [f"n{k}" for k in range(12)]
    for seed in range(5):
        anchor = AnchorHash(nodes, capacity=14)
        for node in Random(seed).sample(nodes, len(nodes) - left):
            anchor.remove(node)
        keys = list(range(300))
        found = [anchor.nodes[owner] for owner in anchor.lookup_many(keys)]
        assert found == [anchor.lookup(key) for key in keys]
        assert len(set(found)) == left
        assert list(islice(anchor.candidates(5), 1)) == [anchor.lookup(5)]


def test_a_placement_follows_weights_that_change():
    """With the same nodes and other weights, the bound is that of the new weights."""
    ring = HashRing({"a": 1, "b": 1}, vnodes=7)
    placed = BoundedPlacement(ring, factor=1.0)
    for number in range(8):
        placed.place(number)
    assert placed.loads == {"a": 4, "b": 4}
    ring.replace({"a": 3, "b": 1})
    for number in range(92):
        placed.place(number)
    assert placed.loads == {"a": 75, "b": 25}
