"""Schedules against the rules they come from, over random weights."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles.models import nginx_smooth

from balancekit import LoadBalancer, SmoothWeightedRoundRobin, StrideScheduling
from balancekit.endpoint import Endpoint
from balancekit.scheduling import SmoothWrr, StaggeredEdf, smooth_cycle, staggered_cycle

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=12)


def pick(balancer):
    """Take one turn."""
    with balancer.acquire() as lease:
        return lease.target


def leads(order, weights):
    """Yield, after every turn, how many turns the one just served is ahead of its exact share."""
    served = [0] * len(weights)
    for turn, who in enumerate(order, 1):
        served[who] += 1
        yield served[who] - turn * weights[who] / sum(weights)


def test_five_one_one_goes_a_a_b_a_c_a_a():
    """The order of weights 5, 1, 1 is a a b a c a a through the balancer, as in nginx."""
    balancer = LoadBalancer(
        [Endpoint("a", weight=5), Endpoint("b"), Endpoint("c")],
        selector=SmoothWeightedRoundRobin(),
    )
    assert "".join(pick(balancer) for _ in range(14)) == "aabacaa" * 2


@given(WEIGHTS)
def test_the_class_form_serves_as_nginx_does(weights):
    """The class form serves as nginx does over two cycles. It looks at one server per distinct weight only."""
    take = SmoothWrr(weights).take
    assert [take() for _ in range(2 * sum(weights))] == nginx_smooth(weights, 2 * sum(weights))


@given(WEIGHTS)
def test_a_smooth_cycle_gives_each_exactly_its_weight_and_none_a_whole_turn_ahead(weights):
    """A smooth cycle gives each exactly its weight, and none is a whole turn ahead after any turn."""
    order = smooth_cycle(weights)
    assert [order.count(k) for k in range(len(weights))] == weights
    assert max(leads(order, weights)) < 1.0


@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=8))
def test_the_lead_stays_below_one_for_weights_of_any_kind(weights):
    """The lead stays below one for weights of any kind, also those without a cycle, over three hundred turns."""
    take = SmoothWrr(weights).take
    assert max(leads([take() for _ in range(300)], weights)) < 1.0 + 1e-9


@given(WEIGHTS, st.integers(0, 2**32))
@settings(max_examples=30)
def test_the_selector_keeps_the_guarantee_of_the_schedule(weights, seed):
    """Through the balancer, shares are exact per cycle and the lead is below 1, whatever the generator."""
    pool = [Endpoint(str(k), weight=weight) for k, weight in enumerate(weights)]
    balancer = LoadBalancer(pool, selector=SmoothWeightedRoundRobin(), rng=Random(seed))
    order = [int(pick(balancer)) for _ in range(sum(weights))]
    assert order == nginx_smooth(weights, sum(weights))


@given(WEIGHTS)
def test_a_staggered_cycle_gives_each_exactly_its_weight(weights):
    """A staggered cycle gives each exactly its weight, and is never far from exact within it."""
    order = staggered_cycle(weights)
    assert [order.count(k) for k in range(len(weights))] == weights
    assert max(leads(order, weights)) < 2.0


@pytest.mark.parametrize(
    ("weights", "bound"),
    [([5, 1, 1], 0.72), ([100] + [1] * 99, 1.0), ([500] + [1 + k % 3 for k in range(50)], 1.17)],
)
def test_the_staggered_bounds_that_the_docstring_states(weights, bound):
    """The worst distances of a staggered order, ahead and behind, are within the bounds of the docstring."""
    order = staggered_cycle(weights)
    served, worst = [0] * len(weights), 0.0
    for turn, who in enumerate(order, 1):
        served[who] += 1
        total = sum(weights)
        worst = max(worst, *[abs(s - turn * w / total) for s, w in zip(served, weights, strict=True)])
    assert worst <= bound


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=40))
@settings(max_examples=30)
def test_an_endless_staggered_order_stays_close_for_ever(weights):
    """Blocks join without a seam: after 5 000 turns none is three turns from its share."""
    turns = StaggeredEdf(weights)
    served = [0] * len(weights)
    for _ in range(5_000):
        served[turns.take()] += 1
    exact = [5_000 * weight / sum(weights) for weight in weights]
    assert max(abs(s - e) for s, e in zip(served, exact, strict=True)) < 3.0


@pytest.mark.parametrize("kind", [SmoothWeightedRoundRobin, StrideScheduling])
def test_weight_zero_has_no_turn_until_it_is_alone(kind):
    """An endpoint of weight zero has no turn while another may serve."""
    balancer = LoadBalancer([Endpoint("a", weight=0), Endpoint("b", weight=2)], selector=kind())
    assert {pick(balancer) for _ in range(20)} == {"b"}
    balancer.remove("b")
    assert pick(balancer) == "a"
