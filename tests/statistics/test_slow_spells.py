"""An endpoint that becomes slow loses its share within seconds, and has it back within minutes of the end."""

from __future__ import annotations

import heapq
from random import Random

import pytest

from balancekit import Lease, LoadBalancer, Outcome
from balancekit.testing import ManualClock

SERVICE_S, THINK_S = 0.01, 0.02
BEGIN_S, BACK_S = 20.0, 180.0
WINDOW_S = 60.0


def share_after(
    size: int, callers: int, factor: float, spell_s: float, exponential: bool, seed: int
) -> float:
    """Return the share, over an even one, of an endpoint that was so many times as slow until ``BACK_S`` before.

    Callers wait for each answer, and then for a pause of exponential length.
    """
    clock, rng = ManualClock(), Random(seed)
    ids = [f"e{number}" for number in range(size)]
    lb = LoadBalancer(ids, clock=clock, rng=Random(seed))
    end_s = BEGIN_S + spell_s
    first_s = end_s + BACK_S
    events = [(0.001 * caller, caller, None) for caller in range(callers)]
    number, picked, slowed = callers, [0, 0], 0
    while events[0][0] < first_s + WINDOW_S:
        at, _, lease = heapq.heappop(events)
        clock.advance(max(0.0, at - clock()))
        number += 1
        if lease is not None:
            lease.release(Outcome.SUCCESS)
            heapq.heappush(events, (clock() + rng.expovariate(1.0 / THINK_S), number, None))
            continue
        lease = lb.acquire()
        service_s = rng.expovariate(1.0 / SERVICE_S) if exponential else rng.uniform(0.9, 1.1) * SERVICE_S
        if lease.target == ids[-1] and BEGIN_S < clock() < end_s:
            service_s *= factor
            slowed += 1
        heapq.heappush(events, (clock() + service_s, number, lease))
        if clock() > first_s:
            picked[lease.target == ids[-1]] += 1
    assert slowed, "the endpoint must have been used while it was slow"
    return size * picked[True] / sum(picked)


@pytest.mark.parametrize(("size", "callers"), [(2, 1), (2, 2), (3, 1), (3, 4), (10, 1), (10, 4)])
@pytest.mark.parametrize(("factor", "spell_s"), [(50.0, 5.0), (50.0, 60.0), (5.0, 60.0)])
def test_a_slow_spell_is_made_up_for_within_three_minutes(
    size: int, callers: int, factor: float, spell_s: float
) -> None:
    """Three minutes after the spell, the endpoint has half of an even share or more, for times that hardly vary.

    At so few requests at once, the others can do all the work without queues: nothing but trials finds that it is back.
    """
    assert share_after(size, callers, factor, spell_s, exponential=False, seed=1) >= 0.5


@pytest.mark.parametrize(("size", "callers"), [(2, 1), (3, 1), (3, 4), (10, 4)])
def test_most_are_back_within_three_minutes_with_exponential_times(size: int, callers: int) -> None:
    """With exponential times a trial may meet a long answer; of eight pools, the median has half of an even share."""
    shares = sorted(share_after(size, callers, 50.0, 60.0, exponential=True, seed=seed) for seed in range(8))
    assert shares[3] >= 0.5, shares


def picks_while_slow(factor: float, rate: float, exponential: bool, seed: int) -> list[float]:
    """Return the share, over an even one, of an endpoint of ten in each of 30 s after it became so many times as slow.

    Requests come one by one at ``rate``; few enough that the queue shows little.
    """
    clock, rng = ManualClock(), Random(seed)
    lb = LoadBalancer([f"e{number}" for number in range(10)], clock=clock, rng=Random(seed))
    open_leases: list[tuple[float, int, Lease[str]]] = []
    begin_s, at, number = 300.0, 0.0, 0
    picked, slow = [0] * 30, [0] * 30
    while at < begin_s + 30.0:
        at, number = at + rng.expovariate(rate), number + 1
        while open_leases and open_leases[0][0] <= at:
            ends, _, lease = heapq.heappop(open_leases)
            clock.advance(max(0.0, ends - clock()))
            lease.release(Outcome.SUCCESS)
        clock.advance(max(0.0, at - clock()))
        lease = lb.acquire()
        service_s = rng.expovariate(20.0) if exponential else rng.uniform(0.045, 0.055)
        if at >= begin_s and lease.target == "e0":
            service_s *= factor
        heapq.heappush(open_leases, (at + service_s, number, lease))
        if begin_s <= at < begin_s + 30.0:
            picked[int(at - begin_s)] += 1
            slow[int(at - begin_s)] += lease.target == "e0"
    return [10.0 * hits / max(1, count) for hits, count in zip(slow, picked, strict=True)]


@pytest.mark.parametrize("exponential", [False, True], ids=["steady", "exponential"])
@pytest.mark.parametrize("factor", [3.0, 5.0, 25.0])
def test_an_endpoint_that_becomes_slow_loses_its_share_within_seconds(
    factor: float, exponential: bool
) -> None:
    """From five seconds after it became slow, an endpoint has less than a fifth of an even share, in the median of five pools.

    At 60 requests a second queues show little, and after five minutes the average over 200 s alone would need half a minute.
    """
    shares = sorted(sum(picks_while_slow(factor, 60.0, exponential, seed)[5:]) / 25.0 for seed in range(5))
    assert shares[2] < 0.2, shares
