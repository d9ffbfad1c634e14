"""Thresholds of checks: how many results in a row must agree (rise and fall).

``fall`` failures in a row say down, ``rise`` passes in a row say up; one that disagrees starts the count
again. Between up and down the machine is *changing*, which is when a schedule checks faster.

*Detection* of an endpoint that dies at a random moment, checked every ``interval`` with ``timeout``: at the
earliest ``(fall - 1) * interval + timeout`` later, at the latest ``fall * interval + timeout``.

*False alarms.* If a healthy endpoint fails a check with probability p, independently, it takes
``(1 - p ** fall) / ((1 - p) * p ** fall)`` checks on average until it is wrongly called down: 10 100 at
p = 1 % and fall 2, over a million at fall 3.

Source: HAProxy ``rise 2 fall 3``; Envoy lets the first check of a new host decide alone.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.health._table import Table, following, frozen

__all__ = ["THRESHOLDS", "CheckState", "CheckTrigger", "Detection", "ThresholdMachine", "Thresholds"]


class CheckState(enum.StrEnum):
    """What the checks say of an endpoint."""

    UNKNOWN = "unknown"
    UP = "up"
    FALLING = "falling"
    """Up, but the last checks failed."""
    DOWN = "down"
    RISING = "rising"
    """Down, but the last checks passed."""


class CheckTrigger(enum.StrEnum):
    """What can happen to what checks say."""

    PASSED = "passed"
    FAILED = "failed"
    RISE = "rise"
    """The pass that just came was the last one needed."""
    FALL = "fall"
    """The failure that just came was the last one needed."""


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
    """How many seconds after its death an endpoint is called down."""

    soonest: float
    mean: float
    latest: float


class Thresholds(Policy):
    """Believe checks after ``rise`` passes or ``fall`` failures in a row.

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

    *When not to use it:* alone, against an endpoint that comes and goes more slowly than ``rise + fall``
    checks: it follows every turn. :class:`FlapDamping` keeps that one out.

    Example
    -------
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
        """Make the machine of one endpoint, which begins up, down or unknown."""
        return ThresholdMachine(self, state)

    def detection(self, *, interval: float, timeout: float) -> Detection:
        """Return how long a sudden death stays unseen when every check of the dead times out.

        Example
        -------
        >>> Thresholds(fall=3).detection(interval=2.0, timeout=1.0)
        Detection(soonest=5.0, mean=6.0, latest=7.0)
        """
        period = valid.number("interval", interval, minimum=0.0)
        least = (self.fall - 1) * period + valid.number("timeout", timeout, minimum=0.0)
        return Detection(least, least + period / 2, least + period)

    def false_alarm(self, failing: float) -> float:
        """Return how many checks pass, on average, until a healthy endpoint is called down by chance.

        Parameters
        ----------
        failing
            The probability that a check of a healthy endpoint fails, in (0, 1).

        Example
        -------
        >>> round(Thresholds(fall=2).false_alarm(0.01))
        10100
        """
        p = valid.number("failing", failing, above=0.0, maximum=1.0)
        if p == 1.0:
            return float(self.fall)
        return (1.0 - p**self.fall) / ((1.0 - p) * p**self.fall)


@final
class ThresholdMachine(StateRepr):
    """What the checks say of one endpoint. Made by :class:`Thresholds`."""

    __slots__ = ("_config", "_count", "since", "state")

    def __init__(self, config: Thresholds, state: CheckState) -> None:
        self._config = config
        self._count = 0
        self.state: CheckState = state
        """What the checks say now."""
        self.since: float | None = None
        """When the endpoint was last called up or down; ``None`` if it never was."""

    @property
    def changing(self) -> bool:
        """Whether the last checks disagree with the state, so that it is worth checking faster."""
        return self.state in {CheckState.FALLING, CheckState.RISING}

    @property
    def failing(self) -> bool:
        """Whether the last check failed."""
        return self.state in {CheckState.FALLING, CheckState.DOWN}

    def observe(self, *, passed: bool, now: float) -> CheckState:
        """Record how a check ended; return the state."""
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
    """Return whether the endpoint was newly marked up or down, and not as before a stray check."""
    strays = {(CheckState.FALLING, CheckState.UP), (CheckState.RISING, CheckState.DOWN)}
    return (before, now) not in strays
