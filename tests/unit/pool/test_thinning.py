"""Warm-up and trials hold for every selector alike, and no request is refused for them."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import (
    First,
    LeastRequest,
    LeastResponseTime,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    UniformRandom,
    WeightedRandom,
)
from balancekit._selection.pickers import NO_PICKERS
from balancekit.engine.slow_start import slow_start_pickers
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle, Probation, WarmUp
from balancekit.loads import InFlight
from balancekit.testing import ManualClock, make_snapshot

SELECTORS = {
    "round robin": RoundRobin,
    "smooth": SmoothWeightedRoundRobin,
    "stride": StrideScheduling,
    "random": UniformRandom,
    "weighted random": WeightedRandom,
    "hash": SourceHash,
    "P2C": PowerOfChoices,
    "least request": LeastRequest,
    "least response time": LeastResponseTime,
    "first": First,
}
POLICY = Lifecycle(
    failures=ConsecutiveFailures(threshold=1),
    ejection=Ejection(base=5.0, max_duration=5.0, jitter=0.0),
    warm_up=WarmUp(window=100.0, min_share=0.2),
)
REQUESTS = 4000


class Mine:
    """A user's selector: always the first candidate, by name."""

    def select(self, snapshot, ctx):
        """Return it."""
        return min(snapshot.candidates(ctx), key=lambda node: node.id, default=None)


def with_one_back(selector, policy=POLICY, ids="abcd", load=None):
    """Return a balancer of which a was ejected and is on trial, and its clock."""
    clock = ManualClock()
    balancer = LoadBalancer(
        list(ids), selector=selector, health=policy, clock=clock, rng=Random(7), load=load or InFlight()
    )
    balancer.acquire(exclude=set(ids) - {"a"}).release(Outcome.FAILURE)
    clock.advance(5.0)
    assert balancer.stats()["a"].state == "probing"
    return balancer, clock


def share(balancer, *, keys=False):
    """Return the part of 4 000 requests, one at a time, that goes to a."""
    count = 0
    for k in range(REQUESTS):
        with balancer.acquire(f"user:{k}" if keys else None) as lease:
            count += lease.target == "a"
    return count / REQUESTS


@pytest.mark.parametrize("name", [*SELECTORS, "mine"])
def test_a_warming_endpoint_takes_its_share_of_its_share(name):
    """Share while warming = ramp * share without warm-up, for each selector; within 4.5 deviations."""
    make = SELECTORS.get(name, Mine)
    keys = name == "hash"
    full = share(
        LoadBalancer(list("abcd"), selector=make(), health=None, rng=Random(7), load=InFlight()), keys=keys
    )
    balancer, clock = with_one_back(make())
    balancer.acquire("x", exclude=set("bcd")).release()
    assert balancer.stats()["a"].state == "warming"
    for elapsed, ramp in ((0.0, 0.2), (50.0, 0.5), (25.0, 0.75)):
        clock.advance(elapsed)
        found = share(balancer, keys=keys)
        spread = math.sqrt(2 * full * (1.0 - full) / REQUESTS + full * ramp * (1 - ramp) / REQUESTS)
        assert abs(found - ramp * full) <= 4.5 * spread + 4 / REQUESTS
    clock.advance(25.0)
    assert (
        abs(share(balancer, keys=keys) - full)
        <= 4.5 * math.sqrt(2 * full * (1.0 - full) / REQUESTS) + 4 / REQUESTS
    )


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("name", [*SELECTORS, "mine"])
def test_a_trial_is_a_few_requests_at_a_time(name, concurrency):
    """While the requests of a trial are in flight, no other request goes there.

    The selector's pick does not matter.
    """
    make = SELECTORS.get(name, Mine)
    balancer, _ = with_one_back(make(), POLICY.replace(probation=Probation(concurrency=concurrency)))
    leases = [balancer.acquire(f"user:{k}") for k in range(60)]
    assert sum(lease.target == "a" for lease in leases) == concurrency
    for lease in leases:
        lease.release()
    assert balancer.stats().inflight == 0


@pytest.mark.parametrize("name", [*SELECTORS, "mine"])
def test_no_request_is_refused_because_all_are_held_back(name):
    """A pool whose only endpoint is held back serves all requests."""
    make = SELECTORS.get(name, Mine)
    balancer, _ = with_one_back(make(), ids="ab")
    balancer.remove("b")
    leases = [balancer.acquire(f"user:{k}") for k in range(20)]
    assert {lease.target for lease in leases} == {"a"}
    for lease in leases:
        lease.release()


def test_several_may_be_held_back():
    """If two endpoints on trial are busy, the next choice but two serves.

    If all on trial are busy, the first one does.
    """
    clock = ManualClock()
    policy = POLICY.replace(ejection=Ejection(base=5.0, max_duration=5.0, jitter=0.0, max_share=1.0))
    balancer = LoadBalancer(list("abc"), selector=Mine(), health=policy, clock=clock)
    for id in "ab":
        balancer.acquire(exclude=set("abc") - {id}).release(Outcome.FAILURE)
    clock.advance(5.0)
    leases = [balancer.acquire() for _ in range(4)]
    assert [lease.target for lease in leases] == ["a", "b", "c", "c"]
    balancer.drain("c")
    leases += [balancer.acquire() for _ in range(2)]
    assert [lease.target for lease in leases[4:]] == ["a", "a"]
    for lease in leases:
        lease.release()


def test_a_warming_key_moves_once():
    """With hashing a key goes to its warming owner or not, by the key: it moves over once and stays."""
    balancer, clock = with_one_back(SourceHash())
    balancer.acquire("x", exclude=set("bcd")).release()
    keys, before = [f"user:{k}" for k in range(300)], set()
    for _ in range(21):
        owners = {}
        for key in keys:
            for _ in range(2):
                with balancer.acquire(key) as lease:
                    assert owners.setdefault(key, lease.target) == lease.target
        mine = {key for key, owner in owners.items() if owner == "a"}
        assert before <= mine
        before = mine
        clock.advance(5.0)
    assert 300 / 4 - 4.5 * math.sqrt(300 * 3 / 16) <= len(before) <= 300 / 4 + 4.5 * math.sqrt(300 * 3 / 16)


def test_the_others_stay_in_proportion():
    """What a warming endpoint does not take goes to the others by weight."""
    clock = ManualClock()
    balancer = LoadBalancer(
        ["a", "b", "c"], selector=WeightedRandom(), health=POLICY, clock=clock, rng=Random(3)
    )
    balancer.set_weight("c", 3.0)
    balancer.acquire(exclude={"b", "c"}).release(Outcome.FAILURE)
    clock.advance(5.0)
    balancer.acquire(exclude={"b", "c"}).release()
    counts = dict.fromkeys("abc", 0)
    for _ in range(REQUESTS):
        with balancer.acquire() as lease:
            counts[lease.target] += 1
    rest = counts["b"] + counts["c"]
    assert abs(counts["c"] - 0.75 * rest) <= 4.5 * math.sqrt(rest * 0.75 * 0.25)


def test_it_is_explained():
    """Explanations name the endpoint that slow start passed over."""
    balancer, _ = with_one_back(Mine())
    with balancer.acquire() as lease:
        assert lease.target == "a"
        explanation = balancer.explain()
    assert explanation.picked == "b"
    assert "held back a" in explanation.notes


def test_a_healthy_pool_has_the_fast_path_of_its_selector():
    """The picker comes from slow start while an endpoint is on trial, and is the selector's own when none is."""
    balancer, clock = with_one_back(RoundRobin())

    def slow_start():
        return balancer._current.published.fast[0].__module__ == "balancekit.engine.slow_start"

    assert slow_start()
    balancer.acquire(exclude=set("bcd")).release()
    assert slow_start()
    clock.advance(100.0)
    with balancer.acquire():
        pass
    assert not slow_start()


def test_a_selector_without_a_picker_has_none_with_slow_start():
    """A selector without a picker has none with slow start, and ``select`` is asked."""
    snapshot = make_snapshot(["a", "b"])
    assert slow_start_pickers(NO_PICKERS, First().select, snapshot, Random(1)) == NO_PICKERS


@pytest.mark.parametrize("name", ["random", "P2C", "round robin"])
def test_an_exclusion_does_not_give_a_warming_endpoint_more(name):
    """At a fifth of its third, a takes about a fifteenth of the requests that may not go to d."""
    balancer, _ = with_one_back(SELECTORS[name]())
    with balancer.acquire(exclude=set("bcd")):
        pass
    assert balancer.stats()["a"].state == "warming"
    count = 0
    for _ in range(REQUESTS):
        with balancer.acquire(exclude={"d"}) as lease:
            assert lease.target != "d"
            count += lease.target == "a"
    assert 0 < count < REQUESTS / 8
