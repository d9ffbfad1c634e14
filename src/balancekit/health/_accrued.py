"""Accrued failures: an endpoint that fails repeatedly goes down, even if it never fails many times in a row.

.. code-block:: text

    first check    decides alone
    up             a failure counts, passes between failures do not take it back; `reset` passes in a row do
                   `fall` failures counted: down
    down           `rise` passes in a row: up

Consecutive checks (:class:`Thresholds`) never detect an endpoint that fails every other check. Here it is
down after ``fall`` failures, unless ``reset`` passes come between two of them.

The machine knows how many checks it needs at least to change its state, so an answer that depends on it can be
cached for that many intervals.

Source: gdnsd 3.8.1, ``down_thresh`` (10), ``ok_thresh`` (10) and ``up_thresh`` (20).
"""

from __future__ import annotations

import enum
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.health._table import Table, following, frozen
from balancekit.health._threshold import CheckState

__all__ = ["ACCRUED_FAILURES", "AccruedFailures", "AccruedFailuresMachine", "AccruedTrigger"]


class AccruedTrigger(enum.StrEnum):
    """What can happen to a count of failures."""

    PASSED = "passed"
    FAILED = "failed"
    RESET = "reset"
    """The pass that just came was the last one needed to forget the failures."""
    RISE = "rise"
    """The pass that just came was the last one needed."""
    FALL = "fall"
    """The failure that just came was one too many."""


ACCRUED_FAILURES: Final[Table[CheckState, AccruedTrigger]] = frozen(
    {
        (CheckState.UNKNOWN, AccruedTrigger.PASSED): CheckState.UP,
        (CheckState.UNKNOWN, AccruedTrigger.FAILED): CheckState.DOWN,
        (CheckState.UP, AccruedTrigger.FAILED): CheckState.FALLING,
        (CheckState.FALLING, AccruedTrigger.RESET): CheckState.UP,
        (CheckState.FALLING, AccruedTrigger.FALL): CheckState.DOWN,
        (CheckState.DOWN, AccruedTrigger.PASSED): CheckState.RISING,
        (CheckState.RISING, AccruedTrigger.FAILED): CheckState.DOWN,
        (CheckState.RISING, AccruedTrigger.RISE): CheckState.UP,
    },
)

_UP: Final = frozenset({CheckState.UP, CheckState.FALLING})


class AccruedFailures(Policy):
    """Mark an endpoint down after ``fall`` failures without ``reset`` passes in a row between them.

    Parameters
    ----------
    fall
        Failures that make an endpoint down, >= 1.
    reset
        Passes in a row that set the count of failures to 0, >= 1.
    rise
        Passes in a row that make it up again, >= 1.

    Raises
    ------
    ConfigurationError
        If a parameter is not a whole number >= 1.

    *Guarantee.* An endpoint that fails one check in ``reset`` or more is down after at most
    ``fall * reset`` checks; one that fails more rarely stays up.

    *When not to use it:* where one failure in some hundred checks is normal and ``reset`` is large.

    Give it to ``Lifecycle(thresholds=...)`` in place of :class:`Thresholds`, or drive its machine yourself.

    Example
    -------
    >>> machine = AccruedFailures(fall=2, reset=3, rise=2)()
    >>> [machine.observe(passed=passed, now=0.0).value for passed in (True, False, True, False, True, True)]
    ['up', 'falling', 'falling', 'down', 'rising', 'up']
    """

    fall: int = 10
    reset: int = 10
    rise: int = 20

    def _check(self) -> None:
        for name in ("fall", "reset", "rise"):
            valid.integer(name, getattr(self, name), minimum=1)

    def __call__(self, state: CheckState = CheckState.UNKNOWN) -> AccruedFailuresMachine:
        """Make the machine of one endpoint, which begins up, down or unknown."""
        return AccruedFailuresMachine(self, state)


@final
class AccruedFailuresMachine(StateRepr):
    """What the checks say of one endpoint. Made by :class:`AccruedFailures`."""

    __slots__ = ("_config", "_failures", "_passes", "failing", "since", "state")

    def __init__(self, config: AccruedFailures, state: CheckState) -> None:
        self._config = config
        self._failures = 0
        self._passes = 0
        self.state: CheckState = state
        """What is known: up with failures counted is falling, down with passes is rising."""
        self.failing: bool = state in {CheckState.FALLING, CheckState.DOWN}
        """Whether the last check failed."""
        self.since: float | None = None
        """When :attr:`up` last changed."""

    @property
    def up(self) -> bool | None:
        """Whether the endpoint is up; ``None`` before the first check."""
        return None if self.state is CheckState.UNKNOWN else self.state in _UP

    @property
    def changing(self) -> bool:
        """Whether it is worth checking faster."""
        return self.state in {CheckState.FALLING, CheckState.RISING}

    @property
    def checks_left(self) -> int:
        """How many checks at least until the endpoint could be up, or down; 0 before the first."""
        if self.state is CheckState.UNKNOWN:
            return 0
        return self._config.fall - self._failures if self.state in _UP else self._config.rise - self._passes

    def observe(self, *, passed: bool, now: float) -> CheckState:
        """Record how a check ended; return the state."""
        before = self.state
        self.failing = not passed
        self._step(AccruedTrigger.PASSED if passed else AccruedTrigger.FAILED)
        if before is CheckState.UNKNOWN:
            self.since = now
            return self.state
        self._passes = self._passes + 1 if passed else 0
        if before in _UP:
            self._count_failures(passed=passed)
        elif self._passes >= self._config.rise:
            self._step(AccruedTrigger.RISE)
        if (self.state in _UP) is not (before in _UP):
            self._failures = self._passes = 0
            self.since = now
        return self.state

    def _count_failures(self, *, passed: bool) -> None:
        self._failures += not passed
        if self._failures >= self._config.fall:
            self._step(AccruedTrigger.FALL)
        elif self._passes >= self._config.reset:
            self._failures = 0
            self._step(AccruedTrigger.RESET)

    def _step(self, trigger: AccruedTrigger) -> None:
        self.state = following(ACCRUED_FAILURES, self.state, trigger)
