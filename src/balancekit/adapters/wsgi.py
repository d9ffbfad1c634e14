"""Middleware for WSGI servers: the route table picks the pool, the pool an endpoint, before the application runs.

The application finds both in ``environ["balancekit"]``, a :class:`RoutedRequest`, and forwards to ``lease.target`` or decides
otherwise. The lease ends when the server has closed the body, with the outcome that the status says.

Cost: one match and one lease a request. Needs no extra. Source: PEP 3333.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, final

from balancekit.adapters._classification import classify_status, classify_unread
from balancekit.adapters._middleware import Middleware, Refusal
from balancekit.adapters._routing import RoutedRequest, Router
from balancekit.l7 import Request
from balancekit.outcome import Outcome, classify_exception

__all__ = ["RoutedRequest", "RoutingMiddleware"]

StartResponse: TypeAlias = Callable[..., Any]
Application: TypeAlias = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

NO_BODY = (204, 304)
"""Statuses of answers without a body, which a server need not read (RFC 9110 6.4.1)."""
REASONS = {400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


@final
class RoutingMiddleware(Middleware[Application]):
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
    >>> from balancekit.adapters.wsgi import RoutingMiddleware
    >>> from balancekit.l7 import Route, RouteTable
    >>> def app(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [environ["balancekit"].lease.target.encode()]
    >>> edge = RoutingMiddleware(app, RouteTable([Route("site", LoadBalancer(["10.0.0.1:80"]))]))
    >>> list(edge({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": ""}, lambda *parts: None))
    [b'10.0.0.1:80']
    """

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as servers call it."""
        request = Request.from_wsgi(environ)
        found = self._decide(request)
        if isinstance(found, Refusal):
            return _refuse(request, start_response, found)
        body = _Body(self._router, found)
        try:
            return body.begun(self._app({**environ, "balancekit": found}, body.starting(start_response)))
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


def _refuse(request: Request, start_response: StartResponse, refusal: Refusal) -> list[bytes]:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(refusal.body)))]
    if refusal.retry_after is not None:
        headers.append(("Retry-After", refusal.retry_after))
    start_response(f"{refusal.status} {REASONS[refusal.status]}", headers)
    return [] if request.method == "HEAD" else [refusal.body]  # not every server keeps it back
