"""Transports for httpx2 clients: ``Client(transport=BalancedTransport(balancer))``.

The client sees one service, ``http://orders/...``; the transport sends each request to an endpoint, by an inner transport
that belongs to it: pools of connections are per endpoint, the SSL context is shared. A lease ends when the body has been
read or closed, not when the headers arrive. The caller's request is never changed, and cookies, redirects and
``response.url`` are those of the service.

Cost: 20 to 40 microseconds a request where the client itself takes 300; ``benchmarks/adapters`` measures the ratio.
Needs the extra ``httpx2``.
"""

from __future__ import annotations

import math
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar, Unpack, final

from balancekit._support.extras import extra

with extra("httpx2"):
    import httpx2

from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import new_lock
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.signature import spelled
from balancekit.adapters._body_buffer import buffer_body, buffer_body_async
from balancekit.adapters._call import Call, begin_call
from balancekit.adapters._config import AdapterConfig, AdapterOptions
from balancekit.adapters._exchange import Answer, carry_out, carry_out_async, exchange
from balancekit.adapters._httpx2_bodies import (
    DEADLINE_PASSED,
    AsyncBalancedBody,
    BalancedBody,
    check_deadline,
)
from balancekit.adapters._httpx2_requests import (
    UnusableEndpointError,
    replayable,
    rewritten,
    rules,
    sleep,
    with_body,
)
from balancekit.adapters._target import Address, address_of
from balancekit.adapters._transports import TransportPool
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import ObservableBalancer

__all__ = ["AsyncBalancedTransport", "BalancedTransport", "check_mounted"]

InnerTransport = TypeVar("InnerTransport", httpx2.BaseTransport, httpx2.AsyncBaseTransport)


_OTHER_CLIENT: Final = (
    "this transport is for clients of httpx2; for one of {0} import it from balancekit.adapters.{0}"
)


class _Transport(ABC, Generic[InnerTransport]):
    """What both transports are made of."""

    _sends: ClassVar[str]
    """The method by which an inner transport sends."""

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        *,
        transport_factory: Callable[[Endpoint[Any]], InnerTransport] | None = None,
        fallback: InnerTransport | None = None,
        verify: ssl.SSLContext | None = None,
        drain_timeout: float = 30.0,
        **options: Unpack[AdapterOptions],
    ) -> None:
        self._config = AdapterConfig(balancer, **options)
        if transport_factory is not None and not callable(transport_factory):
            raise ConfigurationError("transport_factory", transport_factory, "a function of an endpoint")
        if verify is not None and not isinstance(verify, ssl.SSLContext):
            raise ConfigurationError("verify", verify, "an ssl.SSLContext")
        self._verify = verify
        self._fallback: InnerTransport | None = (
            None if fallback is None else self._inner("fallback", fallback)
        )
        self._lock = new_lock()
        self._factory: Callable[[Endpoint[Any]], InnerTransport] | None = transport_factory
        self._pool: TransportPool[InnerTransport] = TransportPool(
            balancer, self._made, drain_timeout, self._config.clock
        )

    def _made(self, endpoint: Endpoint[Any]) -> InnerTransport:
        if self._factory is None:
            return self._default(endpoint)
        return self._inner("transport_factory", self._factory(endpoint))

    def _inner(self, name: str, value: InnerTransport) -> InnerTransport:
        """Return an inner transport that can send as this one does."""
        if not hasattr(value, self._sends):
            raise ConfigurationError(name, value, f"a transport with {self._sends}")
        return value

    def _default(self, endpoint: Endpoint[Any] | None) -> InnerTransport:
        """Make a transport; for all of them there is one SSL context."""
        with self._lock:
            if self._verify is None:
                self._verify = httpx2.create_ssl_context()
        socket = None if endpoint is None else address_of(endpoint.target).socket
        return self._make(self._verify, socket)

    @abstractmethod
    def _make(self, verify: ssl.SSLContext, socket: str | None) -> InnerTransport:
        """Make an inner transport."""

    def _passes(self, request: httpx2.Request) -> bool:
        if not isinstance(request, httpx2.Request):
            raise TypeError(_OTHER_CLIENT.format(type(request).__module__.partition(".")[0]))
        url = request.url
        return not self._config.matcher.matches(url.raw_host.decode("ascii"), url.port, url.scheme)

    def _other(self) -> InnerTransport:
        """Return the transport of requests that are for other hosts."""
        if self._fallback is None:
            self._fallback = self._default(None)
        return self._fallback

    def _call(self, request: httpx2.Request) -> Call:
        return begin_call(self._config, request, request.extensions.get("balancekit"))

    def _next(self, request: httpx2.Request, call: Call) -> tuple[InnerTransport, Address, httpx2.Request]:
        """Return the transport of the next attempt, its address, and the request as the endpoint gets it."""
        url = request.url
        try:
            route = self._pool.of(call.lease)
        except Exception as error:
            raise_interrupt()
            raise UnusableEndpointError(call.unusable(error), request=request) from error
        where = route.address
        name = request.extensions.get("sni_hostname")
        if (where.scheme or url.scheme) != "https":
            name = None
        elif name is None:
            name = self._config.matcher.server_name(
                where, logical=url.raw_host.decode("ascii").removesuffix(".")
            )
        inner = route.transports.get(name)
        if inner is None:
            try:
                inner = self._pool.open(route, name)
            except Exception as error:
                raise_interrupt()
                raise UnusableEndpointError(call.unusable(error), request=request) from error
        return inner, where, rewritten(request, where, name, call, self._config)

    def _answer(
        self, response: httpx2.Response, where: Address, sent: httpx2.Request
    ) -> Answer[httpx2.Response]:
        """Return what the exchange reads of an answer; an endpoint's own cookies are kept."""
        jars = self._config.jars
        if jars is not None:
            lines = response.headers.get_list("Set-Cookie")
            if lines:
                jars.keep(where, str(sent.url), sent.headers, lines)
                del response.headers["Set-Cookie"]
        return Answer(response, response.status_code, response.headers, where)

    def _hand_over(self, request: httpx2.Request, response: httpx2.Response, call: Call) -> httpx2.Response:
        """Make the endpoint's answer the service's."""
        response.extensions["balancekit"] = call.begun()
        if response.is_closed:  # an inner transport that had the whole body already: it is not read again
            call.whole()
        if self._config.rewrite_location and 300 <= response.status_code < 400:
            location = response.headers.get("Location")
            if location is not None:
                url = request.url
                logical = f"{url.scheme}://{url.netloc.decode('ascii')}"
                back = self._config.matcher.logical_location(location, logical=logical)
                if back != location:
                    response.headers["Location"] = back
        return response


@spelled(AdapterOptions)
@final
class BalancedTransport(_Transport[httpx2.BaseTransport], httpx2.BaseTransport):
    """A transport for ``httpx2.Client`` that sends each request to an endpoint of a balancer.

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
        checked, against the name that was asked for.
    drain_timeout
        Seconds for which the connections of a removed endpoint may outlive it, >= 0.
    options
        :class:`~balancekit.adapters.AdapterOptions`: ``service``, ``attempts``, ``budget``, ``key``...

    Raises
    ------
    ConfigurationError
        For a wrong value, or endpoints of which no target is an address.

    *Errors of requests* are the client's own: ``ConnectError`` from ``UnavailableError`` if no endpoint is eligible, and from
    its cause if the last endpoint cannot be used: its target is no address, or ``transport_factory`` fails.

    *When not to use it:* with a proxy. Balance over proxies instead, one inner transport each.

    Example
    -------
    >>> import httpx2
    >>> from balancekit import LoadBalancer
    >>> orders = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    >>> inner = httpx2.MockTransport(lambda request: httpx2.Response(200, text=request.url.host))
    >>> transport = BalancedTransport(orders, transport_factory=lambda endpoint: inner)
    >>> with httpx2.Client(transport=transport) as client:
    ...     client.get("http://orders/items").text in ("10.0.0.1", "10.0.0.2")
    True
    """

    _sends = "handle_request"

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        handle_async_request = __aenter__ = Elsewhere("httpx2.AsyncClient needs AsyncBalancedTransport")

    def _make(self, verify: ssl.SSLContext, socket: str | None) -> httpx2.BaseTransport:
        return httpx2.HTTPTransport(verify=verify, uds=socket, retries=0)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an endpoint, and to another if that fails and it may be."""
        if self._passes(request):
            with self._config.matcher.passing(request.url.host):
                return self._other().handle_request(request)
        transports = self._pool
        if transports.departed:
            for inner in transports.leave():
                inner.close()
        limit = self._config.buffer_body
        if limit and not replayable(request) and isinstance(request.stream, httpx2.SyncByteStream):
            request = with_body(request, buffer_body(request.stream, limit))
        call = self._call(request)

        def send() -> Answer[httpx2.Response]:
            inner, where, outgoing = self._next(request, call)
            response = inner.handle_request(outgoing)
            check_deadline(call, request, response)
            return self._answer(response, where, outgoing)

        def hand_over(response: httpx2.Response) -> httpx2.Response:
            if not response.is_closed:
                response.stream = BalancedBody(response.stream, call, request)  # type: ignore[arg-type]  # it is a sync one
            return self._hand_over(request, response, call)

        return carry_out(
            call, exchange(call, request, rules(request)), send, httpx2.Response.close, hand_over
        )

    def close(self) -> None:
        """Close every inner transport. Once is enough, more do no harm."""
        for inner in self._pool.close():
            inner.close()
        if self._fallback is not None:
            self._fallback.close()

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
class AsyncBalancedTransport(_Transport[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):
    """A transport for ``httpx2.AsyncClient``, on asyncio or trio. As :class:`BalancedTransport`.

    Example
    -------
    >>> import asyncio, httpx2
    >>> from balancekit import LoadBalancer
    >>> orders = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    >>> inner = httpx2.MockTransport(lambda request: httpx2.Response(200, text=request.url.host))
    >>> async def main():
    ...     transport = AsyncBalancedTransport(orders, transport_factory=lambda endpoint: inner)
    ...     async with httpx2.AsyncClient(transport=transport) as client:
    ...         return (await client.get("http://orders/items")).text
    >>> asyncio.run(main()) in ("10.0.0.1", "10.0.0.2")
    True
    """

    _sends = "handle_async_request"

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        handle_request = __enter__ = Elsewhere("httpx2.Client needs BalancedTransport")

    def _make(self, verify: ssl.SSLContext, socket: str | None) -> httpx2.AsyncBaseTransport:
        return httpx2.AsyncHTTPTransport(verify=verify, uds=socket, retries=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an endpoint, and to another if that fails and it may be."""
        if self._passes(request):
            with self._config.matcher.passing(request.url.host):
                return await self._other().handle_async_request(request)
        transports = self._pool
        if transports.departed:
            for inner in transports.leave():
                await inner.aclose()
        limit = self._config.buffer_body
        if limit and not replayable(request) and isinstance(request.stream, httpx2.AsyncByteStream):
            request = with_body(request, await buffer_body_async(request.stream, limit))
        call = self._call(request)

        async def send() -> Answer[httpx2.Response]:
            inner, where, outgoing = self._next(request, call)
            response = await self._sent(inner, outgoing, call)
            return self._answer(response, where, outgoing)

        def hand_over(response: httpx2.Response) -> httpx2.Response:
            if not response.is_closed:
                response.stream = AsyncBalancedBody(response.stream, call, request)  # type: ignore[arg-type]  # it is an async one
            return self._hand_over(request, response, call)

        steps = exchange(call, request, rules(request))
        return await carry_out_async(call, steps, send, httpx2.Response.aclose, hand_over, sleep)

    async def _sent(
        self, inner: httpx2.AsyncBaseTransport, outgoing: httpx2.Request, call: Call
    ) -> httpx2.Response:
        """Send one attempt; it ends when the deadline does, whatever the endpoint sends meanwhile."""
        if call.deadline == math.inf:
            return await inner.handle_async_request(outgoing)
        import anyio  # noqa: PLC0415 - a dependency of the client, needed here only

        try:
            with anyio.fail_after(call.left()):
                return await inner.handle_async_request(outgoing)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(DEADLINE_PASSED, request=outgoing) from error

    async def aclose(self) -> None:
        """Close every inner transport. Once is enough, more do no harm."""
        for inner in self._pool.close():
            await inner.aclose()
        if self._fallback is not None:
            await self._fallback.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def check_mounted(client: httpx2.Client | httpx2.AsyncClient, url: str) -> None:
    """Refuse a client that would send a URL past the balancer.

    With ``mounts=``, an environment variable such as ``NO_PROXY=orders`` makes a longer pattern than ``http://orders`` and
    wins. ``transport=`` has no such trap.

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
    >>> import httpx2
    >>> with httpx2.Client() as client:
    ...     check_mounted(client, "http://orders")
    Traceback (most recent call last):
    ...
    balancekit.errors.ConfigurationError: url='http://orders' is not allowed: expected a URL that a balanced transport carries; this client sends it by HTTPTransport
    """
    carrying = client._transport_for_url(httpx2.URL(url))
    if not isinstance(carrying, _Transport):
        name = type(carrying).__name__
        raise ConfigurationError(
            "url", url, f"a URL that a balanced transport carries; this client sends it by {name}"
        )
