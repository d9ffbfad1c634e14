"""Failures that add up: an endpoint that fails now and then goes down, though never often in a row.

.. code-block:: text

    first check    decides alone
    up             a failure counts, passes between failures do not take it back; `reset` passes in a row do
                   `fall` failures counted: down
    down           `rise` passes in a row: up

Rise and fall in a row (:class:`Thresholds`) never see an endpoint that fails every other check; here it is
down after ``fall`` failures, unless ``reset`` passes come between two of them.

The machine knows how many checks it needs at least to change its mind, so an answer that rests on it can be
cached for that many intervals.

Source: gdnsd 3.8.1, ``down_thresh`` (10), ``ok_thresh`` (10) and ``up_thresh`` (20).
"""

from __future__ import annotations

from typing import final

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.health._threshold import CheckState

__all__ = ["AccruedFailures", "AccruedFailuresMachine"]


class AccruedFailures(Policy):
    """Call an endpoint down after ``fall`` failures without ``reset`` passes in a row between them.

    Parameters
    ----------
    fall
        Failures that make an endpoint down, >= 1.
    reset
        Passes in a row that set the count of failures to 0, >= 1.
    rise
        Passes in a row that make it up again, >= 1.

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
class AccruedFailuresMachine:
    """What the checks say of one endpoint. Made by :class:`AccruedFailures`."""

    __slots__ = ("_config", "_failures", "_passes", "failing", "since", "up")

    def __init__(self, config: AccruedFailures, state: CheckState) -> None:
        self._config = config
        self._failures = 0
        self._passes = 0
        self.failing: bool = state is CheckState.DOWN
        """Whether the last check failed."""
        self.up: bool | None = {CheckState.UNKNOWN: None, CheckState.UP: True, CheckState.DOWN: False}[state]
        """Whether the endpoint is up; ``None`` before the first check."""
        self.since: float | None = None
        """When that last changed."""

    @property
    def state(self) -> CheckState:
        """The same in five words: up with failures counted is falling, down with passes is rising."""
        if self.up is None:
            return CheckState.UNKNOWN
        if self.up:
            return CheckState.FALLING if self._failures else CheckState.UP
        return CheckState.RISING if self._passes else CheckState.DOWN

    @property
    def changing(self) -> bool:
        """Whether it is worth checking faster."""
        return self.state in {CheckState.FALLING, CheckState.RISING}

    @property
    def checks_left(self) -> int:
        """How many checks at least until the endpoint could be up, or down; 0 before the first."""
        if self.up is None:
            return 0
        return self._config.fall - self._failures if self.up else self._config.rise - self._passes

    def observe(self, *, passed: bool, now: float) -> CheckState:
        """Record how a check ended; return the state."""
        before = self.up
        self.failing = not passed
        if before is None:
            self.up = passed
        elif passed:
            self._passes += 1
            if before and self._passes >= self._config.reset:
                self._failures = 0
            elif not before and self._passes >= self._config.rise:
                self.up = True
        else:
            self._passes = 0
            self._failures += 1
            if before and self._failures >= self._config.fall:
                self.up = False
        if self.up is not before:
            self._failures = self._passes = 0
            self.since = now
        return self.state
