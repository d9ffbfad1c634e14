"""A clock whose time passes only when the test advances it."""

from __future__ import annotations

from typing import final

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call

__all__ = ["ManualClock"]


@final
class ManualClock:
    """A clock that moves only when a test sets ``now`` or calls :meth:`advance`. Pass it to a balancer as ``clock=``.

    Parameters
    ----------
    now
        The time at the beginning, in seconds.

    Raises
    ------
    ConfigurationError
        If ``now`` is no finite number.

    Example
    -------
    >>> from balancekit.testing import ManualClock
    >>> clock = ManualClock()
    >>> clock.advance(1.5)
    1.5
    >>> clock()
    1.5
    """

    __slots__ = ("now",)

    @checked_call
    def __init__(self, now: float = 0.0) -> None:
        self.now: float = valid.number("now", now)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Move the time on by ``seconds``, >= 0, and return the new time.

        Raises
        ------
        ConfigurationError
            If ``seconds`` is negative or no number.
        """
        self.now += valid.number("seconds", seconds, minimum=0.0)
        return self.now

    def __repr__(self) -> str:
        return f"ManualClock({self.now!r})"
