"""The passive checks of nginx: after ``max_fails`` failures, an endpoint is ejected for ``fail_timeout`` seconds.

The next request after this time is the probe. The two options are easily misunderstood. ``fail_timeout`` is *not* a
sliding window. The count of failures only grows, until a success after ``fail_timeout`` seconds without a failure sets
it to 0. The same number is the duration of an ejection.

Source: nginx 1.22, ``ngx_http_upstream_round_robin.c``; nginx issue 599.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.events import Ejected, EjectionRefused, Event, Probing, Restored
from balancekit.health._ejection import LAST_STAYS, Ejection
from balancekit.health._table import Table, following, frozen
from balancekit.outcome import FAILURES, Completion, Outcome

__all__ = ["MAX_FAILS", "FailTrigger", "Fails", "MaxFails", "MaxFailsMachine"]


class Fails(enum.StrEnum):
    """The state of an endpoint by the counts of nginx."""

    HEALTHY = "healthy"
    """No failure is counted."""
    SUSPECT = "suspect"
    """Fewer than ``max_fails`` failures are counted; a success does not yet set the count to 0."""
    EJECTED = "ejected"
    """``max_fails`` failures are counted, and ``fail_timeout`` has not passed since the last one."""
    PROBING = "probing"
    """``fail_timeout`` has passed since the last failure; a success sets the count to 0."""


class FailTrigger(enum.StrEnum):
    """The triggers of the table of nginx's counts."""

    SUCCEEDED = "succeeded"
    """A request has succeeded."""
    FAILED = "failed"
    """A request has failed."""
    LIMIT = "limit"
    """The count has reached ``max_fails``, and the pool allows the ejection."""
    QUIET = "quiet"
    """``fail_timeout`` has passed since the last failure."""


MAX_FAILS: Final[Table[Fails, FailTrigger]] = frozen(
    {
        (Fails.HEALTHY, FailTrigger.FAILED): Fails.SUSPECT,
        (Fails.SUSPECT, FailTrigger.LIMIT): Fails.EJECTED,
        (Fails.SUSPECT, FailTrigger.QUIET): Fails.PROBING,
        (Fails.EJECTED, FailTrigger.QUIET): Fails.PROBING,
        (Fails.PROBING, FailTrigger.SUCCEEDED): Fails.HEALTHY,
        (Fails.PROBING, FailTrigger.FAILED): Fails.SUSPECT,
    },
)


class MaxFails(Policy):
    """Health policy with the passive checks of nginx.

    Parameters
    ----------
    max_fails
        The number of failures after which an endpoint is ejected, >= 1. (To turn health off, use ``health=None``.)
    fail_timeout
        The duration of an ejection in seconds, > 0. A success sets the count to 0 only if the last failure was at least
        this long ago.

    Raises
    ------
    ConfigurationError
        If ``max_fails`` is not a whole number >= 1, or ``fail_timeout`` is not > 0.

    *Difference from nginx:* the last eligible endpoint is never ejected. nginx answers 502 if all are ejected.

    *When to use it:* to replace nginx without a change of behaviour.

    *When not to use it:* in all other cases, because one failure in ten seconds is no sufficient reason for an
    ejection. Use :class:`Lifecycle`.

    Cost: O(1) per failure.

    Example
    -------
    >>> from balancekit import LoadBalancer, Outcome
    >>> from balancekit.health import MaxFails
    >>> lb = LoadBalancer(["a", "b"], health=MaxFails(max_fails=1, fail_timeout=10.0))
    >>> lb.acquire(exclude=["b"]).release(Outcome.FAILURE)
    True
    >>> lb.stats()["a"].state
    'ejected'
    """

    max_fails: int = 1
    fail_timeout: float = 10.0

    def _check(self) -> None:
        valid.integer("max_fails", self.max_fails, minimum=1)
        valid.seconds("fail_timeout", self.fail_timeout, above=0.0)

    def __call__(
        self,
        endpoint: str,
        may_eject: Callable[[Ejection], bool],
        rng: random.Random,
    ) -> MaxFailsMachine:
        """Return the machine of one endpoint. It uses no random numbers."""
        return MaxFailsMachine(self, endpoint, may_eject)


@final
class MaxFailsMachine(StateRepr, prints=("state", "deadline")):
    """The health of one endpoint. Created by :class:`MaxFails`."""

    __slots__ = ("_checked", "_config", "_endpoint", "_fails", "_may_eject", "health")

    def __init__(self, config: MaxFails, endpoint: str, may_eject: Callable[[Ejection], bool]) -> None:
        self._config = config
        self._endpoint = endpoint
        self._may_eject = may_eject
        self._fails = 0
        self._checked = math.inf
        self.health: Fails = Fails.HEALTHY
        """The present state."""

    @property
    def state(self) -> str:
        """The name of the present state."""
        return self.health.value

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked."""
        return self.health is not Fails.EJECTED

    @property
    def watching(self) -> bool:
        """Whether the machine must be notified of successes."""
        return self.health is Fails.PROBING

    @property
    def deadline(self) -> float | None:
        """The time at which the last failure is ``fail_timeout`` ago; ``None`` if that is past or none is counted."""
        if self.health in {Fails.SUSPECT, Fails.EJECTED}:
            return self._checked + self._config.fail_timeout
        return None

    def observe(self, completion: Completion, /, *, now: float) -> list[Event]:
        """Record how a request ended."""
        if completion.outcome in FAILURES:
            return self._failed(now)
        if completion.outcome is Outcome.SUCCESS and self.health is Fails.PROBING:
            was_out = self._fails >= self._config.max_fails
            self._step(FailTrigger.SUCCEEDED)
            self._fails = 0
            return [Restored(endpoint=self._endpoint, at=now)] if was_out else []
        return []

    def advance(self, *, now: float) -> list[Event]:
        """Update the state to the time ``now``."""
        if self.deadline is None or now < self.deadline:
            return []
        was_out = self.health is Fails.EJECTED
        self._step(FailTrigger.QUIET)
        return [Probing(endpoint=self._endpoint, at=now)] if was_out else []

    def _failed(self, now: float) -> list[Event]:
        was = self.health
        self._step(FailTrigger.FAILED)
        self._fails += 1
        self._checked = now
        if self._fails < self._config.max_fails or was is Fails.EJECTED:
            return []
        cause = f"{self._fails} failures"
        if not self._may_eject(LAST_STAYS):
            return [EjectionRefused(endpoint=self._endpoint, at=now, cause=cause)]
        self._step(FailTrigger.LIMIT)
        until = now + self._config.fail_timeout
        return [Ejected(endpoint=self._endpoint, at=now, until=until, streak=1, cause=cause)]

    def _step(self, trigger: FailTrigger) -> None:
        self.health = following(MAX_FAILS, self.health, trigger)
