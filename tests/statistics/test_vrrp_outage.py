"""Outages of VRRP against their formulas: a death at a random phase, and a resignation."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit.ha import VirtualRouter
from balancekit.sim import VrrpDo, VrrpEvent, VrrpSimulation

RUNS = 200
INTERVAL = 1.0
LATENCY = 0.0005
FIRST = VirtualRouter(
    vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=INTERVAL
)


def outage(do, at, seed, priority):
    """Return the outage of one run in which the active router dies or resigns."""
    routers = {"r1": FIRST, "r2": FIRST.replace(source="192.0.2.12", priority=priority)}
    events = [VrrpEvent(at=at, do=do, nodes=("r1",))]
    report = VrrpSimulation(routers, events, latency=(LATENCY, LATENCY), seed=seed).run(at + 10.0)
    (spell,) = report.outages(after=at)
    return spell.seconds


def kolmogorov(sample, low, high):
    """Return the probability that a uniform sample is as far from its distribution (Kolmogorov's limit)."""
    ordered = sorted((value - low) / (high - low) for value in sample)
    n = len(ordered)
    distance = max(max((k + 1) / n - value, value - k / n) for k, value in enumerate(ordered))
    x = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance
    return 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 100))


@pytest.mark.parametrize("priority", [1, 100, 149])
def test_a_death_at_a_random_phase_costs_a_uniform_outage(priority):
    """The outage of a death at a random phase is uniform in (down - interval, down).

    This holds for 200 runs with a fixed seed.
    """
    random = Random(7)
    down = FIRST.down(INTERVAL, priority)
    found = [outage(VrrpDo.KILL, random.uniform(10.0, 20.0), k, priority) for k in range(RUNS)]
    assert down - INTERVAL - LATENCY <= min(found) <= max(found) <= down + LATENCY
    assert kolmogorov(found, down - INTERVAL, down) > 0.001
    assert sum(found) / RUNS == pytest.approx(down - INTERVAL / 2, abs=5 * INTERVAL / math.sqrt(12 * RUNS))


@pytest.mark.parametrize("priority", [1, 100, 149])
def test_a_resignation_costs_the_skew(priority):
    """A resignation costs the skew, within 5 ms, whenever it happens."""
    random = Random(8)
    skew = FIRST.skew(INTERVAL, priority)
    for k in range(RUNS):
        assert outage(VrrpDo.STOP, random.uniform(10.0, 20.0), k, priority) == pytest.approx(skew, abs=0.005)


def test_the_gate_finds_a_wrong_distribution():
    """A gate for the uniform distribution refuses outages in a range one tenth narrower."""
    random = Random(9)
    right = [random.uniform(2.0, 3.0) for _ in range(RUNS)]
    assert kolmogorov(right, 2.0, 3.0) > 0.001
    assert kolmogorov([2.0 + 0.8 * (value - 2.0) for value in right], 2.0, 3.0) < 0.001
