"""Counters in a row: thresholds of checks, runs of failures, trials, nginx's books."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError, Outcome
from balancekit.health import (
    CheckState,
    ConsecutiveFailures,
    Fails,
    MaxFails,
    Probation,
    Run,
    Thresholds,
    Trial,
)
from balancekit.outcome import FAILURES, Completion

# ---------------------------------------------------------------------- thresholds


def naive(results, rise, fall, *, up):
    """Return, after each check, whether the endpoint is up: by looking at all of the last results each time."""
    states = []
    for end in range(1, len(results) + 1):
        last = results[max(0, end - (fall if up else rise)) : end]
        if len(last) == (fall if up else rise) and set(last) == {not up}:
            up = not up
        states.append(up)
    return states


@given(results=st.lists(st.booleans(), max_size=60), rise=st.integers(1, 4), fall=st.integers(1, 4))
def test_thresholds_agree_with_looking_back(results, rise, fall):
    """Down after ``fall`` failures in a row, up after ``rise`` passes in a row, and at no other time."""
    machine = Thresholds(rise=rise, fall=fall)(CheckState.UP)
    states = [machine.observe(passed=passed, now=float(k)) for k, passed in enumerate(results)]
    believed = [state in {CheckState.UP, CheckState.FALLING} for state in states]
    assert believed == naive(results, rise, fall, up=True)


@pytest.mark.parametrize("passed", [True, False])
def test_the_first_check_decides_alone(passed):
    """The first check of a host decides alone whether it is up or down, as in Envoy."""
    machine = Thresholds(rise=9, fall=9)()
    assert machine.observe(passed=passed, now=1.0) is (CheckState.UP if passed else CheckState.DOWN)
    assert machine.since == 1.0


def test_alternating_never_changes_anything():
    """With thresholds of two, an endpoint whose checks alternate keeps its state."""
    for start in (CheckState.UP, CheckState.DOWN):
        machine = Thresholds(rise=2, fall=2)(start)
        for k in range(1000):
            machine.observe(passed=bool(k % 2), now=float(k))
        assert machine.since is None


def test_it_is_changing_between_up_and_down():
    """A machine says whether it is changing, and failing, between two states."""
    machine = Thresholds(rise=2, fall=2)(CheckState.UP)
    seen = []
    for passed in (False, False, True, True):
        machine.observe(passed=passed, now=0.0)
        seen.append((machine.changing, machine.failing))
    assert seen == [(True, True), (False, True), (True, False), (False, False)]


def test_a_stray_check_is_no_change():
    """A single check against the state changes nothing, and ``since`` stays the time of the last change."""
    machine = Thresholds(rise=2, fall=2)(CheckState.UP)
    for now, passed in enumerate([False, True, False, False, True, False]):
        machine.observe(passed=passed, now=float(now))
    assert machine.since == 3.0


@pytest.mark.parametrize(
    ("p", "fall", "checks"),
    [(0.01, 2, 10_100), (0.01, 3, 1_010_100), (0.05, 2, 420), (0.05, 3, 8420), (0.1, 2, 110), (0.1, 3, 1110)],
)
def test_false_alarms_are_as_rare_as_the_formula(p, fall, checks):
    """False alarms are as rare as ``(1 - p^k) / ((1 - p) p^k)`` says.

    The recurrence that it solves agrees to 1e-9.
    """
    found = Thresholds(fall=fall).false_alarm(p)
    assert found == pytest.approx(checks, rel=1e-3)
    expected = 0.0
    for _ in range(fall):  # E_k = (E_(k-1) + 1) / p
        expected = (expected + 1.0) / p
    assert found == pytest.approx(expected, rel=1e-9)
    assert Thresholds(fall=4).false_alarm(1.0) == 4.0


@pytest.mark.parametrize("fall", [1, 2, 3, 5])
def test_detection_takes_as_long_as_the_formula(fall):
    """Earliest ``(k-1) i + to``, mean ``(k - 1/2) i + to``, latest ``k i + to``: against the machine itself."""
    interval, timeout, phases = 5.0, 2.0, 1000
    spent = []
    for phase in range(phases):
        dies = (phase + 0.5) / phases * interval  # the last good check began at 0
        machine, k = Thresholds(fall=fall)(CheckState.UP), 0
        while machine.state is not CheckState.DOWN:
            k += 1
            machine.observe(passed=False, now=k * interval + timeout)
        spent.append(machine.since - dies)
    found = Thresholds(fall=fall).detection(interval=interval, timeout=timeout)
    assert found.soonest == pytest.approx((fall - 1) * interval + timeout, rel=1e-9)
    assert found.mean == pytest.approx(sum(spent) / phases, rel=1e-9)
    assert found.latest == pytest.approx(fall * interval + timeout, rel=1e-9)
    assert found.soonest <= min(spent) <= max(spent) <= found.latest


# ---------------------------------------------------------------------- runs of failures


@given(
    ends=st.lists(st.sampled_from([Outcome.SUCCESS, *sorted(FAILURES, key=lambda o: o.value)]), max_size=40),
    limits=st.tuples(st.integers(1, 6), *[st.none() | st.integers(1, 4)] * 3),
)
def test_runs_agree_with_counting_back(ends, limits):
    """A run trips if too many failures came since the last success, and only then.

    Limits count all, or those of a class.
    """
    threshold, connect, timeout, overloaded = limits
    config = ConsecutiveFailures(
        threshold=threshold, connect_failed=connect, timeout=timeout, overloaded=overloaded
    )
    own = {Outcome.CONNECT_FAILED: connect, Outcome.TIMEOUT: timeout, Outcome.OVERLOADED: overloaded}
    run = config()
    for end, outcome in enumerate(ends):
        if outcome is Outcome.SUCCESS:
            run.succeeded()
            assert run.state is Run.CLEAR
            continue
        tail = list(itertools.takewhile(lambda o: o is not Outcome.SUCCESS, reversed(ends[: end + 1])))
        expected = len(tail) >= threshold or any(n is not None and tail.count(o) >= n for o, n in own.items())
        assert run.failed(outcome, now=float(end)) is expected
        assert run.count == len(tail)
        assert run.since == float(end + 1 - len(tail))


def test_who_gives_up_is_no_failure():
    """Cancelled and ignored requests neither lengthen a run nor end it."""
    run = ConsecutiveFailures(threshold=2)()
    run.failed(Outcome.FAILURE, now=0.0)
    for outcome in (Outcome.CANCELLED, Outcome.IGNORED):
        assert not run.failed(outcome, now=1.0)
    assert run.count == 1
    run.reset()
    assert (run.state, run.count, run.since) == (Run.CLEAR, 0, None)


# ---------------------------------------------------------------------- trials


@given(ends=st.lists(st.booleans(), max_size=10), needed=st.integers(1, 4))
def test_a_trial_ends_with_the_first_failure_or_enough_successes(ends, needed):
    """A trial passes after so many successes in a row, and fails with the first failure."""
    trial = Probation(successes=needed)()
    trial.begin(now=0.0)
    for good in ends:
        if good:
            trial.succeeded(started_at=1.0)
        else:
            trial.failed(started_at=1.0)
    run = len(list(itertools.takewhile(bool, ends)))
    expected = Trial.PASSED if run >= needed else Trial.FAILED if run < len(ends) else Trial.OPEN
    assert trial.state is expected


def test_requests_from_before_the_trial_prove_nothing():
    """A request that began while the endpoint was healthy is neither proof nor failure."""
    trial = Probation()()
    assert not trial.counts(0.0)
    trial.begin(now=10.0)
    assert not trial.failed(started_at=9.9)
    assert not trial.succeeded(started_at=9.9)
    assert trial.state is Trial.OPEN
    assert trial.succeeded(started_at=float("nan"))
    trial.begin(now=20.0)
    assert trial.failed(started_at=20.0)


# ---------------------------------------------------------------------- nginx


class Books:
    """nginx 1.22's rule, written from its description: fails, accessed, checked."""

    def __init__(self, max_fails, fail_timeout):
        self.max_fails, self.fail_timeout = max_fails, fail_timeout
        self.fails, self.accessed, self.checked = 0, -1e9, -1e9

    def down(self, now):
        return self.fails >= self.max_fails and now - self.checked < self.fail_timeout

    def picked(self, now):
        if now - self.checked >= self.fail_timeout:
            self.checked = now

    def failed(self, now):
        self.fails += 1
        self.accessed = self.checked = now

    def succeeded(self):
        if self.accessed < self.checked:
            self.fails = 0


def completion(outcome, at):
    """Return a request that took no time."""
    return Completion(outcome, started_at=at, ended_at=at)


@given(
    # 64ths of a second: sums and differences of times are exact, so a limit is met by both or by neither.
    steps=st.lists(st.tuples(st.integers(1, 960).map(lambda ticks: ticks / 64), st.booleans()), max_size=60),
    max_fails=st.integers(1, 4),
)
def test_max_fails_keeps_the_books_of_nginx(steps, max_fails):
    """After each request, ``MaxFails`` has the states of a direct rendering of nginx's rule."""
    books, now = Books(max_fails, 10.0), 0.0
    machine = MaxFails(max_fails=max_fails, fail_timeout=10.0)("a", lambda _ejection: True, Random(0))
    for gap, good in steps:
        now += gap
        machine.advance(now=now)
        assert machine.eligible is not books.down(now)
        if not machine.eligible:
            continue
        books.picked(now)
        if not good:
            books.failed(now)
            machine.observe(completion(Outcome.FAILURE, now), now=now)
        else:
            books.succeeded()
            machine.observe(completion(Outcome.SUCCESS, now), now=now)


def test_stragglers_prolong_but_are_no_news():
    """A failure that was under way when the endpoint went out moves its return, without a second event."""
    machine = MaxFails(max_fails=1, fail_timeout=10.0)("a", lambda _ejection: True, Random(0))
    assert len(machine.observe(completion(Outcome.FAILURE, 0.0), now=0.0)) == 1
    assert machine.observe(completion(Outcome.TIMEOUT, 4.0), now=4.0) == []
    assert machine.observe(completion(Outcome.SUCCESS, 5.0), now=5.0) == []
    assert (machine.deadline, machine.eligible) == (14.0, False)
    assert len(machine.advance(now=14.0)) == 1
    assert len(machine.observe(completion(Outcome.SUCCESS, 14.0), now=14.0)) == 1


def test_max_fails_never_takes_the_last():
    """``MaxFails`` never ejects the last endpoint, unlike nginx, and an event says so."""
    machine = MaxFails()("a", lambda _ejection: False, Random(0))
    (event,) = machine.observe(completion(Outcome.FAILURE, 1.0), now=1.0)
    assert type(event).__name__ == "EjectionRefused"
    assert machine.eligible
    assert machine.health is Fails.SUSPECT
    assert machine.state == "suspect"


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "options", "parameter"),
    [
        (Thresholds, {"rise": 0}, "rise"),
        (Thresholds, {"fall": 1.5}, "fall"),
        (Thresholds, {"fall": True}, "fall"),
        (ConsecutiveFailures, {"threshold": 0}, "threshold"),
        (ConsecutiveFailures, {"connect_failed": 0}, "connect_failed"),
        (ConsecutiveFailures, {"timeout": -1}, "timeout"),
        (ConsecutiveFailures, {"overloaded": "3"}, "overloaded"),
        (Probation, {"successes": 0}, "successes"),
        (Probation, {"concurrency": 0.5}, "concurrency"),
        (MaxFails, {"max_fails": 0}, "max_fails"),
        (MaxFails, {"fail_timeout": 0.0}, "fail_timeout"),
        (MaxFails, {"fail_timeout": float("nan")}, "fail_timeout"),
    ],
)
def test_bad_figures_are_refused(make, options, parameter):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make(**options)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("fall", "failing"), [(2, 1e-200), (3, 5e-324), (10**400, 0.5)], ids=["2", "3", "10**400"]
)
def test_a_false_alarm_may_be_rarer_than_any_float(fall, failing):
    """The number of checks until a false alarm is infinite if no float is as large; so is a detection of as many checks."""
    assert Thresholds(fall=fall).false_alarm(failing) == math.inf
    assert Thresholds(fall=10**400).detection(interval=2.0, timeout=1.0).latest == math.inf


@pytest.mark.parametrize("failing", [0.0, -0.1, 1.1, float("nan"), True])
def test_a_probability_is_one(failing):
    """A false alarm rate is computed only of a probability; other numbers are refused."""
    with pytest.raises(ConfigurationError):
        Thresholds().false_alarm(failing)


def test_the_last_failure_that_counts_is_told_of_when_it_is_over() -> None:
    """After exactly ``max_fails`` failures the endpoint was out, so its first success is ``Restored``; after fewer it is not."""
    for failures, told in ((2, 1), (1, 0)):
        machine = MaxFails(max_fails=2, fail_timeout=10.0)("a", lambda _: True, Random(0))
        for at in range(failures):
            machine.observe(completion(Outcome.FAILURE, float(at)), now=float(at))
        machine.advance(now=50.0)
        assert len(machine.observe(completion(Outcome.SUCCESS, 50.0), now=50.0)) == told
