"""Least response time: the exact minimum at every moment, by the order that is kept and by a scan."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import Endpoint, LeastResponseTime, LoadBalancer, Outcome
from balancekit.loads import EwmaLatency, FailureAware, PeakEwmaLatency
from balancekit.testing import ManualClock, Z, chi_square_z, make_nodes, make_snapshot


@pytest.mark.parametrize("load", [PeakEwmaLatency(), EwmaLatency(3.0)], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("seed", range(6))
def test_each_pick_has_the_least_expected_wait(load, seed):
    """Whatever began, ended, failed, changed in the pool or was excluded, the pick has the least value of the candidates."""
    rng, clock = Random(seed), ManualClock()
    pool = [Endpoint(f"e{k}", weight=rng.choice((1, 1, 2))) for k in range(9)]
    lb = LoadBalancer(
        pool, selector=LeastResponseTime(), load=load, clock=clock, rng=Random(seed), health=None
    )
    assert lb._current.published.fast[0] is not None, "the pool would be scanned"
    leases = []
    for number in range(800):
        clock.advance(rng.expovariate(20.0))
        exclude = {f"e{rng.randrange(9)}" for _ in range(rng.choice((0, 0, 1, 4)))}
        nodes = lb._current.published.state.snapshot.eligible
        values = {node.id: node.load.value(now=clock()) for node in nodes if node.id not in exclude}
        lease = lb.acquire(exclude=exclude)
        least = min(values.values())
        assert math.isclose(values[lease.target], least, rel_tol=1e-9)
        leases.append(lease)
        while leases and (len(leases) > 20 or rng.random() < 0.5):
            outcome = rng.choices(list(Outcome), [20 if one is Outcome.SUCCESS else 1 for one in Outcome])[0]
            leases.pop(rng.randrange(len(leases))).release(outcome)
        if number % 200 == 199:
            lb.update(pool[number // 200 % 2 :])
    for lease in leases:
        lease.release()


def test_ties_are_broken_at_random():
    """Endpoints that have not answered yet are equal: the first request goes to each equally often."""
    counts = dict.fromkeys("abcd", 0)
    for seed in range(1200):
        lb = LoadBalancer(list("abcd"), selector=LeastResponseTime(), rng=Random(seed))
        with lb.acquire() as lease:
            counts[lease.target] += 1
    assert chi_square_z(counts, dict.fromkeys("abcd", 1.0)) < Z


def test_nodes_that_no_balancer_tells_are_scanned():
    """If loads are not told of ends, no order is kept and each pick looks at all endpoints."""
    nodes = make_nodes(["a", "b"], load=PeakEwmaLatency())
    assert LeastResponseTime().pickers(make_snapshot(nodes), rng=Random(1)) == (None, None)


def test_loads_that_keep_no_order_are_scanned():
    """Over a load whose values do not fade alike, each pick looks at all endpoints."""
    lb = LoadBalancer(["a", "b"], selector=LeastResponseTime(), load=FailureAware())
    assert lb._current.published.fast[0] is None
    with lb.acquire() as one, lb.acquire() as other:
        assert one.target != other.target
