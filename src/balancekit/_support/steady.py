"""A wrapper that makes a clock monotonic.

``time.time`` goes back when the time of the machine is set. A latency could then be minus one hour. Its endpoint would
look like the fastest, and an ejection would last an hour longer.

Cost: one call and one comparison per reading. The default clock of a balancer, ``time.monotonic``, is not wrapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

from balancekit._support.validation import MAX_CLOCK_S
from balancekit.errors import ConfigurationError

__all__ = ["SteadyClock"]

STAND_STILL_S: Final = 1.0
"""Seconds. If the clock goes back by less, the time stands still until the clock has caught up. Such small steps occur
because threads may compare their readings in another order than they have read them."""


@final
class SteadyClock:
    """A clock that never goes back. If the wrapped clock goes back by a second or more, time continues from its last value.

    Parameters
    ----------
    clock
        Returns seconds.

    Example
    -------
    >>> readings = iter([100.0, 101.0, 41.0, 43.0])
    >>> clock = SteadyClock(lambda: next(readings))
    >>> [clock(), clock(), clock(), clock()]
    [100.0, 101.0, 101.0, 103.0]
    """

    __slots__ = ("_ahead", "_clock", "_last")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead: float = 0.0
        """The sum of all steps back, in seconds."""
        self._last: float = -math.inf

    def __call__(self) -> float:
        """Return the time in seconds.

        Raises
        ------
        ConfigurationError
            If the clock returns NaN, or a number beyond +-1e12. Once stored, it would make all later comparisons wrong.
        """
        read = self._clock()
        now = read + self._ahead
        if not -MAX_CLOCK_S <= read <= MAX_CLOCK_S:
            raise ConfigurationError("clock", read, "a number of seconds at each reading")
        last = self._last
        if now < last:
            if last - now >= STAND_STILL_S:
                self._ahead = last - read  # every thread that notices the step computes the same value
            return last
        self._last = now
        return now

    def __repr__(self) -> str:
        return f"SteadyClock({self._clock!r})"
