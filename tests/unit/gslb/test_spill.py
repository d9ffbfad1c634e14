"""Spill-over: whole numbers that add up, and subnets that follow them."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.gslb import AllUp, Client, GeoMap, Query, Spill, fixed_standings, waterfall

names = st.sampled_from(["a", "b", "c", "d"])


@given(
    demand=st.dictionaries(names, st.integers(0, 1000)),
    capacity=st.fixed_dictionaries({name: st.integers(0, 600) for name in "abcd"}),
    orders=st.fixed_dictionaries({name: st.lists(names, unique=True) for name in "abcd"}),
)
@settings(deadline=None, max_examples=300)
def test_capacity_is_kept_and_nothing_is_left_that_would_fit(demand, capacity, orders):
    """No target is over its capacity, no source over its demand, and none is short while its order has room."""
    plan = waterfall(demand, capacity, orders)
    used = Counter()
    for source, targets in plan.items():
        assert sum(targets.values()) <= demand[source]
        assert set(targets) <= set(orders[source])
        used.update(targets)
    assert all(used[target] <= capacity[target] for target in capacity)
    for source in demand:
        if sum(plan[source].values()) < demand[source]:
            assert all(used[target] == capacity[target] for target in orders[source])


def test_a_crowded_target_takes_in_proportion():
    """A crowded target takes in proportion, by the largest remainder and ties by name.

    Of 10, offers of 5, 5, 5 take 4, 3, 3.
    """
    plan = waterfall({"x": 5, "y": 5, "z": 5}, {"t": 10}, {name: ["t"] for name in "xyz"})
    assert [plan[name]["t"] for name in "xyz"] == [4, 3, 3]


SITES = {"eu": AllUp(["eu-1", "eu-2"], threshold=0.1), "us": AllUp(["us-1"]), "ap": AllUp(["ap-1"])}
QUERIES = [
    Query(name="www", client=Client(address="192.0.2.53", subnet=f"10.{k // 250}.{k % 250}.0/24"))
    for k in range(1500)
]


def sites(policy, standings=None):
    """Return how many clients get which site."""
    ask, rng = fixed_standings(standings or {}), Random(1)
    answers = [policy.answer(query, ask, now=0.0, rng=rng).chosen for query in QUERIES]
    return Counter(chosen[0][:2] if chosen else None for chosen in answers)


def test_shares_are_what_the_waterfall_says():
    """1500 subnets, each share within 4.5 standard deviations; a site half down takes half."""
    policy = Spill(SITES, {"eu": 60, "us": 30, "ap": 100}, demand={"eu": 100.0}.__getitem__)
    for standings, expected in (
        ({}, {"eu": 0.6, "us": 0.3, "ap": 0.1}),
        ({"eu-2": False}, {"eu": 0.3, "us": 0.3, "ap": 0.4}),
        ({"eu-1": False, "eu-2": False}, {"eu": 0.0, "us": 0.3, "ap": 0.7}),
    ):
        found = sites(policy, standings)
        for site, share in expected.items():
            spread = 4.5 * math.sqrt(len(QUERIES) * share * (1 - share))
            assert abs(found[site] - share * len(QUERIES)) <= spread
    assert policy.shares(fixed_standings({}), now=0.0) == {"eu": {"eu": 60, "us": 30, "ap": 10}}


def test_with_room_the_nearest_site_serves_all_and_the_scope_is_the_maps():
    """With room, the nearest site serves all, and the scope is the map's."""
    world = GeoMap.build(networks={"10.2.0.0/16": ["us", "eu"]}, default=["eu", "us"])
    demand = {"eu": 50.0, "us": 10.0}
    policy = Spill(
        {"eu": SITES["eu"], "us": SITES["us"]}, {"eu": 60, "us": 30}, demand.__getitem__, geo_map=world
    )
    assert sites(policy) == {"eu": 1250, "us": 250}
    ask, rng = fixed_standings({}), Random(1)
    assert policy.answer(QUERIES[600], ask, now=0.0, rng=rng).scope == 16
    demand["eu"] = 80.0
    assert policy.shares(ask, now=0.0) == {"eu": {"eu": 60, "us": 20}, "us": {"us": 10}}
    assert policy.answer(QUERIES[0], ask, now=0.0, rng=rng).scope == 24


def test_a_site_below_its_own_threshold_is_passed_over():
    """A site below its own threshold is passed over, though some of it is up."""
    strict = {"eu": AllUp(["eu-1", "eu-2", "eu-3"], threshold=1.0), "us": AllUp(["us-1"])}
    policy = Spill(strict, {"eu": 60, "us": 60}, demand={"eu": 10.0}.__getitem__)
    assert sites(policy, {"eu-3": False}) == {"us": 1500}
    assert sites(policy, {"eu-3": False, "us-1": False}) == {"eu": 1500}


def test_more_demand_than_all_can_take_is_spread_and_still_served():
    """If demand exceeds all capacity, it is spread in proportion. With no site up the word decides."""
    policy = Spill(SITES, {"eu": 60, "us": 30, "ap": 10}, demand={"eu": 1000.0}.__getitem__)
    found = sites(policy)
    assert abs(found["eu"] - 900) <= 4.5 * math.sqrt(1500 * 0.6 * 0.4)
    down = dict.fromkeys(("eu-1", "eu-2", "us-1", "ap-1"), False)
    assert sites(policy, down) == {"eu": 1500}
    closed = Spill(SITES, {"eu": 1, "us": 1, "ap": 1}, demand=lambda _: 0.0, exhausted="closed")
    assert sites(closed, down) == {None: 1500}


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: Spill(SITES, {"eu": 1}, demand=lambda _: 0.0), "capacity"),
        (lambda: Spill({}, {}, demand=lambda _: 0.0), "sites"),
        (lambda: waterfall({"a": 1.5}, {}, {}), "demand"),
        (lambda: waterfall({"a": 1}, {"t": 1}, {"a": ["u"]}), "order"),
    ],
)
def test_a_wrong_argument_is_named(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(("capacity", "up"), [(0.9, 4), (3.0, 1), (0.1, 1)])
def test_a_site_that_is_up_in_part_takes_something(capacity, up):
    """A site with an endpoint that is up takes at least one unit."""
    ids = [f"eu-{number}" for number in range(4)]
    site = Spill(
        {"eu": AllUp(ids, threshold=0.25)}, {"eu": capacity}, demand=lambda _site: 1.0, exhausted="next"
    )
    ask = fixed_standings(dict.fromkeys(ids[:up], True), default=False)
    query = Query(name="www", client=Client(address="192.0.2.53"))
    answer = site.answer(query, ask, now=0.0, rng=Random(1))
    assert not answer.failed
    assert set(answer.chosen) == set(ids[:up])
    assert site.answer(query, fixed_standings({}, default=False), now=0.0, rng=Random(1)).failed
