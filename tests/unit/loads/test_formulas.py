"""Formulas of loads, at values worked out by hand."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError, Endpoint
from balancekit.loads import EwmaLatency, FailureAware, PeakEwmaLatency
from balancekit.node import Node
from balancekit.outcome import Completion, Outcome


def node_of(policy: object) -> Node:
    """Return a node with a load of a policy."""
    return Node(Endpoint("a"), policy)  # type: ignore[arg-type]


def ended(start: float, end: float) -> Completion:
    """Return a success."""
    return Completion(Outcome.SUCCESS, started_at=start, ended_at=end)


@pytest.mark.parametrize("policy", [EwmaLatency, PeakEwmaLatency])
@pytest.mark.parametrize("decay", [0.0, -1.0, math.nan, math.inf, True])
def test_a_time_constant_is_finite_and_above_zero(policy: type, decay: float) -> None:
    """0 is refused, and the smallest positive figure taken."""
    with pytest.raises(ConfigurationError):
        policy(decay=decay)
    assert policy(decay=1e-9).decay == 1e-9


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
    assert not node.load.tried  # type: ignore[attr-defined]  # of this load


def test_the_median_is_that_of_the_endpoints_that_have_answered() -> None:
    """Of five latencies the third; endpoints that never answered do not count; the next sweep is due in a second."""
    pool = FailureAware().for_pool()
    nodes = [Node(Endpoint(f"e{k}"), pool) for k in range(7)]
    for node, latency in zip(nodes, (5.0, 1.0, 4.0, 2.0, 3.0), strict=False):
        node.load.finished(ended(10.0, 10.0 + latency))
    pool.advance(now=16.0)
    assert pool.median == pytest.approx(3.0)
    assert pool.deadline == 17.0
