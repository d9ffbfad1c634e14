"""The health machine of one endpoint. Created by ``Lifecycle``.

It changes its state only by the table (:meth:`LifecycleMachine._step`). An endpoint may be out for three reasons, and
each has an end: failed requests (``_until``), failed checks (``_held``) and damping (``reuse_at``). The endpoint goes
on trial when the last of these times has passed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import NamedTuple, final

from balancekit._support.display import StateRepr
from balancekit.events import Degraded, Ejected, EjectionRefused, Event, Probing, Restored, Suppressed
from balancekit.health._accrued import AccruedFailures
from balancekit.health._damping import Damping, FlapDamping
from balancekit.health._ejection import LAST_STAYS, NONE_STAYS, Ejection
from balancekit.health._failures import ConsecutiveFailures
from balancekit.health._probation import Probation, Trial
from balancekit.health._states import ELIGIBLE, Health, Trigger, after
from balancekit.health._threshold import CheckState, Thresholds
from balancekit.health._warmup import WarmUp
from balancekit.outcome import FAILURES, CheckResult, Completion, Outcome

__all__ = ["LifecycleMachine"]

_OUT = frozenset({Health.EJECTED, Health.SUPPRESSED})
_WAS_UP = frozenset({Health.WARMING, Health.HEALTHY, Health.SUSPECT})


class Parts(NamedTuple):
    """The policies of one machine."""

    start: Health
    failures: ConsecutiveFailures
    thresholds: Thresholds | AccruedFailures
    ejection: Ejection
    damping: FlapDamping | None
    probation: Probation
    warm_up: WarmUp | None


@final
class LifecycleMachine(StateRepr, prints=("state", "deadline")):
    """The health of one endpoint. Created by ``Lifecycle``."""

    __slots__ = (
        "_checks",
        "_damper",
        "_degraded",
        "_ejection",
        "_endpoint",
        "_held",
        "_may_eject",
        "_refused",
        "_restored_at",
        "_rng",
        "_run",
        "_streak",
        "_trial",
        "_until",
        "_warm_up",
        "health",
    )

    def __init__(
        self,
        endpoint: str,
        parts: Parts,
        may_eject: Callable[[Ejection], bool],
        rng: random.Random,
    ) -> None:
        self.health: Health = parts.start
        """The present state."""
        self._endpoint = endpoint
        self._may_eject = may_eject
        self._rng = rng
        self._run = parts.failures()
        state = CheckState.UNKNOWN if parts.start is Health.UNKNOWN else CheckState.UP
        self._checks = parts.thresholds(state)
        self._damper = None if parts.damping is None else parts.damping()
        self._ejection = parts.ejection
        self._trial = parts.probation()
        self._warm_up = None if parts.warm_up is None else parts.warm_up()
        self._streak = 0
        self._restored_at = -math.inf
        self._until = -math.inf
        self._held = -math.inf
        self._refused = False
        self._degraded: tuple[str, ...] = ()
        if parts.start is Health.PROBING:
            self._trial.begin_open()

    # ------------------------------------------------------------------ reading

    @property
    def state(self) -> str:
        """The name of the present state."""
        return self.health.value

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked."""
        return self.health in ELIGIBLE

    @property
    def watching(self) -> bool:
        """Whether the machine must be notified of successes."""
        return self._run.count > 0 or self.health is Health.PROBING

    @property
    def changing(self) -> bool:
        """Whether the last checks disagree with the state, so that more frequent checks are useful."""
        return self._checks.changing

    @property
    def ramp(self) -> float:
        """The fraction of its usual share that the endpoint receives: 0 on trial, growing while it warms up, else 1."""
        if self.health is Health.PROBING:
            return 0.0
        if self.health is Health.WARMING and self._warm_up is not None:
            return self._warm_up.share
        return 1.0

    @property
    def trial(self) -> int:
        """The number of concurrent requests that the endpoint may have on trial; 0 if it is not on trial."""
        return self._trial.places if self.health is Health.PROBING else 0

    @property
    def deadline(self) -> float | None:
        """The time at which :meth:`advance` is due; ``None`` if it is not."""
        if self.health in _OUT:
            return self._out_until()
        if self.health is Health.PROBING:
            return None if self._trial.deadline == math.inf else self._trial.deadline
        if self.health is not Health.WARMING:
            return None
        due = None if self._warm_up is None else self._warm_up.deadline
        return -math.inf if due is None else due  # a new endpoint begins its warm-up at once

    # ------------------------------------------------------------------ input

    def observe(self, completion: Completion, /, *, now: float) -> list[Event]:
        """Record how a request ended."""
        self._repair_trial(now)
        if completion.outcome in FAILURES:
            return self._request_failed(completion, now)
        if completion.outcome is Outcome.SUCCESS:
            return self._request_succeeded(completion, now)
        return []

    def on_outlier(self, cause: str, /, *, now: float) -> list[Event]:
        """Eject the endpoint because a sweep has found it to be an outlier. Ignored while it is out or on trial."""
        if self.health not in _WAS_UP:
            return []
        return self._fall(cause, self._ejection, now)

    def checked(self, result: CheckResult, /, *, now: float) -> list[Event]:
        """Record how a check ended."""
        events = self._note_degraded(result, now)
        before = self._checks.state
        state = self._checks.observe(passed=result.passed, now=now)
        if not result.passed:
            return events + self._check_failed(result, state, before, now)
        held = self._held > -math.inf  # true after an interrupted call for an earlier check that has passed
        if state is CheckState.UP and (before is not CheckState.UP or held or self.health is Health.UNKNOWN):
            return events + self._check_up(now)
        return events

    def advance(self, *, now: float) -> list[Event]:
        """Update the state to ``now``: begin a trial after an ejection, extend a trial, or advance the warm-up."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return []
        if self.health is Health.PROBING:
            self._repair_trial(now)
            self._trial.advance(now=now)
            return []
        if self.health is Health.WARMING:
            return self._warm(now)
        return self._begin_trial(now)

    def uneject(self, *, now: float) -> list[Event]:
        """End a suppression early, because no other endpoint is eligible."""
        if self.health is not Health.SUPPRESSED or not self._ejection.keep_last:
            return []
        return self._begin_trial(now)

    # ------------------------------------------------------------------ requests

    def _request_failed(self, completion: Completion, now: float) -> list[Event]:
        if not self.eligible:
            return []
        if self.health is Health.PROBING:
            if not self._trial.failed(started_at=completion.started_at):
                return []
            events = self._fall("failed on trial", self._ejection, now)
            if self.health is Health.PROBING:  # the pool has no other endpoint: begin the next trial
                self._trial.begin(now=now)
            return events
        tripped = self._run.failed(completion.outcome, now=now)
        self._step(Trigger.FAILED)
        if not tripped:
            return []
        return self._fall(f"{self._run.count} failures in a row", self._ejection, now)

    def _request_succeeded(self, completion: Completion, now: float) -> list[Event]:
        if self.health is Health.PROBING:
            if self._trial.succeeded(started_at=completion.started_at):
                return self._rise(now)
            return []
        if self.eligible:  # a request that began before the ejection does not count
            self._run.succeeded()
            self._clear()
        return []

    # ------------------------------------------------------------------ checks

    def _check_failed(
        self, result: CheckResult, state: CheckState, before: CheckState, now: float
    ) -> list[Event]:
        cause = f"check failed: {result.detail}" if result.detail else "check failed"
        self._step(Trigger.FAILED)
        if state is not CheckState.DOWN:
            return []
        if self.health not in _OUT:
            leave = LAST_STAYS if self._ejection.keep_last else NONE_STAYS
            return self._fall(cause, leave, now, checks_for=result.holds_for)
        self._held = now + result.holds_for
        fell = before in {CheckState.UP, CheckState.FALLING}
        if fell and self.health is Health.SUPPRESSED and self._damper is not None:
            self._damper.flap(now=now)  # the endpoint was up and fell again while it was suppressed
        return []

    def _check_up(self, now: float) -> list[Event]:
        held, self._held = self._held, -math.inf
        if self.health is Health.EJECTED and held > -math.inf:
            return self._rise(now) if self._until == -math.inf else self._when_due(now)
        if self.health is Health.SUPPRESSED:
            return self._when_due(now)
        if self.health is Health.UNKNOWN or (self.health is Health.PROBING and self._until == -math.inf):
            return self._rise(now)
        self._clear()
        return []

    def _note_degraded(self, result: CheckResult, now: float) -> list[Event]:
        if result.degraded == self._degraded:
            return []
        self._degraded = result.degraded
        return [Degraded(endpoint=self._endpoint, at=now, dependencies=result.degraded)]

    # ------------------------------------------------------------------ moving

    def _fall(self, cause: str, leave: Ejection, now: float, *, checks_for: float = 0.0) -> list[Event]:
        """Eject the endpoint if the pool allows it: until checks pass, or for a time."""
        if self.eligible and not self._may_eject(leave):
            if self._refused:
                return []
            self._refused = True
            return [EjectionRefused(endpoint=self._endpoint, at=now, cause=cause)]
        flapped = self.health in _WAS_UP
        if checks_for:
            self._held = now + checks_for
        else:
            ejection = self._ejection
            if flapped:
                self._streak = ejection.remaining(self._streak, calm_for=now - self._restored_at)
            self._streak += 1
            self._until = now + ejection.duration(self._streak, self._rng)
        if self._warm_up is not None:
            self._warm_up.stop()
        self._step(Trigger.FALL)
        self._run.reset()
        self._refused = False
        streak = max(1, self._streak)
        out = Ejected(endpoint=self._endpoint, at=now, until=self._out_until(), streak=streak, cause=cause)
        return [out, *self._damp(now)] if flapped else [out]

    def _damp(self, now: float) -> list[Event]:
        if self._damper is None or not self._damper.flap(now=now):
            return []
        self._step(Trigger.SUPPRESS)
        penalty = self._damper.penalty(now=now)
        return [Suppressed(endpoint=self._endpoint, at=now, until=self._out_until(), penalty=penalty)]

    def _out_until(self) -> float:
        until = max(self._until, self._held)
        if self._damper is not None and self._damper.state is Damping.SUPPRESSED:
            until = max(until, self._damper.reuse_at)
        return until

    def _repair_trial(self, now: float) -> None:
        """Begin the trial again if an interrupt has separated the state of the trial from that of the machine."""
        if self.health is Health.PROBING and self._trial.state is not Trial.OPEN:
            self._trial.begin(now=now)

    def _when_due(self, now: float) -> list[Event]:
        return self._begin_trial(now) if now >= self._out_until() else []

    def _begin_trial(self, now: float) -> list[Event]:
        """Put the endpoint on trial."""
        self._held = -math.inf
        if self._damper is not None:
            self._damper.release(now=now)
        self._step(Trigger.REUSE if self.health is Health.SUPPRESSED else Trigger.EXPIRE)
        self._trial.begin(now=now)
        return [Probing(endpoint=self._endpoint, at=now)]

    def _rise(self, now: float) -> list[Event]:
        """Restore the endpoint after a successful trial, or after enough passed checks."""
        self._restored_at = now
        self._until = -math.inf
        self._refused = False
        self._step(Trigger.RISE)
        return [Restored(endpoint=self._endpoint, at=now), *self._warm(now)]

    def _warm(self, now: float) -> list[Event]:
        if self._warm_up is None:
            self._step(Trigger.WARMED)
        elif self._warm_up.deadline is None:
            self._warm_up.begin(now=now)
        elif self._warm_up.advance(now=now):
            self._step(Trigger.WARMED)
        return []

    def _clear(self) -> None:
        """Set the state to healthy, if there is neither a run of failures nor a failing check."""
        if self._run.count or self._checks.failing or self._checks.changing:
            return
        self._refused = False
        self._step(Trigger.SUCCEEDED)

    def _step(self, trigger: Trigger) -> None:
        self.health = after(self.health, trigger)
