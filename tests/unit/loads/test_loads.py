"""What each load answers, by the formula in its docstring."""

from __future__ import annotations

import gc
import math
from random import Random

import pytest

from balancekit import Endpoint, LoadBalancer, Node, Outcome, PowerOfChoices
from balancekit.loads import EwmaLatency, FailureAware, InFlight, InFlightCost, PeakEwmaLatency
from balancekit.outcome import FAILURES, Completion
from balancekit.testing import make_nodes

EVERY = [InFlight(), InFlightCost(), EwmaLatency(), PeakEwmaLatency(), FailureAware()]


def ended(outcome=Outcome.SUCCESS, *, start=0.0, end=1.0, **facts):
    """Make the completion of a request."""
    return Completion(outcome, started_at=start, ended_at=end, **facts)


def node_of(policy, weight=1.0):
    """Make one node with the load."""
    return Node(Endpoint("a", weight=weight), policy)


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_asking_changes_nothing(policy):
    """Reading a load changes nothing: the same time gives the same value, however often it is read."""
    node = node_of(policy)
    node.inflight = 2
    node.load.started(now=0.0, cost=2.0)
    node.load.finished(ended(end=0.3))
    node.load.finished(ended(Outcome.FAILURE, end=0.4))
    assert len({node.load.value(now=5.0) for _ in range(5)}) == 1
    assert node.load.value(now=5.0) <= node.load.value(now=0.4)


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_more_in_flight_is_more_load_once_known(policy):
    """Once an endpoint is known, more requests in flight are more load, for every load policy."""
    node = node_of(policy)
    node.inflight = 1
    node.load.started(now=0.0, cost=1.0)
    node.load.finished(ended(end=0.1))
    before = node.load.value(now=0.1)
    node.inflight += 1
    node.load.started(now=0.1, cost=1.0)
    assert node.load.value(now=0.1) > before


def test_in_flight_counts_relative_to_capacity():
    """An endpoint of twice the weight has the same load with twice as many requests in flight."""
    light, heavy = make_nodes({"light": 1, "heavy": 3}, inflight={"light": 1, "heavy": 3})
    assert light.load.value(now=0.0) == heavy.load.value(now=0.0) == 2.0


@pytest.mark.parametrize("end", ["with", "release", "error", "lost"])
@pytest.mark.parametrize("options", [{}, {"debug": True}, {"health": None}], ids=str)
def test_cost_adds_up_and_ends_at_exactly_zero(options, end):
    """The load is the summed cost of open leases, 1 if none was given, however they were opened; it is 0 when all have ended."""
    lb = LoadBalancer(["a"], load=InFlightCost(), **options)
    costs = (0.1, None, 0.2, 0.3, 1.0, None, 1e-3)
    leases = [lb.acquire() if cost is None else lb.acquire(cost=cost) for cost in costs]
    node = leases[0].node
    assert node.load.value(now=0.0) == pytest.approx(sum(1.0 if cost is None else cost for cost in costs))
    for lease in (leases[4], *leases[:4], *leases[5:]):
        if end == "with":
            with lease:
                pass
        elif end == "release":
            assert lease.release()
            assert not lease.release()
        elif end == "error":
            with pytest.raises(OSError), lease:
                raise OSError
    if end == "lost":
        del lease, leases
        gc.collect()
        with pytest.warns(ResourceWarning):
            lb.acquire().release()
    assert (node.load.value(now=0.0), node.inflight, node.costed) == (0.0, 0, 0)


def test_a_request_that_starts_while_another_ends_keeps_its_cost():
    """A cost counts from the moment at which its lease does: an end in between takes off its own cost and no other."""
    lb = LoadBalancer(["a"], load=InFlightCost())
    first, second = lb.acquire(cost=5.0), lb.acquire(cost=900.0)
    first.release()
    assert second.node.load.value(now=0.0) == 900.0
    third = lb.acquire(cost=7.0)
    second.release()
    assert third.node.load.value(now=0.0) == 7.0
    third.release()


@pytest.mark.parametrize("policy", [EwmaLatency(), PeakEwmaLatency()], ids=repr)
def test_expected_wait_is_latency_times_who_is_ahead_plus_one(policy):
    """The load is latency times the requests in flight plus one.

    It fades towards 0 while the endpoint is idle.
    """
    node = node_of(policy)
    node.load.finished(ended(end=0.2))
    assert node.load.value(now=0.2) == pytest.approx(0.2)
    node.inflight = 3
    assert node.load.value(now=0.2) == pytest.approx(0.8)
    assert node.load.value(now=10.2) == pytest.approx(0.8 * math.exp(-1.0))


@pytest.mark.parametrize("policy", [EwmaLatency(), PeakEwmaLatency(), FailureAware()], ids=repr)
def test_a_newcomer_is_tried_by_one_request_not_by_all(policy):
    """A new endpoint has no load while it is idle.

    It has a very high load while its first request is in flight.
    """
    node = node_of(policy)
    assert node.load.value(now=0.0) == 0.0
    node.inflight = 1
    assert node.load.value(now=0.0) >= 1000.0


@pytest.mark.parametrize("policy", [EwmaLatency(), PeakEwmaLatency(), FailureAware()], ids=repr)
@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.CONNECT_FAILED, Outcome.OVERLOADED])
def test_a_fast_failure_is_never_taken_for_speed(policy, outcome):
    """A failure after 1 ms does not lower the load of an endpoint that took 50 ms to succeed."""
    node = node_of(policy)
    node.load.finished(ended(end=0.05))
    before = node.load.value(now=0.06)
    node.load.finished(ended(outcome, start=0.059, end=0.06))
    assert node.load.value(now=0.06) >= before


@pytest.mark.parametrize("policy", [EwmaLatency(), PeakEwmaLatency(), FailureAware()], ids=repr)
@pytest.mark.parametrize("outcome", [Outcome.TIMEOUT, Outcome.CANCELLED])
def test_giving_up_is_a_lower_bound_of_latency(policy, outcome):
    """A request that was given up can raise the latency estimate and never lowers it."""
    node = node_of(policy)
    node.load.finished(ended(end=0.5))
    node.load.finished(ended(outcome, start=0.5, end=0.6))
    short = node.load.value(now=0.6)
    assert short >= 0.5 * math.exp(-0.01) - 1e-9
    node.load.finished(ended(outcome, start=0.6, end=9.6))
    assert node.load.value(now=9.6) > short


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_what_is_ignored_blames_none(policy):
    """A request that ends ignored changes nothing in the load of its endpoint."""
    node = node_of(policy)
    node.load.finished(ended(end=0.05))
    before = node.load.value(now=0.05)
    node.load.finished(ended(Outcome.IGNORED, start=0.05, end=0.05))
    assert node.load.value(now=0.05) == before


@pytest.mark.parametrize("policy", [EwmaLatency(), PeakEwmaLatency(), FailureAware()], ids=repr)
def test_the_first_byte_is_where_latency_ends(policy):
    """Latency ends at the first byte, so a stream of a minute does not count as slow."""
    node = node_of(policy)
    node.load.finished(ended(end=60.0, first_byte_at=0.1))
    assert node.load.value(now=60.0) <= 0.11


def test_failures_weigh_by_the_cube_of_what_still_succeeds():
    """A failure-aware load is divided by the cube of success: a second of failures is a factor of twenty."""
    node = node_of(FailureAware())
    node.load.finished(ended(end=0.05))
    node.load.finished(ended(Outcome.FAILURE, start=1.04, end=1.05))
    assert node.load.success(now=1.05) == pytest.approx(math.exp(-1.0))
    assert node.load.value(now=1.05) == pytest.approx(0.05 * math.exp(3.0), rel=1e-6)
    healed = 1.0 - (1.0 - math.exp(-1.0)) * math.exp(-1.0)
    assert node.load.success(now=6.05) == pytest.approx(healed)


def test_success_has_a_floor():
    """However long an endpoint fails, its load stays finite and can fall again."""
    node = node_of(FailureAware(floor=0.1, exponent=2.0))
    node.load.finished(ended(end=1.0))
    for second in range(2, 200):
        node.load.finished(ended(Outcome.FAILURE, start=second, end=second))
    assert node.load.value(now=199.0) == pytest.approx(1.0 * 0.1**-2.0, rel=1e-3)


def test_an_idle_endpoint_fades_to_the_median_of_its_peers_not_to_zero():
    """The load of an idle endpoint fades to the median of its peers, and not to zero."""
    nodes = make_nodes(["slow", "b", "c"], load=FailureAware())
    for node, latency in zip(nodes, (5.0, 0.1, 0.1), strict=True):
        node.load.finished(ended(end=latency))
    pool = nodes[0].load.pool
    pool.advance(now=5.0)
    assert pool.median == pytest.approx(0.1)
    assert nodes[0].load.value(now=5.0) > 1.0
    assert nodes[0].load.value(now=200.0) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_quick_comparison_of_fresh_latencies_is_exact(weighted):
    """Of two nodes that have just answered, the comparison takes the one of lower value, or the first on a tie."""
    rng = Random(7)
    nodes = make_nodes(
        {id: rng.choice((1, 2, 4)) if weighted else 1 for id in "abcdefgh"}, load=FailureAware()
    )
    for round in range(50):
        now = 1_000.0 * (round + 1)
        for node in nodes:
            node.load.reset()
            node.load.succeeded(rng.choice((0.1, 0.2, 0.3, 0.4)), now)
            node.inflight = rng.randrange(4)
        lighter = nodes[0].load.pool.comparer(weighted=weighted)
        for a in nodes:
            for b in nodes:
                assert lighter(a, b, now) is (b if b.load.value(now=now) < a.load.value(now=now) else a)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_failures_count_as_failures(outcome):
    """After a request that ended ignored or cancelled the success is still 1; after one of the failures it is less."""
    [node] = make_nodes(["a"], load=FailureAware())
    node.load.succeeded(0.1, 10.0)
    node.load.finished(Completion(outcome, started_at=10.0, ended_at=11.0))
    assert (node.load.success(now=11.0) < 1.0) is (outcome in FAILURES)


def test_the_quick_comparison_sees_a_failure_at_once():
    """A node that was quicker and has just failed loses against one that was a little slower and has not."""
    failing, other = make_nodes(["a", "b"], load=FailureAware())
    failing.load.succeeded(0.10, 10.0)
    other.load.succeeded(0.11, 10.0)
    lighter = failing.load.pool.comparer(weighted=False)
    assert lighter(failing, other, 10.0) is failing
    failing.load.finished(Completion(Outcome.FAILURE, started_at=10.0, ended_at=11.0))
    assert math.isnan(failing.latency_estimate)
    assert failing.load.value(now=11.0) > other.load.value(now=11.0)
    assert lighter(failing, other, 11.0) is other
    assert lighter(other, failing, 11.0) is other


def test_the_quick_comparison_agrees_with_the_values():
    """What a pick compares orders endpoints as ``value`` does, right after a sweep."""
    nodes = make_nodes({"a": 1, "b": 2, "c": 1, "d": 3}, load=FailureAware())
    pool = nodes[0].load.pool
    for k, node in enumerate(nodes):
        node.load.finished(ended(end=0.1 * (k + 1)))
        node.inflight = 3 - k
    nodes[2].load.finished(ended(Outcome.FAILURE, end=0.4))
    pool.advance(now=0.5)
    lighter = pool.comparer(weighted=True)
    for a in nodes:
        for b in nodes:
            chosen = lighter(a, b, 0.5)
            assert chosen.load.value(now=0.5) == pytest.approx(
                min(x.load.value(now=0.5) for x in (a, b)), rel=0.05
            )


@pytest.mark.parametrize("load", EVERY)
def test_a_load_that_is_not_told_of_starts_keeps_requests_on_the_fast_path(load):
    """A load that says it needs no start leaves plain requests on the fast path."""
    lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=load)
    lb.acquire().release()
    pick, *_ = lb._current.fast
    assert pick is not None


@pytest.mark.parametrize("policy", [InFlight(), InFlightCost()], ids=repr)
def test_counts_need_no_clock(policy):
    """Where nothing else is due, a request with a load that counts leases reads no clock."""
    asked = []

    def clock():
        asked.append(1)
        return 1.0

    lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=policy, health=None, clock=clock)
    before = len(asked)
    for _ in range(10):
        with lb.acquire():
            pass
    assert len(asked) == before
