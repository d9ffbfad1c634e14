"""Splits: same key, same side; raising a weight only adds; shares are exact."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.hashing import RendezvousHash
from balancekit.l7 import Request, Split

WEIGHTS = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 100), min_size=1)
KEYS = [f"user-{number}" for number in range(2_000)]


def test_the_same_key_has_the_same_side_in_every_process():
    """Assignments are pinned: they depend on names, weights, salt and key alone."""
    split = Split({"stable": 95, "canary": 5})
    assert [key for key in KEYS[:100] if split.pool(key=key) == "canary"] == [
        "user-19", "user-26", "user-46", "user-55", "user-69", "user-89"
    ]  # fmt: skip


@given(WEIGHTS, st.sampled_from("abcde"), st.integers(1, 100))
def test_a_growing_weight_only_adds(weights, name, more):
    """When one weight grows, keys move only to that pool."""
    before, after = Split(weights), Split({**weights, name: weights.get(name, 0) + more})
    for key in KEYS[:200]:
        if before.pool(key=key) != after.pool(key=key):
            assert after.pool(key=key) == name


def test_from_five_to_ten_percent_only_adds():
    """All keys of the 5 % stay in the 10 %."""
    five, ten = Split({"stable": 95, "canary": 5}), Split({"stable": 90, "canary": 10})
    chosen = {key for key in KEYS if five.pool(key=key) == "canary"}
    assert chosen < {key for key in KEYS if ten.pool(key=key) == "canary"}


@given(WEIGHTS)
def test_sides_are_those_of_rendezvous_hashing(weights):
    """The same keys go where ``RendezvousHash`` with salted names sends them, as far as its precision reaches."""
    split, ring = Split(weights), RendezvousHash({f"\0{name}": weight for name, weight in weights.items()})
    same = sum(f"\0{split.pool(key=key)}" == ring.lookup(key) for key in KEYS[:300])
    assert same >= 299


def test_shares_are_those_of_the_weights():
    """Shares are weights over their sum, and the share of keys lies within 5 standard deviations of it."""
    split = Split({"a": 70, "b": 25, "c": 5})
    assert split.shares() == pytest.approx({"a": 0.7, "b": 0.25, "c": 0.05})
    for name, share in split.shares().items():
        count = sum(split.pool(key=key) == name for key in KEYS)
        assert abs(count - len(KEYS) * share) <= 5 * math.sqrt(len(KEYS) * share * (1 - share))


def test_requests_without_a_key_are_spread_exactly():
    """Without a key every run of 1,000 requests differs from the shares by 6 at most, the bound of a Weyl sequence here."""
    split = Split({"a": 70, "b": 25, "c": 5})
    for _ in range(5):
        taken = [split.pool() for _ in range(1_000)]
        assert all(abs(taken.count(name) - 1_000 * share) <= 6 for name, share in split.shares().items())


def test_the_key_comes_from_where_by_says():
    """What ``by`` names decides; without it the key given; a pool of weight zero gets nothing."""
    split = Split({"a": 1, "b": 1, "off": 0}, by="cookie:uid")
    request = Request("/", headers={"Cookie": "uid=7"})
    assert split.pool(request, "other") == split.pool(key="7")
    assert split.pool(Request("/"), "other") == split.pool(key="other")
    assert Split({"a": 1, "b": 1}, by="header:X-U").pool(Request("/", headers={"x-u": "7"})) == split.pool(
        key="7"
    )
    assert Split({"a": 1, "b": 1}, by="query:u").pool(Request("/", query="u=7")) == split.pool(key="7")
    assert "off" not in {split.pool(key=key) for key in KEYS}


def test_salts_make_splits_independent():
    """Two salts choose different keys, so that splits are independent."""
    one, other = Split({"a": 1, "b": 1}, salt="x"), Split({"a": 1, "b": 1}, salt="y")
    same = sum(one.pool(key=key) == other.pool(key=key) for key in KEYS)
    assert abs(same - 1_000) <= 5 * math.sqrt(500)


def test_names_are_those_given():
    """A pool of a split is named by its name, by itself as text, or by position."""
    first, second = object(), object()
    assert Split({"x": 1, "y": 1}, pools={"x": first, "y": second}).pools == (first, second)
    assert Split({first: 1, second: 1}).names == ("0", "1")
    assert Split({"x": 1}) == Split({"x": 1}) != Split({"x": 2})


@pytest.mark.parametrize(
    "options",
    [{"weights": {}}, {"weights": {"a": 0}}, {"weights": {"a": -1}}, {"weights": {"a": math.nan}}, {"weights": ["a"]},
     {"weights": {"a": 1}, "pools": {"b": 1}}, {"weights": {"a": 1}, "pools": 3}, {"weights": {"a": 1}, "by": "uid"},
     {"weights": {"a": 1}, "by": "body:x"}, {"weights": {"a": 1}, "by": "header:"}, {"weights": {"a": 1}, "salt": 1}],
)  # fmt: skip
def test_wrong_splits_are_refused(options):
    """Each wrong value is a configuration error."""
    with pytest.raises(ConfigurationError):
        Split(**options)


@pytest.mark.parametrize("weight", [1.1e100, 1e308, math.inf])
def test_weights_whose_sum_no_float_can_hold_are_refused(weight):
    """A weight is at most 1e100, as that of an endpoint; the largest are shared as others are."""
    with pytest.raises(ConfigurationError, match="weights"):
        Split({"a": weight, "b": weight})
    largest = Split({"a": 1e100, "b": 1e100})
    assert largest.shares() == {"a": 0.5, "b": 0.5}
    assert {largest.pool() for _ in range(10)} == {"a", "b"}
