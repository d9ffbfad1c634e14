"""Formulas of loads, at values worked out by hand."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import ConfigurationError, Endpoint
from balancekit.loads import EwmaLatency, FailureAware, PeakEwmaLatency
from balancekit.loads._success_rate import SuccessRate
from balancekit.node import Node
from balancekit.outcome import Completion, Outcome
from balancekit.stats import Ewma, PeakEwma


def node_of(policy: object) -> Node:
    """Return a node with a load of a policy."""
    return Node(Endpoint("a"), policy)


def ended(start: float, end: float) -> Completion:
    """Return a success."""
    return Completion(Outcome.SUCCESS, started_at=start, ended_at=end)


@pytest.mark.parametrize("policy", [EwmaLatency, PeakEwmaLatency])
@pytest.mark.parametrize("decay", [0.0, -1.0, math.nan, math.inf, True])
def test_a_time_constant_is_finite_and_above_zero(policy: type, decay: float) -> None:
    """A time constant of 0 is refused, and the smallest positive number is accepted."""
    with pytest.raises(ConfigurationError):
        policy(decay=decay)
    assert policy(decay=1e-9).decay == 1e-9


@pytest.mark.parametrize(
    ("policy", "average"), [(EwmaLatency, Ewma), (PeakEwmaLatency, PeakEwma)], ids=["ewma", "peak"]
)
@pytest.mark.parametrize("seed", range(20))
def test_latencies_are_averaged_as_the_averages_do(policy: type, average: type, seed: int) -> None:
    """The loads keep the same numbers as ``Ewma`` and ``PeakEwma``, whose formulas they have written out.

    Times may stand still or run backwards, and latencies may be 0. The rank of the load is the rank of the average.
    """
    rng = Random(seed)
    load, expected = node_of(policy(7.0)).load, average(decay=7.0)
    now = 0.0
    for _ in range(200):
        now += rng.choice((0.0, -1.0, rng.expovariate(1.0), rng.expovariate(0.01)))
        latency = rng.choice((0.0, 1e-300, rng.lognormvariate(-3.0, 2.0)))
        load.succeeded(latency, now)
        expected.observe(latency, now=now)
        later = now + rng.choice((0.0, -2.0, 5.0, 1e5))
        assert load.value(now=later) == expected.value(now=later, rest=0.0)
        assert load.rank() == expected.rank()


@pytest.mark.parametrize("policy", [EwmaLatency, PeakEwmaLatency])
@pytest.mark.parametrize(
    ("latency", "now"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)]
)
def test_a_latency_that_is_no_number_changes_nothing(policy: type, latency: float, now: float) -> None:
    """A clock that fails says nothing of the endpoint: the error leaves the average as it was."""
    load = node_of(policy()).load
    load.succeeded(0.5, 1.0)
    with pytest.raises(ConfigurationError):
        load.succeeded(latency, now)
    assert load.value(now=1.0) == 0.5


def test_a_better_latency_is_averaged_in_and_a_worse_one_taken_at_once() -> None:
    """After t seconds, the old estimate counts ``exp(-t / decay)`` against a better answer; a worse one replaces it."""
    policy = FailureAware()
    decay = policy.decay
    node = node_of(policy)
    node.load.finished(ended(0.0, 1.0))
    assert node.latency_estimate == pytest.approx(1.0)
    node.load.finished(ended(1.0 + decay - 0.5, 1.0 + decay))
    first = 0.5 + 0.5 * math.exp(-1.0)
    assert node.latency_estimate == pytest.approx(first)
    node.load.finished(ended(decay, decay + 4.0))
    assert node.latency_estimate == pytest.approx(4.0)


def test_a_failure_aware_pool_knows_nothing_until_one_has_answered() -> None:
    """No endpoint is tried, the median is 0, and the first sweep is due at once."""
    pool = FailureAware().for_pool()
    node = Node(Endpoint("a"), pool)
    assert (pool.median, pool.deadline) == (0.0, -math.inf)
    assert not node.load.tried


def test_the_median_is_that_of_the_endpoints_that_have_answered() -> None:
    """The median of five latencies is the third.

    Endpoints that never answered do not count, and the next sweep is due in a second.
    """
    pool = FailureAware().for_pool()
    nodes = [Node(Endpoint(f"e{k}"), pool) for k in range(7)]
    for node, latency in zip(nodes, (5.0, 1.0, 4.0, 2.0, 3.0), strict=False):
        node.load.finished(ended(10.0, 10.0 + latency))
    pool.advance(now=16.0)
    assert pool.median == pytest.approx(3.0)
    assert pool.deadline == 17.0


def test_a_failure_counts_by_how_long_the_last_answer_or_failure_is_ago() -> None:
    """After t seconds the success so far counts ``exp(-t / decay)``; t begins at what came last, be it an older failure."""
    rate = SuccessRate(decay=2.0, healing=5.0)
    rate.record(0.0, now=10.0, since=9.0)
    missing = 1.0 - math.exp(-1.0 / 2.0)
    assert rate.value(now=10.0) == pytest.approx(1.0 - missing)
    rate.record(0.0, now=13.0, since=9.0)  # no answer since the failure at 10
    keep = math.exp(-3.0 / 2.0)
    missing = missing * math.exp(-3.0 / 5.0) * keep + 1.0 - keep
    assert rate.value(now=13.0) == pytest.approx(1.0 - missing)
    rate.record(1.0, now=14.0, since=13.5)
    missing = missing * math.exp(-1.0 / 5.0) * math.exp(-0.5 / 2.0)
    assert rate.value(now=14.0) == pytest.approx(1.0 - missing)
