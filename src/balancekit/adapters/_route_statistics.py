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
        Attempts beyond the first.
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
    __slots__ = ("failures", "requests", "retries", "window")

    def __init__(self) -> None:
        self.requests = self.failures = self.retries = 0
        self.window = RecentWindow()


@final
class RouteStatistics(StateRepr):
    """Counters by route. Share one between the transports and middlewares of a table. Thread-safe.

    *Guarantee.* Counts are exact. Names are those of routes, so their number is bounded by the tables'.

    *When not to use it:* for histograms over hours; read :meth:`stats` into a metrics system.

    Example
    -------
    >>> statistics = RouteStatistics()
    >>> for latency in (0.1, 0.2, 0.3):
    ...     statistics.record("orders", latency=latency, failed=False)
    >>> statistics.stats()[0].latency.p50
    0.2
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self._counts: dict[str, _Counts] = {}

    def record(self, route: str | None, *, latency: float, failed: bool, attempts: int = 1) -> None:
        """Count a request that has ended.

        Parameters
        ----------
        route
            The route's name; ``None`` if no route took it.
        latency
            Seconds to the headers of the answer.
        failed
            Whether it ended with an error or a status of 500 or above.
        attempts
            How many endpoints were tried.
        """
        seconds, tried = valid.number("latency", latency), valid.integer("attempts", attempts, minimum=0)
        valid.flag("failed", failed)
        if route is not None and route not in self._counts:
            valid.text("route", route, empty=True)
        with self._lock:
            counts = self._counts.get(route or NO_ROUTE) or _Counts()
            counts.window.record(seconds)
            # Nothing is called from here on, so no interrupt comes in between.
            counts.requests += 1
            counts.failures += failed
            counts.retries += tried - 1
            self._counts[route or NO_ROUTE] = counts

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
