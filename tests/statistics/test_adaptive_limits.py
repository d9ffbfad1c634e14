"""Adaptive limits in front of a server with 40 slots: where they settle, and what is served meanwhile.

The server works on 40 requests at once and lets others wait. Requests come at 1.5 times what it can do; a request that finds
no room in the limit is turned away. All in virtual time, with fixed seeds.
"""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from random import Random

import pytest

from balancekit import LoadBalancer, SaturatedError
from balancekit.routing import Aimd, Gradient, MaxInFlight
from balancekit.testing import ManualClock

SLOTS = 40
SERVICE_S = 0.1


class Server:
    """Slots, and a queue without bound; in front of it a balancer with a limit."""

    def __init__(self, rule, *, seed, spread=0.2):
        self.clock = ManualClock()
        self.rng = Random(seed)
        self.selector = MaxInFlight(rule)
        self.lb = LoadBalancer(
            ["server"], selector=self.selector, clock=self.clock, health=None, rng=Random(seed)
        )
        self.spread = spread
        self.slowness = 1.0
        self.busy = 0
        self.queue = deque()
        self.events = []
        self.serial = 0
        self.served = []  # (end, latency)
        self.turned_away = 0
        self.limits = []  # (time, limit)

    def run(self, seconds, load):
        """Let requests come for a time."""
        end = self.clock() + seconds
        rate = load * SLOTS / SERVICE_S
        due = self.clock() + self.rng.expovariate(rate)
        while due < end or (self.events and self.events[0][0] < end):
            if self.events and self.events[0][0] <= due:
                at, _, lease, begun = heapq.heappop(self.events)
                self._to(at)
                self.busy -= 1
                lease.release()
                self.served.append((at, at - begun))
                self._serve()
                continue
            self._to(due)
            try:
                self.queue.append((self.lb.acquire(), due))
            except SaturatedError:
                self.turned_away += 1
            self._serve()
            due += self.rng.expovariate(rate)
        self._to(end)

    def limit_between(self, begin, end):
        """Return the limits of a time, one for each request that ended."""
        return [limit for at, limit in self.limits if begin <= at < end]

    def goodput(self, begin, end):
        """Return what was served of what could be."""
        served = sum(begin <= at < end for at, _ in self.served)
        return served / ((end - begin) * SLOTS / (SERVICE_S * self.slowness))

    def _serve(self):
        while self.queue and self.busy < SLOTS:
            lease, begun = self.queue.popleft()
            self.busy += 1
            self.serial += 1
            work = SERVICE_S * self.slowness * self.rng.uniform(1.0 - self.spread, 1.0 + self.spread)
            heapq.heappush(self.events, (self.clock() + work, self.serial, lease, begun))

    def _to(self, now):
        self.clock.advance(max(0.0, now - self.clock()))
        limits = self.selector.limits
        self.limits.append((now, limits["server"]))


RULES = {
    "gradient": Gradient(buffer=0.1, min_rtt_interval=60.0),
    "gradient-given": Gradient(buffer=0.1, min_rtt=SERVICE_S),
    "aimd": Aimd(timeout=1.35 * SERVICE_S),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", sorted(RULES))
def test_a_limit_settles_where_the_server_is_full(kind, seed):
    """At load 1.5: between 40 and 60 in the median and at the end, and at least 0.95 of capacity is served.

    The median of latency is at most 1.3 times that of an idle server.
    """
    server = Server(RULES[kind], seed=seed)
    server.run(25.0, load=1.5)
    limits = server.limit_between(10.0, 25.0)
    assert 40 <= statistics.median(limits) <= 60
    assert 40 <= server.selector.limits["server"] <= 60
    assert server.goodput(10.0, 25.0) >= 0.95
    assert statistics.median(latency for at, latency in server.served if at >= 10.0) <= 1.3 * SERVICE_S


@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_recovers_within_ten_intervals(seed):
    """Latency doubles for four seconds, and is as before: ten intervals later, the limit is at least 40 again."""
    rule = RULES["gradient-given"]
    server = Server(rule, seed=seed)
    server.run(8.0, load=1.5)
    server.slowness = 2.0
    server.run(4.0, load=1.5)
    assert server.selector.limits["server"] < 40
    server.slowness = 1.0
    slow_still = 2.0 * SERVICE_S  # those that are being served
    server.run(slow_still + 10 * rule.interval, load=1.5)
    assert server.selector.limits["server"] >= 40


@pytest.mark.parametrize("kind", sorted(RULES))
def test_a_limit_is_never_below_its_least(kind):
    """Whatever the server does: ten times as slow for five seconds."""
    server = Server(RULES[kind], seed=4)
    server.run(5.0, load=1.5)
    server.slowness = 10.0
    server.run(5.0, load=1.5)
    assert min(limit for _, limit in server.limits) >= RULES[kind].min_limit >= 1
