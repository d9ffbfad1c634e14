"""Accrued failures: an endpoint that often fails a check is down, even if the failures are not consecutive.

.. code-block:: text

    first check    decides alone
    up             a failure increments the count; a pass does not decrement it; `reset` passes in a row set it to 0
                   the count reaches `fall`: down
    down           `rise` passes in a row: up

Consecutive checks (:class:`Thresholds`) never detect an endpoint that fails every other check. Here the endpoint is
down after ``fall`` failures, unless there are ``reset`` passes in a row between two of them.

The machine reports the least number of checks until its state can change. So a result that depends on the state, such
as a DNS answer, can be cached for that many check intervals.

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
    """The triggers of the table of accrued failures."""

    PASSED = "passed"
    """A check has passed."""
    FAILED = "failed"
    """A check has failed."""
    RESET = "reset"
    """The number of passes in a row has reached ``reset``."""
    RISE = "rise"
    """The number of passes in a row has reached ``rise``."""
    FALL = "fall"
    """The number of failures has reached ``fall``."""


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
    """Thresholds of checks: down after ``fall`` failures without ``reset`` passes in a row between them.

    Parameters
    ----------
    fall
        Failures until an endpoint is down, >= 1.
    reset
        Passes in a row that set the count of failures to 0, >= 1.
    rise
        Passes in a row until it is up again, >= 1.

    Raises
    ------
    ConfigurationError
        If a parameter is not a whole number >= 1.

    *Guarantee.* An endpoint that fails at least one of every ``reset`` checks is down after at most ``fall * reset``
    checks. An endpoint with at least ``reset`` passes between any two failures stays up (if ``fall`` > 1).

    *When not to use it:* if one failure in about a hundred checks is normal and ``reset`` is large.

    Pass it to ``Lifecycle(thresholds=...)`` in place of :class:`Thresholds`, or call its machine directly.

    Cost: O(1) per check.

    Example
    -------
    >>> from balancekit.health import AccruedFailures
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
        """Return the machine of one endpoint, in the given initial state."""
        return AccruedFailuresMachine(self, state)


@final
class AccruedFailuresMachine(StateRepr):
    """The state of one endpoint by its checks. Created by :class:`AccruedFailures`."""

    __slots__ = ("_config", "_failures", "_passes", "failing", "since", "state")

    def __init__(self, config: AccruedFailures, state: CheckState) -> None:
        self._config = config
        self._failures = 0
        self._passes = 0
        self.state: CheckState = state
        """The present state: ``FALLING`` is up with counted failures, ``RISING`` is down with passes."""
        self.failing: bool = state in {CheckState.FALLING, CheckState.DOWN}
        """Whether the last check failed."""
        self.since: float | None = None
        """The time at which :attr:`up` last changed; ``None`` if it never did."""

    @property
    def up(self) -> bool | None:
        """Whether the endpoint is up; ``None`` before the first check."""
        return None if self.state is CheckState.UNKNOWN else self.state in _UP

    @property
    def changing(self) -> bool:
        """Whether the last checks disagree with :attr:`up`, so that more frequent checks are useful."""
        return self.state in {CheckState.FALLING, CheckState.RISING}

    @property
    def checks_left(self) -> int:
        """The least number of checks until :attr:`up` can change; 0 before the first check."""
        if self.state is CheckState.UNKNOWN:
            return 0
        return self._config.fall - self._failures if self.state in _UP else self._config.rise - self._passes

    def observe(self, *, passed: bool, now: float) -> CheckState:
        """Record the result of a check. Return the new state."""
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
