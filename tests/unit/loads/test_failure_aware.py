"""The failure-aware load: what fades, and when, at values worked out by hand."""

from __future__ import annotations

from math import exp

import pytest

from balancekit import Endpoint, LoadBalancer
from balancekit.loads import FailureAware
from balancekit.loads._failure_aware import SWEEP_S, UNSUCCESSFUL_FACTOR, FailureAwareLoad, FailureAwarePool
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


@pytest.mark.parametrize("outcome", [Outcome.IGNORED, Outcome.CANCELLED])
def test_a_newcomer_whose_request_told_nothing_is_not_free_at_once(outcome: Outcome) -> None:
    """A new endpoint whose request told nothing counts as many medians, and fades back to free.

    A success is taken whole.
    """
    pool, _ = answered(0.1, 0.1, 0.1)
    node = Node(Endpoint("new"), pool)
    load = load_of(node)
    assert load.value(now=100.0) == 0.0
    load.finished(Completion(outcome, started_at=100.0, ended_at=100.0))
    assert load.value(now=100.0) == pytest.approx(UNSUCCESSFUL_FACTOR * 0.1)
    assert load.value(now=110.0) == pytest.approx(UNSUCCESSFUL_FACTOR * 0.1 / exp(1.0))
    load.succeeded(0.1, 100.0)
    assert load.value(now=100.0) == pytest.approx(0.1)


def test_an_endpoint_back_from_an_ejection_is_free_whatever_its_requests_told_before() -> None:
    """A request that told nothing just before the ejection does not keep the endpoint from being tried after it."""
    pool, _ = answered(0.1)
    node = Node(Endpoint("back"), pool)
    load_of(node).finished(Completion(Outcome.IGNORED, started_at=100.0, ended_at=100.0))
    load_of(node).reset()
    assert load_of(node).value(now=100.0) == 0.0


def test_the_slower_of_two_fades_towards_the_faster() -> None:
    """The median of two is the lower latency, so that one slow answer does not keep an endpoint unused for ever."""
    pool, (_, slow) = answered(0.01, 0.5)
    for second in range(1, 101):
        pool.advance(now=100.0 + second * SWEEP_S)
    assert slow.latency_estimate == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED])
def test_a_clock_that_was_set_back_a_day_leaves_the_estimate(outcome: Outcome) -> None:
    """A time before the last answer counts as the time of that answer: estimates stay between what was measured."""
    pool, (_, node, _) = answered(0.1, 0.2, 0.4, at=1e6)
    load, now = load_of(node), 1e6 - 86_400.0
    assert load.value(now=now) == pytest.approx(0.2)
    load.finished(Completion(outcome, started_at=now - 0.1, ended_at=now))
    pool.advance(now=now)
    assert 0.1 <= load.latency <= 0.4
    assert load.value(now=now) >= load.latency


def test_answers_within_a_tick_of_the_clock_are_alike(caplog: pytest.LogCaptureFixture) -> None:
    """Answers that take no time by a coarse clock teach as others do: successes make up for a failure, and nothing is logged."""
    lb = LoadBalancer(["a", "b"], load=FailureAware(), clock=lambda: 5.0)
    for outcome in [Outcome.SUCCESS, Outcome.FAILURE, *[Outcome.SUCCESS] * 80]:
        for id in "ab":
            lb.acquire(exclude={id}).release(outcome)
    assert caplog.records == []
    assert {each.outcomes[Outcome.SUCCESS] for each in lb.stats().endpoints} == {81}


@pytest.mark.parametrize(("each_second", "tried"), [(50, True), (1, False)])
def test_an_idle_endpoint_is_tried_after_30_seconds_if_others_have_had_many_requests(
    each_second: int, tried: bool
) -> None:
    """Of a pool of three, a slow one is free to be tried once 300 requests have passed it by; those in use are not."""
    pool, (*busy, idle) = answered(0.01, 0.01, 100.0)
    for second in range(101, 131):
        for node in busy:
            node.successes += each_second
            load_of(node).succeeded(0.01, float(second))
        pool.advance(now=float(second))
    assert (load_of(idle).value(now=130.0) == 0.0) is tried
    assert [load_of(node).value(now=130.0) for node in busy] == pytest.approx([0.01, 0.01])
