"""Probation: a few requests decide whether an ejected endpoint has recovered (half-open).

An endpoint whose time out is over is not simply back. It is on trial: at most ``concurrency`` requests at a
time are sent to it, whatever the selector would like (``engine/slow_start.py`` turns the others away), and
``successes`` of them in a row restore it. One failure ends the trial.

A request that does not end, such as a stream, does not hold the trial up for ever: after ``patience`` seconds
without a result one more may be sent, and another each time that twice the time has passed.

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
    patience
        Seconds, > 0, after which one more request may be on the endpoint if the trial has not ended. The next may
        follow after twice as long, and so on: of an endpoint that answers nothing, ``n`` requests are sent in
        ``(2 ** (n - 1) - 1) * patience`` seconds. Longer than most time-outs, so that an endpoint that hangs gets one
        request for each. Infinity sends no more.

    Raises
    ------
    ConfigurationError
        If ``successes`` or ``concurrency`` is not a whole number >= 1, or ``patience`` is not above 0.

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
    patience: float = 10.0

    def _check(self) -> None:
        valid.integer("successes", self.successes, minimum=1)
        valid.integer("concurrency", self.concurrency, minimum=1)
        if self.patience != math.inf:
            valid.number("patience", self.patience, above=0.0)

    def __call__(self) -> TrialMachine:
        """Make the machine of one endpoint."""
        return TrialMachine(self)


@final
class TrialMachine(StateRepr):
    """The trial of one endpoint. Made by :class:`Probation`."""

    __slots__ = ("_config", "_count", "_since", "_wait", "deadline", "places", "state")

    def __init__(self, config: Probation) -> None:
        self._config = config
        self._count = 0
        self._since = 0.0
        self._wait = config.patience
        self.state: Trial = Trial.CLOSED
        """How the trial stands."""
        self.places: int = config.concurrency
        """How many requests at a time may be on the endpoint while the trial is open."""
        self.deadline: float = math.inf
        """When :meth:`advance` is due, infinity if it never is, negative infinity before a first call."""

    @checked_arguments
    def begin(self, *, now: float) -> None:
        """Begin a trial."""
        self._begin(since=float(now), deadline=now + self._config.patience)

    def begin_open(self) -> None:
        """Begin a trial that every request belongs to, whenever it began."""
        self._begin(since=-math.inf, deadline=-math.inf)

    @checked_arguments
    def advance(self, *, now: float) -> None:
        """Let time pass: after a wait without a result one more request may be on the endpoint."""
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
