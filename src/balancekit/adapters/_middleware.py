"""The part of a routing middleware that does not depend on the calling convention of its server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from balancekit._support.display import ConstructorRepr
from balancekit.adapters._retry_after import format_retry_after
from balancekit.adapters._route_statistics import RouteStatistics, RouteStats
from balancekit.adapters._routing import RoutedRequest, Router
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.l7 import Request, RouteTable

__all__ = ["Middleware", "Refusal"]

A = TypeVar("A", bound=Callable[..., Any])


class Refusal(NamedTuple):
    """The middleware's own answer to a request that gets no endpoint."""

    status: int
    text: str
    retry_after: str | None = None

    @property
    def body(self) -> bytes:
        """What the answer says, as plain text."""
        return f"{self.text}\n".encode("ascii", "backslashreplace")


class Middleware(ConstructorRepr, Generic[A]):
    """An application behind a route table, for one calling convention.

    Parameters
    ----------
    app
        The application.
    table, key, statistics
        As of :class:`Router`.
    """

    def __init__(
        self,
        app: A,
        table: RouteTable[Any],
        *,
        key: Callable[[Request], Any] | None = None,
        statistics: RouteStatistics | None = None,
    ) -> None:
        if not callable(app):
            raise ConfigurationError("app", app, "an application, which is called")
        self._app = app
        self._router: Router[None] = Router(table, lambda _pool: None, key=key, statistics=statistics)

    def stats(self) -> tuple[RouteStats, ...]:
        """Return requests, failures and latency quantiles of each route."""
        return self._router.statistics.stats()

    def _decide(self, request: Request) -> RoutedRequest | Refusal:
        """Return the route and the endpoint of a request, or why it has none. A refused one is counted."""
        router = self._router
        match = router.match(request)
        if match is None:
            status = 404 if router.table.rejection(request) is None else 400
            return Refusal(status, router.refusal(request))
        try:
            return router.routed(match, request)
        except UnavailableError as error:
            router.statistics.record(match.route.name, latency=0.0, failed=True)
            return Refusal(503, "no endpoint is available", format_retry_after(error.retry_in))
