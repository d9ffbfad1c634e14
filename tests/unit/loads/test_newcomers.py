"""What is guessed of an endpoint that joins a pool whose endpoints have answered."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancekit import Endpoint, LoadBalancer
from balancekit.loads import ExpectedDelay
from balancekit.node import Node
from balancekit.testing import ManualClock, Z, chi_square_z, share_z

PACES = (1.0, 4.0, 9.0)


def pool_of(*paces):
    """Return the pool of endpoints that have answered once, in so many seconds each."""
    pool = ExpectedDelay().for_pool()
    for number, pace in enumerate(paces):
        Node(Endpoint(f"e{number}"), pool).load.succeeded(pace, 100.0)
    pool.advance(now=100.0)
    return pool


def joined(pool, rng):
    """Return a node that joins the pool alone."""
    pool.joining_order(1, rng)
    return Node(Endpoint("new"), pool)


def test_a_newcomer_is_taken_for_one_of_the_others():
    """A new endpoint is given the pace of one of the others, and each is as likely as another."""
    rng, found = Random(3), Counter()
    for _ in range(3000):
        pool = pool_of(*PACES)
        node = joined(pool, rng)
        assert node.latency_estimate == 6.0 * node.load.price
        found[round(node.load.pace, 9)] += 1
    assert set(found) == set(PACES)
    assert chi_square_z(found, dict.fromkeys(PACES, 1.0)) < Z


def test_the_first_answer_ends_the_guess():
    """The first answer replaces the guessed pace: an answer of 2.25 s is a pace of 2.25 s."""
    rng = Random(4)
    for _ in range(20):
        node = joined(pool_of(*PACES), rng)
        node.load.succeeded(2.25, 101.0)
        assert node.load.pace == pytest.approx(2.25)


def test_the_first_endpoints_have_the_mean_of_those_that_have_answered():
    """Before any answer nothing is guessed, and nothing is drawn."""
    rng = Random(5)
    state = rng.getstate()
    pool = ExpectedDelay().for_pool()
    assert list(pool.joining_order(3, rng)) == [0, 1, 2]
    nodes = [Node(Endpoint(f"e{number}"), pool) for number in range(3)]
    assert rng.getstate() == state
    assert nodes[2].load.pace == 1.0
    nodes[0].load.succeeded(4.0, 100.0)
    assert nodes[2].load.pace == pytest.approx(4.0)
    nodes[1].load.succeeded(16.0, 100.0)
    pool.advance(now=100.0)
    assert nodes[2].load.pace == pytest.approx(10.0)


def test_of_many_balancers_one_in_eleven_begins_with_an_eleventh_endpoint():
    """Of many balancers with ten known endpoints, few send their next request to an eleventh, and some do."""
    first, balancers = 0, 2200
    for seed in range(balancers):
        clock = ManualClock(100.0)
        lb = LoadBalancer([f"e{number}" for number in range(10)], clock=clock, rng=Random(seed))
        for number in range(10):
            with lb.acquire(exclude=[f"e{k}" for k in range(10) if k != number]):
                clock.advance(0.1 * 1.8**number)
        clock.advance(2.0)
        with lb.acquire(exclude=["e0"]):
            lb.add("new")
        with lb.acquire() as lease:
            first += lease.endpoint.id == "new"
    assert abs(share_z(first, balancers, 1 / 11)) < Z
