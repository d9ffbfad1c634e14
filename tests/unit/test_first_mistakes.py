"""Mistakes of a first hour: each raises an error, or warns, and says what to write instead."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import subprocess
import sys

import pytest

import balancekit
from balancekit import (
    ConfigurationError,
    Endpoint,
    LeaseError,
    LoadBalancer,
    MissingKeyError,
    Outcome,
    RingHash,
    RoundRobin,
    UnknownEndpointError,
    config,
)
from balancekit.adapters.httpx import BalancedTransport
from balancekit.checks import Schedule
from balancekit.sim import Recorder

POOL = ["127.0.0.1:1", "127.0.0.1:2"]


@pytest.mark.parametrize("options", [{"attempt": 3}, {"wait_for_capacty": 1.0}])
def test_an_unknown_option_of_an_adapter_lists_the_known_ones(options):
    """A TypeError names the option, those that exist, and the one that was probably meant."""
    with pytest.raises(
        TypeError, match=r"no option .*expected one of attempts, authority, budget.*did you mean"
    ):
        BalancedTransport(LoadBalancer(POOL), **options)


def test_an_hour_is_no_mistake(recwarn):
    """A time of exactly an hour gives no warning."""
    Schedule(interval=3600.0, timeout=2.0)
    assert not recwarn.list


def test_a_lease_is_entered_once():
    """A lease that has ended raises LeaseError when it is entered again, and nothing is counted."""
    balancer = LoadBalancer(POOL)
    lease = balancer.acquire()
    with lease:
        pass
    with pytest.raises(LeaseError, match="acquire a new one"):
        lease.__enter__()
    assert balancer.stats().completed == 1


def open_leases(folder):
    """Return one open lease of each kind."""
    yield LoadBalancer(POOL).acquire()
    yield LoadBalancer(POOL).acquire(cost=3.0)
    yield LoadBalancer(POOL).acquire(exclude={POOL[0]})
    with Recorder(LoadBalancer(POOL), folder / "log.jsonl") as recorder:
        yield recorder.acquire()


@pytest.mark.parametrize("parallel", [False, True])
def test_a_lease_in_a_block_cannot_be_entered_again(tmp_path, monkeypatch, parallel):
    """Entering an open lease a second time raises LeaseError at the inner block; the lease stays in flight until the outer one ends."""
    monkeypatch.setattr("balancekit.lease.FREE_THREADED", parallel)
    for lease in open_leases(tmp_path):
        with lease:
            with pytest.raises(LeaseError, match="in a with block already"), lease:
                pytest.fail("the inner block began")
            with pytest.raises(LeaseError, match="in a with block already"):
                asyncio.run(lease.__aenter__())
            assert lease.active
            assert lease.node.inflight == 1
        assert not lease.active
        assert (lease.node.inflight, lease.node.successes) == (0, 1)
        with pytest.raises(LeaseError, match="acquire a new one"):
            lease.__enter__()


@pytest.mark.parametrize("parallel", [False, True])
def test_a_lease_that_was_entered_can_be_released_in_its_block(tmp_path, monkeypatch, parallel):
    """``release`` in the block ends the lease with its outcome, and the end of the block changes nothing."""
    monkeypatch.setattr("balancekit.lease.FREE_THREADED", parallel)
    for lease in open_leases(tmp_path):
        with lease:
            assert lease.release(Outcome.FAILURE)
            assert not lease.release()
        assert (lease.node.inflight, lease.node.successes) == (0, 0)


def test_awaiting_a_lease_says_that_acquire_never_waits():
    """`await lb.acquire()` raises TypeError with the right form, and leaves no lease open."""
    balancer = LoadBalancer(POOL)

    async def main():
        await balancer.acquire()

    with pytest.raises(TypeError, match=r"acquire\(\) never waits"):
        asyncio.run(main())
    assert balancer.stats().inflight == 0


def test_an_unknown_endpoint_in_statistics_is_named():
    """stats()["zz"] raises UnknownEndpointError, which lists the ids that exist."""
    with pytest.raises(UnknownEndpointError, match=r"it has '127\.0\.0\.1:1'"):
        LoadBalancer(POOL).stats()["zz"]


@pytest.mark.parametrize("attempt", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_balancer_cannot_be_copied(attempt):
    """Pickling or copying a balancer raises TypeError that says where to construct it."""
    with pytest.raises(TypeError, match="construct one in each process"):
        attempt(LoadBalancer(POOL))


class TestMissingKey:
    """``on_missing_key``."""

    @pytest.mark.parametrize("selector", [RingHash, RoundRobin])
    def test_refused_requests_leave_no_trace(self, selector):
        """With "refuse", acquire, attempts, ranking and explain without a key raise and count nothing; with one, they work."""
        balancer = LoadBalancer(POOL, selector=selector(), on_missing_key="refuse")
        for ask in (
            balancer.acquire,
            lambda: list(balancer.attempts(2)),
            balancer.ranking,
            balancer.explain,
            lambda: balancer.acquire(exclude={POOL[0]}),
            lambda: balancer.acquire(cost=2.0),
        ):
            with pytest.raises(MissingKeyError):
                ask()
        assert balancer.stats().inflight == 0
        assert set(balancer.stats().refused.values()) == {0}
        with balancer.acquire("user") as lease:
            assert lease.target in POOL
        assert balancer.explain("user").picked in POOL

    def test_by_default_any_endpoint_serves(self):
        """Without a key, a keyed selector picks at random."""
        assert LoadBalancer(POOL, selector=RingHash()).acquire().release()

    def test_other_values_are_refused(self):
        """The parameter takes "pick" and "refuse" only."""
        with pytest.raises(ConfigurationError, match="'pick' or 'refuse'"):
            LoadBalancer(POOL, on_missing_key="raise")

    def test_a_configuration_file_may_say_so(self):
        """The word is one of the [balancer] table."""
        found = config.load(
            {"endpoints": POOL, "balancer": {"selector": "RingHash", "on_missing_key": "refuse"}}
        )
        with pytest.raises(MissingKeyError):
            found.balancer.acquire()


class TestSharedSelector:
    """One selector, one balancer."""

    def test_it_may_follow_a_balancer_that_is_gone(self, recwarn):
        """A second balancer warns while the first one lives, and not afterwards."""
        selector = RoundRobin()
        first = LoadBalancer(POOL, selector=selector)
        with pytest.warns(UserWarning, match="belongs to another LoadBalancer"):
            LoadBalancer(POOL, selector=selector)
        del first
        gc.collect()
        recwarn.clear()
        LoadBalancer(POOL, selector=selector)
        assert not recwarn.list


class TestContainer:
    """A balancer is a collection of its endpoints."""

    def test_it_is_iterable_sized_and_knows_its_ids(self):
        """Iteration gives endpoints, len() their number, and `in` takes ids and endpoints."""
        balancer = LoadBalancer(POOL)
        assert [endpoint.id for endpoint in balancer] == POOL
        assert len(balancer) == 2
        assert POOL[0] in balancer
        assert Endpoint(POOL[1]) in balancer
        assert "other" not in balancer
        assert 5 not in balancer

    def test_an_empty_one_is_true(self):
        """A balancer without endpoints is true in a condition."""
        assert LoadBalancer([], allow_empty=True)


class TestImports:
    """Where names are."""

    def test_packages_are_attributes(self):
        """``import balancekit; balancekit.health`` works in a fresh interpreter."""
        code = "import balancekit; print(balancekit.health.Lifecycle.__name__, balancekit.retry.RetryBudget.__name__)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["Lifecycle", "RetryBudget"]

    @pytest.mark.parametrize(
        ("name", "home"), [("HashRing", "hashing"), ("HttpCheck", "checks"), ("Lifecycle", "health")]
    )
    def test_a_name_of_a_package_says_where_it_is(self, name, home):
        """A name that belongs to a package raises ImportError with the right import."""
        with pytest.raises(ImportError, match=rf"from balancekit\.{home} import {name}"):
            exec(f"from balancekit import {name}")

    def test_an_unknown_name_is_an_attribute_error(self):
        """``hasattr`` returns False for names that exist nowhere, and raises nothing."""
        assert not hasattr(balancekit, "NoSuchName")
        assert not hasattr(balancekit, "_private")
