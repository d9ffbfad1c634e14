"""Probation: a few requests decide whether an ejected endpoint has recovered (half-open).

An endpoint whose time out is over is not simply back. It is on trial: at most ``concurrency`` requests at a
time are sent to it, whatever the selector would like (``selectors/_slow_start.py`` turns the others away), and
``successes`` of them in a row restore it. One failure ends the trial.

Source: the half-open state of circuit breakers (Nygard, *Release It!*, 2007); Linkerd admits one request.
"""

from __future__ import annotations

import enum
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.health._table import Table, following, frozen

__all__ = ["PROBATION", "Probation", "Trial", "TrialMachine", "TrialTrigger"]


class Trial(enum.StrEnum):
    """How a trial stands."""

    CLOSED = "closed"
    """There is none."""
    OPEN = "open"
    """Requests are finding out."""
    PASSED = "passed"
    FAILED = "failed"


class TrialTrigger(enum.StrEnum):
    """What can happen to a trial."""

    BEGIN = "begin"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENOUGH = "enough"
    """The success that just came was the last one needed."""


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
    """Restore an endpoint after some requests in a row have succeeded.

    Parameters
    ----------
    successes
        How many, >= 1.
    concurrency
        How many requests at a time may be on the endpoint, >= 1, beside those that are open when the trial begins.

    Raises
    ------
    ConfigurationError
        If a parameter is not a whole number >= 1.

    *When not to use it:* with many successes where requests are rare: the trial takes as long as they do.

    Example
    -------
    >>> trial = Probation(successes=2)()
    >>> trial.begin(now=0.0)
    >>> trial.succeeded(started_at=0.1), trial.succeeded(started_at=0.2)
    (False, True)
    """

    successes: int = 1
    concurrency: int = 1

    def _check(self) -> None:
        valid.integer("successes", self.successes, minimum=1)
        valid.integer("concurrency", self.concurrency, minimum=1)

    def __call__(self) -> TrialMachine:
        """Make the machine of one endpoint."""
        return TrialMachine(self)


@final
class TrialMachine(StateRepr):
    """The trial of one endpoint. Made by :class:`Probation`."""

    __slots__ = ("_config", "_count", "_since", "state")

    def __init__(self, config: Probation) -> None:
        self._config = config
        self._count = 0
        self._since = 0.0
        self.state: Trial = Trial.CLOSED
        """How the trial stands."""

    @checked_arguments
    def begin(self, *, now: float) -> None:
        """Begin a trial."""
        since = float(now)
        self.state = following(PROBATION, self.state, TrialTrigger.BEGIN)
        self._count = 0
        self._since = since

    @checked_arguments
    def counts(self, started_at: float) -> bool:
        """Return whether a request belongs to the trial; one from before it proves nothing either way.

        A balancer that measures no time says NaN, and every request counts.
        """
        return self.state is Trial.OPEN and not started_at < self._since

    @checked_arguments
    def succeeded(self, *, started_at: float) -> bool:
        """Record a success; return whether it was the last one needed."""
        if not self.counts(started_at):
            return False
        self.state = following(PROBATION, self.state, TrialTrigger.SUCCEEDED)
        self._count += 1
        if self._count >= self._config.successes:
            self.state = following(PROBATION, self.state, TrialTrigger.ENOUGH)
        return self.state is Trial.PASSED

    @checked_arguments
    def failed(self, *, started_at: float) -> bool:
        """Record a failure; return whether it ended the trial."""
        if not self.counts(started_at):
            return False
        self.state = following(PROBATION, self.state, TrialTrigger.FAILED)
        return True
