"""Ejection after consecutive failures: the simplest trigger, and the fastest.

A run is counted over all classes of failure and, for a class with a limit of its own, by class: a port on which
nothing listens (``connect_failed``) is a stronger sign than one wrong answer. A success ends every run; a failure
of another class does not.

Source: Envoy ``consecutive_5xx`` (default 5) and ``consecutive_local_origin_failure``; counters by class as
in Kong's health check library (tcp 2, timeouts 3, http 5).
"""

from __future__ import annotations

import enum
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy, field
from balancekit.health._table import Table, following, frozen
from balancekit.outcome import FAILURES, Outcome

__all__ = ["FAILURE_RUN", "ConsecutiveFailures", "FailureRun", "Run", "RunTrigger"]


class Run(enum.StrEnum):
    """How a run of failures stands."""

    CLEAR = "clear"
    """The last request succeeded."""
    FAILING = "failing"
    """The last requests failed."""
    TRIPPED = "tripped"
    """Too many in a row failed."""


class RunTrigger(enum.StrEnum):
    """What can happen to a run."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LIMIT = "limit"
    """The failure that just came was one too many."""
    RESET = "reset"
    """The endpoint was taken out, or came back: counting starts over."""


FAILURE_RUN: Final[Table[Run, RunTrigger]] = frozen(
    {
        (Run.CLEAR, RunTrigger.FAILED): Run.FAILING,
        (Run.FAILING, RunTrigger.SUCCEEDED): Run.CLEAR,
        (Run.FAILING, RunTrigger.LIMIT): Run.TRIPPED,
        (Run.FAILING, RunTrigger.RESET): Run.CLEAR,
        (Run.TRIPPED, RunTrigger.SUCCEEDED): Run.CLEAR,
        (Run.TRIPPED, RunTrigger.RESET): Run.CLEAR,
    },
)


class ConsecutiveFailures(Policy):
    """Trip after ``threshold`` failures without a success between them.

    Parameters
    ----------
    threshold
        How many of any class, >= 1.
    connect_failed, timeout, overloaded
        How many of this class, >= 1; ``None`` if it has no limit of its own.

    Raises
    ------
    ConfigurationError
        If a limit is not a whole number >= 1.

    *When not to use it:* alone, against an endpoint that fails every other request, because that one never fails
    twice in a row. :class:`SuccessRate` detects it, and the failure-aware load gives it less traffic.

    Example
    -------
    >>> run = ConsecutiveFailures(threshold=5, connect_failed=2)()
    >>> run.failed(Outcome.CONNECT_FAILED, now=0.0), run.failed(Outcome.CONNECT_FAILED, now=1.0)
    (False, True)
    """

    threshold: int = field(default=5, kw_only=False)
    connect_failed: int | None = None
    timeout: int | None = None
    overloaded: int | None = None

    def _check(self) -> None:
        valid.integer("threshold", self.threshold, minimum=1)
        for name in ("connect_failed", "timeout", "overloaded"):
            if getattr(self, name) is not None:
                valid.integer(name, getattr(self, name), minimum=1)

    def limit(self, outcome: Outcome) -> int | None:
        """Return how many failures of this class are too many, ``None`` if the class has no limit."""
        limit: int | None = getattr(self, outcome.value, None)
        return limit

    def __call__(self) -> FailureRun:
        """Make the counter of one endpoint."""
        return FailureRun(self)


@final
class FailureRun(StateRepr):
    """The run of failures of one endpoint. Made by :class:`ConsecutiveFailures`."""

    __slots__ = ("_classes", "_config", "count", "since", "state")

    def __init__(self, config: ConsecutiveFailures) -> None:
        self._config = config
        self._classes: dict[Outcome, int] = {}
        self.state: Run = Run.CLEAR
        """How the run stands."""
        self.count: int = 0
        """Failures of any class since the last success."""
        self.since: float | None = None
        """When the run began; ``None`` if there is none."""

    def failed(self, outcome: Outcome, *, now: float) -> bool:
        """Count a failure; return whether the run is too long now."""
        if outcome not in FAILURES:
            return False
        self.state = following(FAILURE_RUN, self.state, RunTrigger.FAILED)
        self.count += 1
        self.since = now if self.since is None else self.since
        self._classes[outcome] = seen = self._classes.get(outcome, 0) + 1
        own = self._config.limit(outcome)
        if self.count >= self._config.threshold or (own is not None and seen >= own):
            self.state = following(FAILURE_RUN, self.state, RunTrigger.LIMIT)
        return self.state is Run.TRIPPED

    def succeeded(self) -> None:
        """End the run."""
        self._clear(RunTrigger.SUCCEEDED)

    def reset(self) -> None:
        """Start over, whatever the reason."""
        self._clear(RunTrigger.RESET)

    def _clear(self, trigger: RunTrigger) -> None:
        self.state = following(FAILURE_RUN, self.state, trigger)
        self.count = 0
        self.since = None
        self._classes.clear()
