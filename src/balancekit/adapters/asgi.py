"""Middleware for ASGI servers: the route table picks the pool, the pool an endpoint, before the application runs.

The application finds both in ``scope["balancekit"]``, a :class:`RoutedRequest`, and forwards to ``lease.target`` or decides
otherwise. The lease ends with the last of the answer, or else with the application, with the outcome of its status: what the
application does after its answer, such as background tasks, is not part of the request. An error of the application before
that is a failure, unless the client has disconnected.

Cost: one match and one lease a request. Needs no extra: ASGI is a calling convention (asgi.readthedocs.io, HTTP 2.5).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias, final

from balancekit.adapters._classification import classify_status, classify_unread
from balancekit.adapters._middleware import Middleware, Refusal
from balancekit.adapters._routing import RoutedRequest, Router
from balancekit.l7 import Request
from balancekit.outcome import Outcome, classify_exception

__all__ = ["RoutedRequest", "RoutingMiddleware"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

DENIAL: Final = "websocket.http.response"
"""The extension by which a WebSocket is denied with an answer (ASGI, "Websocket Denial Response")."""
STARTS: Final = ("http.response.start", f"{DENIAL}.start")
BODIES: Final = ("http.response.body", f"{DENIAL}.body")
SWITCHING_PROTOCOLS: Final = 101
CLOSE_STATUS: Final = {1011: 500, 1012: 503, 1013: 503, 1014: 502}
"""Codes of a WebSocket's end that stand for an error of the server, as a status (IANA's registry of close codes)."""


@final
class RoutingMiddleware(Middleware[Application]):
    """Give each request a route and an endpoint, then call the application.

    Parameters
    ----------
    app
        An ASGI application.
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

    *Answers of its own.* 400 for a target or host that the table rejects, 404 if no route takes the request, 503 with
    ``Retry-After`` where known if the pool has no endpoint to offer. A WebSocket gets the same answer from servers that have
    the extension for it, and is closed before it is accepted by the others.

    *When not to use it:* for retries. The application runs once, so a route's ``attempts`` is for clients: forward with
    ``RoutedTransport`` instead.

    Example
    -------
    >>> import asyncio
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.asgi import RoutingMiddleware
    >>> from balancekit.l7 import Route, RouteTable
    >>> async def app(scope, receive, send):
    ...     print(scope["balancekit"].match.route.name, scope["balancekit"].lease.target)
    >>> edge = RoutingMiddleware(app, RouteTable([Route("site", LoadBalancer(["10.0.0.1:80"]))]))
    >>> asyncio.run(edge({"type": "http", "method": "GET", "path": "/", "headers": []}, None, None))
    site 10.0.0.1:80
    """

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as servers call it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        found = self._decide(Request.from_asgi(scope))
        if isinstance(found, Refusal):
            await _refuse(scope, send, found)
        else:
            await self._run(scope, receive, send, found)

    async def _run(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, routed: RoutedRequest
    ) -> None:
        exchange = _Exchange(self._router, routed, receive, send)
        outcome: Outcome | None = None  # ended by the server, with an exception of asyncio's or of trio's
        raised = False
        try:
            await self._app({**scope, "balancekit": routed}, exchange.receive, exchange.send)
            outcome = classify_status(exchange.status).outcome
        except Exception as error:
            if not exchange.hung_up:  # else it is the client that ended the request
                outcome, raised = classify_exception(error), True
            raise
        finally:
            exchange.ended(outcome or classify_unread(exchange.status), raised=raised)


class _Exchange:
    """One request and its answer, and the end of its lease."""

    def __init__(self, router: Router[None], routed: RoutedRequest, receive: Receive, send: Send) -> None:
        self.status: int = 0
        """That of the answer, 0 before it has begun."""
        self.hung_up: bool = False
        """Whether the client has gone."""
        self._router, self._routed, self._receive, self._send = router, routed, receive, send
        self._started = time.perf_counter()
        self._recorded = False

    async def receive(self) -> Message:
        """Pass a message of the client on."""
        message = await self._receive()
        self.hung_up = self.hung_up or message["type"] in {"http.disconnect", "websocket.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        """Pass a message of the application on; the last one ends the lease."""
        status = _status(message)
        if status is not None:
            self.status = status
            if not self._recorded:
                self._routed.lease.first_byte()
                self._record(failed=status >= 500)
        try:
            await self._send(message)
        except OSError:  # how servers say that the client has gone
            self.hung_up = True
            raise
        if _is_last(message):
            self._routed.lease.release(classify_status(self.status).outcome)

    def ended(self, outcome: Outcome, *, raised: bool) -> None:
        """End the lease, unless the last message has; count the request, unless its status has been."""
        self._routed.lease.release(outcome)
        if not self._recorded:
            self._record(failed=raised or outcome not in {Outcome.SUCCESS, Outcome.CANCELLED})

    def _record(self, *, failed: bool) -> None:
        self._recorded = True
        self._router.record(self._routed.match, self._started, failed=failed)


def _status(message: Message) -> int | None:
    """Return the status that a message states, ``None`` if it states none."""
    kind = message["type"]
    if kind in STARTS:
        return int(message["status"])
    if kind == "websocket.accept":
        return SWITCHING_PROTOCOLS
    return CLOSE_STATUS.get(message.get("code", 0)) if kind == "websocket.close" else None


def _is_last(message: Message) -> bool:
    kind = message["type"]
    return kind == "websocket.close" or (kind in BODIES and not message.get("more_body", False))


async def _refuse(scope: MutableMapping[str, Any], send: Send, refusal: Refusal) -> None:
    kind = "http.response" if scope["type"] == "http" else DENIAL
    if kind == DENIAL and DENIAL not in (scope.get("extensions") or ()):
        await send({"type": "websocket.close", "code": 1008 if refusal.status < 500 else 1013})
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(refusal.body))]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", refusal.retry_after.encode("ascii")))
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else refusal.body})
