"""Slots against a sorted list and bisection."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.hashing._slots import GROUP, SPARE_WORDS, Slots

POSITIONS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.integers(0, 20),
    st.integers(2**32 - 20, 2**32 - 1),
    st.integers(0, 63).map(lambda k: k << 26),
)
"""Positions that lie close, apart, together, at both ends, and at the very beginning of slots."""


@st.composite
def by_owner(draw, least=1):
    """Points by owner, ascending, each owner with at least one; positions collide often."""
    count = draw(st.integers(least, 9))
    return [sorted(draw(st.lists(POSITIONS, min_size=1, max_size=40))) for _ in range(count)]


def joined(points_of):
    """Return points and owners; points at one position lie in the order of owners."""
    pairs = sorted((point, owner) for owner, points in enumerate(points_of) for point in points)
    return [point for point, _ in pairs], [owner for _, owner in pairs]


def built(points_of):
    """Build at once."""
    points, owners = joined(points_of)
    return Slots(np.array(points), np.array(owners), len(points_of))


def assert_equal(slots, points_of, asked=()):
    """Every position of interest has the owner that bisection finds, one by one and at once; a walk goes once around."""
    points, owners = joined(points_of)
    near = {(point + step) % 2**32 for point in points for step in (-1, 0, 1)}
    positions = sorted(
        {*near, *asked, 0, 2**32 - 1, *(k << slots.shift for k in range(0, len(slots.words) - 1, 7))}
    )
    expected = [owners[bisect_left(points, position) % len(points)] for position in positions]
    assert [slots.owner(position) for position in positions] == expected
    assert slots.owners_of(np.array(positions, np.uint32)).tolist() == expected
    assert [found.tolist() for found in slots.points()] == [points, owners]
    assert len(slots) == len(points)
    for position in positions[::9]:
        first = bisect_left(points, position) % len(points)
        around = owners[first:] + owners[:first]
        assert list(slots.walk(position)) == around
        assert list(slots.order(position)) == list(dict.fromkeys(around))


@given(points_of=by_owner(), asked=st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_the_first_point_at_or_after_a_position_is_found(points_of, asked):
    """The owner is that of the point which bisection finds; past the last point, of the first."""
    assert_equal(built(points_of), points_of, asked)


@given(points_of=by_owner(least=2), data=st.data())
def test_inserting_and_removing_owners_equals_building_anew(points_of, data):
    """After any changes, all answers are those of a ring built at once."""
    slots = built(points_of)
    for _ in range(data.draw(st.integers(1, 6))):
        if len(points_of) > 1 and data.draw(st.booleans()):
            owner = data.draw(st.integers(0, len(points_of) - 1))
            slots = slots.removed(owner, np.array(points_of[owner], np.uint32))
            points_of = points_of[:owner] + points_of[owner + 1 :]
        else:
            owner = data.draw(st.integers(0, len(points_of)))
            own = sorted(data.draw(st.lists(POSITIONS, min_size=1, max_size=40)))
            slots = slots.inserted(owner, np.array(own, np.uint32))
            points_of = [*points_of[:owner], own, *points_of[owner:]]
        assert_equal(slots, points_of)


@pytest.mark.parametrize(("nodes", "each"), [(1, 1), (1, 5_000), (700, 1), (300, 150), (1_000, 16)])
def test_rings_like_real_ones_agree_with_bisection(nodes, each):
    """The owner of 20,000 random positions is that of the point which bisection finds, and empty, single and grouped slots occur."""
    chance = np.random.default_rng(nodes)
    points = np.sort(chance.integers(0, 2**32, nodes * each, dtype=np.uint64))
    owners = chance.permutation(np.repeat(np.arange(nodes), each))
    slots = Slots(points, owners, nodes)
    asked = chance.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32)
    expected = owners[np.searchsorted(points, asked) % len(points)]
    assert (slots.owners_of(asked) == expected).all()
    assert [slots.owner(position) for position in asked[:2_000].tolist()] == expected[:2_000].tolist()
    words = np.frombuffer(slots.words, np.uint32)
    if len(points) > 1:
        assert (words <= slots.mask).any()
        assert ((words > slots.mask) & (words < GROUP)).any()
        assert (words >= GROUP).any()


@pytest.mark.parametrize("rare", [1, 40])
def test_owners_of_few_points_come_in_order_behind_many_points_of_another(rare):
    """The order of owners is that of their first points, though fifty thousand points of one lie between those of others."""
    chance = np.random.default_rng(rare)
    points = np.sort(chance.integers(0, 2**32, 50_000, dtype=np.uint64)).astype(np.uint32)
    owners = np.zeros(len(points), int)
    owners[chance.choice(len(points), rare, replace=False)] = np.arange(1, rare + 1)
    slots, held = Slots(points, owners, rare + 1), owners.tolist()
    near = [int(points[place]) + step for place in np.flatnonzero(owners) for step in (-1, 0, 1)]
    for position in [0, 2**32 - 1, *near, *chance.integers(0, 2**32, 40).tolist()]:
        first = int(np.searchsorted(points, position))
        assert list(slots.order(position)) == list(dict.fromkeys(held[first:] + held[:first])), position


def test_owners_come_in_order_where_two_slots_hold_all_points():
    """The order is right from each position in slots of thousands of points, where rare owners come before and after it."""
    each = 3_000
    points = np.concatenate([np.arange(each), (1 << 19) + np.arange(each)])
    owners = np.zeros(2 * each, int)
    owners[10::50] = np.arange(1, len(owners[10::50]) + 1)
    slots, held = Slots(points, owners, int(owners.max()) + 1), owners.tolist()
    assert slots.shift == 19, "the second half is in the next slot"
    for position in [*range(0, each, 97), 1_500, 1_510, each, 1 << 19, (1 << 19) + 1_510, 2**32 - 1]:
        first = int(np.searchsorted(points, position)) % len(points)
        assert list(slots.order(position)) == list(dict.fromkeys(held[first:] + held[:first])), position


def test_a_point_costs_at_most_13_bytes():
    """A point costs at most 13 bytes.

    Three points take four to eight words of slots, and one takes up to a word of groups.
    """
    chance = np.random.default_rng(1)
    for count in (3 * 2**15, 3 * 2**15 + 1, 2**17, 3 * 2**16):
        points = np.sort(chance.integers(0, 2**32, count))
        assert Slots(points, np.zeros(count, int), 1).nbytes <= 13 * count


def test_changes_do_not_fill_the_memory():
    """A thousand changes leave at most one word of groups per point, and the spare, beyond those of one change."""
    chance = np.random.default_rng(2)
    points = [np.sort(chance.integers(0, 2**32, 100)) for _ in range(20)]
    slots = built([own.tolist() for own in points])
    for _ in range(500):
        slots = slots.removed(7, points[7]).inserted(7, points[7])
        assert len(slots.groups) <= len(slots) + SPARE_WORDS + 400
    assert_equal(slots, [own.tolist() for own in points])


@pytest.mark.parametrize("points", [100, 3 * 2**15 - 1, 3 * 2**15, 3 * 2**15 + 1, 78_645, 2**17])
def test_there_are_four_to_eight_slots_for_three_points(points):
    """The number of slots is the power of two from four thirds of the points on."""
    slots = len(Slots(np.arange(points), np.zeros(points, int), 1).words) - 1
    assert 4 * points <= 3 * slots <= 8 * points
    assert slots & (slots - 1) == 0
