"""Common parts of routed clients: the route of a request, its options, and the transport of its pool.

Cost: one match and one dictionary access a request.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final, Generic, Protocol, TypeVar, final

from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.functions import plain_function
from balancekit._support.log import contain_error
from balancekit.adapters._keys import found_in
from balancekit.adapters._request_options import RequestOptions
from balancekit.adapters._route_statistics import RouteStatistics
from balancekit.errors import ConfigurationError, printable
from balancekit.l7 import Match, Request, RouteTable, Split
from balancekit.lease import Lease

__all__ = ["NOT_CLOSED", "Closing", "RoutedRequest", "Router", "close_departed"]

T = TypeVar("T")

LOOK_EVERY_S: Final = 1.0
"""Seconds between two looks at whether a pool that has left the table still has requests in flight."""
NOT_CLOSED: Final = "closing the connections of a pool that has left the table failed"
"""What is logged when it raises."""


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

    A pool that a new table no longer leads to keeps its transport while requests are on their way or in flight there.

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

    __slots__ = (
        "__weakref__",
        "_key",
        "_lock",
        "_look_at",
        "_make",
        "_routes",
        "_sending",
        "_transports",
        "departed",
        "statistics",
        "table",
    )

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
        self._sending: dict[object, Any] = {}
        """The pool of each request that has no lease yet, or not any more."""
        self._routes = table.routes
        self._look_at = -math.inf
        self.departed = False
        """Whether some pool may have left, so that :meth:`leave` is worth a call."""
        call_in_child(self)

    def after_fork(self) -> None:
        """Forget requests of threads that do not exist in a forked child."""
        self._sending = {}

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

    @contextmanager
    def sending(self, match: Match[Any], request: Any) -> Iterator[T]:
        """Keep the transport of a match's pool while a request is sent by it."""
        pool = match.pool(self._key_of(request))
        mark = object()
        try:
            self._sending[mark] = pool
            yield self._transport(pool)
        finally:
            self._sending.pop(mark, None)

    def _transport(self, pool: Any) -> T:
        if self._routes is not self.table.routes:
            self.departed, self._look_at = True, -math.inf
        found = self._transports.get(id(pool))
        if found is None:
            with self._lock:
                found = self._transports.get(id(pool))
                if found is None:
                    # The pool is kept, so its id is too.
                    found = self._transports[id(pool)] = (pool, self._make(pool))
                    self.departed = True  # its pool may have left since the request was matched
        return found[1]

    def leave(self) -> Iterator[T]:
        """Yield the transports that are to be closed now: of pools that have left the table and are not in use.

        One that is not taken, because the closing of another was cut short, stays for a later call. O(pools), once a second.
        """
        now = time.monotonic()
        if now < self._look_at:
            return
        self._routes, self._look_at = self.table.routes, now + LOOK_EVERY_S
        self.departed, again = False, True  # a request may set it meanwhile
        try:
            kept = False
            for pool in self._left():
                found = None if self._is_used(pool) else self._taken(pool)
                if found is None:
                    kept = True
                else:
                    yield found
            again = kept
        finally:
            if again:
                self.departed = True

    def _taken(self, pool: Any) -> T | None:
        """Take the transport of a pool, unless a request found it meanwhile."""
        with self._lock:
            found = self._transports.pop(id(pool), None)
        if found is not None and self._is_used(pool):
            with self._lock:
                present = self._transports.setdefault(id(pool), found)
            if present is found:
                return None
        return None if found is None else found[1]

    def _is_used(self, pool: Any) -> bool:
        """Return whether requests are on their way to a pool, or in flight: in this order, in which a request is either."""
        return any(one is pool for one in list(self._sending.values())) or bool(pool.stats().inflight)

    def _left(self) -> list[Any]:
        """Return the pools with a transport to which no route leads."""
        leads = [route.to for route in self.table.routes] + [self.table.no_match]
        reached = {id(pool) for to in leads for pool in (to.pools if isinstance(to, Split) else (to,))}
        return [pool for pool, _ in list(self._transports.values()) if id(pool) not in reached]

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


class Closing(Protocol):
    """A transport that is closed without waiting."""

    def close(self) -> None:
        """Close its connections."""
        ...


def close_departed(transports: Iterable[Closing]) -> None:
    """Close the transports of pools that have left the table; an error is logged, and the next one is closed."""
    for transport in transports:
        try:
            transport.close()
        except Exception:
            contain_error(NOT_CLOSED)
