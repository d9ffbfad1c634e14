"""Mistakes of a first hour: each raises an error, or warns, and says what to write instead."""

from __future__ import annotations

import asyncio
import copy
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
    RoundRobin,
    UnknownEndpointError,
)
from balancekit.adapters import request_options
from balancekit.adapters.httpx import BalancedTransport
from balancekit.checks import Schedule
from balancekit.health import SuccessRate
from balancekit.retry import RetryBudget
from balancekit.routing import Canary, Priority

POOL = ["127.0.0.1:1", "127.0.0.1:2"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LoadBalancer("10.0.0.1:80"), r"such as \['10\.0\.0\.1:80'\]"),
        (lambda: LoadBalancer({"a": 5, "b": 1}), r"a number is a weight: Endpoint\('a', weight=5\)"),
        (lambda: LoadBalancer([("10.0.0.1", 8080)]), r"write '10\.0\.0\.1:8080'"),
        (lambda: LoadBalancer([("a", 5)]), r"for a weight Endpoint\('a', weight=5\)"),
        (lambda: LoadBalancer(POOL, selector=RoundRobin), r"an instance: RoundRobin\(\)"),
        (lambda: LoadBalancer(POOL, selector="round_robin"), r"such as RoundRobin\(\)"),
        (lambda: LoadBalancer(POOL, listeners=print), r"\[listener\]"),
        (lambda: RetryBudget(ratio=20), r"for 20 % write 0\.2"),
        (lambda: Canary({"t": "c"}, share=5), r"for 5 % write 0\.05"),
        (lambda: SuccessRate(80), r"for 80 % write 0\.8"),
        (lambda: Priority(overprovisioning=140), r"Envoy's 140 is 1\.4"),
        (lambda: request_options(timeuot=1).__enter__(), r"did you mean 'timeout'"),
    ],
)
def test_a_wrong_value_says_what_was_meant(make, text):
    """A ConfigurationError names the right value or the right way to write it."""
    with pytest.raises(ConfigurationError, match=text):
        make()


@pytest.mark.parametrize(
    "options", [{"attempt": 3}, {"retries": 3}, {"timeout": 3}, {"max_retries": 3}, {"wait_for_capacty": 1.0}]
)
def test_an_unknown_option_of_an_adapter_lists_the_known_ones(options):
    """A TypeError names the option, those that exist, and the one that was probably meant."""
    with pytest.raises(TypeError, match=r"no option .*expected one of attempts, authority, budget") as error:
        BalancedTransport(LoadBalancer(POOL), **options)
    if "attempt" in options:
        assert "did you mean 'attempts'" in str(error.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schedule(interval=5000, timeout=2000),
        lambda: LoadBalancer(POOL).drain(POOL[0], deadline=30000),
        lambda: request_options(timeout=20000).__enter__(),
    ],
)
def test_milliseconds_where_seconds_are_short_warn(make):
    """More than an hour warns with the value in seconds; an hour does not."""
    with pytest.warns(UserWarning, match="counts seconds: write"):
        make()


def test_an_hour_is_no_mistake(recwarn):
    """Exactly an hour gives no warning."""
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
        """`if balancer:` asks whether there is one, not whether it has endpoints."""
        assert LoadBalancer([], allow_empty=True)


class TestImports:
    """Where names are."""

    def test_packages_are_attributes(self):
        """`import balancekit; balancekit.health` works in a fresh interpreter."""
        code = "import balancekit; print(balancekit.health.Lifecycle.__name__, balancekit.retry.RetryBudget.__name__)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["Lifecycle", "RetryBudget"]

    @pytest.mark.parametrize(
        ("name", "home"), [("HashRing", "hashing"), ("HttpCheck", "checks"), ("Lifecycle", "health")]
    )
    def test_a_name_of_a_package_says_where_it_is(self, name, home):
        """`from balancekit import HashRing` raises ImportError with the right import."""
        with pytest.raises(ImportError, match=rf"from balancekit\.{home} import {name}"):
            exec(f"from balancekit import {name}")

    def test_an_unknown_name_is_an_attribute_error(self):
        """hasattr() works for names that exist nowhere."""
        assert not hasattr(balancekit, "NoSuchName")
        assert not hasattr(balancekit, "_private")
