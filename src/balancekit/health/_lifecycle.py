"""May this endpoint be picked? One machine per endpoint joins triggers, ejection times and the table.

Sans-IO: it is told how requests ended and what time it is, and says when it wants to be asked again. A
healthy endpoint costs nothing: while nothing is known against it, successes are not even reported.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import final

from balancekit._record import Record
from balancekit.events import Ejected, EjectionRefused, Event, Probing, Restored
from balancekit.health._ejection import Ejection
from balancekit.health._failures import ConsecutiveFailures
from balancekit.health._states import ELIGIBLE, Health, Trigger, after
from balancekit.outcome import FAILURES, Completion, Outcome

__all__ = ["Lifecycle", "LifecycleMachine"]


class Lifecycle(Record):
    """Health policy: eject after consecutive failures, with back-off; probe; restore.

    Parameters
    ----------
    failures
        When to take an endpoint out.
    ejection
        For how long, and how many at most.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> lb = LoadBalancer(["a", "b"], health=Lifecycle(ejection=Ejection(base=30.0, maximum=300.0)))
    """

    failures: ConsecutiveFailures = ConsecutiveFailures()
    ejection: Ejection = Ejection()

    def __call__(
        self,
        endpoint: str,
        may_eject: Callable[[Ejection], bool],
        rng: random.Random,
    ) -> LifecycleMachine:
        """Make the machine of one endpoint.

        Parameters
        ----------
        endpoint
            Its id.
        may_eject
            Answers whether the pool can spare one more endpoint.
        rng
            For jitter.
        """
        return LifecycleMachine(self, endpoint, may_eject, rng)


@final
class LifecycleMachine:
    """The health of one endpoint. Made by :class:`Lifecycle`."""

    __slots__ = (
        "_config",
        "_endpoint",
        "_may_eject",
        "_refused",
        "_rng",
        "_run",
        "_streak",
        "_until",
        "health",
    )

    def __init__(
        self,
        config: Lifecycle,
        endpoint: str,
        may_eject: Callable[[Ejection], bool],
        rng: random.Random,
    ) -> None:
        self.health: Health = Health.HEALTHY
        """The present state."""
        self._config = config
        self._endpoint = endpoint
        self._may_eject = may_eject
        self._rng = rng
        self._run = 0
        self._streak = 0
        self._until: float | None = None
        self._refused = False

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
        """Whether a success would change anything."""
        return self.health is not Health.HEALTHY

    @property
    def deadline(self) -> float | None:
        """When the ejection ends; ``None`` if there is none."""
        return self._until

    def observe(self, completion: Completion, /, *, now: float) -> list[Event]:
        """Hear how a request ended."""
        if completion.outcome in FAILURES:
            return self._failed(now)
        if completion.outcome is Outcome.SUCCESS:
            return self._succeeded(now)
        return []

    def advance(self, *, now: float) -> list[Event]:
        """Put the endpoint on trial once its time out is over."""
        if self._until is None or now < self._until:
            return []
        self._until = None
        self.health = after(self.health, Trigger.EXPIRE)
        return [Probing(endpoint=self._endpoint, at=now)]

    def _succeeded(self, now: float) -> list[Event]:
        was = self.health
        self.health = after(was, Trigger.SUCCEEDED)
        if self.health is not Health.HEALTHY:
            return []  # a straggler from before the ejection proves nothing
        self._run = 0
        self._refused = False
        if was is Health.PROBING:
            self._streak = 0
            return [Restored(endpoint=self._endpoint, at=now)]
        return []

    def _failed(self, now: float) -> list[Event]:
        if not self.eligible:
            return []
        self._run += 1
        on_trial = self.health is Health.PROBING
        self.health = after(self.health, Trigger.FAILED)
        if not on_trial and not self._config.failures.tripped(self._run):
            return []
        cause = "failed on trial" if on_trial else f"{self._run} failures in a row"
        if not self._may_eject(self._config.ejection):
            return self._refuse(cause, now)
        self._streak += 1
        self._until = now + self._config.ejection.duration(self._streak, self._rng)
        self.health = after(self.health, Trigger.FALL)
        self._run = 0
        self._refused = False
        return [Ejected(endpoint=self._endpoint, at=now, until=self._until, streak=self._streak, cause=cause)]

    def _refuse(self, cause: str, now: float) -> list[Event]:
        if self._refused:
            return []
        self._refused = True
        return [EjectionRefused(endpoint=self._endpoint, at=now, cause=cause)]
