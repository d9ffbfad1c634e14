"""An endpoint that comes and goes for an hour of virtual time: what thresholds do, and what damping does."""

from __future__ import annotations

import math

import pytest

from balancekit import LoadBalancer
from balancekit.events import Ejected, Probing, Restored, Suppressed
from balancekit.health import CheckResult, FlapDamping, Lifecycle, Thresholds
from balancekit.testing import ManualClock

HOUR, INTERVAL = 3600.0, 5.0
DAMPING = FlapDamping()


def hour(*, rise, fall, passes, fails, damping, others=("b", "c"), calm_after=math.inf):
    """Check "a" every 5 s for an hour, ``passes`` good checks and ``fails`` bad ones in turns.

    Return the events about it, and the balancer. Requests go on meanwhile, and none fails: only checks see it.
    """
    clock, events = ManualClock(), []
    policy = Lifecycle(thresholds=Thresholds(rise=rise, fall=fall), damping=damping)
    balancer = LoadBalancer(["a", *others], health=policy, clock=clock, listeners=[events.append])
    for k in range(int(HOUR / INTERVAL)):
        good = k % (passes + fails) < passes or clock.now >= calm_after
        balancer.report_check("a", CheckResult(passed=good, holds_for=2 * INTERVAL + 2.0))
        for other in others:
            balancer.report_check(other, CheckResult(passed=True))
        for _ in range(5):
            with balancer.acquire():
                clock.advance(INTERVAL / 5)
    return [event for event in events if event.endpoint == "a"], balancer


def transitions(events):
    """How often the endpoint went out or came back."""
    return sum(isinstance(event, Ejected | Restored) for event in events)


@pytest.mark.parametrize(
    ("rise", "fall", "passes", "fails", "alone"),
    [(1, 1, 1, 1, 720), (2, 3, 2, 3, 288), (2, 3, 4, 4, 180)],
    ids=["every check", "as slowly as thresholds", "every 40 seconds"],
)
def test_damping_saves_ten_transitions_in_eleven(rise, fall, passes, fails, alone):
    """Thresholds alone follow every turn, and damping leaves a tenth of the transitions at most."""
    options = {"rise": rise, "fall": fall, "passes": passes, "fails": fails}
    without, _ = hour(**options, damping=None)
    damped, _ = hour(**options, damping=DAMPING)
    assert transitions(without) in {alone, alone - 1}
    assert transitions(without) >= 10 * transitions(damped)
    assert any(isinstance(event, Suppressed) for event in damped)


def test_thresholds_of_two_stop_what_alternates_every_check():
    """Thresholds of two stop an endpoint that alternates with every check."""
    events, _ = hour(rise=2, fall=2, passes=1, fails=1, damping=None)
    assert transitions(events) == 0


def test_damping_has_a_limit():
    """An endpoint that falls less often than ``slowest_period`` is never suppressed."""
    assert DAMPING.slowest_period == pytest.approx(60.0)
    events, _ = hour(rise=2, fall=3, passes=7, fails=6, damping=DAMPING)
    assert transitions(events) > 100
    assert not any(isinstance(event, Suppressed) for event in events)


def test_reuse_comes_at_the_time_of_the_formula():
    """Reuse comes ``half_life * log2(penalty / reuse)`` after the last fall, at the next request, and not before."""
    events, balancer = hour(rise=1, fall=1, passes=1, fails=1, damping=DAMPING, calm_after=60.0)
    # It fell at 5, 15, ..., 55 s: every second check, seen or unseen.
    falls = [10.0 * k + 5.0 for k in range(6)]
    penalty = 0.0
    for before, fall in zip([0.0, *falls], falls, strict=False):
        penalty = penalty * 2.0 ** (-(fall - before) / DAMPING.half_life) + DAMPING.flap
    due = falls[-1] + DAMPING.half_life * math.log2(penalty / DAMPING.reuse)
    (probing,) = [event for event in events if isinstance(event, Probing)]
    assert due <= probing.at <= due + INTERVAL / 5
    assert balancer.stats()["a"].state == "healthy"
    assert not [event for event in events if isinstance(event, Ejected) and event.at > 60.0]


def test_suppression_is_bounded_after_the_last_fall():
    """An endpoint is back at most ``longest`` after its last fall, however long it flapped."""
    events, _ = hour(rise=1, fall=1, passes=1, fails=1, damping=DAMPING, calm_after=1800.0)
    back = [event.at for event in events if isinstance(event, Probing)][-1]
    assert 1800.0 < back <= 1795.0 + DAMPING.max_suppress + INTERVAL / 5 + 1e-9


def test_the_last_endpoint_is_never_suppressed():
    """An endpoint alone in its pool flaps all hour and stays eligible, and its requests are served."""
    events, balancer = hour(rise=1, fall=1, passes=1, fails=1, damping=DAMPING, others=())
    assert not [event for event in events if isinstance(event, Ejected | Suppressed)]
    assert balancer.stats().completed == int(HOUR / INTERVAL) * 5


@pytest.mark.parametrize("way", ["remove", "drain"])
def test_a_suppressed_endpoint_that_becomes_the_last_is_let_back(way):
    """When the others leave, the suppressed endpoint that is due soonest is on trial at once."""
    clock, events = ManualClock(), []
    policy = Lifecycle(thresholds=Thresholds(rise=1, fall=1), damping=DAMPING)
    balancer = LoadBalancer(["a", "b"], health=policy, clock=clock, listeners=[events.append])
    for k in range(6):
        balancer.report_check("a", CheckResult(passed=k % 2 == 1))
        clock.advance(1.0)
    assert balancer.stats()["a"].state == "suppressed"
    with balancer.acquire() as lease:
        assert lease.target == "b"
    getattr(balancer, way)("b")
    assert balancer.stats()["a"].state == "probing"
    with balancer.acquire() as lease:
        assert lease.target == "a"
    assert balancer.stats()["a"].state == "healthy"
