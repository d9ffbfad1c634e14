"""Thresholds of checks: the number of equal results in a row after which an endpoint is up or down.

An endpoint is down after ``fall`` failures in a row, and up after ``rise`` passes in a row. A different result sets the
count to 0. While results disagree with the state, the machine is *changing*; checks are then more frequent.

*Detection.* An endpoint fails at a random time, and is checked every ``interval`` seconds with a ``timeout``. It is
down at the earliest ``(fall - 1) * interval + timeout`` seconds later, and at the latest ``fall * interval + timeout``
seconds later.

*False alarms.* If a healthy endpoint fails each check with probability p, independently, it is wrongly down after ``(1
- p ** fall) / ((1 - p) * p ** fall)`` checks on average. For p = 1 % these are 10,100 checks with ``fall=2``, and more
than a million with ``fall=3``.

Source: HAProxy's defaults ``rise 2 fall 3``. As in Envoy, the first check of a new endpoint decides alone.
"""

from __future__ import annotations

import enum
import math
import sys
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.health._table import Table, following, frozen

__all__ = ["THRESHOLDS", "CheckState", "CheckTrigger", "Detection", "ThresholdMachine", "Thresholds"]

MAX_FLOAT: Final = int(sys.float_info.max)
"""The largest whole number that arithmetic with floats takes."""


class CheckState(enum.StrEnum):
    """The state of an endpoint by its checks."""

    UNKNOWN = "unknown"
    """There was no check yet."""
    UP = "up"
    """Up; the last check passed."""
    FALLING = "falling"
    """Up, but the last checks failed."""
    DOWN = "down"
    """Down; the last check failed."""
    RISING = "rising"
    """Down, but the last checks passed."""


class CheckTrigger(enum.StrEnum):
    """The triggers of the table of checks."""

    PASSED = "passed"
    """A check has passed."""
    FAILED = "failed"
    """A check has failed."""
    RISE = "rise"
    """The number of passes in a row has reached ``rise``."""
    FALL = "fall"
    """The number of failures in a row has reached ``fall``."""


THRESHOLDS: Final[Table[CheckState, CheckTrigger]] = frozen(
    {
        (CheckState.UNKNOWN, CheckTrigger.PASSED): CheckState.UP,
        (CheckState.UNKNOWN, CheckTrigger.FAILED): CheckState.DOWN,
        (CheckState.UP, CheckTrigger.FAILED): CheckState.FALLING,
        (CheckState.FALLING, CheckTrigger.PASSED): CheckState.UP,
        (CheckState.FALLING, CheckTrigger.FALL): CheckState.DOWN,
        (CheckState.DOWN, CheckTrigger.PASSED): CheckState.RISING,
        (CheckState.RISING, CheckTrigger.FAILED): CheckState.DOWN,
        (CheckState.RISING, CheckTrigger.RISE): CheckState.UP,
    },
)


class Detection(NamedTuple):
    """The time in seconds from the failure of an endpoint until the endpoint is down."""

    soonest: float
    mean: float
    latest: float


class Thresholds(Policy):
    """Thresholds of checks: up after ``rise`` passes in a row, down after ``fall`` failures in a row.

    Parameters
    ----------
    rise
        Passes in a row until an endpoint is up, >= 1.
    fall
        Failures in a row until it is down, >= 1.

    Raises
    ------
    ConfigurationError
        If a parameter is not a whole number >= 1.

    *When not to use it:* as the only means against an endpoint that changes more slowly than every ``rise + fall``
    checks, because the state then follows every change. Add :class:`FlapDamping`.

    Cost: O(1) per check.

    Example
    -------
    >>> from balancekit.health import CheckState, Thresholds
    >>> machine = Thresholds(rise=2, fall=3)(CheckState.UP)
    >>> [machine.observe(passed=False, now=float(k)).value for k in range(3)]
    ['falling', 'falling', 'down']
    """

    rise: int = 2
    fall: int = 3

    def _check(self) -> None:
        valid.integer("rise", self.rise, minimum=1)
        valid.integer("fall", self.fall, minimum=1)

    def __call__(self, state: CheckState = CheckState.UNKNOWN) -> ThresholdMachine:
        """Return the machine of one endpoint, in the given initial state."""
        return ThresholdMachine(self, state)

    def detection(self, *, interval: float, timeout: float) -> Detection:
        """Return the time until a sudden failure is detected, if every check after it times out.

        Parameters
        ----------
        interval
            Seconds between the starts of two checks, >= 0.
        timeout
            Seconds until a check fails, >= 0.

        Raises
        ------
        ConfigurationError
            If a parameter is no finite number >= 0.

        Example
        -------
        >>> from balancekit.health import Thresholds
        >>> Thresholds(fall=3).detection(interval=2.0, timeout=1.0)
        Detection(soonest=5.0, mean=6.0, latest=7.0)
        """
        period = valid.number("interval", interval, minimum=0.0)
        least = min(self.fall - 1, MAX_FLOAT) * period + valid.number("timeout", timeout, minimum=0.0)
        return Detection(least, least + period / 2, least + period)

    def false_alarm(self, failing: float) -> float:
        """Return the average number of checks until a healthy endpoint is wrongly down; infinity if no float is as large.

        Parameters
        ----------
        failing
            The probability that a check of a healthy endpoint fails, in (0, 1].

        Raises
        ------
        ConfigurationError
            If ``failing`` is not in (0, 1].

        Example
        -------
        >>> from balancekit.health import Thresholds
        >>> round(Thresholds(fall=2).false_alarm(0.01))
        10100
        """
        p = valid.number("failing", failing, above=0.0, maximum=1.0)
        if p == 1.0:
            return float(self.fall)
        row = p ** float(min(self.fall, MAX_FLOAT))
        return (1.0 - row) / ((1.0 - p) * row) if row else math.inf


@final
class ThresholdMachine(StateRepr):
    """The state of one endpoint by its checks. Created by :class:`Thresholds`."""

    __slots__ = ("_config", "_count", "since", "state")

    def __init__(self, config: Thresholds, state: CheckState) -> None:
        self._config = config
        self._count = 0
        self.state: CheckState = state
        """The present state."""
        self.since: float | None = None
        """The time of the last change between up and down; ``None`` before the first check."""

    @property
    def changing(self) -> bool:
        """Whether the last checks disagree with the state, so that more frequent checks are useful."""
        return self.state in {CheckState.FALLING, CheckState.RISING}

    @property
    def failing(self) -> bool:
        """Whether the last check failed."""
        return self.state in {CheckState.FALLING, CheckState.DOWN}

    def observe(self, *, passed: bool, now: float) -> CheckState:
        """Record the result of a check. Return the new state."""
        before = self.state
        self.state = following(THRESHOLDS, before, CheckTrigger.PASSED if passed else CheckTrigger.FAILED)
        self._count = self._count + 1 if self.state is before else 1
        if self.state is CheckState.FALLING and self._count >= self._config.fall:
            self.state = following(THRESHOLDS, self.state, CheckTrigger.FALL)
        elif self.state is CheckState.RISING and self._count >= self._config.rise:
            self.state = following(THRESHOLDS, self.state, CheckTrigger.RISE)
        if self.state is not before and not self.changing and _settled(before, self.state):
            self.since = now
        return self.state


def _settled(before: CheckState, now: CheckState) -> bool:
    """Return whether a change of state changes between up and down."""
    strays = {(CheckState.FALLING, CheckState.UP), (CheckState.RISING, CheckState.DOWN)}
    return (before, now) not in strays
