"""The cost of requests whose answer has not begun."""

from __future__ import annotations

from random import Random

import pytest

from balancekit import Endpoint, LeastResponseTime, LoadBalancer, Outcome
from balancekit.loads import WaitingCost
from balancekit.testing import ManualClock


def pool(**facts):
    """Return a balancer of one endpoint, and what it says of that endpoint's load."""
    lb = LoadBalancer([Endpoint("a", **facts)], selector=LeastResponseTime(), load=WaitingCost(), health=None)

    def value():
        lease = lb.acquire(cost=1.0)
        found = lease.node.load.value(now=0.0) - 1.0 / lease.node.capacity
        lease.release(Outcome.IGNORED)
        return found

    return lb, value


def test_a_cost_counts_from_the_pick_to_the_first_byte():
    """A request counts with its cost until its answer begins.

    A second notice of the answer, and the end, change nothing.
    """
    lb, value = pool()
    open_for_long = lb.acquire(cost=5.0)
    lease = lb.acquire(cost=900.0)
    assert value() == 905.0
    lease.first_byte()
    assert value() == 5.0
    lease.first_byte()
    lease.release()
    assert value() == 5.0
    open_for_long.release()
    assert value() == 0.0


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_request_that_ends_without_an_answer_counts_no_longer(outcome):
    """Whatever the outcome, the cost of a request without a first byte goes with its lease."""
    lb, value = pool()
    other = lb.acquire(cost=7.0)
    lb.acquire(cost=100.0).release(outcome)
    assert value() == 7.0
    other.release()


@pytest.mark.parametrize("cost", [0.25, 1e-9])
def test_small_costs_count_as_others_do(cost):
    """Of two requests, the cost of one is left when the other is answered or has ended, however small."""
    lb, _ = pool()
    leases = [lb.acquire(cost=cost) for _ in range(3)]
    load, capacity = leases[0].node.load, leases[0].node.capacity
    leases[0].first_byte()
    assert load.value(now=0.0) * capacity == pytest.approx(2 * cost)
    leases[1].release()
    assert load.value(now=0.0) * capacity == pytest.approx(cost)


def test_a_cost_is_relative_to_weight():
    """An endpoint of four times the weight has a quarter of the load for the same cost."""
    lb = LoadBalancer(
        [Endpoint("a", weight=1.0), Endpoint("b", weight=4.0)],
        selector=LeastResponseTime(),
        load=WaitingCost(),
        health=None,
    )
    leases = [lb.acquire(cost=100.0, exclude={other}) for other in ("b", "a")]
    small, large = (lease.node.load.value(now=0.0) for lease in leases)
    assert small == 4.0 * large > 0.0
    for lease in leases:
        lease.release()


def test_nothing_is_left_whatever_was_rounded():
    """After 2,000 requests with odd costs in random order, some with a first byte, the load is exactly 0."""
    rng, clock = Random(3), ManualClock()
    lb = LoadBalancer(
        ["a"], selector=LeastResponseTime(), load=WaitingCost(), health=None, clock=clock, rng=Random(4)
    )
    leases = []
    for _ in range(2_000):
        leases.append(lb.acquire(cost=rng.expovariate(0.3)))
        clock.advance(rng.random())
        if rng.random() < 0.5:
            rng.choice(leases).first_byte()
        if rng.random() < 0.4:
            leases.pop(rng.randrange(len(leases))).release(rng.choice(list(Outcome)))
    load = leases[0].node.load
    waiting = sum(lease.cost for lease in leases if lease.extras.first_byte_at is None)
    assert load.value(now=clock()) == pytest.approx(waiting)
    for lease in leases:
        lease.release()
    assert load.value(now=clock()) == 0.0
