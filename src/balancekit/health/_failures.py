"""Ejection after consecutive failures: the simplest and fastest rule.

A *run* is a sequence of failures without a success. Failures of all classes are counted together, and also by class,
because some classes may have lower limits. A refused connection (``connect_failed``), for example, is a stronger sign
than a wrong answer. A success ends the run; a failure of another class does not.

Source: Envoy ``consecutive_5xx`` (default 5) and ``consecutive_local_origin_failure``. Counters by class are from Kong's
health check library (tcp 2, timeouts 3, http 5).
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
    """The state of a run of failures."""

    CLEAR = "clear"
    """There is no run."""
    FAILING = "failing"
    """There is a run below the limit."""
    TRIPPED = "tripped"
    """The run has reached a limit."""


class RunTrigger(enum.StrEnum):
    """The triggers of the table of failure runs."""

    SUCCEEDED = "succeeded"
    """A request has succeeded."""
    FAILED = "failed"
    """A request has failed."""
    LIMIT = "limit"
    """The run has reached a limit."""
    RESET = "reset"
    """The endpoint was ejected; the count is set to 0."""


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
    """Ejection after ``threshold`` failures without a success between them.

    Parameters
    ----------
    threshold
        The limit of failures of any class, >= 1.
    connect_failed, timeout, overloaded
        The limit of failures of this class, >= 1; ``None`` for no separate limit.

    Raises
    ------
    ConfigurationError
        If a limit is not a whole number >= 1.

    *When not to use it:* as the only rule against an endpoint that fails every other request, because it never fails
    twice in a row. :class:`SuccessRate` detects it, and the failure-aware load sends it fewer requests.

    Cost: O(1) per failure. A success costs nothing unless there is a run.

    Example
    -------
    >>> from balancekit import Outcome
    >>> from balancekit.health import ConsecutiveFailures
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
        """Return the limit of failures of a class; ``None`` if it has no separate limit."""
        limit: int | None = getattr(self, outcome.value, None)
        return limit

    def __call__(self) -> FailureRun:
        """Return the machine of one endpoint."""
        return FailureRun(self)


@final
class FailureRun(StateRepr):
    """The run of failures of one endpoint. Created by :class:`ConsecutiveFailures`."""

    __slots__ = ("_classes", "_config", "count", "since", "state")

    def __init__(self, config: ConsecutiveFailures) -> None:
        self._config = config
        self._classes: dict[Outcome, int] = {}
        self.state: Run = Run.CLEAR
        """The present state."""
        self.count: int = 0
        """The number of failures of any class since the last success."""
        self.since: float | None = None
        """The time of the first failure of the run; ``None`` without a run."""

    def failed(self, outcome: Outcome, *, now: float) -> bool:
        """Count a failure. Return whether the run has reached a limit. Outcomes that are no failures are ignored."""
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
        """End the run without a success."""
        self._clear(RunTrigger.RESET)

    def _clear(self, trigger: RunTrigger) -> None:
        self.state = following(FAILURE_RUN, self.state, trigger)
        self.count = 0
        self.since = None
        self._classes.clear()
