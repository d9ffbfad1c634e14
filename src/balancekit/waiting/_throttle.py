"""Client-side throttling: a client that is refused a lot asks less.

A backend that refuses work still spends time on refusing it. So a client keeps, over two minutes, how many requests it wanted to
send and how many were accepted, and drops requests itself with the probability ``max(0, (requests - k * accepts) / (requests +
1))``, for each criticality apart.

Source: *Site Reliability Engineering*, chapter 21, "Client-side throttling".
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.fork import new_lock
from balancekit.waiting._queue import MAX_CRITICALITIES

__all__ = ["ClientThrottle"]

BUCKETS: Final = 60
"""Parts of the window."""


@final
class _Counts:
    __slots__ = ("accepts", "buckets", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.accepts = 0
        self.buckets: deque[list[float]] = deque()  # when it began, requests, accepts


@final
class ClientThrottle:
    """Drops requests that would very likely be refused. Any thread may call.

    Parameters
    ----------
    k
        How many requests the backend may get for each that it accepts, >= 1. With 2 it is soon
        seen to have recovered; 1.1 spares it more.
    window
        Seconds that are looked back, > 0.
    criticalities
        How many levels there are, 1 to 1,000.

    *When not to use it:* few requests a window; the probability is then all noise. A balancer with health checks of its own already
    leaves out endpoints that fail; this is for a backend that refuses as a whole.

    Cost: O(1) a request.

    Example
    -------
    >>> throttle, rng = ClientThrottle(), Random(1)
    >>> for _ in range(100):
    ...     if throttle.allow(rng, now=0.0):
    ...         pass                                    # sent, and refused
    >>> throttle.probability(now=0.0) > 0.9
    True
    """

    @checked_arguments
    def __init__(self, *, k: float = 2.0, window: float = 120.0, criticalities: int = 4) -> None:
        self._k = valid.number("k", k, minimum=1.0)
        self._width = valid.number("window", window, above=0.0) / BUCKETS
        levels = valid.integer("criticalities", criticalities, minimum=1, maximum=MAX_CRITICALITIES)
        self._counts = [_Counts() for _ in range(levels)]
        self._lock = new_lock()

    def probability(self, *, now: float, criticality: int = 0) -> float:
        """Return the probability with which a request is dropped now."""
        counts = self._of(criticality)
        with self._lock:
            self._bucket(counts, now)
            return max(0.0, (counts.requests - self._k * counts.accepts) / (counts.requests + 1))

    @checked_arguments
    def allow(self, rng: Random, *, now: float, criticality: int = 0) -> bool:
        """Answer whether to send a request; it is counted either way."""
        chance = self.probability(now=now, criticality=criticality)
        counts = self._of(criticality)
        with self._lock:
            self._bucket(counts, now)[1] += 1
            counts.requests += 1
        return not chance or rng.random() >= chance

    def accepted(self, *, now: float, criticality: int = 0) -> None:
        """Count a request that the backend accepted: it did not refuse it for overload, whatever came of it."""
        counts = self._of(criticality)
        with self._lock:
            self._bucket(counts, now)[2] += 1
            counts.accepts += 1

    def _of(self, criticality: int) -> _Counts:
        return self._counts[
            valid.integer("criticality", criticality, minimum=0, maximum=len(self._counts) - 1)
        ]

    def _bucket(self, counts: _Counts, now: float) -> list[float]:
        """Return the bucket of this time, after dropping those that are too old."""
        buckets, now = counts.buckets, valid.number("now", now)
        while buckets and now - buckets[0][0] >= self._width * BUCKETS:
            requests, accepts = map(int, buckets[0][1:])
            # Nothing is called from here on, so no interrupt comes in between.
            counts.requests -= requests
            counts.accepts -= accepts
            del buckets[0]
        if not buckets or now - buckets[-1][0] >= self._width:
            buckets.append([now, 0, 0])
        return buckets[-1]
