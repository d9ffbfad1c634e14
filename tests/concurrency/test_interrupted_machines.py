"""Limits and machines of sites are what they were or what they are to be, wherever a step was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from tests.concurrency._interrupts import Injector, Interrupt

from balancekit import Outcome
from balancekit.adapters import RouteStatistics
from balancekit.gslb import FailBack, RegionalHealth, Site
from balancekit.outcome import Completion
from balancekit.reported import Arrival, LoadMeter
from balancekit.routing import Aimd, Gradient, RateLimit
from balancekit.testing import ManualClock, make_nodes

MAX_PLACES = 400


class Fixed(Random):
    """Draws one number only, so that a step that is made again is the same."""

    def random(self) -> float:
        """Return it."""
        return 0.5


def gradient(*, measured: bool) -> Any:
    """Return the limit of an endpoint that has learned from requests, or is about to measure."""
    machine = Gradient(min_rtt_requests=5)(rng=Fixed())
    for k in range(4 + 3 * measured):
        machine.record(Completion(Outcome.SUCCESS, started_at=k / 100, ended_at=k / 100 + 0.01), inflight=1)
    return machine


def aimd() -> Any:
    """Return a limit that the next success raises."""
    machine = Aimd(initial=3)()
    for k in range(2):
        machine.record(Completion(Outcome.SUCCESS, started_at=k, ended_at=k + 0.1), inflight=3)
    return machine


def end(machine: Any, outcome: Outcome) -> None:
    """Let a request end."""
    machine.record(Completion(outcome, started_at=5.0, ended_at=5.1), inflight=3)


(OLD,), (NEW,) = make_nodes(["a"]), make_nodes(["a"])


def charged(*, corrected: bool) -> RateLimit:
    """Return a limit of which an endpoint has used a part, and learns that it was more."""
    limit = RateLimit(10.0, burst=20.0, by_cost=True)
    limit._charge(OLD, 5.0, 1.0)
    if corrected:
        limit.correct(OLD.id, 3.0)
        limit.correct(OLD.id, 4.0)
    return limit


def site() -> Any:
    """Return a site that announces."""
    machine = Site(hold_down=1.0)()
    machine.observe(share=1.0, now=0.0)
    return machine


def fail_back(*, up: bool) -> Any:
    """Return a site that serves, or one that has failed and is back."""
    machine = FailBack(hold_down=1.0, ramp=10.0)()
    machine.observe(up=True, now=0.0)
    if not up:
        machine.observe(up=False, now=50.0)
        machine.observe(up=True, now=60.0)
    return machine


def regional() -> RegionalHealth:
    """Return what two observers say of an endpoint."""
    health = RegionalHealth({"fra": "eu", "dfw": "us"}, interval=5.0)
    health.record("fra", "eu-1", passed=True, now=0.0)
    health.record("dfw", "eu-1", passed=True, now=0.0)
    return health


def meter() -> LoadMeter:
    """Return the load of a server with an open request."""
    clock = ManualClock()
    found = LoadMeter(clock=clock, processors=lambda: 0.0)
    found.started()
    return found


def slots(machine: Any) -> Any:
    """Return what a machine knows."""
    damper = getattr(machine, "_damper", None)
    known = {
        name: getattr(machine, name) for name in machine.__slots__ if name not in {"_lock", "_rng", "_damper"}
    }
    kept = None if damper is None else [getattr(damper, name) for name in damper.__slots__]
    return {name: list(value) if isinstance(value, list) else value for name, value in known.items()}, kept


def buckets(limit: RateLimit) -> Any:
    """Return the buckets, with the corrections that are still to be made."""
    due = sum(by for _, by in limit._corrections) / limit._rate
    return sorted(round(at + due, 9) for at in limit._full_at.values()), set(map(id, limit._full_at)) - {
        id(OLD)
    }


def votes(health: RegionalHealth) -> Any:
    """Return the votes."""
    return {
        (observer, endpoint): (vote.at, slots(vote.machine))
        for endpoint, given in health._votes.items()
        for observer, vote in given.items()
    }


STEPS: dict[str, tuple[Callable[[], Any], Callable[[Any], object], Callable[[Any], Any]]] = {
    "an interval of a gradient": (lambda: gradient(measured=True), lambda one: one._end_interval(9.0), slots),
    "the begin of a measurement": (
        lambda: gradient(measured=True),
        lambda one: one._begin_measurement(9.0),
        slots,
    ),
    "the end of a measurement": (
        lambda: gradient(measured=False),
        lambda one: one._end_measurement(9.0),
        slots,
    ),
    "a limit that falls": (aimd, lambda one: end(one, Outcome.OVERLOADED), slots),
    "a limit that rises": (aimd, lambda one: end(one, Outcome.SUCCESS), slots),
    "corrections": (lambda: charged(corrected=True), lambda one: one._settle(), buckets),
    "a bucket that is taken over": (
        lambda: charged(corrected=False),
        lambda one: one._inherit(NEW, 1.0),
        buckets,
    ),
    "a site that fails": (site, lambda one: one.observe(share=0.0, now=5.0), slots),
    "a site that fails over": (
        lambda: fail_back(up=True),
        lambda one: one.observe(up=False, now=90.0),
        slots,
    ),
    "a site that ramps": (lambda: fail_back(up=False), lambda one: one.advance(now=64.0), slots),
    "a vote": (regional, lambda one: one.record("fra", "eu-1", passed=False, now=5.0), votes),
    "votes that are forgotten": (regional, lambda one: one.forget("eu-1"), votes),
    "a route's first request": (
        RouteStatistics,
        lambda one: one.record("orders", latency=0.1, failed=True, attempts=2),
        lambda one: one.stats(),
    ),
    "a request that ends": (
        meter,
        lambda one: one.finished(Arrival(0, 0.0)),
        lambda one: (one._open, one._requests, one._errors),
    ),
}


@pytest.mark.parametrize("jumps", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_an_interrupted_step_is_made_whole_or_not_at_all(name: str, jumps: bool) -> None:
    """A step that is interrupted has changed all that it changes, or nothing."""
    make, step, state = STEPS[name]
    done = make()
    before = state(done)
    step(done)
    after = state(done)
    for place in range(1, MAX_PLACES):
        machine, injector = make(), Injector(place, jumps=jumps)
        try:
            with injector:
                step(machine)
        except Interrupt:
            assert state(machine) in (before, after), injector.where
        if not injector.where:
            break
    else:
        raise AssertionError("there is no end of places")
    assert jumps or place > 2
