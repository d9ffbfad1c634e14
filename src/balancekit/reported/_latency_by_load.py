"""Latency of a server by its requests in flight: the median over recent requests at a similar number.

A server answers a load probe with two numbers: its requests in flight, and the latency of a request that arrives at that
number. The latency is estimated from recent requests that found a similar number on arrival: their median, scaled to the
current number. So the estimate is correct at once when the number changes, and follows changes of the server's speed.

Cost: O(1) per request; O(samples) per estimate, some 10 microseconds.

Source: Wydrowski et al., NSDI 2024, 4: samples tagged with the requests in flight at arrival, the median of those at or
near the current number. The scaling is our choice; without it, a server that has become idle reports busy latencies.
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
"""The most requests on one server."""
MAX_SAMPLES: Final = 1_000_000
"""The most requests kept."""


@final
class LatencyByLoad(ConstructorRepr):
    """The latency of one more request on a server, by the requests in flight. Sans-IO; one caller at a time.

    Parameters
    ----------
    samples
        The number of recent requests kept, 1 to 1,000,000.
    nearest
        The number of samples in the median, >= 1: those whose requests in flight were closest.

    Raises
    ------
    ConfigurationError
        If a parameter is not a whole number within its bounds.

    Example
    -------
    >>> from balancekit.reported import LatencyByLoad
    >>> by_load = LatencyByLoad(nearest=1)
    >>> by_load.record(1, 0.010)
    >>> by_load.record(9, 0.050)
    >>> by_load.estimate(9), by_load.estimate(0)
    (0.05, 0.005)
    """

    __slots__ = ("_nearest", "_samples")

    @checked_arguments
    def __init__(self, *, samples: int = 64, nearest: int = 7) -> None:
        self._samples: deque[tuple[int, float]] = deque(
            maxlen=valid.integer("samples", samples, minimum=1, maximum=MAX_SAMPLES)
        )
        self._nearest = valid.integer("nearest", nearest, minimum=1)

    @checked_arguments
    def record(self, found: int, latency: float) -> None:
        """Record the duration of a request, and the number of requests that it found on arrival.

        Raises
        ------
        ConfigurationError
            If a figure is negative or not finite.
        """
        count = valid.integer("found", found, minimum=0, maximum=MAX_OPEN)
        self._samples.append((count, valid.number("latency", latency, minimum=0.0)))

    @checked_arguments
    def estimate(self, open: int) -> float:
        """Return the seconds that one more request would take at this number in flight; 0 without samples."""
        count = valid.integer("open", open, minimum=0, maximum=MAX_OPEN)
        nearest = nsmallest(self._nearest, reversed(self._samples), key=lambda sample: abs(sample[0] - count))
        if not nearest:
            return 0.0
        return median([latency * (count + 1) / (found + 1) for found, latency in nearest])
