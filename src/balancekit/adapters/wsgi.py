"""Middleware for WSGI servers: the route table picks the pool, the pool an endpoint, before the application runs.

The application finds both in ``environ["balancekit"]``, a :class:`RoutedRequest`, and forwards to ``lease.target`` or decides
otherwise. The lease ends when the server has closed the body, with the outcome that the status says.

Cost: one match and one lease a request. Needs no extra. Source: PEP 3333.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, final

from balancekit._support.display import ConstructorRepr
from balancekit.adapters._classification import classify_status, classify_unread
from balancekit.adapters._retry_after import format_retry_after
from balancekit.adapters._route_statistics import RouteStatistics, RouteStats
from balancekit.adapters._routing import RoutedRequest, Router
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.l7 import Request, RouteTable
from balancekit.outcome import Outcome, classify_exception

__all__ = ["RoutedRequest", "RoutingMiddleware"]

StartResponse: TypeAlias = Callable[..., Any]
Application: TypeAlias = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

NO_BODY = (204, 304)
"""Statuses of answers without a body, which a server need not read (RFC 9110 6.4.1)."""
REASONS = {400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


@final
class RoutingMiddleware(ConstructorRepr):
    """Give each request a route and an endpoint, then call the application. As the one for ASGI.

    Parameters
    ----------
    app
        A WSGI application.
    table
        A :class:`~balancekit.l7.RouteTable` whose pools are balancers.
    key
        Finds a request's key, for splits and keyed selectors: any function of a :class:`~balancekit.l7.Request`.
    statistics
        Where requests are counted; its own if left out.

    Raises
    ------
    ConfigurationError
        If ``app`` cannot be called, ``table`` is no ``RouteTable``, ``key`` is no plain function, or
        ``statistics`` is no ``RouteStatistics``.

    *When not to use it:* where an encoded slash must be distinguished from a plain one and the server gives neither
    ``RAW_URI`` nor ``REQUEST_URI``.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.l7 import Route
    >>> def app(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [environ["balancekit"].lease.target.encode()]
    >>> edge = RoutingMiddleware(app, RouteTable([Route("site", LoadBalancer(["10.0.0.1:80"]))]))
    >>> list(edge({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}, lambda *parts: None))
    [b'10.0.0.1:80']
    """

    def __init__(
        self,
        app: Application,
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

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as servers call it."""
        router, request = self._router, Request.from_wsgi(environ)
        match = router.match(request)
        if match is None:
            status = 404 if router.table.rejection(request) is None else 400
            return _refuse(request, start_response, status, router.refusal(request))
        try:
            routed = router.routed(match, request)
        except UnavailableError as error:
            router.statistics.record(match.route.name, latency=0.0, failed=True)
            return _refuse(
                request,
                start_response,
                503,
                "no endpoint is available",
                retry_after=format_retry_after(error.retry_in),
            )
        body = _Body(router, routed)
        try:
            return body.begun(self._app({**environ, "balancekit": routed}, body.starting(start_response)))
        except BaseException as error:
            body.raised(error)
            raise


class _Body:
    """The body of an answer, and the end of its lease."""

    def __init__(self, router: Router[None], routed: RoutedRequest) -> None:
        self._router, self._routed = router, routed
        self._started = time.perf_counter()
        self._status = 0
        self._chunks: Iterable[bytes] = ()

    def starting(self, start_response: StartResponse) -> StartResponse:
        """Return a ``start_response`` that notes the status."""

        def noted(status: str, *rest: Any) -> Any:
            self._status = int(status.split(" ", 1)[0])
            self._routed.lease.first_byte()
            return start_response(status, *rest)

        return noted

    def begun(self, chunks: Iterable[bytes]) -> _Body:
        """Take the application's body."""
        self._chunks = chunks
        return self

    def ended(self, outcome: Outcome, *, failed: bool = False) -> None:
        """End the lease, once."""
        if self._routed.lease.release(outcome):
            self._router.record(self._routed.match, self._started, failed=failed)

    def raised(self, error: BaseException) -> None:
        """End the lease for an error of the application; what is no ``Exception`` comes from the server, as a time-out of gunicorn."""
        self.ended(classify_exception(error), failed=isinstance(error, Exception))

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except GeneratorExit:  # the server reads no further; `close` follows
            raise
        except BaseException as error:
            self.raised(error)
            raise
        outcome = classify_status(self._status).outcome
        self.ended(outcome, failed=outcome is Outcome.FAILURE)

    def close(self) -> None:
        """Close the application's body, as servers do when they are done."""
        try:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
        finally:
            whole = self._routed.match.request.method == "HEAD" or self._status in NO_BODY
            outcome = classify_status(self._status).outcome if whole else classify_unread(self._status)
            self.ended(outcome, failed=outcome is Outcome.FAILURE)


def _refuse(
    request: Request,
    start_response: StartResponse,
    status: int,
    text: str,
    *,
    retry_after: str | None = None,
) -> list[bytes]:
    body = f"{text}\n".encode("ascii", "backslashreplace")
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    if retry_after is not None:
        headers.append(("Retry-After", retry_after))
    start_response(f"{status} {REASONS[status]}", headers)
    return [] if request.method == "HEAD" else [body]  # not every server keeps it back
