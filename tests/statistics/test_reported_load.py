"""Reported weights against the true ones: two speeds, a processor-sharing queue, 80 % load."""

from __future__ import annotations

import heapq
from random import Random

import pytest

from balancekit import Endpoint, LoadBalancer, SmoothWeightedRoundRobin
from balancekit.outcome import LoadReport
from balancekit.reported import ReportedRoundRobin, ReportedWeights
from balancekit.testing import ManualClock

SPEEDS = {"slow-1": 1.0, "slow-2": 1.0, "fast-1": 3.0, "fast-2": 3.0}
SERVICE_S = 0.02
LOAD = 0.8
REQUESTS = 20_000
WARM_UP = 4_000
WINDOW_S = 10.0


def p99(selector, weights, seed, *, reporting):
    """Return the 99th percentile of response times of first-come-first-served servers of two speeds."""
    random = Random(seed)
    clock = ManualClock()
    lb = LoadBalancer(
        [Endpoint(name, weight=weights[name]) for name in SPEEDS],
        selector=selector,
        clock=clock,
        rng=Random(seed),
    )
    free_at = dict.fromkeys(SPEEDS, 0.0)
    busy = {name: [] for name in SPEEDS}  # (end, seconds of work), of the last window
    rate = LOAD * sum(SPEEDS.values()) / SERVICE_S
    ends, times = [], []
    t = 0.0
    for k in range(REQUESTS):
        t += random.expovariate(rate)
        while ends and ends[0][0] <= t:
            end, _, name, lease = heapq.heappop(ends)
            clock.advance(end - clock())
            if reporting:
                recent = [one for one in busy[name] if end - WINDOW_S < one[0] <= end]
                busy[name] = [one for one in busy[name] if one[0] > end - WINDOW_S]
                window = min(WINDOW_S, end)
                used = sum(work for _, work in recent) / window
                lease.report_load(LoadReport(application_utilization=used, rps=len(recent) / window))
            lease.release()
        clock.advance(t - clock())
        lease = lb.acquire()
        name = lease.target
        work = random.expovariate(1.0) * SERVICE_S / SPEEDS[name]
        end = free_at[name] = max(t, free_at[name]) + work
        busy[name].append((end, work))
        heapq.heappush(ends, (end, k, name, lease))
        if k >= WARM_UP:
            times.append(end - t)
    for _, _, _, lease in ends:
        lease.release()
    return sorted(times)[int(0.99 * len(times))]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reported_weights_are_nearly_as_good_as_true_ones(seed):
    """With reported weights p99 is within 1.2 times that of true weights, and far below that of equal ones.

    Speeds are 1 to 3 at 80 % load.
    """
    equal = dict.fromkeys(SPEEDS, 1.0)
    true = p99(SmoothWeightedRoundRobin(), SPEEDS, seed, reporting=False)
    reported = p99(ReportedRoundRobin(ReportedWeights(blackout=1.0)), equal, seed, reporting=True)
    blind = p99(SmoothWeightedRoundRobin(), equal, seed, reporting=False)
    assert reported <= 1.2 * true
    assert blind > 3.0 * true
