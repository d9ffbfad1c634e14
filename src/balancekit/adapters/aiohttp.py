"""Middleware for aiohttp sessions: ``ClientSession(middlewares=[balanced("orders", balancer)])``.

The session sees one service, ``http://orders/...``. While a request is under way to an endpoint, its URL is that of the
endpoint. Afterwards it is that of the service again, and so are redirects, cookies and ``response.url``. aiohttp itself keeps
connections apart by address and by TLS name. A lease ends when the body has been read or closed, not when the headers arrive.

*Two features of aiohttp itself.* When a connection breaks, it sends an idempotent request once more through the middleware,
which then picks another endpoint; this does not count as a retry. Its limit of 100 connections is one for all endpoints: give
its connector a ``limit_per_host`` as well.

Cost: two fifths to a half of what aiohttp itself, whose parser is compiled, takes for the shortest request;
``benchmarks/adapters`` measures the ratio. Needs the extra ``aiohttp``, 3.14.4 or later: 3.14.0 keeps connections apart by
address only, whatever name was verified, and 3.14.3 may send an empty body when it repeats a request by itself.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import ContextVar
from functools import partial
from http.cookies import SimpleCookie
from typing import Any, Unpack, final
from weakref import ref

from balancekit._support.display import ConstructorRepr
from balancekit._support.extras import extra

with extra("aiohttp"):
    import aiohttp
    from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientSession, RequestInfo, hdrs
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.payload import AsyncIterablePayload
    from multidict import CIMultiDict, CIMultiDictProxy
    from yarl import URL

from balancekit._support.signature import spelled
from balancekit.adapters._addresses import AddressCache, reachable
from balancekit.adapters._aiohttp_errors import UnusableEndpointError, classify_error, replayable, watch_body
from balancekit.adapters._body_buffer import buffer_body_async
from balancekit.adapters._call import Call, begin_call
from balancekit.adapters._classification import CANCELLED, IDEMPOTENT_METHODS
from balancekit.adapters._config import AdapterConfig, AdapterOptions, CallOptions
from balancekit.adapters._exchange import Answer, Rules, carry_out_async, exchange
from balancekit.adapters._target import Address
from balancekit.errors import ConfigurationError, UnavailableError
from balancekit.protocols import ObservableBalancer

__all__ = ["Balanced", "balanced"]

if "server_hostname" not in ConnectionKey._fields:
    raise ImportError("balancekit.adapters.aiohttp needs aiohttp 3.14.4 or later")

_broken: ContextVar[tuple[object, str, URL, tuple[str, ...]] | None] = ContextVar(
    "balancekit_broken", default=None
)
"""What this task has just seen break: the timer, which the attempts of one call share, method, URL, and the endpoints tried."""


def _no_endpoint(error: UnavailableError) -> aiohttp.ClientConnectionError:
    return aiohttp.ClientConnectionError(str(error))


async def _close(response: ClientResponse) -> None:
    response.close()


def _rules(call: Call, session: ClientSession) -> Rules:
    """Return what the exchange needs to know of the client's classes."""
    return Rules(partial(classify_error, call=call, session=session), replayable, _no_endpoint)


async def _buffer(request: ClientRequest, limit: int) -> None:
    """Read an asynchronous body ahead. What else can be used up, aiohttp rewinds by itself or not at all."""
    body: object = request.body
    if isinstance(body, AsyncIterablePayload) and body._iter is not None and not body.consumed:
        found = await buffer_body_async(body._iter, limit)
        if isinstance(found, bytes):
            await request.update_body(found)
        else:
            body._iter = found


@spelled(CallOptions)
def balanced(
    service: str | None,
    balancer: ObservableBalancer[Any],
    **options: Unpack[CallOptions],
) -> Balanced:
    """Return a middleware that sends requests for a service to the endpoints of a balancer.

    Parameters
    ----------
    service
        The host of the URLs to balance, ``"orders"`` or ``"orders:8080"``; all others pass untouched. ``None`` for all.
    balancer
        Its targets are addresses or :class:`~balancekit.adapters.HttpTarget`; no Unix sockets.
    options
        :class:`~balancekit.adapters.CallOptions`: ``attempts``, ``budget``, ``key``...

    Raises
    ------
    ConfigurationError
        If ``service`` is neither a host nor ``None``; ``balancer`` is no balancer, or none of its targets is an address; or
        an option is not allowed (see :class:`~balancekit.adapters.CallOptions`).

    *Errors of requests* are the client's own: ``ClientConnectionError`` from ``UnavailableError`` if no endpoint is eligible,
    and from ``ConfigurationError`` if the target of the last endpoint is no address.

    Example
    -------
    >>> import asyncio, aiohttp
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.aiohttp import balanced
    >>> orders = LoadBalancer(["127.0.0.1:9", "[::1]:9"])      # nothing listens at port 9
    >>> async def main():
    ...     async with aiohttp.ClientSession(middlewares=[balanced("orders", orders)]) as session:
    ...         await session.get("http://orders/items")
    >>> try:
    ...     asyncio.run(main())
    ... except aiohttp.ClientConnectorError as error:
    ...     error.__notes__[0].startswith("balancekit: attempt 2")
    True
    """
    return Balanced(balancer, service=service, **options)


@spelled(AdapterOptions)
@final
class Balanced(ConstructorRepr):
    """The middleware; made by :func:`balanced`."""

    def __init__(self, balancer: ObservableBalancer[Any], **options: Unpack[AdapterOptions]) -> None:
        self._config = AdapterConfig(balancer, **options)
        self._config.check(reachable)
        self._addresses = AddressCache(balancer)

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request to an endpoint, and to another if that fails and it may be."""
        url = request.url
        config = self._config
        if not config.matcher.matches(url.raw_host or "", url.explicit_port, url.scheme):
            with config.matcher.passing(url.raw_host or ""):
                return await handler(request)
        if config.buffer_body:
            await _buffer(request, config.buffer_body)
        call = begin_call(config, request)
        before, again = _broken.get(), False
        if before is not None:
            _broken.set(None)
            again = before[0] is request._timer and before[1:3] == (request.method, url)
            if again:
                call.tried.extend(before[3])

        send = partial(self._send, request, url, call, handler)
        hand_over = partial(self._hand_over, url, call, request.session)
        steps = exchange(call, request, _rules(call, request.session))
        try:
            return await carry_out_async(call, steps, send, _close, hand_over, asyncio.sleep)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not again and request.method in IDEMPOTENT_METHODS:  # aiohttp will come back
                _broken.set((request._timer, request.method, url, tuple(call.tried)))
            raise

    async def _send(
        self, request: ClientRequest, url: URL, call: Call, handler: ClientHandlerType
    ) -> Answer[ClientResponse]:
        """Send one attempt: the request is the endpoint's while it is on its way."""
        try:
            where = self._addresses.of(call.lease.endpoint)
        except ConfigurationError as error:
            raise UnusableEndpointError(call.unusable(error)) from error
        jars, headers = self._config.jars, request.headers
        server_hostname = request.server_hostname
        proxy, proxy_auth, proxy_headers = request.proxy, request.proxy_auth, request.proxy_headers
        self._direct(request, url, where, call)
        hidden = request.headers is not headers
        watch_body(request.body, call)
        try:
            if call.deadline == math.inf:
                response = await handler(request)
            else:
                async with asyncio.timeout(call.left()):
                    response = await handler(request)
            if jars is not None:
                lines = response.headers.getall(hdrs.SET_COOKIE, ())
                jars.keep(where, str(request.url), request.headers, lines)
                response.cookies = SimpleCookie()
                _change(response, hdrs.SET_COOKIE, None)
            if hidden:
                shown = _shown(response._request_info, headers)
                # where the property caches its value
                response._request_info = response._cache["request_info"] = shown
        except aiohttp.InvalidURL as error:  # no address that the connector takes
            raise UnusableEndpointError(call.unusable(error)) from error
        except aiohttp.ClientResponseError as error:
            if hidden:
                error.request_info = _shown(error.request_info, headers)
                error.args = (error.request_info, error.history)
            raise
        finally:
            request.url, request.headers, request.server_hostname = url, headers, server_hostname
            request.proxy, request.proxy_auth, request.proxy_headers = proxy, proxy_auth, proxy_headers
        return Answer(response, response.status, response.headers, where)

    def _direct(self, request: ClientRequest, url: URL, where: Address, call: Call) -> None:
        """Make a request one to an endpoint; its headers are copied before they are changed."""
        config = self._config
        logical = url.host_port_subcomponent or ""
        authority = config.matcher.host_header(where, logical=logical)
        headers = request.headers
        own = dict(where.headers) if where.headers else {}
        if authority != logical and headers.get(hdrs.HOST) == logical:
            own[hdrs.HOST] = authority
        if config.propagate_deadline is not None and call.deadline != math.inf:
            own[config.propagate_deadline] = str(int(call.left() * 1000.0))
        if own or config.jars is not None or hdrs.PROXY_AUTHORIZATION in headers:
            request.headers = headers.copy()
            request.headers.update(own)
            request.headers.popall(hdrs.PROXY_AUTHORIZATION, None)
        # Never by a proxy, which the environment may name: the endpoint is connected to directly.
        request.proxy = request.proxy_auth = request.proxy_headers = None
        if request._continue is not None:  # each attempt waits for a "100 Continue" of its own
            request._continue = request.loop.create_future()
        if (where.scheme or url.scheme) == "https" and request.server_hostname is None:
            request.server_hostname = config.matcher.server_name(
                where, logical=(url.raw_host or "").removesuffix(".")
            )
        request.url = URL(where.base(url.scheme) + url.raw_path_qs, encoded=True)
        if config.jars is not None:
            config.jars.carry(where, str(request.url), request.headers)

    def _hand_over(
        self, url: URL, call: Call, session: ClientSession, response: ClientResponse
    ) -> ClientResponse:
        """Make the endpoint's answer the service's."""
        response._balancekit = call  # type: ignore[attr-defined]  # read by `info`
        if self._config.rewrite_location and hdrs.LOCATION in response.headers:
            location = response.headers[hdrs.LOCATION]
            logical = f"{url.scheme}://{url.host_port_subcomponent}"
            _change(response, hdrs.LOCATION, self._config.matcher.logical_location(location, logical=logical))
        connection = response.connection
        if connection is None:  # the body came with the headers
            call.lease.first_byte()
            call.whole()
            return response

        def ended() -> None:
            error = response.content.exception()
            if error is None and response.content.is_eof():
                call.whole()
            elif error is None or type(error) is aiohttp.ClientConnectionError:
                # How aiohttp says that the caller closed it.
                call.closed()
            else:
                call.broke(
                    classify_error(error, call, session) if isinstance(error, BaseException) else CANCELLED
                )

        call.lease.first_byte()
        connection.add_callback(ended)
        if connection.protocol is not None:
            _pass_on_errors(connection.protocol)
        if call.deadline != math.inf:
            timer = asyncio.get_running_loop().call_later(call.left(), _cut, response)
            connection.add_callback(timer.cancel)
        return response


def _cut(response: ClientResponse) -> None:
    """End an answer whose body is still coming when the deadline of the call passes."""
    response.content.set_exception(aiohttp.SocketTimeoutError("the deadline of the call has passed"))
    response.close()


def _pass_on_errors(protocol: ResponseHandler) -> None:
    """Fail a body that cannot be parsed: aiohttp hangs up, and its reader waits on, for ever."""
    if "set_exception" not in protocol.__dict__:
        protocol.set_exception = partial(_set_exception, ref(protocol))  # type: ignore[method-assign]  # of this connection
    error = protocol.exception()
    if error is not None:
        _fail_body(protocol, error)


def _set_exception(connection: ref[ResponseHandler], error: BaseException, *cause: BaseException) -> None:
    """Do what the method of a connection does, and fail its body."""
    protocol = connection()
    if protocol is not None:
        ResponseHandler.set_exception(protocol, error, *cause)
        _fail_body(protocol, error)


def _fail_body(protocol: ResponseHandler, error: BaseException) -> None:
    body = protocol._payload
    if not isinstance(error, HttpProcessingError) or body is None or body.is_eof() or body.exception():
        return
    body.set_exception(aiohttp.ClientPayloadError(f"the body cannot be parsed: {error.message}"), error)


def _change(response: ClientResponse, name: str, value: str | None) -> None:
    """Replace a header of an answer; ``None`` takes it out."""
    headers = response.headers.copy()
    headers.popall(name, None)
    if value is not None:
        headers[name] = value
    # Where the property caches its value.
    response._cache["headers"] = CIMultiDictProxy(headers)


def _shown(sent: RequestInfo, headers: CIMultiDict[str]) -> RequestInfo:
    """Return what an answer or an error may show of its request: the caller's headers, without the endpoint's keys."""
    return RequestInfo(sent.url, sent.method, CIMultiDictProxy(headers), sent.real_url)
