"""Balancers whose callbacks or attempts are wrong, and health policies that are unjust: each is found, and named."""

from __future__ import annotations

import threading
import types

import pytest

from balancekit import LoadBalancer, Outcome
from balancekit.events import Ejected, Restored
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle, MaxFails
from balancekit.outcome import FAILURES
from balancekit.testing import LawBroken, check_balancer, check_health
from balancekit.testing._check_callbacks import check_callbacks


class Wrapper:
    """A balancer that passes everything on: nothing wrong here."""

    def __init__(self, *arguments, **options):
        self.inner = LoadBalancer(*arguments, **options)

    def __getattr__(self, name):
        return getattr(self.inner, name)


class CallsUnderALock(Wrapper):
    """Calls listeners while it holds the lock that its statistics need."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lock = threading.RLock()

    def on_completion(self, observer, /):
        def locked(endpoint, completion):
            with self.lock:
                observer(endpoint, completion)

        return self.inner.on_completion(locked)

    def stats(self):
        with self.lock:
            return self.inner.stats()


class CallsTwice(Wrapper):
    """Adds an observer twice."""

    def on_start(self, observer, /):
        first, second = (
            self.inner.on_start(observer),
            self.inner.on_start(lambda endpoint: observer(endpoint)),
        )
        return lambda: (first(), second())


class CallsForGood(Wrapper):
    """Does not remove a listener."""

    def on_event(self, listener, /):
        self.inner.on_event(listener)
        return lambda: None


class DropsEvents(Wrapper):
    """Emits nothing."""

    def emit(self, event, /):
        """Drop it."""


class TakesAllForSuccess(Wrapper):
    """Reports each end as a success."""

    def on_completion(self, observer, /):
        success = types.SimpleNamespace(outcome=Outcome.SUCCESS)
        return self.inner.on_completion(lambda endpoint, completion: observer(endpoint, success))


class TriesOneAgain(Wrapper):
    """Forgets what a request has tried."""

    def attempts(self, limit, key=None, /, **options):
        for _ in range(limit):
            yield self.inner.acquire(key, exclude=("b", "c"))


FOUND = {
    CallsUnderALock: "a callback of on_completion ran, another thread waited for the balancer: call it under no lock",
    CallsTwice: "a callback of on_start was called 4 times instead of 2",
    CallsForGood: "a callback of on_event was called 3 times instead of 2: .* none after that",
    DropsEvents: "a callback of on_event was called 0 times instead of 2",
    TakesAllForSuccess: "received .* after a success and a failure",
    TriesOneAgain: r"attempts\(2\) tried \['a', 'a'\] of .*: expected 2 endpoints, each once",
}


@pytest.mark.parametrize("wrong", FOUND, ids=lambda wrong: wrong.__name__)
def test_a_balancer_with_wrong_callbacks_is_found(wrong, monkeypatch):
    """The error names the callback and its calls, or the attempts."""
    monkeypatch.setattr("balancekit.testing._check_callbacks.MAX_WAIT_S", 0.5)
    with pytest.raises(AssertionError, match=FOUND[wrong]):
        check_balancer(lambda e, c, r: wrong(e, clock=c, rng=r, allow_empty=True), examples=1)


def test_a_wrapper_that_passes_all_on_is_right():
    """A wrapper without a mistake is not blamed for being one."""
    made = check_balancer(
        lambda e, c, r: Wrapper(e, clock=c, rng=r, allow_empty=True), situations=["healthy"], examples=5
    )
    assert made["healthy"]


STRICT = {
    "max fails": MaxFails(max_fails=1),
    "one failure": Lifecycle(failures=ConsecutiveFailures(1)),
    "one failure ejects even the last": Lifecycle(
        failures=ConsecutiveFailures(1), ejection=Ejection(keep_last=False, max_share=1.0)
    ),
}


@pytest.mark.parametrize("health", STRICT.values(), ids=STRICT)
def test_a_balancer_that_ejects_for_one_failure_is_right(health):
    """Failures of one check eject no endpoint that the next one needs."""
    check_callbacks(lambda e, c, r: LoadBalancer(e, clock=c, rng=r, health=health))


class Pause:
    """A policy that keeps an endpoint out for five seconds after three failures in a row: nothing wrong here."""

    def __init__(self, endpoint, may_eject, rng):
        self.endpoint, self.may_eject, self.deadline, self.failures = endpoint, may_eject, None, 0

    @property
    def eligible(self):
        """Whether it is not paused."""
        return self.deadline is None

    @property
    def state(self):
        """The same as a word."""
        return "healthy" if self.eligible else "paused"

    @property
    def watching(self):
        """Whether a success would end a run of failures."""
        return self.failures > 0

    def counts(self, outcome):
        """Return whether an outcome is a failure; ``None`` for one that says nothing."""
        return True if outcome in FAILURES else False if outcome is Outcome.SUCCESS else None

    def observe(self, completion, *, now):
        """Count failures in a row."""
        failed = self.counts(completion.outcome)
        if self.eligible and failed is not None:
            self.failures = self.failures + 1 if failed else 0
        if self.failures < 3 or not self.eligible or not self.allowed():
            return []
        self.failures, self.deadline = 0, now + self.pause()
        return [
            Ejected(endpoint=self.endpoint, at=self.at(now), until=self.deadline, streak=1, cause="failures")
        ]

    def allowed(self):
        """Return whether the pool allows it."""
        return self.may_eject(Ejection())

    def pause(self):
        """Return its length."""
        return 5.0

    def at(self, now):
        """Return the time of an event."""
        return now

    def advance(self, *, now):
        """End the pause."""
        if self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        return [Restored(endpoint=self.endpoint, at=now)]


class BlamesCancelled(Pause):
    """Takes requests that callers cancelled for failures."""

    def counts(self, outcome):
        """Return whether it is no success."""
        return outcome is not Outcome.SUCCESS


class Doubles(Pause):
    """Doubles the pause without a limit."""

    length = 5.0

    def pause(self):
        """Return twice the last one."""
        self.length *= 2.0
        return self.length


class Insists(Pause):
    """Ejects without leave after ten failures in a row."""

    def allowed(self):
        """Return whether the pool allows it, or it has failed often."""
        return self.failures >= 10 or super().allowed()


class KeepsCompletions(Pause):
    """Keeps every request."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kept = []

    def observe(self, completion, *, now):
        """Keep it."""
        self.kept.append(completion)
        return super().observe(completion, now=now)


class StaysSlow(Pause):
    """Has half of its share for good."""

    trial = 0
    ramp = 1.0

    def pause(self):
        """Halve the share."""
        self.ramp = 0.5
        return 5.0


class AtZero(Pause):
    """Gives events another time."""

    def at(self, now):
        """Return none."""
        return 0.0


class Unsure(Pause):
    """Takes checks, and does not say whether they disagree."""

    changing = None

    def checked(self, result, *, now):
        """Ignore it."""
        return []


class NeedsLatency(Pause):
    """Reads latencies without stating that it is timed."""

    def observe(self, completion, *, now):
        """Round the latency."""
        self.milliseconds = int(completion.latency * 1e3)
        return super().observe(completion, now=now)


UNJUST = {
    BlamesCancelled: "law 10, good requests do not eject: 'paused'",
    Doubles: "law 11, it comes back each time: .* after ejection 24",
    Insists: "law 5, ejects only if allowed",
    KeepsCompletions: "law 12, memory does not grow with requests",
    StaysSlow: "law 11, it gets its full share again: 'healthy', ramp 0.5",
    AtZero: r"law 3, returns events: .* at=0.0.* at \d",
    Unsure: "law 2, properties have their types: changing None",
    NeedsLatency: "law 3, observe.* raises nothing: ValueError",
}


@pytest.mark.parametrize("wrong", UNJUST, ids=lambda wrong: wrong.__name__)
def test_an_unjust_health_policy_is_found(wrong):
    """The error names the law and the state."""
    with pytest.raises(LawBroken, match=UNJUST[wrong]):
        check_health(wrong)


@pytest.mark.parametrize("seed", range(5))
def test_a_just_health_policy_breaks_no_law(seed):
    """A pause that ends, after failures only, is right with any seed."""
    check_health(Pause, seed=seed, steps=200)
