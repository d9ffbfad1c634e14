"""Statistics of routes: how many requests each had, how they ended, and quantiles of their latency.

Cost: one lock and one array write a request; reading sorts the last 256 latencies of each route.
"""

from __future__ import annotations

from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.fork import new_lock
from balancekit._support.record import Record
from balancekit.stats import Quantiles, RecentWindow

__all__ = ["RouteStatistics", "RouteStats"]

MAX_ROUTES: Final = 1_000
"""Routes that are counted at once. Tables that are replaced may have many names in the course of time."""
NO_ROUTE: Final = "no route"
"""The name under which requests are counted that no route takes."""


class RouteStats(Record):
    """Statistics of one route.

    Parameters
    ----------
    route
        The route's name, ``"no route"`` for requests that none takes.
    requests
        Requests that have ended.
    failures
        Those of them that ended with an error, or with a status of 500 or above.
    retries
        Attempts beyond the first, of requests that were answered.
    latency
        ``p50``, ``p95`` and ``p99`` of the last 256 requests, in seconds from the request to the headers of its answer;
        ``None`` before the first.
    """

    route: str
    requests: int
    failures: int
    retries: int
    latency: Quantiles | None


class _Counts:
    __slots__ = ("failures", "last", "requests", "retries", "window")

    def __init__(self) -> None:
        self.requests = self.failures = self.retries = 0
        self.last = 0
        """Number of the last request, among those of all routes."""
        self.window = RecentWindow()


@final
class RouteStatistics(StateRepr):
    """Counters by route. Share one between the transports and middlewares of a table. Thread-safe.

    *Guarantee.* Counts are exact. At most 1,000 routes are counted: one more replaces the one whose last request is the
    oldest, such as that of a table that was replaced.

    *When not to use it:* for histograms over hours; read :meth:`stats` into a metrics system.

    Example
    -------
    >>> from balancekit.adapters import RouteStatistics
    >>> statistics = RouteStatistics()
    >>> for latency in (0.1, 0.2, 0.3):
    ...     statistics.record("orders", latency=latency, failed=False)
    >>> statistics.stats()[0].latency.p50
    0.2
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self._counts: dict[str, _Counts] = {}
        self._requests = 0

    def record(self, route: str | None, *, latency: float, failed: bool, attempts: int = 1) -> None:
        """Count a request that has ended.

        Parameters
        ----------
        route
            The route's name; ``None`` if no route took it.
        latency
            Seconds to the headers of the answer, >= 0.
        failed
            Whether it ended with an error or a status of 500 or above.
        attempts
            How many endpoints were tried, >= 0.

        Raises
        ------
        ConfigurationError
            If a number is outside its bounds, ``failed`` is no bool, or ``route`` is no string. Then nothing is counted.
        """
        seconds = valid.number("latency", latency, minimum=0.0)
        retried = max(valid.integer("attempts", attempts, minimum=0) - 1, 0)
        valid.flag("failed", failed)
        if route is not None and not (isinstance(route, str) and route in self._counts):
            valid.text("route", route, empty=True)
        with self._lock:
            counts = self._counts.get(route or NO_ROUTE) or self._new()
            counts.window.record(seconds)
            # Nothing is called from here on, so no interrupt comes in between.
            self._requests += 1
            counts.last = self._requests
            counts.requests += 1
            counts.failures += failed
            counts.retries += retried
            self._counts[route or NO_ROUTE] = counts

    def _new(self) -> _Counts:
        """Return counts of a new route. If there are too many, forget the route whose last request is the oldest."""
        if len(self._counts) >= MAX_ROUTES:
            oldest = min(self._counts, key=lambda route: self._counts[route].last)
            self._counts = {route: counts for route, counts in self._counts.items() if route != oldest}
        return _Counts()

    def stats(self) -> tuple[RouteStats, ...]:
        """Return the statistics of each route that had a request, in the order of first requests."""
        with self._lock:
            return tuple(
                [
                    RouteStats(
                        route=route,
                        requests=counts.requests,
                        failures=counts.failures,
                        retries=counts.retries,
                        latency=counts.window.read(),
                    )
                    for route, counts in self._counts.items()
                ]
            )
