"""The joined machine: who takes an endpoint out, and who lets it back."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import Outcome
from balancekit.events import Degraded, Ejected, Suppressed
from balancekit.health import (
    CheckResult,
    ConsecutiveFailures,
    Ejection,
    FlapDamping,
    Health,
    Lifecycle,
    Probation,
    Thresholds,
    WarmUp,
)
from balancekit.outcome import Completion

PLAIN = Lifecycle(
    failures=ConsecutiveFailures(threshold=3),
    thresholds=Thresholds(rise=2, fall=2),
    ejection=Ejection(base=10.0, max_duration=40.0, jitter=0.0),
)


class Endpoint:
    """One machine, and short words for what happens to it."""

    def __init__(self, policy=PLAIN):
        self.spare = True
        self.now = 100.0
        self.asked = []
        self.machine = policy("a", self._may_eject, Random(1))

    def _may_eject(self, ejection):
        self.asked.append(ejection)
        return self.spare

    def requests(self, *outcomes, age=0.0):
        events = []
        for outcome in outcomes:
            done = Completion(outcome, started_at=self.now - age, ended_at=self.now)
            events += self.machine.observe(done, now=self.now)
        return events

    def fail(self, times=1, **options):
        return self.requests(*[Outcome.FAILURE] * times, **options)

    def succeed(self, times=1, **options):
        return self.requests(*[Outcome.SUCCESS] * times, **options)

    def checks(self, *results, holds_for=25.0):
        events = []
        for passed in results:
            events += self.machine.checked(CheckResult(passed=passed, holds_for=holds_for), now=self.now)
        return events

    def wait(self, seconds):
        self.now += seconds
        return self.machine.advance(now=self.now)

    @property
    def state(self):
        return self.machine.state


def kinds(events):
    """Return the names of some events."""
    return [type(event).__name__ for event in events]


def test_requests_take_it_out_and_let_it_back():
    """Three failed requests eject an endpoint for 10 s. It is then on trial, and a success restores it."""
    a = Endpoint()
    assert kinds(a.fail(2)) == []
    assert (a.state, a.machine.watching) == ("suspect", True)
    (event,) = a.fail()
    assert event == Ejected(endpoint="a", at=100.0, until=110.0, streak=1, cause="3 failures in a row")
    assert a.machine.deadline == 110.0
    assert a.succeed() == []
    assert a.wait(9.99) == []
    assert kinds(a.wait(0.01)) == ["Probing"]
    assert (a.state, a.machine.ramp, a.machine.trial) == ("probing", 0.0, 1)
    assert kinds(a.succeed()) == ["Restored"]
    assert (a.state, a.machine.ramp, a.machine.trial, a.machine.watching) == ("healthy", 1.0, 0, False)


def test_each_failed_trial_doubles_the_time_out():
    """Each failed trial doubles the time out: 10, 20, 40 and 40 seconds. A healthy endpoint starts over."""
    a = Endpoint()
    (event,) = a.fail(3)
    spent = [event.until - a.now]
    for _ in range(3):
        a.wait(a.machine.deadline - a.now)
        (event,) = a.fail()
        spent.append(event.until - a.now)
    assert spent == [10.0, 20.0, 40.0, 40.0]
    assert event.streak == 4
    a.wait(40.0)
    a.succeed()
    assert a.fail(3)[0].streak == 1


def test_calm_forgives_one_ejection_at_a_time():
    """The multiplier of the time out falls by one for each healthy interval, as in Envoy."""
    a = Endpoint(PLAIN.replace(ejection=Ejection(base=10.0, max_duration=1000.0, jitter=0.0, calm=10.0)))
    a.fail(3)
    for _ in range(3):
        a.wait(a.machine.deadline - a.now)
        a.fail()
    a.wait(a.machine.deadline - a.now)
    a.succeed()
    a.wait(25.0)
    assert a.fail(3)[0].streak == 4 - 2 + 1


def test_requests_from_before_the_trial_decide_nothing():
    """A time-out that began while it hung does not end the trial of an endpoint that is back."""
    a = Endpoint()
    a.fail(3)
    a.wait(10.0)
    assert a.fail(5, age=3.0) == []
    assert a.succeed(age=3.0) == []
    assert a.state == "probing"
    assert kinds(a.succeed()) == ["Restored"]


def test_a_health_page_does_not_acquit_who_failed_requests():
    """Passing checks do not shorten an ejection that failed requests caused."""
    a = Endpoint()
    a.fail(3)
    assert a.checks(True, True, True) == []
    assert a.state == "ejected"
    a.wait(10.0)
    assert a.checks(True, True, True) == []
    assert a.state == "probing"


def test_checks_take_it_out_and_let_it_back():
    """Two failed checks eject an endpoint for as long as they fail.

    Two that pass restore it without a trial.
    """
    a = Endpoint()
    assert a.checks(False) == []
    assert (a.state, a.machine.changing) == ("suspect", True)
    (event,) = a.checks(False)
    assert event == Ejected(endpoint="a", at=100.0, until=125.0, streak=1, cause="check failed")
    for _ in range(10):
        assert a.wait(20.0) == []
        assert a.checks(False) == []
    assert a.checks(True) == []
    assert (a.state, a.machine.changing) == ("ejected", True)
    assert kinds(a.checks(True)) == ["Restored"]
    assert a.state == "healthy"


def test_an_old_accusation_is_over_with_the_restoration():
    """An earlier ejection by requests does not count in a later one by checks.

    Passing checks alone restore the endpoint.
    """
    a = Endpoint()
    a.fail(3)
    a.wait(10.0)
    a.succeed()
    a.checks(False, False)
    assert kinds(a.checks(True, True)) == ["Restored"]


def test_checks_that_end_let_it_back_on_trial():
    """A check's result holds for a time.

    After that the endpoint is on trial, by requests and by passing checks.
    """
    a = Endpoint()
    a.checks(False, False)
    assert kinds(a.wait(25.0)) == ["Probing"]
    assert kinds(a.checks(True, True)) == ["Restored"]


def test_failing_checks_prolong_an_ejection_by_requests():
    """An endpoint that requests and checks ejected stays out while checks fail, and is then on trial."""
    a = Endpoint()
    a.fail(3)
    a.checks(False, False)
    assert a.wait(11.0) == []
    assert kinds(a.checks(True, True)) == ["Probing"]
    assert kinds(a.succeed()) == ["Restored"]


def test_checks_that_recover_early_leave_the_rest_to_time():
    """If checks pass before the time of requests is over, the trial begins when that time is over."""
    a = Endpoint()
    a.fail(3)
    a.checks(False, False)
    assert a.checks(True, True) == []
    assert a.machine.deadline == 110.0
    assert kinds(a.wait(10.0)) == ["Probing"]


def test_on_trial_failing_checks_count_as_thresholds_say():
    """One failed check does not end a trial, and ``fall`` failed checks do."""
    a = Endpoint()
    a.fail(3)
    a.wait(10.0)
    assert a.checks(False) == []
    assert a.state == "probing"
    assert kinds(a.checks(False)) == ["Ejected"]


def test_a_success_does_not_clear_what_checks_hold_against_it():
    """A successful request does not clear a failed check: the endpoint is suspect until checks pass too."""
    a = Endpoint()
    a.checks(False)
    a.succeed()
    assert a.state == "suspect"
    a.fail()
    a.checks(True)
    assert a.state == "suspect"
    a.succeed()
    assert a.state == "healthy"


def test_a_sweep_accuses():
    """A sweep ejects an endpoint as failures do, and only one that is up."""
    a = Endpoint()
    (event,) = a.machine.on_outlier("success rate 0.5", now=a.now)
    assert (event.cause, event.until) == ("success rate 0.5", 110.0)
    assert a.machine.on_outlier("again", now=a.now) == []
    a.wait(10.0)
    assert a.machine.on_outlier("on trial", now=a.now) == []


@pytest.mark.parametrize("witness", ["requests", "checks", "sweep", "trial"])
def test_the_last_one_stays(witness):
    """The last endpoint is not ejected, and one event says so.

    It is ejected at its next failure once another is there.
    """
    a = Endpoint()
    if witness == "trial":
        a.fail(3)
        a.wait(10.0)
    on_outlier = {
        "requests": lambda: a.fail(3),
        "checks": lambda: a.checks(False, False),
        "sweep": lambda: a.machine.on_outlier("bad", now=a.now),
        "trial": a.fail,
    }[witness]
    a.spare = False
    assert kinds(on_outlier()) == ["EjectionRefused"]
    assert a.machine.eligible
    assert on_outlier() == []
    a.spare = True
    assert kinds(on_outlier()) == ["Ejected"]


def test_the_share_is_for_requests_only():
    """Failing checks may eject all endpoints but the last.

    Failed requests may eject no more than the share that was set.
    """
    a = Endpoint()
    a.fail(3)
    b = Endpoint()
    b.checks(False, False)
    assert [ejection.max_share for ejection in (*a.asked, *b.asked)] == [0.5, 1.0]


def test_who_comes_and_goes_is_suppressed():
    """The third fall in half a minute suppresses an endpoint, whatever checks say.

    It is suppressed until the penalty has decayed.
    """
    a = Endpoint(PLAIN.replace(damping=FlapDamping(), thresholds=Thresholds(rise=1, fall=1)))
    for _ in range(2):
        assert kinds(a.checks(False, True)) == ["Ejected", "Restored"]
        a.wait(10.0)
    ejected, suppressed = a.checks(False)
    assert isinstance(ejected, Ejected)
    assert isinstance(suppressed, Suppressed)
    half = 2.0 ** (-10 / 60)
    penalty = 1000.0 * (1.0 + half + half**2)
    assert suppressed.penalty == pytest.approx(penalty, rel=1e-9)
    assert suppressed.until == pytest.approx(a.now + 60.0 * math.log2(penalty / 750.0), rel=1e-9)
    assert a.checks(True, True, True) == []
    assert a.succeed(5) == []
    assert (a.state, a.machine.deadline) == ("suppressed", suppressed.until)
    assert a.wait(suppressed.until - a.now - 0.001) == []
    assert kinds(a.wait(0.002)) == ["Probing"]
    assert kinds(a.checks(False)) == ["Ejected"]  # failing on trial is no new flap
    assert a.state == "ejected"


def test_being_down_is_not_flapping():
    """While it is suppressed each fall counts once, however many checks fail after it."""
    a = Endpoint(PLAIN.replace(damping=FlapDamping(flap=2000.0), thresholds=Thresholds(rise=1, fall=2)))
    a.checks(False, False)
    due = a.machine.deadline
    a.checks(*[False] * 20, holds_for=1.0)
    assert a.machine.deadline == due
    a.checks(True, False, False, holds_for=1.0)
    assert a.machine.deadline == pytest.approx(a.now + 60.0 * math.log2(4000.0 / 750.0), rel=1e-9)


def test_a_pardon_is_for_the_suppressed():
    """``uneject`` lets a suppressed endpoint back, on trial, and does nothing to any other."""
    a = Endpoint(PLAIN.replace(damping=FlapDamping(flap=5000.0)))
    assert a.machine.uneject(now=a.now) == []
    assert kinds(a.fail(3)) == ["Ejected", "Suppressed"]
    assert kinds(a.machine.uneject(now=a.now)) == ["Probing"]
    assert a.state == "probing"


def test_warming_comes_between():
    """A restored endpoint takes a growing share.

    A fall ends the warm-up, and the next one starts at the beginning.
    """
    a = Endpoint(PLAIN.replace(warm_up=WarmUp(window=10.0)))
    a.fail(3)
    a.wait(10.0)
    assert kinds(a.succeed()) == ["Restored"]
    assert (a.state, a.machine.ramp) == ("warming", 0.1)
    a.wait(5.0)
    assert a.machine.ramp == pytest.approx(0.5)
    assert kinds(a.fail(3)) == ["Ejected"]
    a.wait(10.0)
    a.succeed()
    assert a.machine.ramp == 0.1
    a.wait(10.0)
    assert (a.state, a.machine.ramp, a.machine.deadline) == ("healthy", 1.0, None)


@pytest.mark.parametrize(
    ("start", "eligible"),
    [(Health.UNKNOWN, False), (Health.PROBING, True), (Health.WARMING, True), (Health.HEALTHY, True)],
)
def test_a_new_endpoint_may_start_as_one_likes(start, eligible):
    """A new endpoint may start unknown, on trial, or warming.

    It waits for a passing check, for a request, or for its window.
    """
    a = Endpoint(PLAIN.replace(start=start, warm_up=WarmUp(window=10.0)))
    assert (a.state, a.machine.eligible) == (start.value, eligible)
    if start is Health.UNKNOWN:
        assert kinds(a.checks(True)) == ["Restored"]
    if start is Health.PROBING:
        assert kinds(a.succeed()) == ["Restored"]
    if start is Health.WARMING:
        a.wait(0.0)
        assert a.machine.ramp == 0.1
    if start is not Health.HEALTHY:
        assert a.state == "warming"
        a.wait(10.0)
    assert a.state == "healthy"


def test_an_unknown_endpoint_may_turn_out_to_be_down():
    """The first check of an unknown endpoint decides alone.

    The cap on ejections does not spare the endpoint.
    """
    a = Endpoint(PLAIN.replace(start=Health.UNKNOWN))
    a.spare = False
    assert kinds(a.checks(False)) == ["Ejected"]
    assert a.asked == []
    assert kinds(a.checks(True, True)) == ["Restored"]


def test_without_a_warm_up_none_warms():
    """Without a ramp, an endpoint that would warm is healthy at the first look."""
    a = Endpoint(PLAIN.replace(start=Health.WARMING))
    assert a.machine.ramp == 1.0
    a.wait(0.0)
    assert a.state == "healthy"


def test_degraded_is_told_when_it_changes():
    """A degraded endpoint causes one event when it begins, one when it ends, and none in between."""
    a = Endpoint()
    said = []
    for names in ((), ("db",), ("db",), ("cache", "db"), ()):
        said += a.machine.checked(CheckResult(passed=True, degraded=names), now=a.now)
    assert [event.dependencies for event in said] == [("db",), ("cache", "db"), ()]
    assert all(isinstance(event, Degraded) for event in said)
    assert a.state == "healthy"


def test_several_successes_may_be_asked_for():
    """A trial can require several successes, and admit several requests at a time."""
    a = Endpoint(PLAIN.replace(probation=Probation(successes=3, concurrency=2)))
    a.fail(3)
    a.wait(10.0)
    assert a.machine.trial == 2
    assert kinds(a.succeed(2)) == []
    assert kinds(a.succeed()) == ["Restored"]


def test_a_trial_without_a_result_widens():
    """While no request ends, a trial takes one more at a time after 4 s, then after 8 s, 16 s and so on."""
    a = Endpoint(PLAIN.replace(probation=Probation(patience=4.0)))
    a.fail(3)
    a.wait(10.0)
    began = a.now
    at = {}
    while a.machine.trial < 5:
        at[a.machine.trial] = a.machine.deadline - began
        assert a.wait(a.machine.deadline - a.now) == []
    assert at == {1: 4.0, 2: 12.0, 3: 28.0, 4: 60.0}
    assert kinds(a.fail()) == ["Ejected"]
    a.wait(a.machine.deadline - a.now)
    assert (a.machine.trial, a.machine.deadline - a.now) == (1, 4.0)


def test_a_trial_without_requests_widens_by_one():
    """An endpoint that is on trial without requests for an hour has one more place than at first."""
    a = Endpoint(PLAIN)
    a.fail(3)
    a.wait(10.0)
    a.wait(3600.0)
    assert a.machine.trial == 2
    assert a.machine.deadline == a.now + 20.0


@pytest.mark.parametrize("start", [Health.PROBING, Health.HEALTHY])
def test_infinite_patience_never_widens_a_trial(start):
    """With infinite patience an endpoint on trial has nothing due."""
    a = Endpoint(PLAIN.replace(start=start, probation=Probation(patience=math.inf)))
    if start is Health.HEALTHY:
        a.fail(3)
        a.wait(10.0)
    for _ in range(3):
        a.wait(1e6)
        assert (a.state, a.machine.trial, a.machine.deadline) == ("probing", 1, None)


def test_an_endpoint_that_starts_on_trial_waits_from_the_first_advance():
    """The patience of an endpoint that starts on trial counts from the first time that time passes."""
    a = Endpoint(PLAIN.replace(start=Health.PROBING))
    assert a.machine.deadline == -math.inf
    a.wait(0.0)
    assert (a.machine.trial, a.machine.deadline) == (1, a.now + 10.0)
    assert kinds(a.succeed()) == ["Restored"]


def test_what_says_nothing_changes_nothing():
    """Cancelled and ignored requests change nothing, in every state that can be reached."""
    a = Endpoint(PLAIN.replace(damping=FlapDamping(flap=5000.0)))
    steps = [lambda: None, lambda: a.fail(), lambda: a.fail(2), lambda: a.wait(500.0), lambda: a.succeed()]
    seen = []
    for step in steps:
        step()
        before = a.state
        assert a.requests(Outcome.CANCELLED, Outcome.IGNORED) == []
        assert a.state == before
        seen.append(before)
    assert seen == ["healthy", "suspect", "suppressed", "probing", "healthy"]


def test_a_warming_endpoint_is_due_for_its_next_step_and_not_at_once():
    """After the first look the deadline of a warm-up lies ahead; when the warm-up is over, nothing is due."""
    machine = Lifecycle(warm_up=WarmUp(window=10.0), start=Health.WARMING)("a", lambda _: True, Random(0))
    assert machine.deadline == -math.inf
    machine.advance(now=100.0)
    assert machine.deadline is not None
    assert 100.0 < machine.deadline <= 110.0
    while machine.deadline is not None:
        before = machine.deadline
        machine.advance(now=before)
        assert machine.deadline is None or machine.deadline > before
    assert machine.state == "healthy"


def test_failures_from_before_an_ejection_do_not_count_after_it() -> None:
    """Failures from before an ejection do not count after it.

    This holds for an endpoint that checks restored.
    """
    a = Endpoint()
    a.checks(False, False, False)
    a.fail(2)
    a.checks(True, True, True)
    assert a.state == "healthy"
    assert kinds(a.fail(2)) == []
    assert kinds(a.fail()) == ["Ejected"]
