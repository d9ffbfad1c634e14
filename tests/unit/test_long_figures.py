"""Figures in texts, and figures so large or so small that a float cannot go on from them."""

from __future__ import annotations

import logging
from random import Random

import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome, UnavailableError
from balancekit.capacity import L4, L7, Backends, Demand, Gslb, erlang_c, plan_capacity
from balancekit.health import EndpointReport, LatencyLimit, MedianLatency
from balancekit.observability import log_events
from balancekit.retry import RetryBudget
from balancekit.routing import RateLimit
from balancekit.stats import Quantiles
from balancekit.waiting import ClientThrottle

MAX_CHARACTERS = 250
FAR = 1.7e308


def _refusal(lb):
    with pytest.raises(UnavailableError, match="retry in") as caught:
        lb.acquire()
    return str(caught.value)


def a_pool_that_cools_down(caplog):
    """Return the error of a pool that cools down for ever, and the record of the event."""
    lb = LoadBalancer(["a"])
    log_events(lb)
    with caplog.at_level(logging.WARNING, "balancekit"):
        lb.acquire().release(Outcome.OVERLOADED, retry_after=FAR)
    return f"{_refusal(lb)}\n{caplog.messages[0]}"


def a_rate(caplog):
    """Return the error of a quota that is used up for ever."""
    lb = LoadBalancer(["a"], selector=RateLimit(1e-100), health=None)
    lb.acquire().release()
    return _refusal(lb)


def latencies(caplog):
    """Return the causes of ejections by latency."""
    reports = [
        EndpointReport(id, successes=20, failures=0, latencies=(seconds,) * 20)
        for id, seconds in (("a", 0.1), ("b", 0.1), ("c", 1e300))
    ]
    return "\n".join([*LatencyLimit(limit=0.2)(reports).values(), *MedianLatency()(reports).values()])


def a_view(caplog):
    """Return the statistics of a balancer as text."""
    stats = LoadBalancer(["a"]).stats()
    slow = stats["a"].replace(latency=Quantiles(count=9, p50=1e300, p95=1e300, p99=1e300))
    return str(stats.replace(endpoints=(slow,)))


def a_plan(caplog):
    """Return a capacity plan with the largest figures, as text."""
    tiers = [Gslb(sites=2), L4(gbps=1e-6), L7(requests_per_second=1e-6), Backends(workers=1e-6)]
    most = Demand(requests=1e15, request_bytes=1e15, response_bytes=1e15, idle=1e15, service=1e15)
    return str(plan_capacity(most, tiers))


@pytest.mark.parametrize(
    "text",
    [a_pool_that_cools_down, a_rate, latencies, a_view, a_plan],
    ids=lambda one: one.__name__,
)
def test_no_text_writes_a_figure_in_hundreds_of_digits(text, caplog):
    """A figure that has more digits than a float is written with an exponent."""
    found = text(caplog)
    assert "e+" in found
    assert max(map(len, found.splitlines())) < MAX_CHARACTERS


@pytest.mark.parametrize(
    "make", [lambda s: RetryBudget(ratio=1.0, reserve=0.0, ttl=s), lambda s: ClientThrottle(window=s)]
)
@pytest.mark.parametrize("seconds", [5e-324, 1e-300, 1.0, FAR])
@pytest.mark.parametrize("jump", [1e-9, 1e12, 1e15, -1e15])
def test_counts_of_the_past_bear_any_window_and_any_time(make, seconds, jump):
    """A budget and a throttle count in windows of any length, at any time, and again after one that was far away."""
    counts, rng = make(seconds), Random(1)
    for now in (0.0, jump, 0.0):
        if isinstance(counts, RetryBudget):
            counts.deposit(now=now)
            assert counts.withdraw(now=now)
        else:
            counts.allow(rng, now=now)
            counts.accepted(now=now)
            assert counts.probability(now=now) == 0.0


@pytest.mark.parametrize(
    "name", ["requests", "request_bytes", "response_bytes", "per_connection", "idle", "service"]
)
def test_a_demand_beyond_all_figures_is_refused(name):
    """A property of a demand is at most 1e15, so that no product of three is infinite."""
    with pytest.raises(ConfigurationError, match=name):
        Demand(**{"requests": 1.0, name: 1.1e15})


def test_a_node_that_can_do_nothing_is_refused():
    """A limit of a node so small that no number of nodes would do is refused, and so is a loss of more nodes than there are."""
    with pytest.raises(ConfigurationError, match="requests_per_second"):
        L7(requests_per_second=5e-324)
    with pytest.raises(ConfigurationError, match="l7"):
        plan_capacity(Demand(requests=1.0), [L7(requests_per_second=1.0)], survive={"l7": 10**400})


@pytest.mark.parametrize(
    ("workers", "load"), [(200, 150.0), (1_000, 999.5), (20_300, 20_000.0), (9, 0.001), (5_000, 90.0)]
)
def test_erlang_c_is_that_of_the_whole_recursion(workers, load):
    """What is left out of the recursion, far below the load and far above it, changes no digit."""
    blocked = 1.0
    for number in range(1, workers + 1):
        blocked = load * blocked / (number + load * blocked)
    whole = blocked / (1.0 - load / workers * (1.0 - blocked))
    assert erlang_c(workers, load).probability == pytest.approx(whole, rel=1e-14, abs=1e-299)


def test_erlang_c_of_a_hundred_million_workers_is_computed():
    """The cost is that of the root of the load: as many workers as there are hosts on the internet take no hours."""
    assert erlang_c(10**9, 0.5e9).probability < 1e-290
    assert 0.2 < erlang_c(10**8 + 10_000, 1e8).probability < 0.3


def test_a_loss_that_is_not_survived_by_little_is_shown():
    """A finding shows the share that a node carries and the planned one by different figures."""
    plan = plan_capacity(Demand(requests=700_000.0), [L7(requests_per_second=1_000)])
    assert any("70.070% instead of 70.000%" in finding for finding in plan.findings)
