"""How even are the structures? Published values and closed forms, with the tolerance each allows."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from balancekit.hashing import (
    AnchorHash,
    BoundedPlacement,
    HashRing,
    JumpHash,
    MaglevTable,
    MultiProbeHash,
    RendezvousHash,
    expected_peak,
    jump,
    table_size_for,
    vnodes_for,
)
from balancekit.testing import chi_square_z


def names(count, run=0):
    """Return ids; another run has others."""
    return [f"node-{run}-{number}" for number in range(count)]


def relative(structure):
    """Return all shares over their mean."""
    shares = np.array(list(structure.shares().values()))
    return shares * len(shares)


@pytest.mark.parametrize(("count", "vnodes", "runs"), [(10, 100, 60), (100, 100, 40), (1000, 10, 10)])
def test_the_standard_error_of_a_ring(count, vnodes, runs):
    """The standard error of a ring is ``sqrt((N-1)/(Nv+1))``, within ``5/sqrt(2R(N-1))`` of it over R rings."""
    expected = math.sqrt((count - 1) / (count * vnodes + 1))
    squares = [
        np.mean((relative(HashRing(names(count, run), vnodes=vnodes)) - 1) ** 2) for run in range(runs)
    ]
    # A sum over N shares that sum to one has N - 1 degrees of freedom; the mean square is over N.
    seen = math.sqrt(np.mean(squares) * count / (count - 1))
    expected *= math.sqrt(count / (count - 1))
    assert abs(seen / expected - 1) <= 5 / math.sqrt(2 * runs * (count - 1))


@pytest.mark.parametrize(
    ("count", "vnodes", "peak"),
    [
        (10, 100, 1.159),
        (10, 150, 1.129),
        (100, 100, 1.269),
        (100, 150, 1.217),
        (1000, 100, 1.357),
        (5, 1, 2.283),
    ],
)
def test_the_peak_of_a_ring(count, vnodes, peak):
    """The peak of a ring is the integral of the table, within five standard errors of 40 rings."""
    assert abs(expected_peak(count, vnodes) - peak) < 6e-4
    runs = 40 if count <= 100 else 10
    peaks = [relative(HashRing(names(count, run), vnodes=vnodes)).max() for run in range(runs)]
    assert abs(np.mean(peaks) - peak) <= 5 * np.std(peaks, ddof=1) / math.sqrt(runs) + 0.01 * peak


@pytest.mark.parametrize(
    ("imbalance", "count", "vnodes"),
    [(0.25, 10, 43), (0.10, 10, 248), (0.05, 10, 970), (0.25, 100, 115), (0.10, 100, 665), (0.25, 1000, 194)],
)
def test_points_for_a_wanted_imbalance(imbalance, count, vnodes):
    """The number of points for a wanted imbalance is that of the published sizes."""
    assert vnodes_for(imbalance, count) == vnodes


@pytest.mark.parametrize(("imbalance", "count"), [(0.01, 100), (0.05, 7), (0.5, 1000)])
def test_slots_for_a_wanted_imbalance(imbalance, count):
    """With the slots for a wanted imbalance, no node of the table is farther above the mean."""
    size = table_size_for(imbalance, count)
    assert relative(MaglevTable(names(count), size=size)).max() <= 1 + imbalance + 1e-6


def test_a_node_that_joins_takes_its_part():
    """The part that a joining node takes is Beta(v, Nv), within five standard deviations."""
    count, vnodes = 20, 100
    mean = 1 / (count + 1)
    spread = mean * math.sqrt(count / ((count + 1) * vnodes + 1))
    for run in range(20):
        before, after = (
            HashRing(names(count, run), vnodes=vnodes),
            HashRing(names(count + 1, run), vnodes=vnodes),
        )
        assert abs(before.moved(after) - mean) <= 5 * spread


@pytest.mark.parametrize(("count", "size"), [(1, 7), (3, 7), (10, 251), (100, 65537), (1000, 65537)])
def test_maglev_counts_are_floor_or_ceil(count, size):
    """Every node owns its exact share of the slots, rounded down or up."""
    counts = Counter(MaglevTable(names(count), size=size)._owners.tolist())
    assert set(counts.values()) <= {size // count, -(-size // count)}
    assert sum(counts.values()) == size


@pytest.mark.parametrize("weights", [[5, 3, 2], [1, 10, 100], [0.1, 0.7, 1.3, 2.9], [1] * 50 + [7.5] * 3])
def test_maglev_counts_by_weight(weights):
    """Slots of a weighted Maglev table are within two of the exact share."""
    table = MaglevTable({f"n{k:02}": weight for k, weight in enumerate(weights)}, size=1009)
    counts = np.bincount(table._owners, minlength=len(weights))
    exact = 1009 * np.array(weights) / sum(weights)
    assert np.abs(counts - exact).max() < 2


def test_what_one_failure_changes_in_a_maglev_table():
    """One failure changes 0.676 % of all slots of a Maglev table.

    This is the mean of five, with N = 1000 and M = 65537.
    """
    moved = [
        MaglevTable(names(1000, run)).moved(MaglevTable(names(1000, run)[:-1])) * 100 for run in range(5)
    ]
    assert abs(np.mean(moved) - 0.676) <= 5 * 0.029 / math.sqrt(5)


@pytest.mark.parametrize(
    ("key", "buckets", "bucket"),
    [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)],
)
def test_published_vectors_of_jump_hash(key, buckets, bucket):
    """Jump hash gives the published vectors of Lamping and Veach 2014."""
    assert jump(key, buckets) == bucket


@pytest.mark.parametrize(("probes", "spread"), [(2, 0.577), (5, 0.333), (21, 0.156)])
def test_peak_and_spread_of_multi_probe(probes, spread):
    """Multi-probe has peak k/(k-1) and standard deviation 1/sqrt(2k-1), within five standard errors over 30 rings."""
    found = [relative(MultiProbeHash(names(1000, run), probes=probes)) for run in range(30)]
    for values, expected in (
        ([one.max() for one in found], probes / (probes - 1)),
        ([one.std() for one in found], spread),
    ):
        assert abs(np.mean(values) - expected) <= 5 * np.std(values, ddof=1) / math.sqrt(30) + 0.004


@pytest.mark.parametrize(("capacity", "working"), [(2000, 1000), (1000, 100), (1000, 1000)])
def test_mean_hashes_of_anchor(capacity, working):
    """The mean number of hashes of anchor is ``1 + ln(capacity / working)``, within five standard errors."""
    nodes = names(capacity)
    anchor = AnchorHash(nodes, capacity=capacity)
    chance = np.random.default_rng(7)
    for number in chance.permutation(capacity)[: capacity - working].tolist():
        anchor.remove(nodes[number])
    anchors, heirs = anchor._state[:2]
    hashes = []
    for place in chance.integers(0, 2**32, 20_000).tolist():
        bucket, count = place * capacity >> 32, 1
        while anchors[bucket]:
            place = (place * 2862933555777941757 + bucket + 1) & 0xFFFF_FFFF_FFFF_FFFF  # noqa: PLW2901 - a generator
            before, bucket = anchors[bucket], (place >> 32) * anchors[bucket] >> 32
            while anchors[bucket] >= before:
                bucket = heirs[bucket]
            count += 1
        hashes.append(count)
    expected = 1 + math.log(capacity / working)
    assert abs(np.mean(hashes) - expected) <= 5 * np.std(hashes) / math.sqrt(len(hashes)) + 0.01


@pytest.mark.parametrize(
    "make", [JumpHash, RendezvousHash, AnchorHash, lambda n: AnchorHash(n, capacity=3 * len(n))]
)
@pytest.mark.parametrize("count", [3, 10, 100, 1000])
def test_keys_are_spread_uniformly(make, count):
    """Keys are spread uniformly by chi-square: 300 000 numbers in a row and strings."""
    structure = make(names(count))
    for keys in (np.arange(300_000), [f"user:{number}" for number in range(100_000)]):
        counts = np.bincount(structure.lookup_many(keys), minlength=count)
        z = chi_square_z(dict(enumerate(counts.tolist())), dict.fromkeys(range(count), 1.0))
        assert abs(z) < 4.5


def test_weighted_rendezvous_is_in_proportion():
    """Weighted rendezvous has shares in proportion to weights 5, 3, 2 over 200 000 keys."""
    weights = {"a": 5.0, "b": 3.0, "c": 2.0}
    structure = RendezvousHash(weights)
    owners = Counter(structure.lookup_many(np.arange(200_000)).tolist())
    assert chi_square_z({structure.nodes[k]: n for k, n in owners.items()}, weights) < 4.5


@pytest.mark.parametrize("factor", [1.0, 1.05, 1.25, 2.0])
@pytest.mark.parametrize("make", [lambda w: HashRing(w, vnodes=1), RendezvousHash])
def test_no_bound_is_ever_exceeded(make, factor):
    """No node has more than ``ceil(factor * m * w / W)`` keys at any time, under placements and releases."""
    weights = {f"n{number}": 1.0 + number % 3 for number in range(12)}
    placed, chance, homes = BoundedPlacement(make(weights), factor=factor), np.random.default_rng(3), []
    whole = sum(weights.values())
    for step in range(1_500):
        if homes and chance.random() < 0.3:
            placed.release(homes.pop(int(chance.integers(len(homes)))))
            continue
        home = placed.place(f"key:{step % 50}")
        homes.append(home)
        exact = factor * placed.total * weights[home] / whole
        assert placed.loads[home] <= math.ceil(exact - 1e-9)
    assert Counter(homes) == placed.loads
    assert placed.total == len(homes)


def test_an_infinite_bound_is_the_structure_itself():
    """With an infinite bound every key is placed with its owner."""
    ring = HashRing(names(10))
    placed = BoundedPlacement(ring, factor=1e12)
    assert [placed.place(key) for key in range(500)] == [ring.lookup(key) for key in range(500)]
