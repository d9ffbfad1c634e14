"""Any history of requests, checks, sweeps and time: an endpoint is out for a reason and comes back in time."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from balancekit import Outcome
from balancekit.events import Ejected, EjectionRefused, Probing, Restored, Suppressed
from balancekit.health import (
    TRANSITIONS,
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
from balancekit.health._states import CONDITIONS
from balancekit.outcome import Completion

VISITS: Counter[Health] = Counter()
MOVES: Counter[tuple[Health, Health]] = Counter()
LEAST = 50
"""How often each state must have been visited."""

EJECTION = Ejection(base=2.0, max_duration=8.0, jitter=0.5, calm=5.0)
POLICY = Lifecycle(
    failures=ConsecutiveFailures(threshold=2),
    thresholds=Thresholds(rise=2, fall=2),
    ejection=EJECTION,
    probation=Probation(successes=2, concurrency=2),
)
DAMPING = FlapDamping(half_life=10.0, max_suppress=40.0)


class OneEndpoint(RuleBasedStateMachine):
    """A history of one endpoint."""

    @initialize(
        start=st.sampled_from([Health.UNKNOWN, Health.PROBING, Health.WARMING, Health.HEALTHY]),
        damping=st.sampled_from([None, DAMPING, DAMPING]),
        warm_up=st.sampled_from([None, WarmUp(window=4.0)]),
        seed=st.integers(0, 99),
    )
    def begin(self, start, damping, warm_up, seed):
        """Make the machine."""
        self.policy = POLICY.replace(start=start, damping=damping, warm_up=warm_up)
        self.spare = True
        self.now = 100.0
        self.machine = self.policy("a", lambda _ejection: self.spare, Random(seed))
        self.last_fall = -math.inf
        self.held_until = -math.inf
        self.seen = self.machine.health
        self.on_trial_since = self.now

    def _tell(self, events):
        for event in events:
            assert event.at == self.now
            if isinstance(event, Ejected):
                self.last_fall = self.now
                assert event.until > self.now
            if isinstance(event, Suppressed):
                assert event.penalty >= DAMPING.suppress
                assert event.until >= self.now
            if isinstance(event, EjectionRefused):
                assert not self.spare
            if isinstance(event, Probing):
                assert self.machine.health is Health.PROBING
            if isinstance(event, Restored):
                assert self.machine.health in {Health.WARMING, Health.HEALTHY}
        after = self.machine.health
        if after is not self.seen:
            MOVES[self.seen, after] += 1
            self.on_trial_since = self.now
        self.seen = after
        VISITS[after] += 1

    @rule(gap=st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 10.0]))
    def wait(self, gap):
        """Let time pass, without looking at the deadline."""
        self.now += gap
        self._tell(self.machine.advance(now=self.now))

    @rule()
    def wait_until_due(self):
        """Let time pass until exactly what is due."""
        due = self.machine.deadline
        if due is None:
            return
        was = self.machine.health
        self.now = max(self.now, due)
        self._tell(self.machine.advance(now=self.now))
        if was in {Health.EJECTED, Health.SUPPRESSED}:
            assert self.machine.health is Health.PROBING

    @rule(age=st.sampled_from([0.0, 0.0, 0.0, 20.0]), times=st.integers(1, 3))
    def succeed(self, age, times):
        """Let requests succeed, some of them started long ago."""
        for _ in range(times):
            done = Completion(Outcome.SUCCESS, started_at=self.now - age, ended_at=self.now)
            out = not self.machine.eligible
            before = self.machine.health
            self._tell(self.machine.observe(done, now=self.now))
            assert not out or self.machine.health is before

    @rule(
        age=st.sampled_from([0.0, 0.0, 0.0, 20.0]),
        times=st.integers(1, 3),
        outcome=st.sampled_from([Outcome.FAILURE, Outcome.TIMEOUT, Outcome.CANCELLED]),
    )
    def fail(self, age, times, outcome):
        """Let requests fail, or callers give up."""
        for _ in range(times):
            done = Completion(outcome, started_at=self.now - age, ended_at=self.now)
            before = self.machine.health
            self._tell(self.machine.observe(done, now=self.now))
            if outcome is Outcome.CANCELLED:
                assert self.machine.health is before

    @rule(passed=st.booleans(), times=st.integers(1, 3))
    def check(self, passed, times):
        """End checks."""
        for _ in range(times):
            self._tell(self.machine.checked(CheckResult(passed=passed, holds_for=6.0), now=self.now))
            if not passed:
                self.held_until = self.now + 6.0

    @rule()
    def on_outlier(self):
        """Let a sweep find an outlier."""
        up = self.machine.health in {Health.HEALTHY, Health.SUSPECT, Health.WARMING}
        self._tell(self.machine.on_outlier("told to", now=self.now))
        if up and self.spare:
            assert not self.machine.eligible

    @rule()
    def uneject(self):
        """No other is left."""
        was = self.machine.health
        self._tell(self.machine.uneject(now=self.now))
        if was is Health.SUPPRESSED:
            assert self.machine.health is Health.PROBING

    @rule(spare=st.booleans())
    def others(self, spare):
        """Make the rest of the pool healthy, or remove it."""
        self.spare = spare

    @invariant()
    def it_is_bounded(self):
        """Out is out for a bounded time: of the ejection, of the longest suppression, of the last result."""
        if not hasattr(self, "machine"):
            return
        machine = self.machine
        assert machine.eligible is (machine.health in {"probing", "warming", "healthy", "suspect"})
        if machine.health in {Health.EJECTED, Health.SUPPRESSED}:
            # A flap may come with any result while it is suppressed.
            flaps_until = max(self.last_fall, self.held_until - 6.0) + DAMPING.max_suppress
            ejected_until = self.last_fall + EJECTION.max_duration * (1 + EJECTION.jitter)
            bound = max(ejected_until, self.held_until)
            if machine.health is Health.SUPPRESSED:
                bound = max(bound, flaps_until)
            assert machine.deadline is not None
            assert machine.deadline <= bound + 1e-6

    @invariant()
    def its_share_is_one(self):
        """Ramp and trial say how much: nothing but a few on trial, growing while warming, all otherwise.

        A trial widens by one when its patience has passed, and again after twice as long.
        """
        if not hasattr(self, "machine"):
            return
        ramp, trial, health = self.machine.ramp, self.machine.trial, self.machine.health
        if health is Health.PROBING:
            age = self.now - self.on_trial_since
            assert ramp == 0.0
            assert 2 <= trial <= 2 + math.log2(1.0 + age / POLICY.probation.patience) + 1e-9
        else:
            assert trial == 0
            assert ramp == 1.0 or (health is Health.WARMING and 0.1 <= ramp < 1.0)


def test_any_history_of_one_endpoint():
    """A random history of one endpoint visits every state at least 50 times and takes only steps of the table."""
    VISITS.clear()
    MOVES.clear()
    run_state_machine_as_test(
        OneEndpoint,
        settings=settings(
            max_examples=300,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
        ),
    )
    assert set(VISITS) == set(CONDITIONS)
    assert min(VISITS.values()) >= LEAST, VISITS
    # One call may take two steps of the table (fall and suppress, rise and warmed).
    single = {(state, target) for (state, _), target in TRANSITIONS.items()}
    double = {(a, c) for a, b in single for b2, c in single if b is b2}
    assert set(MOVES) <= single | double
