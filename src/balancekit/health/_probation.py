"""Probation: a few requests decide whether an ejected endpoint has recovered (half-open).

When the ejection of an endpoint ends, the endpoint is on trial. It gets at most ``concurrency`` requests at a time,
whatever the selector picks (``engine/slow_start.py`` sends the others elsewhere). ``successes`` of them in a row
restore the endpoint. One failure ends the trial.

A request that does not end, such as a stream, must not block the trial forever. So after ``patience`` seconds without a
result, one more request may be sent. Each further one may be sent after twice the time of the one before.

Source: the half-open state of circuit breakers (Nygard, *Release It!*, 2007); Linkerd admits one request.
"""

from __future__ import annotations

import enum
import math
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.health._table import Table, following, frozen

__all__ = ["PROBATION", "Probation", "Trial", "TrialMachine", "TrialTrigger"]


class Trial(enum.StrEnum):
    """The state of a trial."""

    CLOSED = "closed"
    """There was no trial yet."""
    OPEN = "open"
    """A trial is in progress."""
    PASSED = "passed"
    """The last trial has ended with enough successes."""
    FAILED = "failed"
    """The last trial has ended with a failure."""


class TrialTrigger(enum.StrEnum):
    """The triggers of the table of trials."""

    BEGIN = "begin"
    """A trial begins."""
    SUCCEEDED = "succeeded"
    """A request of the trial has succeeded."""
    FAILED = "failed"
    """A request of the trial has failed."""
    ENOUGH = "enough"
    """The number of successes has reached ``successes``."""


PROBATION: Final[Table[Trial, TrialTrigger]] = frozen(
    {
        (Trial.CLOSED, TrialTrigger.BEGIN): Trial.OPEN,
        (Trial.PASSED, TrialTrigger.BEGIN): Trial.OPEN,
        (Trial.FAILED, TrialTrigger.BEGIN): Trial.OPEN,
        (Trial.OPEN, TrialTrigger.FAILED): Trial.FAILED,
        (Trial.OPEN, TrialTrigger.ENOUGH): Trial.PASSED,
    },
)


class Probation(Policy):
    """The trial of an endpoint after its ejection: a number of successful requests in a row restores it.

    Parameters
    ----------
    successes
        The number of successes in a row, >= 1.
    concurrency
        The number of concurrent requests on the endpoint, >= 1. Requests that are open when the trial begins do not
        count.
    patience
        Seconds without a result, > 0, after which one more concurrent request is allowed. The next is allowed after
        twice this time, and so on: an endpoint that never answers gets ``n`` requests in ``(2 ** (n - 1) - 1) *
        patience`` seconds. The default is longer than most timeouts, so that requests to an endpoint that hangs time
        out one by one. With infinity, no further requests are allowed.

    Raises
    ------
    ConfigurationError
        If ``successes`` or ``concurrency`` is not a whole number >= 1, or ``patience`` is not above 0.

    *When not to use it:* with many ``successes`` and few requests, because the trial then takes long.

    Cost: O(1) per result.

    Example
    -------
    >>> from balancekit.health import Probation
    >>> trial = Probation(successes=2)()
    >>> trial.begin(now=0.0)
    >>> trial.succeeded(started_at=0.1), trial.succeeded(started_at=0.2)
    (False, True)
    """

    successes: int = 1
    concurrency: int = 1
    patience: float = 10.0

    def _check(self) -> None:
        valid.integer("successes", self.successes, minimum=1)
        valid.integer("concurrency", self.concurrency, minimum=1)
        if self.patience != math.inf:
            valid.number("patience", self.patience, above=0.0)

    def __call__(self) -> TrialMachine:
        """Return the machine of one endpoint."""
        return TrialMachine(self)


@final
class TrialMachine(StateRepr):
    """The trial of one endpoint. Created by :class:`Probation`."""

    __slots__ = ("_config", "_count", "_since", "_wait", "deadline", "places", "state")

    def __init__(self, config: Probation) -> None:
        self._config = config
        self._count = 0
        self._since = 0.0
        self._wait = 0.0
        self.state: Trial = Trial.CLOSED
        """The present state."""
        self.places: int = 0
        """The number of concurrent requests on the endpoint during the trial."""
        self.deadline: float = math.inf
        """The time at which :meth:`advance` is due; infinity if it is not, minus infinity if it is due at once."""

    @checked_arguments
    def begin(self, *, now: float) -> None:
        """Begin a trial."""
        self._begin(since=float(now), deadline=now + self._config.patience)

    def begin_open(self) -> None:
        """Begin a trial in which every request counts, whenever it began."""
        self._begin(since=-math.inf, deadline=-math.inf)

    @checked_arguments
    def advance(self, *, now: float) -> None:
        """Allow one more concurrent request if there was no result for long enough."""
        if self.state is not Trial.OPEN or now < self.deadline:
            return
        if self.deadline > -math.inf:
            self._wait *= 2.0
            self.places += 1
        self.deadline = now + self._wait

    def _begin(self, *, since: float, deadline: float) -> None:
        self.state = following(PROBATION, self.state, TrialTrigger.BEGIN)
        self._count = 0
        self._since = since
        self._wait = self._config.patience
        self.places = self._config.concurrency
        self.deadline = deadline

    @checked_arguments
    def counts(self, started_at: float) -> bool:
        """Return whether the result of a request counts: whether it began during the trial.

        A balancer that measures no time passes NaN; then every request counts.
        """
        return self.state is Trial.OPEN and not started_at < self._since

    @checked_arguments
    def succeeded(self, *, started_at: float) -> bool:
        """Record a success. Return whether the trial has ended successfully."""
        if not self.counts(started_at):
            return False
        self.state = following(PROBATION, self.state, TrialTrigger.SUCCEEDED)
        self._count += 1
        if self._count >= self._config.successes:
            self.state = following(PROBATION, self.state, TrialTrigger.ENOUGH)
        return self.state is Trial.PASSED

    @checked_arguments
    def failed(self, *, started_at: float) -> bool:
        """Record a failure. Return whether it has ended the trial."""
        if not self.counts(started_at):
            return False
        self.state = following(PROBATION, self.state, TrialTrigger.FAILED)
        return True
