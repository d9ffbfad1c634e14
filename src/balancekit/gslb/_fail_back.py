"""Fail-back: a site that has been down regains its traffic late and in steps.

.. code-block:: text

    serving ──down──> down ──up──> holding ──hold_down──> ramping ──ramp──> serving
                       ^<──────────down───────┴───────────────┘
    share    1          0            0              1/steps, 2/steps, ... 1

Failover is immediate; fail-back is not. A site that goes up and down every few seconds, faster than
``hold_down``, moves its traffic once. A site that flaps more slowly is suppressed by ``damping``.

Source: gradual fail-back is what Google's failover ratio and NS1's ``shed_load`` do in proportion; hold-down
from routing (RFC 2439 for the damping).
"""

from __future__ import annotations

import enum
from copy import copy
from types import MappingProxyType
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit._support.whole import whole
from balancekit.errors import ConfigurationError
from balancekit.health import Damping, FlapDamping, Table, following

__all__ = ["FAIL_BACK", "FailBack", "FailBackMachine", "SiteState", "SiteTrigger"]

MAX_STEPS: Final = 10_000
"""The most steps of a ramp; a step of less than 0.01 % moves no client."""


class SiteState(enum.StrEnum):
    """How a site stands with its traffic."""

    UNKNOWN = "unknown"
    """Never observed."""
    SERVING = "serving"
    """It gets all that is its own."""
    DOWN = "down"
    HOLDING = "holding"
    """Up again, not for long enough."""
    RAMPING = "ramping"
    """It gets a growing share."""


class SiteTrigger(enum.StrEnum):
    """What can happen to a site."""

    UP = "up"
    DOWN = "down"
    RELEASE = "release"
    """``hold_down`` has passed and damping does not suppress it."""
    FULL = "full"
    """The last step of the ramp."""


FAIL_BACK: Final[Table[SiteState, SiteTrigger]] = MappingProxyType(
    {
        (SiteState.UNKNOWN, SiteTrigger.UP): SiteState.SERVING,
        (SiteState.UNKNOWN, SiteTrigger.DOWN): SiteState.DOWN,
        (SiteState.SERVING, SiteTrigger.DOWN): SiteState.DOWN,
        (SiteState.DOWN, SiteTrigger.UP): SiteState.HOLDING,
        (SiteState.HOLDING, SiteTrigger.DOWN): SiteState.DOWN,
        (SiteState.HOLDING, SiteTrigger.RELEASE): SiteState.RAMPING,
        (SiteState.RAMPING, SiteTrigger.DOWN): SiteState.DOWN,
        (SiteState.RAMPING, SiteTrigger.FULL): SiteState.SERVING,
    }
)


class FailBack(Record):
    """Give a site its traffic back after ``hold_down`` seconds up, in ``steps`` over ``ramp`` seconds.

    Parameters
    ----------
    hold_down
        Seconds that a site must be up before it gets anything, >= 0.
    ramp
        Seconds from its first share to all of it, >= 0; 0 for all at once.
    steps
        Equal steps of the ramp, 1 to 10,000. The first gives ``1 / steps`` at once, the last all of it.
    damping
        Keeps a site out that goes down too often; ``None`` for none.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or ``damping`` is no ``FlapDamping``.

    *When not to use it:* for caches in front of databases that must not serve two sites at once. There, people
    decide about a fail-back (``hold_down`` of a day).

    Example
    -------
    >>> from balancekit.gslb import FailBack
    >>> site = FailBack(hold_down=60.0, ramp=100.0, steps=4)()
    >>> [site.observe(up=up, now=now) for now, up in ((0.0, True), (10.0, False), (20.0, True), (79.0, True))]
    [1.0, 0.0, 0.0, 0.0]
    >>> [site.observe(up=True, now=now) for now in (80.0, 105.0, 130.0, 155.0)]
    [0.25, 0.5, 0.75, 1.0]
    """

    hold_down: float = 60.0
    ramp: float = 300.0
    steps: int = 10
    damping: FlapDamping | None = None

    def _check(self) -> None:
        valid.number("hold_down", self.hold_down, minimum=0.0)
        valid.number("ramp", self.ramp, minimum=0.0)
        valid.integer("steps", self.steps, minimum=1, maximum=MAX_STEPS)
        if self.damping is not None and not isinstance(self.damping, FlapDamping):
            raise ConfigurationError("damping", self.damping, "a FlapDamping or None")

    def __call__(self) -> FailBackMachine:
        """Make the machine of one site."""
        return FailBackMachine(self)


@final
class FailBackMachine(StateRepr):
    """The share of one site. Made by :class:`FailBack`; knows no clock and takes no lock."""

    __slots__ = ("_config", "_damper", "_since", "_step", "state")

    @checked_arguments
    def __init__(self, config: FailBack) -> None:
        self._config: Final = config
        self._damper = None if config.damping is None else config.damping()
        self._since = 0.0
        self._step = 0
        self.state: SiteState = SiteState.UNKNOWN
        """How the site stands."""

    @property
    def share(self) -> float:
        """Which share of its own traffic the site gets, in [0, 1]."""
        if self.state is SiteState.SERVING:
            return 1.0
        return (self._step + 1) / self._config.steps if self.state is SiteState.RAMPING else 0.0

    @property
    def deadline(self) -> float | None:
        """When the share changes by itself; ``None`` if it does not."""
        if self.state is SiteState.HOLDING:
            return self._released_at()
        if self.state is SiteState.RAMPING:
            return self._step_at(self._step + 1)
        return None

    @whole
    @checked_arguments
    def observe(self, *, up: bool, now: float) -> float:
        """Record whether the site is up; return its share."""
        self.advance(now=now)
        before = self.state
        self.state = following(FAIL_BACK, before, SiteTrigger.UP if up else SiteTrigger.DOWN)
        if self.state is not before:
            self._since = now
            if self.state is SiteState.DOWN and before is not SiteState.UNKNOWN and self._damper is not None:
                self._damper.flap(now=now)
            self.advance(now=now)
        return self.share

    @whole
    @checked_arguments
    def advance(self, *, now: float) -> float:
        """Let time pass; return the share."""
        if self.state is SiteState.HOLDING and now >= self._released_at():
            self._since = self._released_at()
            self._step = 0
            self.state = following(FAIL_BACK, self.state, SiteTrigger.RELEASE)
        if self.state is SiteState.RAMPING:
            while self._step < self._config.steps - 1 and now >= self._step_at(self._step + 1):
                self._step += 1
            if self._step >= self._config.steps - 1:
                self.state = following(FAIL_BACK, self.state, SiteTrigger.FULL)
        return self.share

    @whole
    @checked_arguments
    def continue_from(self, other: FailBackMachine, /) -> None:
        """Be as the machine of the same site before: its state, since when, and its flaps if they are damped alike.

        A machine that has been observed stays as it is.
        """
        if self.state is not SiteState.UNKNOWN:
            return
        self._since, self._step, self.state = other._since, 0, other.state
        if self._config.damping == other._config.damping:
            self._damper = copy(other._damper)

    def _saved(self) -> tuple[Any, ...]:
        return self._since, self._step, self.state, copy(self._damper)

    def _restore(self, saved: tuple[Any, ...]) -> None:
        self._since, self._step, self.state, self._damper = saved

    def _released_at(self) -> float:
        held = self._since + self._config.hold_down
        if self._damper is not None and self._damper.state is Damping.SUPPRESSED:
            return max(held, self._damper.reuse_at)
        return held

    def _step_at(self, step: int) -> float:
        return self._since + step * (self._config.ramp / self._config.steps)
