"""The laws of the default decision: no starvation, finite queues, and nothing gained by requests that are ignored."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from random import Random

import numpy as np
import pytest

from balancekit import LeastResponseTime, LoadBalancer, Outcome, PowerOfChoices
from balancekit.loads import EwmaLatency, PeakEwmaLatency
from balancekit.sim import Exponential, Poisson, Server, simulate
from balancekit.testing import ManualClock

MEAN, COLD = 0.010, 0.5
MAX_GAP_S, MAX_GAP_ROUNDS = 30.0, 20


KINDS = ["equal", "1 % apart", "one cold answer"]


def longest_gap(number, kind, *, rate=None, callers=0, seed=1, requests=4_000):
    """Return the longest time without a pick, of any endpoint, over what is allowed, and the shares of endpoints.

    Requests come at ``rate`` a second (Poisson) or from so many callers that wait for their answers. Times are exponential
    with a mean of 10 ms; or each endpoint is 1 % slower than the one before; or the last one's first answer takes 0.5 s; or its
    eleventh request is a stream that does not end.
    """
    clock, chance, serial = ManualClock(), Random(seed), itertools.count()
    balancer = LoadBalancer([str(k) for k in range(number)], clock=clock, rng=Random(seed))
    due = [(0.0, next(serial), None) for _ in range(max(1, callers))]
    picked, last, gap, free = Counter(), dict.fromkeys(range(number), (0.0, 0)), 0.0, [0.0] * number
    while picked.total() < requests:
        now, _, lease = heapq.heappop(due)
        clock.advance(now - clock.now)
        if lease is not None:
            lease.release()
            if rate:
                continue
        if rate:
            heapq.heappush(due, (now + chance.expovariate(rate), next(serial), None))
        lease = balancer.acquire()
        k = int(lease.target)
        takes = chance.expovariate(1 / MEAN)
        if kind == "1 % apart":
            takes = MEAN * (1.0 + 0.01 * k) if callers == 1 else takes * (1.0 + 0.01 * k)
        elif kind == "one cold answer" and k == number - 1 and not picked[k]:
            takes = COLD
        streams = kind == "a stream" and k == number - 1 and picked[k] == 10
        picked[k] += 1
        if streams:
            heapq.heappush(due, (math.inf, next(serial), lease))
        else:
            free[k] = max(free[k], now) + takes if rate else now + takes
            heapq.heappush(due, (free[k], next(serial), lease))
        last[k] = now, picked.total()
        seconds, count = min(last.values())
        gap = max(gap, min((now - seconds) / MAX_GAP_S, (picked.total() - count) / MAX_GAP_ROUNDS / number))
    for _, _, lease in due:
        if lease is not None:
            lease.release()
    shares = [picked[k] / requests for k in range(number)]
    how = f"{callers} callers" if callers else f"{rate * MEAN / number:.1%} load"
    print(
        f"{number:3} endpoints, {kind:15} {how:12} longest gap {gap:5.2f} of what is allowed, "
        f"shares {min(shares):.3f} to {max(shares):.3f}"
    )
    return gap, shares


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [2, 3, 5, 10])
@pytest.mark.parametrize("load", [0.001, 0.01, 0.1, 0.5, 0.95])
def test_no_equal_endpoint_is_starved(number, load, kind):
    """Law 1 holds: no equal endpoint goes without a pick for 30 s and 20 requests per endpoint.

    The longer of both counts.
    """
    gap, shares = longest_gap(number, kind, rate=load * number / MEAN)
    assert gap <= 1.0, shares


@pytest.mark.parametrize("number", [2, 3, 5, 10])
@pytest.mark.parametrize("load", [0.0005, 0.001, 0.01, 0.1, 0.3])
def test_an_endpoint_with_a_stream_is_not_starved(load, number):
    """Law 1, although one request of an endpoint never ends and every other one finds an endpoint with nothing to do."""
    gap, shares = longest_gap(number, "a stream", rate=load * number / MEAN)
    assert gap <= 1.0, shares


def test_no_equal_endpoint_is_given_up_by_chance():
    """In each of eighty pools, no equal endpoint is starved because its trials happen to be slow."""
    gaps = [longest_gap(5, "equal", rate=0.005 / MEAN, seed=seed)[0] for seed in range(101, 181)]
    assert max(gaps) <= 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("load", [0.006, 0.008, 0.01])
def test_neither_of_a_pair_is_starved_where_both_bounds_are_as_long(load, kind):
    """Law 1, in pools of two to which 30 s bring 36 to 60 requests: trials come in time for either bound."""
    gaps = [longest_gap(2, kind, rate=load * 2 / MEAN, seed=seed)[0] for seed in range(1, 13)]
    assert max(gaps) <= 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [2, 3, 5, 10])
@pytest.mark.parametrize("callers", [1, 4, 16, 64])
def test_no_equal_endpoint_is_starved_by_callers_that_wait(number, callers, kind):
    """Law 1: no equal endpoint is starved by 1 to 64 callers that each wait for their answer."""
    gap, shares = longest_gap(number, kind, callers=callers)
    assert gap <= 1.0, shares


@pytest.mark.parametrize("number", [2, 4, 10])
def test_a_difference_of_one_percent_moves_about_one_percent(number):
    """Law 1: endpoints 1 % apart, one request at a time, get shares within a quarter of what is even."""
    gap, shares = longest_gap(number, "1 % apart", callers=1, requests=12_000)
    assert gap <= 1.0
    assert max(shares) < 1.25 / number
    assert min(shares) > 0.75 / number


@pytest.mark.parametrize("seed", range(20))
def test_queues_stay_finite_whatever_the_speeds(seed):
    """Law 2: at 95 % of the capacity of servers of speed 1 to 20, waits do not drift in the second half.

    The second half's mean time is compared with the mean of the first, by ten batches each, at 4.5 standard errors; and it
    is less than ten times what one server of the whole capacity would need, where unstable queues would be far above.
    """
    chance = Random(seed)
    speeds = [chance.uniform(1.0, 20.0) for _ in range(chance.randint(2, 12))]
    capacity = sum(speeds)
    report = simulate(
        {f"s{k}": Server(service=Exponential(mean=1.0), speed=speed) for k, speed in enumerate(speeds)},
        Poisson(rate=0.95 * capacity),
        seed=seed,
        requests=16_000,
        warm_up=4_000,
    )
    halves = [
        [batch.mean() for batch in np.array_split(half, 10)] for half in np.array_split(report.latency, 2)
    ]
    drift = np.mean(halves[1]) - np.mean(halves[0])
    error = math.sqrt(sum(np.var(half, ddof=1) / 10 for half in halves))
    print(f"{len(speeds):3} servers, mean {report.mean:.3f} s, drift {drift:+.3f} s, z {drift / error:+.1f}")
    assert drift < 4.5 * error
    assert report.mean < 10.0 * (1.0 / (0.05 * capacity) + 1.0 / min(speeds))


BY_LATENCY = {
    "default": dict,
    "average": lambda: {"selector": PowerOfChoices(), "load": EwmaLatency()},
    "peak": lambda: {"selector": PowerOfChoices(), "load": PeakEwmaLatency()},
    "least response time": lambda: {"selector": LeastResponseTime()},
}


@pytest.mark.parametrize("name", BY_LATENCY)
@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.CANCELLED])
def test_requests_that_are_ignored_attract_no_others(outcome, name):
    """Law 6: an endpoint whose requests all end ignored or cancelled at once gets no more than its share."""
    clock, chance = ManualClock(), Random(1)
    balancer = LoadBalancer(["a", "b", "c", "d"], clock=clock, rng=Random(1), **BY_LATENCY[name]())
    picked = Counter()
    for _ in range(4_000):
        lease = balancer.acquire()
        picked[lease.target] += 1
        if lease.target == "a":
            lease.release(outcome)
        else:
            clock.advance(chance.expovariate(100))
            lease.release()
    assert picked["a"] <= 1.2 * 4_000 / 4


@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.CANCELLED])
@pytest.mark.parametrize("answers", [0, 1, 50])
def test_an_endpoint_that_only_ignores_is_left_to_trials(answers, outcome):
    """Law 6: whether it never answered or was the best, it gets at most 3 of 100 requests, and is tried in time."""
    for seed in range(20):
        clock, rng = ManualClock(), Random(seed)
        balancer = LoadBalancer(["a", "b", "bad"], clock=clock, rng=Random(seed))
        for _ in range(answers):
            with balancer.acquire(exclude={"a", "b"}):
                clock.advance(0.001)
        picked = Counter()
        for number in range(3000):
            lease = balancer.acquire()
            picked[lease.target] += 1
            if lease.target == "bad":
                lease.release(outcome)
            else:
                clock.advance(0.05 if 0 < number < 9 else rng.expovariate(500))  # a process that begins
                lease.release()
        assert picked["bad"] <= 0.03 * 3000
        began, target = clock(), None
        while target != "bad":
            with balancer.acquire() as lease:
                target = lease.target
                clock.advance(0.05)
        assert clock() - began <= 30.0
