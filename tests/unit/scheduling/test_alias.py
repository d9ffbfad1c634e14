"""The alias table: exact by construction."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.scheduling import AliasTable, whole_weights

WEIGHTS = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


def probabilities(table, items):
    """Add up the widths of the columns that belong to each item."""
    found = dict.fromkeys(items, 0.0)
    for column, (own, alias, cut) in enumerate(zip(table.own, table.alias, table.cut, strict=True)):
        found[own] += (cut - column) / table.size
        found[alias] += (column + 1 - cut) / table.size
    return found


@given(WEIGHTS)
def test_each_item_has_its_share_of_the_columns(weights):
    """The areas of an alias table's columns are the probabilities of its items."""
    items = list(range(len(weights)))
    total = sum(weights)
    found = probabilities(AliasTable(items, weights), items)
    for item, weight in zip(items, weights, strict=True):
        exact = weight / total if total else 1 / len(items)
        assert found[item] == pytest.approx(exact, abs=1e-12)


@given(WEIGHTS, st.floats(0.0, 1.0, exclude_max=True))
def test_zero_weight_is_never_drawn_whatever_the_number(weights, number):
    """An item of weight zero is never drawn, not even at the edges of a column."""
    drawn = AliasTable(range(len(weights)), weights).draw(lambda: number)
    assert weights[drawn] > 0 or not any(weights)


def test_extreme_ratios_lose_none():
    """An item of weight 1e-9 beside one of 1e9 keeps a column of its own."""
    table = AliasTable("ab", [1e-9, 1e9])
    assert table.draw(lambda: 0.0) == "a"
    rng = Random(3)
    assert all(table.draw(rng.random) == "b" for _ in range(1000))


def test_as_many_weights_as_items():
    """A list of weights that is too short is refused, with how many are expected."""
    with pytest.raises(ValueError, match="expected 2 weights"):
        AliasTable("ab", [1])


@given(st.lists(st.decimals(min_value="0.001", max_value="50", places=3), min_size=1, max_size=8))
def test_whole_weights_stand_in_the_same_proportion(weights):
    """The smallest integers are found that have the ratios of the decimals as they are printed."""
    whole = whole_weights([float(weight) for weight in weights], limit=10**9)
    assert whole is not None
    for i, a in enumerate(weights):
        for j, b in enumerate(weights):
            assert Fraction(whole[i], whole[j]) == Fraction(a) / Fraction(b)


def test_no_whole_weights_beyond_the_limit():
    """No whole weights are found if their sum exceeds the limit; a sum equal to the limit is allowed."""
    assert whole_weights([3, 2], limit=5) == [3, 2]
    assert whole_weights([3, 2], limit=4) is None
    assert whole_weights([6, 4], limit=5) == [3, 2]
