"""Ejections: after how many failures, for how long, how many at once."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from balancekit import LoadBalancer
from balancekit.errors import AllIneligibleError
from balancekit.events import Ejected, EjectionRefused, Probing, Restored
from balancekit.health import (
    ELIGIBLE,
    CheckResult,
    ConsecutiveFailures,
    Ejection,
    FlapDamping,
    Health,
    Lifecycle,
)
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.testing import ManualClock


def make(*, spare=True, threshold=3, **ejection):
    """Make the machine of one endpoint, without jitter."""
    policy = Lifecycle(
        failures=ConsecutiveFailures(threshold=threshold),
        ejection=Ejection(**{"base": 1.0, "max_duration": 8.0, "jitter": 0.0} | ejection),
    )
    return policy("a", lambda _ejection: spare, Random(1))


def hear(machine, outcome, now):
    """Let the machine hear of one end."""
    return machine.observe(Completion(outcome, started_at=now, ended_at=now), now=now)


def fall(machine, now):
    """Fail until ejected; return the event."""
    while True:
        for event in hear(machine, Outcome.FAILURE, now):
            return event


@pytest.mark.parametrize("outcome", sorted(FAILURES, key=lambda each: each.value))
def test_the_threshold_counts_failures_of_every_kind(outcome):
    """The third of three failures ejects, whatever their kinds; the second does not."""
    machine = make(threshold=3)
    assert hear(machine, outcome, 0.0) == []
    assert machine.health is Health.SUSPECT
    assert machine.eligible
    assert hear(machine, outcome, 0.0) == []
    (event,) = hear(machine, outcome, 5.0)
    assert event == Ejected(endpoint="a", at=5.0, until=6.0, streak=1, cause="3 failures in a row")
    assert not machine.eligible
    assert machine.deadline == 6.0


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.IGNORED])
def test_what_says_nothing_neither_counts_nor_clears(outcome):
    """A cancellation between failures neither counts as a failure nor ends the run."""
    machine = make(threshold=2)
    hear(machine, Outcome.FAILURE, 0.0)
    assert hear(machine, outcome, 0.0) == []
    assert isinstance(hear(machine, Outcome.FAILURE, 0.0)[0], Ejected)


def test_a_success_clears_the_run():
    """A success ends a run, so that only failures in a row eject."""
    machine = make(threshold=2)
    hear(machine, Outcome.FAILURE, 0.0)
    hear(machine, Outcome.SUCCESS, 0.0)
    assert machine.health is Health.HEALTHY
    assert hear(machine, Outcome.FAILURE, 0.0) == []


def test_time_out_trial_and_back():
    """An endpoint goes on trial not a moment early; one success restores it, and stragglers prove nothing."""
    machine = make()
    fall(machine, 0.0)
    assert hear(machine, Outcome.SUCCESS, 0.5) == []
    assert machine.advance(now=0.999) == []
    assert machine.advance(now=1.0) == [Probing(endpoint="a", at=1.0)]
    assert machine.eligible
    assert machine.deadline == 11.0, "when the trial takes another request"
    assert machine.advance(now=2.0) == []
    assert hear(machine, Outcome.SUCCESS, 2.0) == [Restored(endpoint="a", at=2.0)]
    assert machine.health is Health.HEALTHY


def test_failing_on_trial_ejects_at_once_and_for_longer():
    """A failure on trial ejects at once.

    The time out doubles to the maximum, and starts over after a restoration.
    """
    machine = make()
    now, lengths = 0.0, []
    fall(machine, now)
    for _ in range(5):
        lengths.append(machine.deadline - now)
        now = machine.deadline
        machine.advance(now=now)
        (event,) = hear(machine, Outcome.TIMEOUT, now)
        assert event.cause == "failed on trial"
    assert lengths == [1.0, 2.0, 4.0, 8.0, 8.0]
    now = machine.deadline
    machine.advance(now=now)
    hear(machine, Outcome.SUCCESS, now)
    assert fall(machine, now).until == now + 1.0


def test_a_pool_that_cannot_spare_it_says_so_once():
    """If a pool cannot spare an endpoint, the endpoint stays and one event says so.

    Another event follows only after a success.
    """
    machine = make(spare=False)
    (event,) = [e for _ in range(9) for e in hear(machine, Outcome.FAILURE, 0.0)]
    assert event == EjectionRefused(endpoint="a", at=0.0, cause="3 failures in a row")
    assert machine.eligible
    hear(machine, Outcome.SUCCESS, 1.0)
    assert isinstance(fall(machine, 2.0), EjectionRefused)


def test_only_what_could_change_something_is_watched():
    """A healthy endpoint is not watched, and one that a request could change is."""
    machine = make()
    assert not machine.watching
    hear(machine, Outcome.FAILURE, 0.0)
    assert machine.watching
    hear(machine, Outcome.SUCCESS, 0.0)
    assert not machine.watching


def test_jitter_only_lengthens_and_stays_within_its_share():
    """Jitter makes a time out longer by at most its share, and never shorter."""
    ejection = Ejection(base=10.0, max_duration=10.0, jitter=0.1)
    rng = Random(4)
    lengths = [ejection.duration(1, rng) for _ in range(1_000)]
    assert min(lengths) >= 10.0
    assert max(lengths) < 11.0
    assert max(lengths) - min(lengths) > 0.9


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_caps_leave_one_and_let_small_pools_eject_one(size, share):
    """With ``keep_last`` the last endpoint is never ejected.

    At least one may be unless the share is 0, and never more than the share.
    """
    ejection = Ejection(max_share=share)
    out = 0
    while ejection.allows(already_out=out, size=size):
        out += 1
    most = 0 if share == 0.0 else min(size - 1, max(1, int(share * size)))
    assert out == most


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_caps_may_leave_none(size, share):
    """Without ``keep_last`` the last endpoint may be ejected too.

    At least one may be unless the share is 0, and never more than the share.
    """
    ejection = Ejection(max_share=share, keep_last=False)
    out = 0
    while out < size and ejection.allows(already_out=out, size=size):
        out += 1
    assert out == (0 if share == 0.0 else max(1, int(share * size)))


@pytest.mark.parametrize("witness", ["requests", "checks", "damping"])
def test_the_last_one_goes_where_the_policy_says_so(witness):
    """No endpoint is eligible, whatever said so; it is back when its checks pass or its time is over."""
    clock = ManualClock()
    ejection = Ejection(base=5.0, max_duration=5.0, jitter=0.0, max_share=1.0, keep_last=False)
    damping = FlapDamping(flap=2000.0) if witness == "damping" else None
    health = Lifecycle(failures=ConsecutiveFailures(threshold=3), ejection=ejection, damping=damping)
    lb = LoadBalancer(["a", "b"], health=health, clock=clock)
    for id, other in ("ab", "ba"):
        for _ in range(3):
            if witness == "checks":
                lb.report_check(id, CheckResult(passed=False, holds_for=100.0))
            else:
                lb.acquire(exclude={other} if id == "a" else ()).release(Outcome.FAILURE)
    assert [one.state for one in lb.stats().endpoints] == ["suppressed" if damping else "ejected"] * 2
    with pytest.raises(AllIneligibleError):
        lb.acquire()
    clock.advance(6.0)
    for _ in range(2 if witness == "checks" else 0):
        lb.report_check("b", CheckResult(passed=True))
    with suppress(AllIneligibleError):
        lb.acquire().release(Outcome.IGNORED)
    back = {"requests": ["a", "b"], "checks": ["b"], "damping": []}[witness]
    assert [one.id for one in lb.stats().endpoints if one.state in ELIGIBLE] == back


@pytest.mark.parametrize(
    "streak", [0, 1, 2, 3, 9, 2_000, 10**9, 10**400], ids=["0", "1", "2", "3", "9", "2e3", "1e9", "1e400"]
)
@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 1e300])
def test_a_duration_is_computed_at_once_however_long_the_row(factor, streak):
    """The duration of any ejection in a row is that of the formula, without a step for each of the row."""
    ejection = Ejection(base=0.5, factor=factor, max_duration=60.0, jitter=0.0)
    expected = 0.5
    for _ in range(min(streak - 1, 20)):
        expected = min(60.0, expected * factor)
    assert ejection.duration(streak, Random(1)) == expected
