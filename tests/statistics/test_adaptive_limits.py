"""Adaptive limits in front of a server with 40 slots: where they settle, and what is served meanwhile.

The server works on 40 requests at once and lets others wait. Requests come at 1.5 times what it can do; a request that finds
no room in the limit is turned away. All in virtual time, with fixed seeds.
"""

from __future__ import annotations

import statistics

import pytest

from balancekit import LoadBalancer
from balancekit.routing import Aimd, Gradient, MaxInFlight
from balancekit.sim import Poisson, Server, Simulation, Slow

SLOTS = 40


class Uniform:
    """Service times between 0.8 and 1.2 of the mean, in seconds."""

    mean = 0.1

    def sample(self, rng):
        """Draw one service time."""
        return self.mean * rng.uniform(0.8, 1.2)


SERVICE = Uniform()
RATE = 1.5 * SLOTS / SERVICE.mean
WARM_UP_S = 10.0


class Run:
    """A run of the simulator in front of one server, and the limits on the way."""

    def __init__(self, rule, *, seconds, seed, faults=()):
        self.limits = []  # (time, limit) for each request that ended
        self.seconds = seconds
        self.selector = MaxInFlight(rule)
        simulation = Simulation(
            {"server": Server(service=SERVICE, workers=SLOTS)},
            Poisson(rate=RATE),
            balancer=self._balancer,
            faults=faults,
            seed=seed,
        )
        warm_up = int(RATE * WARM_UP_S)
        self.report = simulation.run(requests=int(RATE * (seconds - WARM_UP_S)), warm_up=warm_up)

    def _balancer(self, endpoints, clock, rng):
        lb = LoadBalancer(endpoints, selector=self.selector, clock=clock, health=None, rng=rng)
        lb.on_completion(lambda _, end: self.limits.append((end.ended_at, self.selector.limits["server"])))
        return lb

    @property
    def goodput(self):
        """What was served after the warm-up, of what the server can do in that time."""
        served = self.report.requests - self.report.failures
        return served / (self.report.seconds * SLOTS / SERVICE.mean)

    def limits_between(self, begin, end):
        """Return the limits of a time, one for each request that ended."""
        return [limit for at, limit in self.limits if begin <= at < end]


RULES = {
    "gradient": Gradient(buffer=0.1, min_rtt_interval=60.0),
    "gradient-given": Gradient(buffer=0.1, min_rtt=SERVICE.mean),
    "aimd": Aimd(timeout=1.35 * SERVICE.mean),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", sorted(RULES))
def test_a_limit_settles_where_the_server_is_full(kind, seed):
    """At load 1.5 the limit settles between 40 and 60, with at least 0.95 of the capacity served."""
    run = Run(RULES[kind], seconds=25.0, seed=seed)
    limit = statistics.median(run.limits_between(WARM_UP_S, 25.0))
    assert 40 <= limit <= 60
    assert 40 <= run.selector.limits["server"] <= 60
    assert run.goodput >= 0.95
    assert run.report.quantile(0.5) <= 1.05 * SERVICE.mean * limit / SLOTS


@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_recovers_within_ten_intervals(seed):
    """Latency doubles for four seconds, and is as before: ten intervals later, the limit is at least 40 again."""
    rule = RULES["gradient-given"]
    slow = Slow(endpoint="server", factor=2.0, at=12.0, seconds=4.0)
    run = Run(rule, seconds=20.0, seed=seed, faults=[slow])
    assert min(run.limits_between(13.0, 16.0)) < 40
    slow_still = 2.0 * SERVICE.mean  # those that are being served
    recovered = 16.0 + slow_still + 10 * rule.interval
    assert run.limits_between(recovered, recovered + 0.1)[0] >= 40


@pytest.mark.parametrize("kind", sorted(RULES))
def test_a_limit_is_never_below_its_least(kind):
    """A limit is never below its least, even if the server is ten times as slow for five seconds."""
    run = Run(
        RULES[kind],
        seconds=15.0,
        seed=4,
        faults=[Slow(endpoint="server", factor=10.0, at=5.0, seconds=5.0)],
    )
    assert min(limit for _, limit in run.limits) >= RULES[kind].min_limit >= 1
