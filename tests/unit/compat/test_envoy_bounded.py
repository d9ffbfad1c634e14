"""Bounded loads: the generator's known values, the shuffle, and who takes what overflows."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancekit.compat import envoy
from balancekit.compat.envoy._bounded import mersenne_twister, overload, shuffled, within_bounds
from balancekit.snapshot import PickContext
from balancekit.testing import make_nodes, make_snapshot


def test_the_mersenne_twister_gives_the_standards_value():
    """The 10 000th number of a default-seeded mt19937 is 4123659995, as ISO C++ [rand.predef] says."""
    draw = mersenne_twister(5489)
    assert [draw() for _ in range(10_000)][-1] == 4123659995


def test_only_the_low_half_of_a_hash_seeds_it():
    """Only the low half of a hash seeds the generator, as a C++ cast to 32 bits does."""
    assert mersenne_twister(7 << 32 | 5489)() == mersenne_twister(5489)() == 3499211612


@given(count=st.integers(1, 40), seed=st.integers(0, 2**64 - 1))
def test_a_shuffle_is_a_permutation_that_the_hash_decides(count, seed):
    """A shuffle is a permutation that the hash decides, the same every time."""
    order = list(shuffled(count, seed))
    assert sorted(order) == list(range(count))
    assert order == list(shuffled(count, seed))


def test_shuffles_are_even():
    """Each of the six orders of three is equally often, by chi-square within 5 standard deviations."""
    rounds = 1_200
    counts = dict.fromkeys(itertools.permutations(range(3)), 0)
    for seed in range(rounds):
        counts[tuple(shuffled(3, seed))] += 1
    expected = rounds / 6
    chi = sum((found - expected) ** 2 / expected for found in counts.values())
    assert abs(chi - 5) <= 5 * (2 * 5) ** 0.5


def test_slots_are_rounded_up_twice():
    """Slots are rounded up twice.

    With 3 in progress and factor 150, (4 * 150 + 99) // 100 = 6, and a quarter of them is 2.
    """
    assert overload(2, 3, 0.25, 150) == 1.0
    assert overload(3, 3, 0.25, 150) == 1.5
    assert overload(1, 0, 0.01, 100) == 1.0
    assert overload(2, 3, 0.25, 101) == 1.0  # 4.04 is 5 slots
    assert overload(2, 2, 0.5, 100) == 1.0  # the new request counts: 3 slots


@given(
    active=st.lists(st.integers(0, 9), min_size=1, max_size=7),
    position=st.integers(0, 2**64 - 1),
    factor=st.integers(100, 300),
    not_counted=st.integers(0, 63),
)
@example(active=[9, 5, 5], position=0, factor=100, not_counted=19)
@example(active=[5, 0, 0], position=0, factor=100, not_counted=0)
def test_a_key_goes_to_its_owner_if_there_is_room_and_else_to_who_has_most(
    active, position, factor, not_counted
):
    """A key goes to its owner while that is not overloaded, else to any that is not.

    If all are overloaded, it goes to the least overloaded.
    """
    count = len(active)
    owner = position % count
    shares = [1 / count] * count
    total = max(0, sum(active) - not_counted)  # else all are never overloaded
    loads = [overload(one, total, share, factor) for one, share in zip(active, shares, strict=True)]
    host = within_bounds(owner, position, active=active, total=total, shares=shares, factor=factor)
    if loads[owner] <= 1:
        assert host == owner
    elif min(loads) <= 1:
        assert host == next(one for one in shuffled(count, position) if loads[one] <= 1)
    else:
        assert loads[host] == min(loads)
        first = next(one for one in (owner, *shuffled(count, position)) if loads[one] == min(loads))
        assert host == first


@given(position=st.integers(0, 2**64 - 1))
def test_of_equally_overloaded_hosts_the_first_in_the_shuffle_is_taken(position):
    """Of equally overloaded hosts the first in the shuffle is taken."""
    first = next(host for host in shuffled(3, position) if host)
    assert within_bounds(0, position, active=[9, 5, 5], total=0, shares=[1 / 3] * 3, factor=100) == first


@pytest.mark.parametrize("make", [envoy.RingHash, lambda **options: envoy.Maglev(table_size=251, **options)])
def test_no_host_exceeds_its_slots_however_hot_a_key_is(make):
    """However hot a key is, no host has more than its slots and one."""
    nodes = make_nodes({"a": 1.0, "b": 2.0, "c": 3.0, "d": 1.0})
    snapshot, selector = make_snapshot(nodes), make(hash_balance_factor=125)
    for total in range(200):
        node = selector.select(snapshot, PickContext(rng=Random(1), key="hot"))
        assert overload(node.inflight, total, node.weight / 7, 125) <= 1
        node.inflight += 1


def test_requests_on_hosts_that_may_not_be_picked_count_too():
    """Requests on hosts that may not be picked count as in progress. The others are allowed their share of them."""
    for elsewhere, stays in ((0, False), (20, True)):
        nodes = make_nodes({"a": 1.0, "b": 1.0, "c": 1.0})
        snapshot = make_snapshot(nodes, down={"c"})
        selector = envoy.RingHash(hash_balance_factor=100)
        owner = selector.select(snapshot, PickContext(rng=Random(1), key="hot"))
        owner.inflight, nodes[2].inflight = 3, elsewhere
        again = selector.select(snapshot, PickContext(rng=Random(1), key="hot"))
        assert (again is owner) is stays


def test_the_fast_lane_is_bounded_too():
    """A picker bounds the fast path by the requests in progress that ``select`` sees."""
    nodes = make_nodes({"a": 1.0, "b": 1.0, "c": 1.0})
    snapshot, selector = make_snapshot(nodes), envoy.RingHash(hash_balance_factor=100)
    pick, seen = selector.picker(snapshot), set()
    for _ in range(9):
        node = pick("hot")
        assert node is selector.select(snapshot, PickContext(rng=Random(1), key="hot"))
        node.inflight += 1
        seen.add(node.id)
    assert seen == {"a", "b", "c"}
