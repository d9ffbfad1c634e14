"""Simulated queues against what theory knows exactly.

Every figure is the mean over independent runs; the gate is five standard errors of that mean. Exact values:
M/M/n (Erlang 1917), GI/M/1 for round robin (each server sees Erlang arrivals), JSQ with two servers by solving
the chain; for power of two choices at n = 10 and 100 and d = 3 by simulation of others with their standard
errors (Mitzenmacher 2001 and the reference values computed for this project).
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from balancekit import LeastRequest, LoadBalancer, PowerOfChoices, RoundRobin, UniformRandom
from balancekit.loads import InFlight
from balancekit.sim import Exponential, Poisson, Server, simulate

RUNS = 8


def means(n, load, selector, *, workers=1, requests=40_000, runs=RUNS):
    """Return the mean latencies of independent runs, and the last report."""

    def make(endpoints, clock, rng):
        return LoadBalancer(
            endpoints, selector=selector(), load=InFlight(), health=None, clock=clock, rng=rng
        )

    found = []
    for seed in range(runs):
        report = simulate(
            {f"s{k}": Server(service=Exponential(mean=1.0), workers=workers) for k in range(n)},
            Poisson(rate=load * n * workers),
            balancer=make,
            requests=requests,
            warm_up=requests // 10,
            seed=seed,
        )
        found.append(report.mean)
    return np.array(found), report


def agrees(found, exact, error=0.0):
    """Five standard errors, ours and theirs."""
    spread = math.hypot(found.std(ddof=1) / math.sqrt(len(found)), error)
    assert abs(found.mean() - exact) <= 5.0 * spread, (found.mean(), exact, spread)


def erlang_c_mean(n, load):
    """Return the mean time in M/M/n with service of mean 1."""
    offered = n * load
    blocked = 1.0
    for k in range(1, n + 1):
        blocked = offered * blocked / (k + offered * blocked)
    waits = blocked / (1.0 - load * (1.0 - blocked))
    return 1.0 + waits / (n * (1.0 - load))


def round_robin_mean(n, load):
    """Return the mean time in GI/M/1 with Erlang(n) arrivals: sigma = A*(1 - sigma)."""
    sigma = load
    for _ in range(10_000):
        sigma = (n * load / (n * load + 1.0 - sigma)) ** n
    return 1.0 / (1.0 - sigma)


def shortest_of_two(load, most=60):
    """Return the mean time of joining the shorter of two queues: the chain, solved."""
    states = [(i, j) for i in range(most + 1) for j in range(i, min(most, i + 20) + 1)]
    number = {state: k for k, state in enumerate(states)}
    rates = np.zeros((len(states), len(states)))
    for (i, j), k in number.items():
        moves = [((min(i + 1, j), max(i + 1, j)), 2 * load)]
        moves += [((i - 1, j), 1.0)] if i else []
        moves += [((min(i, j - 1), max(i, j - 1)), 1.0)] if j else []
        for state, rate in moves:
            if state in number:
                rates[number[state], k] += rate
                rates[k, k] -= rate
    rates[0, :] = 1.0
    share = np.linalg.solve(rates, np.eye(len(states))[0])
    return sum(share[k] * (i + j) for (i, j), k in number.items()) / (2 * load)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_server(load):
    """One server has the mean time of M/M/1, 1 / (1 - load)."""
    found, _ = means(1, load, RoundRobin)
    agrees(found, 1.0 / (1.0 - load))


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_ten_workers_of_one_queue(load):
    """Ten workers of one queue have the mean time of M/M/10."""
    found, _ = means(1, load, RoundRobin, workers=10)
    agrees(found, erlang_c_mean(10, load))


def test_round_robin():
    """Round robin over 10 servers has the mean time of theory at load 0.8."""
    found, _ = means(10, 0.8, RoundRobin)
    agrees(found, round_robin_mean(10, 0.8))


@pytest.mark.parametrize(
    ("n", "load", "exact", "error"),
    [(10, 0.5, 1.2859, 4e-4), (10, 0.8, 2.0756, 7e-4), (100, 0.5, 1.2673, 2e-4), (100, 0.8, 1.9591, 6e-4)],
)
def test_power_of_two_choices(n, load, exact, error):
    """Power of two choices has the mean time of distinct draws at n = 10.

    The value for n = infinity is wrong by up to 14 %.
    """
    found, _ = means(n, load, PowerOfChoices)
    agrees(found, exact, error)


def test_three_choices():
    """Three choices have the mean time of theory at load 0.9 and n = 100."""
    found, _ = means(100, 0.9, lambda: PowerOfChoices(3))
    agrees(found, 2.0626, 6e-4)


def test_the_shorter_of_two_queues():
    """Least request with two servers has the mean time of join-the-shortest-queue."""
    found, _ = means(2, 0.8, LeastRequest)
    agrees(found, shortest_of_two(0.8))


@pytest.mark.parametrize("selector", [PowerOfChoices, LeastRequest, RoundRobin])
def test_identities(selector):
    """Little's law, utilisation, and PASTA hold: arrivals see what is there on average."""
    found, report = means(10, 0.7, selector, requests=60_000, runs=1)
    rate = report.requests / report.seconds
    assert report.in_system == pytest.approx(rate * found[0], rel=0.01)
    assert sum(report.busy.values()) / 10 == pytest.approx(0.7, rel=0.02)
    assert report.seen == pytest.approx(report.in_system, rel=0.02)


@pytest.mark.parametrize("load", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_the_order_of_algorithms(load):
    """At every load the order is central queue <= shortest queue <= three choices <= two choices <= at random."""
    central, _ = means(1, load, RoundRobin, workers=10, runs=4)
    rows = [central] + [
        means(10, load, selector, runs=4)[0]
        for selector in (LeastRequest, lambda: PowerOfChoices(3), PowerOfChoices, UniformRandom)
    ]
    averages = [row.mean() for row in rows]
    assert averages == sorted(averages)
