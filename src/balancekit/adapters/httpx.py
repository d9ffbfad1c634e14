# Generated from httpx2.py by tools/make_httpx.py. Change httpx2.py instead.
"""Transports for httpx clients: ``Client(transport=BalancedTransport(balancer))``.

The client sees one service, ``http://orders/...``; the transport sends each request to an endpoint, by an inner transport
that belongs to it: pools of connections are per endpoint, the SSL context is shared. A lease ends when the body has been
read or closed, not when the headers arrive. The caller's request is never changed, and cookies, redirects and
``response.url`` are those of the service.

Cost: 20 to 40 microseconds a request where the client itself takes 300; ``benchmarks/adapters`` measures the ratio.
Needs the extra ``httpx``.
"""

from __future__ import annotations

import math
import ssl
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, final

from balancekit._support.extras import extra

with extra("httpx"):
    import httpx

from balancekit._support.arguments import checked_arguments
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.log import contain_error
from balancekit._support.signature import spelled
from balancekit.adapters._body_buffer import buffer_body, buffer_body_async
from balancekit.adapters._call import Call
from balancekit.adapters._config import AdapterOptions
from balancekit.adapters._exchange import Answer, carry_out, carry_out_async, exchange
from balancekit.adapters._httpx_bodies import (
    AsyncBalancedBody,
    BalancedBody,
    check_deadline,
)
from balancekit.adapters._httpx_network import bound_streams, reclaim, reclaim_async
from balancekit.adapters._httpx_requests import foreign_error, replayable, rules, sleep, with_body
from balancekit.adapters._httpx_transport import TransportBase
from balancekit.adapters._time_left import DEADLINE_PASSED
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError

__all__ = ["AsyncBalancedTransport", "BalancedTransport", "check_mounted"]

NOT_CLOSED: Final = "closing the connections of an endpoint that was removed failed"


@spelled(AdapterOptions)
@final
class BalancedTransport(TransportBase[httpx.BaseTransport], httpx.BaseTransport):
    """A transport for ``httpx.Client`` that sends each request to an endpoint of a balancer.

    Parameters
    ----------
    balancer
        Its targets are addresses or :class:`~balancekit.adapters.HttpTarget`.
    transport_factory
        Makes the inner transport of an endpoint; ``HTTPTransport`` with one shared SSL context if left out.
    fallback
        Carries requests for hosts other than ``service``.
    verify
        The SSL context of the default inner transports; a shared default one if left out. Certificates are always
        checked, against the name in the request.
    drain_timeout
        Seconds for which the connections of a removed endpoint may outlive it, >= 0.
    options
        :class:`~balancekit.adapters.AdapterOptions`: ``service``, ``attempts``, ``budget``, ``key``...

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, or none of its targets is an address; ``transport_factory`` is no plain callable of
        one argument; ``fallback`` is no transport; ``verify`` is no ``ssl.SSLContext``; ``drain_timeout`` is no number >= 0;
        or an option is not allowed (see :class:`~balancekit.adapters.AdapterOptions`).

    *Errors of requests* are the client's own: ``ConnectError`` from ``UnavailableError`` if no endpoint is eligible, and from
    its cause if the last endpoint cannot be used: its target is no address, or ``transport_factory`` fails.

    *When not to use it:* with a proxy. Balance over proxies instead, one inner transport each.

    Example
    -------
    >>> import httpx
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.httpx import BalancedTransport
    >>> orders = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    >>> inner = httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.host))
    >>> transport = BalancedTransport(orders, transport_factory=lambda endpoint: inner)
    >>> with httpx.Client(transport=transport) as client:
    ...     client.get("http://orders/items").text in ("10.0.0.1", "10.0.0.2")
    True
    """

    _sends = "handle_request"

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        handle_async_request = __aenter__ = Elsewhere("httpx.AsyncClient needs AsyncBalancedTransport")

    def _make(self, verify: ssl.SSLContext, socket: str | None) -> httpx.BaseTransport:
        return httpx.HTTPTransport(verify=verify, uds=socket, retries=0)

    def _made(self, endpoint: Endpoint[Any]) -> httpx.BaseTransport:
        inner = super()._made(endpoint)
        bound_streams(inner)
        return inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to an endpoint, and to another if that fails and it may be."""
        if self._passes(request):
            with self._config.matcher.passing(request.url.host):
                return self._other().handle_request(request)
        transports = self._pool
        if transports.departed:
            for inner in transports.leave():
                try:
                    inner.close()
                except Exception:
                    contain_error(NOT_CLOSED)
        limit = self._config.buffer_body
        if limit and not replayable(request) and isinstance(request.stream, httpx.SyncByteStream):
            request = with_body(request, buffer_body(request.stream, limit))
        call = self._call(request)

        def send() -> Answer[httpx.Response]:
            inner, where, outgoing = self._next(request, call)
            try:
                response = inner.handle_request(outgoing)
            except Exception as error:
                reclaim(inner)
                found = foreign_error(error, request, call)
                if found is None:
                    raise
                raise found from error
            check_deadline(call, request, response)
            return self._answer(response, where, outgoing)

        def hand_over(response: httpx.Response) -> httpx.Response:
            if not response.is_closed:
                response.stream = BalancedBody(response.stream, call, request)  # type: ignore[arg-type]  # it is a sync one
            return self._hand_over(request, response, call)

        return carry_out(
            call, exchange(call, request, rules(request)), send, httpx.Response.close, hand_over
        )

    def close(self) -> None:
        """Close every inner transport, also if one cannot be closed. Further calls do nothing."""
        with ExitStack() as stack:
            if self._fallback is not None:
                stack.callback(self._fallback.close)
            for inner in self._pool.close():
                stack.callback(self._end, inner)

    def _end(self, inner: httpx.BaseTransport) -> None:
        inner.close()
        self._pool.closed(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()


@spelled(AdapterOptions)
@final
class AsyncBalancedTransport(TransportBase[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport):
    """A transport for ``httpx.AsyncClient``, on asyncio or trio. As :class:`BalancedTransport`.

    Example
    -------
    >>> import asyncio, httpx
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.httpx import AsyncBalancedTransport
    >>> orders = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    >>> inner = httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.host))
    >>> async def main():
    ...     transport = AsyncBalancedTransport(orders, transport_factory=lambda endpoint: inner)
    ...     async with httpx.AsyncClient(transport=transport) as client:
    ...         return (await client.get("http://orders/items")).text
    >>> asyncio.run(main()) in ("10.0.0.1", "10.0.0.2")
    True
    """

    _sends = "handle_async_request"

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        handle_request = __enter__ = Elsewhere("httpx.Client needs BalancedTransport")

    def _make(self, verify: ssl.SSLContext, socket: str | None) -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(verify=verify, uds=socket, retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to an endpoint, and to another if that fails and it may be."""
        if self._passes(request):
            with self._config.matcher.passing(request.url.host):
                return await self._other().handle_async_request(request)
        transports = self._pool
        if transports.departed:
            for inner in transports.leave():
                try:
                    await inner.aclose()
                except Exception:
                    contain_error(NOT_CLOSED)
        limit = self._config.buffer_body
        if limit and not replayable(request) and isinstance(request.stream, httpx.AsyncByteStream):
            request = with_body(request, await buffer_body_async(request.stream, limit))
        call = self._call(request)

        async def send() -> Answer[httpx.Response]:
            inner, where, outgoing = self._next(request, call)
            try:
                response = await self._sent(inner, outgoing, call)
            except Exception as error:
                found = foreign_error(error, request, call)
                if found is None:
                    raise
                raise found from error
            return self._answer(response, where, outgoing)

        def hand_over(response: httpx.Response) -> httpx.Response:
            if not response.is_closed:
                response.stream = AsyncBalancedBody(response.stream, call, request)  # type: ignore[arg-type]  # it is an async one
            return self._hand_over(request, response, call)

        steps = exchange(call, request, rules(request))
        return await carry_out_async(call, steps, send, httpx.Response.aclose, hand_over, sleep)

    async def _sent(
        self, inner: httpx.AsyncBaseTransport, outgoing: httpx.Request, call: Call
    ) -> httpx.Response:
        """Send one attempt; it ends when the deadline does, whatever the endpoint sends meanwhile."""
        try:
            if call.deadline == math.inf:
                return await inner.handle_async_request(outgoing)
            import anyio  # noqa: PLC0415 - a dependency of the client, needed here only

            with anyio.fail_after(call.left()):
                return await inner.handle_async_request(outgoing)
        except TimeoutError as error:
            await reclaim_async(inner)
            if call.deadline == math.inf:
                raise
            raise httpx.ReadTimeout(DEADLINE_PASSED, request=outgoing) from error
        except BaseException:
            await reclaim_async(inner)
            raise

    async def aclose(self) -> None:
        """Close every inner transport, also if one cannot be closed. Further calls do nothing."""
        async with AsyncExitStack() as stack:
            if self._fallback is not None:
                stack.push_async_callback(self._fallback.aclose)
            for inner in self._pool.close():
                stack.push_async_callback(self._end, inner)

    async def _end(self, inner: httpx.AsyncBaseTransport) -> None:
        await inner.aclose()
        self._pool.closed(inner)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


@checked_arguments
def check_mounted(client: httpx.Client | httpx.AsyncClient, url: str) -> None:
    """Refuse a client that would send a URL past the balancer.

    With ``mounts=``, an environment variable such as ``NO_PROXY=orders`` makes a longer pattern than ``http://orders`` and
    takes precedence. ``transport=`` has no such problem.

    Parameters
    ----------
    client
        As it will be used.
    url
        A logical URL, ``"http://orders"``.

    Raises
    ------
    ConfigurationError
        If another transport would carry it.

    Example
    -------
    >>> import httpx
    >>> from balancekit.adapters.httpx import check_mounted
    >>> with httpx.Client() as client:
    ...     check_mounted(client, "http://orders")
    Traceback (most recent call last):
    ...
    balancekit.errors.ConfigurationError: url='http://orders' is not allowed: expected a URL that a balanced transport carries; this client sends it by HTTPTransport
    """
    carrying = client._transport_for_url(httpx.URL(url))
    if not isinstance(carrying, TransportBase):
        name = type(carrying).__name__
        raise ConfigurationError(
            "url", url, f"a URL that a balanced transport carries; this client sends it by {name}"
        )
