"""A clock that never goes back, over one that may.

``time.time`` goes back when the machine's time is set. Then an answer would have taken minus an hour, its endpoint would be
the fastest for ever, and an ejection would last an hour longer.

Cost: a call and a comparison a reading. A balancer reads ``time.monotonic``, its default, directly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

from balancekit.errors import ConfigurationError

__all__ = ["SteadyClock"]

STAND_STILL_S: Final = 1.0
"""A clock that is behind by less stands still until it is right again. Threads read it in another order than they compare."""


@final
class SteadyClock:
    """Reads a clock; if that goes back by a second or more, time goes on from where it was.

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
        """Seconds by which it has gone back."""
        self._last: float = -math.inf

    def __call__(self) -> float:
        """Return the time. Raises for a reading that is no finite number, which would be compared with all later ones."""
        read = self._clock()
        now = read + self._ahead
        if not -math.inf < now < math.inf:
            raise ConfigurationError("clock", read, "a number of seconds at each reading")
        last = self._last
        if now < last:
            if last - now >= STAND_STILL_S:
                self._ahead = last - read  # the same for every thread that comes upon it
            return last
        self._last = now
        return now

    def __repr__(self) -> str:
        return f"SteadyClock({self._clock!r})"
