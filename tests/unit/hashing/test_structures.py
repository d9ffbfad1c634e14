"""What all structures have in common."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from functools import partial
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancekit._support.splitmix import splitmix64
from balancekit.errors import ConfigurationError, PoolEmptyError, UnknownEndpointError
from balancekit.hashing import (
    AnchorHash,
    HashRing,
    JumpHash,
    MaglevTable,
    MultiProbeHash,
    RendezvousHash,
    hash_function,
    jump,
    keyed,
)
from balancekit.hashing._batch import CHUNK_OF_TEXTS

WEIGHTED = {
    "HashRing": partial(HashRing, vnodes=20),
    "MaglevTable": partial(MaglevTable, size=1009),
    "RendezvousHash": RendezvousHash,
}
EVEN = {
    "AnchorHash": AnchorHash,
    "AnchorHash, half spare": partial(AnchorHash, capacity=40),
    "JumpHash": JumpHash,
    "MultiProbeHash": partial(MultiProbeHash, probes=5),
}
ALL = WEIGHTED | EVEN
REMEMBERS_ORDER = {"JumpHash"}
KEYS = [*range(-50, 400), *[f"key:{number}" for number in range(400)], b"\xff\x00", b"", "", 2**63, "ключ"]

every_structure = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
weighted_structure = pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED)
names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=20, unique=True)


@every_structure
@given(nodes=names)
@settings(max_examples=20)
def test_many_keys_are_looked_up_as_one_by_one(make, nodes):
    """A batch has the owners that single look-ups give, for every type of key and of collection."""
    structure = make(nodes)
    one_by_one = [structure.lookup(key) for key in KEYS]
    assert [structure.nodes[owner] for owner in structure.lookup_many(KEYS)] == one_by_one
    numbers = list(range(-50, 400))
    for dtype in (np.int16, np.int32, np.int64):
        found = structure.lookup_many(np.array(numbers, dtype))
        assert [structure.nodes[owner] for owner in found] == one_by_one[: len(numbers)]
    assert found.dtype == np.int32
    strings = [key for key in KEYS if isinstance(key, str)]
    for many in (strings, tuple(strings), np.array(strings, object), dict.fromkeys(strings)):
        assert [structure.nodes[one] for one in structure.lookup_many(many)] == [
            *map(structure.lookup, strings)
        ]
    assert structure.lookup_many([]).tolist() == []
    assert structure.lookup_many(np.array([], np.int64)).tolist() == []


@every_structure
def test_more_keys_than_a_chunk(make):
    """A batch of more keys than a chunk gives the owners that single look-ups give."""
    structure = make([f"n{number}" for number in range(17)])
    keys = np.arange(2**15 - 3, 2**15 * 2 + 5)
    owners = structure.lookup_many(np.arange(2**15 * 2 + 5))[keys[0] :]
    assert [structure.nodes[owner] for owner in owners[::97]] == [
        structure.lookup(key) for key in keys[::97].tolist()
    ]


@every_structure
def test_more_texts_than_a_chunk(make):
    """A batch of texts has the owners of single look-ups, though some chunks hold texts of all alphabets, bytes or numbers."""
    structure = make([f"n{number}" for number in range(17)])
    keys: list[str | bytes | int] = [f"user:{number}" for number in range(3 * CHUNK_OF_TEXTS + 5)]
    for batch in (keys, [*keys[:-2], "ключ", "\ud800"], ["ключ", *keys], [*keys, b"user:1"], [*keys, 7]):
        found = structure.lookup_many(batch)
        assert len(found) == len(batch)
        assert [structure.nodes[owner] for owner in found] == list(map(structure.lookup, batch))


@every_structure
@given(nodes=names, key=st.text() | st.integers() | st.binary())
@settings(max_examples=30)
def test_candidates_are_all_nodes_once_the_owner_first(make, nodes, key):
    """Candidates are all nodes once, the owner first, in the same order each time."""
    structure = make(nodes)
    found = list(structure.candidates(key))
    assert found[0] == structure.lookup(key)
    assert sorted(found) == sorted(nodes)
    assert found == list(structure.candidates(key))
    assert list(islice(structure.candidates(key), 2)) == found[:2]


@pytest.mark.parametrize("name", sorted(ALL.keys() - REMEMBERS_ORDER))
@given(nodes=names, data=st.data())
@settings(max_examples=15)
def test_owners_do_not_depend_on_the_order_of_nodes(name, nodes, data):
    """The owner of a key does not depend on the order of nodes, except for jump hash."""
    shuffled = data.draw(st.permutations(nodes))
    one, other = ALL[name](nodes), ALL[name](shuffled)
    assert [*map(one.lookup, KEYS)] == [*map(other.lookup, KEYS)]


@every_structure
def test_types_of_keys_agree_where_they_should(make):
    """Text is its UTF-8 bytes; a number is its low 64 bits; numpy's numbers and strings are no others."""
    structure = make([f"n{number}" for number in range(30)])
    for number in range(200):
        assert structure.lookup(f"ключ {number}") == structure.lookup(f"ключ {number}".encode())
        assert (
            structure.lookup(number) == structure.lookup(number + 2**64) == structure.lookup(np.int32(number))
        )
        assert (
            structure.lookup(-number)
            == structure.lookup(2**64 - number)
            == structure.lookup(np.int64(-number))
        )
        assert structure.lookup(str(number)) == structure.lookup(np.str_(number))


@every_structure
@pytest.mark.parametrize("key", [None, True, 1.5, ("a",), bytearray(b"a"), object()])
def test_other_keys_are_refused(make, key):
    """A key of another type is refused in a single look-up, in a batch, and when asking for candidates."""
    structure = make(["a", "b"])
    with pytest.raises(ConfigurationError, match="str, bytes or int"):
        structure.lookup(key)
    with pytest.raises(ConfigurationError, match="str, bytes or int"):
        structure.candidates(key)
    with pytest.raises(ConfigurationError, match="str, bytes or int"):
        structure.lookup_many(["good", key])
    with pytest.raises(ConfigurationError, match="str, bytes or int"):
        structure.lookup_many([1, key])


@every_structure
@pytest.mark.parametrize("keys", ["abc", b"abc", 7, None, np.array([1.5]), np.array([[1, 2]])])
def test_what_is_no_collection_of_keys_is_refused(make, keys):
    """A bare string or another object that is no collection of keys is refused."""
    with pytest.raises(ConfigurationError):
        make(["a", "b"]).lookup_many(keys)


@every_structure
@pytest.mark.parametrize("nodes", ["abc", b"abc", 7, None, ["a", "a"], [""], [1], [None], ["a", 1]])
def test_bad_nodes_are_refused(make, nodes):
    """Each wrong value raises ConfigurationError at construction."""
    with pytest.raises(ConfigurationError):
        make(nodes)


@weighted_structure
@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, 1.1e100, "1", True, None])
def test_bad_weights_are_refused(make, weight):
    """A bad weight is refused; a node that should get nothing is left out instead."""
    with pytest.raises(ConfigurationError, match="weight"):
        make({"a": 1, "b": weight})


@pytest.mark.parametrize("make", EVEN.values(), ids=EVEN)
def test_weights_are_refused_where_they_would_be_ignored(make):
    """A structure that ignores weights refuses a mapping with weights."""
    with pytest.raises(ConfigurationError, match="no weights"):
        make({"a": 1.0})


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"AnchorHash", "AnchorHash, half spare"}))
def test_a_structure_without_nodes_says_so(name):
    """A look-up in a structure without nodes raises an error that says so.

    Candidates and shares are empty.
    """
    structure = ALL[name]([])
    for key in ("a", b"a", 1):
        with pytest.raises(PoolEmptyError, match="no nodes"):
            structure.lookup(key)
        assert list(structure.candidates(key)) == []
    with pytest.raises(PoolEmptyError):
        structure.lookup_many(np.arange(3))
    assert structure.shares() == {}
    assert len(structure) == 0
    assert structure.nodes == ()


@every_structure
def test_shares_are_what_keys_see(make):
    """The share of each node is that of 200 000 keys, within five standard deviations."""
    structure = make([f"n{number}" for number in range(12)])
    keys = 200_000
    counts = np.bincount(structure.lookup_many(np.arange(keys)), minlength=12)
    shares = structure.shares()
    assert math.isclose(sum(shares.values()), 1.0)
    for node, count in zip(structure.nodes, counts.tolist(), strict=True):
        share = shares[node]
        assert abs(count - keys * share) <= 5 * math.sqrt(keys * share * (1 - share)) + 1


@weighted_structure
def test_weighted_shares_are_what_keys_see(make):
    """With weights 1 to 6, each share is that of 200 000 keys and lies near the weight."""
    weights = {f"n{number}": number for number in range(1, 7)}
    structure = make(weights)
    keys = 200_000
    counts = np.bincount(structure.lookup_many(np.arange(keys)), minlength=6)
    for node, count in zip(structure.nodes, counts.tolist(), strict=True):
        share = structure.shares()[node]
        assert abs(count - keys * share) <= 5 * math.sqrt(keys * share * (1 - share)) + 1
        assert abs(share / (weights[node] / 21) - 1) < 5 / math.sqrt(20 * weights[node])
    assert structure.weights == weights


@every_structure
def test_keys_of_an_absent_owner_spread_over_all_others(make):
    """The second candidate of one node's keys is each of the others, not a neighbour alone."""
    structure = make([f"n{number}" for number in range(8)])
    seconds = Counter()
    for key in range(20_000):
        first, second = islice(structure.candidates(key), 2)
        if first == "n3":
            seconds[second] += 1
    assert set(seconds) == {f"n{number}" for number in range(8)} - {"n3"}


@every_structure
def test_another_secret_is_another_arrangement(make):
    """With another secret, keys have other owners."""
    nodes = [f"n{number}" for number in range(10)]
    one, other = make(nodes, hash=keyed(b"a" * 16)), make(nodes, hash=keyed(b"b" * 16))
    stayed = sum(one.lookup(key) == other.lookup(key) for key in range(2_000))
    assert abs(stayed - 200) < 5 * math.sqrt(2_000 * 0.1 * 0.9) + 60
    assert [one.nodes[owner] for owner in one.lookup_many(np.arange(50))] == [*map(one.lookup, range(50))]


@every_structure
def test_it_tells_what_it_is(make):
    """A structure has a length, membership and a representation."""
    structure = make(["a", "b"])
    assert (len(structure), "a" in structure, "c" in structure) == (2, True, False)
    assert "2 nodes" in repr(structure)
    assert structure.weights == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (HashRing, {"vnodes": 0}),
        (HashRing, {"vnodes": 1.5}),
        (HashRing, {"vnodes": 1 << 28}),
        (HashRing, {"hash": "md5"}),
        (HashRing, {"hash": None}),
        (MaglevTable, {"size": 65536}),
        (MaglevTable, {"size": 1}),
        (MaglevTable, {"size": 2}),
        (MaglevTable, {"size": 7.0}),
        (MultiProbeHash, {"probes": 0}),
        (AnchorHash, {"capacity": 2}),
    ],
)
def test_bad_options_are_refused(make, options):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        make(["a", "b", "c"], **options)


@pytest.mark.parametrize("make", [HashRing, AnchorHash])
def test_bad_changes_change_nothing(make):
    """Adding a node twice, removing an unknown one, and a wrong name raise and change nothing."""
    structure = make(["a", "b"])
    before = [*map(structure.lookup, KEYS)]
    for bad in ("a", "", 7, None):
        with pytest.raises(ConfigurationError):
            structure.add(bad)
    for bad in ("c", 7, None):
        with pytest.raises(UnknownEndpointError):
            structure.remove(bad)
    assert [*map(structure.lookup, KEYS)] == before


def test_an_anchor_keeps_its_last_node_and_its_capacity():
    """Removing the last node of an anchor, and exceeding its capacity, raise an error that says why."""
    anchor = AnchorHash(["a", "b"], capacity=2)
    with pytest.raises(ConfigurationError, match="capacity"):
        anchor.add("c")
    anchor.remove("a")
    with pytest.raises(ConfigurationError, match="at least one"):
        anchor.remove("b")


def test_a_composite_size_is_refused_with_the_next_prime():
    """A composite table size is refused by an error that names the next prime."""
    with pytest.raises(ConfigurationError, match="65537"):
        MaglevTable(["a"], size=65536)


def test_a_ring_may_lose_its_last_node_and_gain_one():
    """A ring that lost its last node raises on lookup, and works again with a new one."""
    ring = HashRing()
    ring.add("a", weight=2)
    assert ring.lookup("x") == "a"
    ring.remove("a")
    with pytest.raises(PoolEmptyError):
        ring.lookup("x")
    ring.replace({"b": 3})
    assert (ring.lookup("x"), ring.weights) == ("b", {"b": 3.0})


def test_a_copy_of_a_ring_goes_its_own_way():
    """A change of a ring does not change its copy, nor the reverse."""
    ring = HashRing(["a", "b"])
    copy = ring.copy()
    ring.remove("a")
    copy.add("c")
    assert (ring.nodes, copy.nodes) == (("b",), ("a", "b", "c"))
    assert (copy.vnodes, repr(copy)) == (150, "<HashRing of 3 nodes, 150 points each>")


@pytest.mark.parametrize("vnodes", [1, 5, 150])
def test_a_key_belongs_to_the_first_point_at_or_after_it(vnodes):
    """A key on a point belongs to the point's node, one behind it to the next point's, by one lookup and by many."""
    ring = HashRing([f"n{number}" for number in range(40)], vnodes=vnodes)
    points, owners = [found.tolist() for found in ring._state.circle.points()]
    places = [(point + step) % 2**32 for point in points for step in (-1, 0, 1)]
    for place in [*places, *range(0, 2**32, 1 << 20)]:
        ring._lookup = (*ring._lookup[:4], lambda *_, place=place: place, ring._lookup[5])
        assert ring.lookup("any") == ring.nodes[owners[bisect_left(points, place) % len(points)]]


def test_a_placement_gives_back_only_what_a_node_holds():
    """Releasing from a node without keys raises, names those that have some, and changes no count."""
    from balancekit.errors import UnknownEndpointError
    from balancekit.hashing import BoundedPlacement, HashRing

    placement = BoundedPlacement(HashRing(["a", "b"]))
    node = placement.place("user:1")
    (other,) = {"a", "b"} - {node}
    with pytest.raises(UnknownEndpointError, match=repr(node)):
        placement.release(other)
    placement.release(node)
    with pytest.raises(UnknownEndpointError):
        placement.release(node)


@pytest.mark.parametrize("node", ["a", "b", "c"])
def test_a_node_joins_a_ring_once(node):
    """A ring refuses a second node of the same name, wherever it stands, and changes nothing."""
    ring = HashRing(["a", "b", "c"], vnodes=5)
    before = [ring.lookup(key) for key in KEYS]
    with pytest.raises(ConfigurationError, match=repr(node)):
        ring.add(node)
    assert [ring.lookup(key) for key in KEYS] == before


def test_a_weight_that_makes_too_many_points_is_refused():
    """A weight that makes more than 2 ** 28 points is refused, also that of one node alone."""
    for weight in (2.0**28, 1e99):
        with pytest.raises(ConfigurationError, match="points"):
            HashRing({"a": weight}, vnodes=150)


def test_jump_compares_only_what_can_be_compared():
    """Another kind of structure, another hash function and a list with another beginning are refused."""
    one = JumpHash(["a", "b"])
    for other in (HashRing(["a", "b"]), JumpHash(["a", "b", "c"], hash="xxhash"), JumpHash(["b", "a", "c"])):
        with pytest.raises(ConfigurationError) as caught:
            one.moved(other)
        assert caught.value.parameter == "other"


def test_jump_takes_as_many_buckets_as_a_float_can_count():
    """Jump hash takes at most 2 ** 53 buckets."""
    assert jump(1, 2**53) < 2**53
    with pytest.raises(ConfigurationError, match="buckets"):
        jump(1, 2**53 + 1)


def test_an_anchor_has_an_eighth_to_spare():
    """An anchor has room for an eighth more nodes and one, before it must be built anew."""
    anchor = AnchorHash([f"n{number}" for number in range(16)])
    assert anchor.capacity == 19
    for number in range(3):
        anchor.add(f"more{number}")
    with pytest.raises(ConfigurationError):
        anchor.add("one too many")


def test_no_point_of_an_empty_ring_belongs_to_anyone():
    """Between an empty ring and itself nothing moves."""
    assert HashRing([]).moved(HashRing([])) == 0.0


@pytest.mark.parametrize("vnodes", [2**28 + 1, 10**400])
def test_more_points_than_a_ring_may_have_are_refused_before_there_are_nodes(vnodes):
    """A number of points that no ring can have is refused at construction, not by the first node that is added."""
    with pytest.raises(ConfigurationError, match="vnodes"):
        HashRing(vnodes=vnodes)


@pytest.mark.parametrize("key", range(12))
def test_nodes_of_few_slots_are_candidates_in_the_order_of_the_walk(key):
    """The candidates of a table come as its slots do, from the key's own in steps of its own, though one node has nearly all."""
    weights = {"all": 1e6, **{f"few{k}": 250.0 for k in range(300)}, "none": 1e-6}
    table = MaglevTable(weights, size=4099)
    place = hash_function("murmur3").hash32(key)
    slot, step = place * table.size >> 32, splitmix64(place) % (table.size - 1) + 1
    slots = (slot + np.arange(table.size) * step) % table.size
    walked = [table.nodes[owner] for owner in table._owners[slots].tolist()]
    assert list(table.candidates(key)) == list(dict.fromkeys([*walked, *table.nodes]))
    assert walked.index("all") < 1000
