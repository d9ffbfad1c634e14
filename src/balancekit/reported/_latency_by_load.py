"""Latency that a number of requests means on a server: the median of what requests took that found about as many.

A server answers a load probe with two numbers: its requests in flight, and the latency of a request that
finds so many. The second is estimated from recent requests: of those that found about as many on arrival, the median of
what they took, scaled to the number there is now. So it is right at once when the number changes, and follows the server
when its speed does.

Cost: O(1) a request; O(samples) an estimate, some 10 microseconds.

Source: Wydrowski et al., NSDI 2024, 4: samples tagged with the requests in flight at arrival, the median of those at or
near the present number. The scaling is our choice: without, a server that was busy and is idle says what busy times took.
"""

from __future__ import annotations

from collections import deque
from heapq import nsmallest
from statistics import median
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr

__all__ = ["LatencyByLoad"]

MAX_OPEN: Final = 1_000_000_000
"""Of requests on one server."""


@final
class LatencyByLoad(ConstructorRepr):
    """The latency of one more request on a server, by the number it finds. Sans-IO; one caller at a time.

    Parameters
    ----------
    samples
        Requests that are remembered, the last ones, >= 1.
    nearest
        Of those, how many the median is taken of, >= 1: those that found most nearly as many.

    Example
    -------
    >>> by_load = LatencyByLoad(nearest=1)
    >>> by_load.record(1, 0.010)
    >>> by_load.record(9, 0.050)
    >>> by_load.estimate(9), by_load.estimate(0)
    (0.05, 0.005)
    """

    __slots__ = ("_nearest", "_samples")

    @checked_arguments
    def __init__(self, *, samples: int = 64, nearest: int = 7) -> None:
        self._samples: deque[tuple[int, float]] = deque(maxlen=valid.integer("samples", samples, minimum=1))
        self._nearest = valid.integer("nearest", nearest, minimum=1)

    @checked_arguments
    def record(self, found: int, latency: float) -> None:
        """Record that a request which found so many others took so many seconds.

        Raises
        ------
        ConfigurationError
            If a figure is negative or not finite.
        """
        count = valid.integer("found", found, minimum=0, maximum=MAX_OPEN)
        self._samples.append((count, valid.number("latency", latency, minimum=0.0)))

    @checked_arguments
    def estimate(self, open: int) -> float:
        """Return the seconds that one more request would take with so many open; 0 while nothing is known."""
        count = valid.integer("open", open, minimum=0, maximum=MAX_OPEN)
        nearest = nsmallest(self._nearest, reversed(self._samples), key=lambda sample: abs(sample[0] - count))
        if not nearest:
            return 0.0
        return median([latency * (count + 1) / (found + 1) for found, latency in nearest])
