"""The books of a balancer balance under any history, whatever selector and load it has."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from balancekit import (
    ConfigurationError,
    LeastRequest,
    LoadBalancer,
    MissingKeyError,
    Outcome,
    PowerOfChoices,
    RingHash,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    UnavailableError,
)
from balancekit.health import (
    ConsecutiveFailures,
    FlapDamping,
    Lifecycle,
    MedianFailures,
    Probation,
    SuccessRate,
    WarmUp,
)
from balancekit.loads import InFlight, InFlightCost
from balancekit.testing import SITUATIONS, BalancerMachine, ManualClock, check_balancer

OPTIONS = {
    "default": {},
    "round robin": {"selector": RoundRobin},
    "smooth, timed": {"selector": SmoothWeightedRoundRobin, "timed": True},
    "least request": {"selector": LeastRequest},
    "least request, timed": {"selector": LeastRequest, "timed": True},
    "source hash": {"selector": SourceHash},
    "in-flight": {"selector": PowerOfChoices, "load": InFlight()},
    "in-flight cost": {"selector": PowerOfChoices, "load": InFlightCost()},
    "debug": {"debug": True},
    "keys only": {"on_missing_key": "refuse"},
    "keys only, hashed": {"selector": RingHash, "on_missing_key": "refuse"},
    "full health": {
        "health": Lifecycle(
            failures=ConsecutiveFailures(connect_failed=2),
            rules=(SuccessRate(), MedianFailures(volume=3)),
            damping=FlapDamping(flap=2500.0),
            probation=Probation(concurrency=2),
            warm_up=WarmUp(window=100.0),
        ),
    },
    "full health, smooth": {
        "selector": SmoothWeightedRoundRobin,
        "health": Lifecycle(damping=FlapDamping(), warm_up=WarmUp(window=2.0)),
    },
}

MET = {
    "full health": SITUATIONS - {"ejected"} | {"suppressed", "warming"},
    "full health, smooth": SITUATIONS | {"warming"},
}
"""Where one fall is enough to be suppressed, few are merely ejected."""


@pytest.mark.parametrize("name", OPTIONS)
def test_the_books_balance(name):
    """In-flight, counts and picks are right after every step, and every situation has been met."""
    options = dict(OPTIONS[name])
    selector = options.pop("selector", PowerOfChoices)

    def make(endpoints, clock, rng):
        return LoadBalancer(
            endpoints,
            selector=selector(),
            clock=clock,
            rng=rng,
            allow_empty=True,
            **options,
        )

    check_balancer(make, situations=MET.get(name, SITUATIONS), min_visits=2)


def test_a_balancer_without_health_is_never_in_its_states():
    """The machine complains about situations it was not in, so that it cannot prove nothing."""

    def make(endpoints, clock, rng):
        return LoadBalancer(endpoints, health=None, clock=clock, rng=rng, allow_empty=True)

    without = SITUATIONS - {"suspect", "ejected", "probing"}
    check_balancer(make, situations=without, examples=200, min_visits=1)
    with pytest.raises(AssertionError, match="ejected"):
        check_balancer(make, situations=SITUATIONS, examples=60)


class Passing:
    """A balancer of one's own: it passes on what the protocol wants, and takes the list of endpoints if it is to."""

    PASSED = ("acquire", "attempts", "emit", "on_completion", "on_event", "on_start", "report_check", "stats")

    def __init__(self, balancer, *more):
        for name in (*self.PASSED, *more):
            setattr(self, name, getattr(balancer, name))
        self._balancer = balancer

    @property
    def endpoints(self):
        """The endpoints."""
        return self._balancer.endpoints


@pytest.mark.parametrize("more", [(), ("update",), ("add", "remove", "drain")], ids=",".join)
def test_a_balancer_that_has_no_more_than_the_protocol_is_tried(more):
    """Whatever is an ``ObservableBalancer`` is tried, without what it cannot be asked to do."""

    def make(endpoints, clock, rng):
        return Passing(LoadBalancer(endpoints, clock=clock, rng=rng, allow_empty=True), *more)

    met = check_balancer(make, situations=["healthy", "ended twice"])
    assert bool(met["removed with open leases"]) is bool(more)


def test_what_is_no_balancer_is_refused():
    """A function that makes no balancer is refused by name, and not found out by a history."""
    with pytest.raises(ConfigurationError) as caught:
        check_balancer(lambda _endpoints, _clock, _rng: object(), examples=2)
    assert caught.value.parameter == "balancer"


class Miscounting(LoadBalancer):
    """Loses a lease now and then."""

    __slots__ = ()

    def acquire(self, key=None, /, **options):
        lease = super().acquire(key, **options)
        if self.stats().inflight == 3:
            lease.node.inflight -= 1
        return lease


def test_a_balancer_that_miscounts_is_caught():
    """A counter that is off by one is found."""

    class Machine(BalancerMachine):
        @staticmethod
        def make(endpoints, clock, rng):
            return Miscounting(endpoints, clock=clock, rng=rng, allow_empty=True)

    quick = settings(phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Machine, settings=quick)


class WantsAnotherKey(LoadBalancer):
    """A balancer that raises the error of a missing key for requests that have one."""

    def acquire(self, key=None, **more):
        """Refuse all requests."""
        raise MissingKeyError


def test_a_balancer_that_refuses_every_key_is_found_out():
    """The error of a missing key is allowed for requests without a key only."""

    def make(endpoints, clock, rng):
        return WantsAnotherKey(endpoints, clock=clock, rng=rng, allow_empty=True)

    with pytest.raises(MissingKeyError):
        check_balancer(make)


class Wrong:
    """Passes everything on to a balancer, but for what a subclass does."""

    def __init__(self, *arguments, **options):
        self.inner = LoadBalancer(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class ForgetsExclusion(Wrong):
    """Picks excluded endpoints."""

    def acquire(self, key=None, *, exclude=()):
        return self.inner.acquire(key)


class Reorders(Wrong):
    """Sorts what it is given."""

    def update(self, endpoints):
        self.inner.update(sorted(endpoints, key=lambda one: one.id))


class KeepsWhatWasRemoved(Wrong):
    """Removes nothing."""

    def remove(self, id):
        if id not in [one.id for one in self.inner.endpoints]:
            self.inner.remove(id)


class LosesLeases(Wrong):
    """Opens a second lease beside each."""

    def acquire(self, key=None, *, exclude=()):
        self.inner.acquire(key, exclude=exclude)
        return self.inner.acquire(key, exclude=exclude)


WRONG = {
    ForgetsExclusion: r"picked 'e\d'",
    Reorders: r"endpoints are \[.*\] after update\(\) with \[",
    KeepsWhatWasRemoved: r"'e\d' is still there after remove\(\)",
    LosesLeases: "a callback of on_start was called 4 times instead of 2",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_balancer_is_one_error_that_says_what_was_wrong(kind):
    """Each failed requirement has a text, and the first that is found is raised alone."""
    with pytest.raises(AssertionError, match=WRONG[kind]):
        check_balancer(lambda e, c, r: kind(e, clock=c, rng=r, allow_empty=True), examples=30)


def test_a_machine_checks_without_assertions():
    """``python -O`` leaves assertions out, and finds a wrong balancer all the same."""
    program = (
        "from balancekit.testing import check_balancer\n"
        "from tests.conformance.test_balancer import Reorders\n"
        "try:\n"
        "    check_balancer(lambda e, c, r: Reorders(e, clock=c, rng=r, allow_empty=True), situations=[], examples=30)\n"
        "except AssertionError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True)
    assert "after update() with" in done.stdout


def test_what_makes_no_fresh_balancer_is_refused():
    """A maker that returns the same balancer twice, and what cannot be called, are refused before any history."""
    lb = LoadBalancer(["a"])
    for make in (lb, 3, lambda e, c, r: lb):
        with pytest.raises(ConfigurationError, match=r"make=.* makes a new balancer at each call"):
            check_balancer(make)


def test_a_situation_that_never_was_is_shown_beside_those_that_were():
    """The error about a misspelt situation shows the names of those that the machine has been in."""
    with pytest.raises(AssertionError, match=r"\{'healty': 0\}.* that occurred are .*'healthy': \d+"):
        check_balancer(
            lambda e, c, r: LoadBalancer(e, clock=c, rng=r, allow_empty=True),
            situations=["healty"],
            examples=5,
        )


def test_an_endpoint_that_comes_back_under_full_health_warms_up():
    """The configuration of the books has an endpoint suppressed after one fall, and warmed up when it is back."""
    clock = ManualClock()
    lb = LoadBalancer(["a", "b"], clock=clock, rng=random.Random(1), **OPTIONS["full health"])
    states = set()
    for step in range(4000):
        with suppress(UnavailableError):
            lease = lb.acquire()
            failed = step < 20 and lease.endpoint.id == "a"
            lease.release(Outcome.CONNECT_FAILED if failed else Outcome.SUCCESS)
        clock.advance(1.0)
        states.add(lb.stats()["a"].state)
    assert {"suppressed", "warming", "healthy"} <= states
