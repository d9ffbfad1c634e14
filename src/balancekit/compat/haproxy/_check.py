"""HAProxy's checks and slow start.

After ``fall`` failed checks in a row a server is down. After ``rise`` passed checks in a row it is up again. One opposite
result sets the count to 0. The interval counts from the end of a check. ``fastinter`` applies while the count is not 0,
``downinter`` while the server is down.

With ``slowstart``, a server that is up again starts with a part of its weight. The weight grows in steps of a sixteenth
of a unit, by a clock of whole seconds:

.. code-block:: text

    effective weight = weight * ((16 * e + S) // S)      e whole seconds up, S seconds of slow start, rounded up
    100, S = 10, e = 0:  100 * 1 = 100 of 1600, shown as ceil(100 / 16) = 7

Source: HAProxy 2.6.12, ``src/check.c`` and ``server_recalc_eweight`` of ``src/server.c``.
"""

from __future__ import annotations

import math
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit.compat.haproxy._members import SCALE

__all__ = ["Check", "Checker", "slow_start"]


class Check(Record):
    """The ``check`` options of a server, in seconds.

    Parameters
    ----------
    inter
        From the end of a check to the start of the next, > 0.
    rise, fall
        Passed or failed checks in a row that change the state, >= 1.
    fastinter
        Replaces ``inter`` after results that differ from the state; ``None`` for ``inter``.
    downinter
        Replaces ``inter`` while the server is down; ``None`` for ``inter``.

    Raises
    ------
    ConfigurationError
        If a time is not > 0, or ``rise`` or ``fall`` is not a whole number >= 1.
    """

    inter: float = 2.0
    rise: int = 2
    fall: int = 3
    fastinter: float | None = None
    downinter: float | None = None

    def _check(self) -> None:
        valid.number("inter", self.inter, above=0.0)
        valid.integer("rise", self.rise, minimum=1)
        valid.integer("fall", self.fall, minimum=1)
        for name in ("fastinter", "downinter"):
            if getattr(self, name) is not None:
                valid.number(name, getattr(self, name), above=0.0)


@final
class Checker(StateRepr):
    """The check state of one server. It receives results and times, and does no I/O. A server starts as up.

    Parameters
    ----------
    check
        The options.
    now
        The time of the first check, in seconds.

    Raises
    ------
    ConfigurationError
        If ``now`` is no finite number.

    Example
    -------
    >>> from balancekit.compat.haproxy import Check, Checker
    >>> checker = Checker(Check(inter=1.0, rise=2, fall=2))
    >>> checker.observe(passed=False, now=0.0), checker.observe(passed=False, now=1.0), checker.up
    (False, True, False)
    """

    __slots__ = ("_check", "_run", "deadline", "up")

    @checked_arguments
    def __init__(self, check: Check, *, now: float = 0.0) -> None:
        self._check = check
        self._run = 0
        self.up: bool = True
        """Whether the server is up."""
        self.deadline: float = valid.number("now", now)
        """The time at which the next check starts, in seconds."""

    @checked_arguments
    def observe(self, *, passed: bool, now: float) -> bool:
        """Record a check that ended at ``now``. Return whether the state changed."""
        self._run = 0 if passed == self.up else self._run + 1
        changed = self._run >= (self._check.fall if self.up else self._check.rise)
        if changed:
            self.up = not self.up
            self._run = 0
        self.deadline = now + self._pause()
        return changed

    def _pause(self) -> float:
        check = self._check
        if self._run:
            pauses = [check.fastinter, check.inter]
        elif not self.up:
            pauses = [check.downinter, check.inter]
        else:
            pauses = [check.inter]
        return next(pause for pause in pauses if pause is not None)


@checked_arguments
def slow_start(weight: int, *, seconds: float, elapsed: float) -> int:
    """Return the effective weight, in sixteenths, of a server that came up ``elapsed`` seconds ago.

    Parameters
    ----------
    weight
        The weight of the configuration.
    seconds
        ``slowstart`` in seconds, >= 0. It is rounded up to whole seconds.
    elapsed
        Seconds since the server came up. They are rounded down to whole seconds.

    Raises
    ------
    ConfigurationError
        If ``weight`` is not a whole number >= 0, ``seconds`` is negative, or ``elapsed`` is no number.

    Example
    -------
    >>> from balancekit.compat.haproxy import slow_start
    >>> [-(-slow_start(100, seconds=10, elapsed=e) // 16) for e in (0, 1, 5, 10)]
    [7, 13, 57, 100]
    """
    up, ramp = int(valid.number("elapsed", elapsed)), math.ceil(valid.number("seconds", seconds, minimum=0.0))
    full = valid.integer("weight", weight, minimum=0)
    if up >= ramp:
        return full * SCALE
    return full * ((SCALE * max(up, 0) + ramp) // ramp)
