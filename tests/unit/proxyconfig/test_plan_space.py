"""Divisions of small ranges of hashes, compared with every hash looked up one by one."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from random import Random

import numpy as np
import pytest

from balancekit.proxyconfig._plan_space import IP_HASH, Arcs, Levels, Slots, moved, networks

SIZE = 60


def drawn_ring(rng):
    """Return the ends of a random ring, and the owner of each hash by looking it up."""
    points = sorted(rng.sample(range(SIZE), rng.randint(1, 7)))
    ends = [(point, rng.choice("abc")) for point in points]
    return ends, [ends[bisect_left(points, hash) % len(ends)][1] for hash in range(SIZE)]


@pytest.mark.parametrize("seed", range(40))
def test_arcs_are_compared_hash_by_hash(seed):
    """Shares and the moved part of two rings are those of all their hashes, beyond the last end too."""
    rng = Random(seed)
    (ours, first), (theirs, second) = drawn_ring(rng), drawn_ring(rng)
    before, after = Arcs("h", SIZE, ours), Arcs("h", SIZE, theirs)
    assert before.shares() == {name: count / SIZE for name, count in Counter(first).items()}
    part = sum(a != b for a, b in zip(first, second, strict=True)) / SIZE
    assert moved(before, after) == (part, True)
    assert moved(Levels("h", [before] * 100), Levels("h", [after] * 100))[0] == pytest.approx(part)


@pytest.mark.parametrize("seed", range(40))
def test_tables_of_any_sizes_are_compared_hash_by_hash(seed):
    """The moved part is that of all hashes below the least common multiple of the sizes."""
    rng = Random(seed)
    first, second = (rng.choices("abc", k=rng.randint(1, 12)) for _ in range(2))
    whole = math.lcm(len(first), len(second))
    changed = sum(first[hash % len(first)] != second[hash % len(second)] for hash in range(whole))
    assert moved(Slots("h", first), Slots("h", second)) == (pytest.approx(changed / whole), True)


def test_other_hashes_are_independent():
    """Of two halves in two hashes half of the keys move, and the answer says that it is expected."""
    assert moved(Slots("x", ["a", "b"]), Slots("y", ["a", "b"])) == (0.5, False)


def test_every_network_has_a_remainder():
    """The counts of remainders are those of ``ip_hash`` over all networks of three bytes."""
    rests = np.array([89])
    for _ in range(3):
        rests = ((rests * 113)[:, None] + np.arange(256)).ravel() % IP_HASH
    assert list(networks()) == np.bincount(rests, minlength=IP_HASH).tolist()
