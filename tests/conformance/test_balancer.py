"""The books of a balancer balance under any history, whatever selector and load it has."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from balancekit import (
    ConfigurationError,
    LeastRequest,
    LoadBalancer,
    PowerOfChoices,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
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
from balancekit.testing import BalancerMachine, check_balancer
from balancekit.testing._machine import SITUATIONS

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

MET = {"full health": SITUATIONS - {"ejected"} | {"suppressed", "warming"}}
"""Where one fall is enough to be suppressed, none is merely ejected."""


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

    met = check_balancer(make, situations=["healthy", "ended twice"], examples=20)
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
