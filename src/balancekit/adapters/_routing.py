"""Common parts of routed clients: the route of a request, its options, and the transport of its pool.

Cost: one match and one dictionary access a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Generic, TypeVar, final

from balancekit._support.display import StateRepr
from balancekit._support.fork import new_lock
from balancekit._support.functions import plain_function
from balancekit.adapters._keys import found_in
from balancekit.adapters._request_options import RequestOptions
from balancekit.adapters._route_statistics import RouteStatistics
from balancekit.errors import ConfigurationError, printable
from balancekit.l7 import Match, Request, RouteTable
from balancekit.lease import Lease

__all__ = ["RoutedRequest", "Router"]

T = TypeVar("T")


@final
class RoutedRequest(StateRepr):
    """The result of a middleware for a request: its match and a lease on an endpoint of the pool."""

    __slots__ = ("lease", "match")

    def __init__(self, match: Match[Any], lease: Lease[Any]) -> None:
        self.match: Match[Any] = match
        """The route, with parameters and what to forward."""
        self.lease: Lease[Any] = lease
        """The endpoint; the middleware releases it."""


@final
class Router(Generic[T]):
    """A table with a transport for each of its pools, made when a request first needs it.

    Parameters
    ----------
    table
        Its pools are balancers.
    make
        Makes the transport of a pool.
    key
        Finds the key of a request, for splits.
    statistics
        Where requests are counted; its own if left out.
    """

    __slots__ = ("_key", "_lock", "_make", "_transports", "statistics", "table")

    def __init__(
        self,
        table: RouteTable[Any],
        make: Callable[[Any], T],
        *,
        key: Callable[[Any], Any] | None = None,
        statistics: RouteStatistics | None = None,
    ) -> None:
        if not isinstance(table, RouteTable):
            raise ConfigurationError("table", table, "a RouteTable")
        if key is not None:
            plain_function("key", key, "a callable of a request")
        if statistics is not None and not isinstance(statistics, RouteStatistics):
            raise ConfigurationError("statistics", statistics, "RouteStatistics()")
        self.table: RouteTable[Any] = table
        self.statistics: RouteStatistics = statistics or RouteStatistics()
        self._make = make
        self._key = key
        self._lock = new_lock()
        self._transports: dict[int, tuple[Any, T]] = {}

    def match(self, request: Request) -> Match[Any] | None:
        """Return the route of a request; one without is counted."""
        match = self.table.match(request)
        if match is None:
            self.statistics.record(None, latency=0.0, failed=True)
        return match

    def refusal(self, request: Request) -> str:
        """Return why a request has no route."""
        found = self.table.rejection(request)
        return found or printable(f"no route takes {request.method} {request.host}{request.path}"[:300])

    def routed(self, match: Match[Any], request: Request) -> RoutedRequest:
        """Return a match with a lease from its pool.

        Raises
        ------
        UnavailableError
            If the pool has no endpoint to offer.
        """
        return RoutedRequest(match, match.lease(self._key_of(request)))

    def transport(self, match: Match[Any], request: Any) -> T:
        """Return the transport of a match's pool."""
        pool = match.pool(self._key_of(request))
        found = self._transports.get(id(pool))
        if found is None:
            with self._lock:
                found = self._transports.get(id(pool))
                if found is None:
                    # The pool is kept, so its id is too.
                    found = self._transports[id(pool)] = (pool, self._make(pool))
        return found[1]

    def _key_of(self, request: Any) -> Any:
        return None if self._key is None else found_in(request, "key", self._key, None)

    def options(self, match: Match[Any], own: RequestOptions | None = None) -> RequestOptions:
        """Return the options of a route, overridden by those of the request itself."""
        route = match.route
        options = RequestOptions(
            attempts=route.attempts,
            deadline=None if route.timeout is None else time.monotonic() + route.timeout,
            retry_on=route.retry_on,
        )
        return options if own is None else own.over(options)

    def record(self, match: Match[Any], started: float, *, failed: bool, attempts: int = 1) -> None:
        """Count a request that began at a time of ``time.perf_counter``."""
        self.statistics.record(
            match.route.name, latency=time.perf_counter() - started, failed=failed, attempts=attempts
        )

    def transports(self) -> list[T]:
        """Return the transports made so far, to be closed."""
        with self._lock:
            return list(map(itemgetter(1), self._transports.values()))  # no loop under a lock

    def closed(self, transport: T) -> None:
        """Forget a transport that has been closed."""
        with self._lock:
            self._transports = dict(
                filter(lambda item: item[1][1] is not transport, self._transports.items())
            )
