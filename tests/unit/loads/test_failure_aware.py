"""The failure-aware load: what fades, and when, at values worked out by hand."""

from __future__ import annotations

from math import exp

import pytest

from balancekit import Endpoint
from balancekit.loads import FailureAware
from balancekit.loads._failure_aware import SWEEP_S, FailureAwareLoad, FailureAwarePool
from balancekit.node import Node
from balancekit.outcome import Completion, Outcome


def answered(*latencies: float, at: float = 100.0) -> tuple[FailureAwarePool, list[Node]]:
    """Return a pool whose endpoints have each answered once at a time, and their nodes."""
    pool = FailureAware().for_pool()
    nodes = [Node(Endpoint(f"e{number}"), pool) for number in range(len(latencies))]
    for node, latency in zip(nodes, latencies, strict=True):
        load_of(node).succeeded(latency, at)
    pool.advance(now=at)
    return pool, nodes


def load_of(node: Node) -> FailureAwareLoad:
    """Return the load of a node."""
    assert isinstance(node.load, FailureAwareLoad)
    return node.load


def test_an_idle_endpoint_fades_towards_the_median() -> None:
    """What picks compare moves with each sweep, by the decay; of an endpoint that answered since the last sweep it stays."""
    pool, nodes = answered(0.1, 0.2, 0.4)
    assert pool.median == 0.2
    pool.advance(now=100.0 + SWEEP_S / 2)
    assert [node.latency_estimate for node in nodes] == [0.1, 0.2, 0.4]
    pool.advance(now=105.0)
    part = exp(-5.0 / FailureAware().decay)
    assert [node.latency_estimate for node in nodes] == pytest.approx(
        [0.2 - 0.1 * part, 0.2, 0.2 + 0.2 * part]
    )


def test_successes_make_up_for_a_failure() -> None:
    """Each success raises the share of successes. Long after a failure the share is whole again."""
    _, (node, _) = answered(0.1, 0.1)
    load = load_of(node)
    load.finished(Completion(Outcome.FAILURE, started_at=100.0, ended_at=101.0))
    shares = [load.success(now=101.0)]
    for at in (101.1, 101.2, 101.3):
        load.succeeded(0.1, at)
        shares.append(load.success(now=at))
    assert 0.0 < shares[0] < shares[1] < shares[2] < shares[3] < 1.0
    load.succeeded(0.1, 1000.0)
    assert load.success(now=1000.0) == 1.0
    assert load.value(now=1000.0) == pytest.approx(0.1)
