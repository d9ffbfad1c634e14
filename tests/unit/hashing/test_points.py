"""SortedPoints against a sorted list and bisection."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.hashing._points import SortedPoints


@st.composite
def circles(draw, bits=32):
    """Points that lie close, apart, together and at both ends; and owners."""
    position = st.one_of(
        st.integers(0, 2**bits - 1), st.integers(0, 20), st.integers(2**bits - 20, 2**bits - 1)
    )
    points = sorted(draw(st.lists(position, min_size=1, max_size=60)))
    owners = [draw(st.integers(0, 5)) for _ in points]
    return points, owners


@pytest.mark.parametrize("bits", [32, 64])
@given(data=st.data())
def test_the_first_point_at_or_after_a_position_is_found(bits, data):
    """As bisection finds it; past the last point, the first."""
    points, owners = data.draw(circles(bits))
    circle = SortedPoints(points, owners, bits=bits)
    asked = data.draw(st.lists(st.integers(0, 2**bits - 1) | st.sampled_from(points), min_size=1))
    expected = [bisect_left(points, position) % len(points) for position in asked]
    assert [circle.at(position) for position in asked] == expected
    many = circle.owners_of(np.array(asked, f"u{bits // 8}"))
    assert many.tolist() == [owners[index] for index in expected]


@given(circle=circles(), position=st.integers(0, 2**32 - 1))
def test_a_walk_goes_once_around(circle, position):
    """From the first point at or after the position, each point's owner once."""
    points, owners = circle
    first = bisect_left(points, position) % len(points)
    assert list(SortedPoints(points, owners).walk(position)) == owners[first:] + owners[:first]


@st.composite
def shared(draw):
    """Points by owner, ascending, each owner with at least one; positions collide often."""
    count = draw(st.integers(2, 6))
    position = st.integers(0, 30) | st.integers(0, 2**32 - 1)
    return [sorted(draw(st.lists(position, min_size=1, max_size=40))) for _ in range(count)]


def built(points_of):
    """Build at once; points at one position lie in the order of owners."""
    pairs = sorted((point, owner) for owner, points in enumerate(points_of) for point in points)
    return SortedPoints([point for point, _ in pairs], [owner for _, owner in pairs])


@given(points_of=shared(), data=st.data())
def test_inserting_and_removing_an_owner_equals_building_anew(points_of, data):
    """Entry by entry: points, owners and starts."""
    owner = data.draw(st.integers(0, len(points_of) - 1))
    whole, without = built(points_of), built(points_of[:owner] + points_of[owner + 1 :])
    for made, expected in (
        (without.inserted(owner, np.array(points_of[owner], np.uint32)), whole),
        (whole.removed(owner), without),
    ):
        assert made.pairs == expected.pairs
        assert made.starts == expected.starts


@pytest.mark.parametrize(
    ("points", "owners", "bits"),
    [
        ([], [], 32),
        ([1, 2], [0], 32),
        ([2, 1], [0, 0], 32),
        ([2**32], [0], 32),
        ([-1], [0], 32),
        (["a"], [0], 32),
        ([1], [-1], 32),
        ([1], [0], 16),
    ],
)
def test_bad_points_are_refused(points, owners, bits):
    """At construction, with the parameter's name."""
    with pytest.raises(ConfigurationError):
        SortedPoints(points, owners, bits=bits)


def test_a_point_of_32_bits_costs_at_most_16_bytes():
    """Two entries and one to two slots."""
    for count in (2**12, 2**12 + 1, 5000, 2**13):
        circle = SortedPoints(np.arange(count) * 1000, np.zeros(count, int))
        assert circle.nbytes <= 16 * count + 64
