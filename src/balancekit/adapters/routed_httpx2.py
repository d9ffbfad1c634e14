"""Routed transports for httpx2 clients: the table picks the pool, the pool's balanced transport sends.

Cost: one match more than a balanced transport. The connections of a pool that has left the table are closed by a later request,
once nothing is in flight there. Needs the extra ``httpx2``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.extras import extra

with extra("httpx2"):
    import httpx2

from balancekit._support.functions import plain_function
from balancekit._support.log import contain_error
from balancekit._support.signature import spelled
from balancekit.adapters._config import AdapterOptions
from balancekit.adapters._request_options import current_options
from balancekit.adapters._route_statistics import RouteStatistics, RouteStats
from balancekit.adapters._routing import NOT_CLOSED, Router, close_departed
from balancekit.adapters.httpx2 import AsyncBalancedTransport, BalancedTransport
from balancekit.balancer import LoadBalancer
from balancekit.l7 import Match, Request, RouteTable

__all__ = ["AsyncRoutedTransport", "RoutedTransport"]


@spelled(AdapterOptions)
@final
class RoutedTransport(ConstructorRepr, httpx2.BaseTransport):
    """A transport for ``httpx2.Client`` that sends each request to the pool that a route table picks.

    Parameters
    ----------
    table
        A :class:`~balancekit.l7.RouteTable` whose pools are balancers.
    statistics
        Where requests are counted; its own if left out.
    make_transport
        Makes the transport of a pool; ``BalancedTransport(pool, **options)`` if left out.
    options
        :class:`~balancekit.adapters.AdapterOptions` of these; ``key`` is for splits too. A route's ``timeout``, ``attempts``
        and ``retry_on`` come before them; the options of a request itself come before those, and the earlier deadline
        counts.

    Raises
    ------
    ConfigurationError
        If ``table`` is no ``RouteTable``, ``statistics`` is no ``RouteStatistics``, or ``make_transport`` or
        ``key`` is no function.

    *Errors of requests* are the client's own: ``LocalProtocolError`` if no route takes a request or the table rejects it,
    with the reason; the others as for ``BalancedTransport``.

    *When not to use it:* for one pool. Connections of a pool that a new table no longer names stay open until
    :meth:`close`.

    Example
    -------
    >>> import httpx2
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.httpx2 import BalancedTransport
    >>> from balancekit.adapters.routed_httpx2 import RoutedTransport
    >>> from balancekit.l7 import Route, RouteTable, prefix
    >>> answer = httpx2.MockTransport(lambda request: httpx2.Response(200, text=str(request.url)))
    >>> table = RouteTable([Route("orders", LoadBalancer(["10.0.0.1:80"]), path=prefix("/orders"), rewrite="/v2")])
    >>> made = lambda pool: BalancedTransport(pool, transport_factory=lambda endpoint: answer)
    >>> with httpx2.Client(transport=RoutedTransport(table, make_transport=made)) as client:
    ...     client.get("http://shop.test/orders/7").text
    'http://10.0.0.1/v2/7'
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        handle_async_request = __aenter__ = Elsewhere("httpx2.AsyncClient needs AsyncRoutedTransport")

    def __init__(
        self,
        table: RouteTable[Any],
        *,
        statistics: RouteStatistics | None = None,
        make_transport: Callable[[LoadBalancer[Any]], httpx2.BaseTransport] | None = None,
        **options: Unpack[AdapterOptions],
    ) -> None:
        if make_transport is not None:
            plain_function("make_transport", make_transport, "a callable of a balancer")
        make = make_transport or (lambda pool: BalancedTransport(pool, **options))
        self._router: Router[httpx2.BaseTransport] = Router(
            table, make, key=options.get("key"), statistics=statistics
        )

    def stats(self) -> tuple[RouteStats, ...]:
        """Return requests, failures, retries and latency quantiles of each route."""
        return self._router.statistics.stats()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an endpoint of the pool that the table picks."""
        router = self._router
        match = _match(router, request)
        with router.sending(match, request) as transport:
            outgoing = _outgoing(router, match, request)
            if router.departed:
                close_departed(router.leave())
            started = time.perf_counter()
            try:
                response = transport.handle_request(outgoing)
            except BaseException:
                router.record(match, started, failed=True)
                raise
        router.record(match, started, failed=response.status_code >= 500, attempts=_attempts(response))
        return response

    def close(self) -> None:
        """Close the transports of all pools."""
        with ExitStack() as stack:
            for transport in self._router.transports():
                stack.callback(self._end, transport)

    def _end(self, transport: httpx2.BaseTransport) -> None:
        transport.close()
        self._router.closed(transport)

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
class AsyncRoutedTransport(ConstructorRepr, httpx2.AsyncBaseTransport):
    """A transport for ``httpx2.AsyncClient``, on asyncio or trio. As :class:`RoutedTransport`.

    Raises
    ------
    ConfigurationError
        If ``table`` is no ``RouteTable``, ``statistics`` is no ``RouteStatistics``, or ``make_transport`` or
        ``key`` is no function.

    Example
    -------
    >>> import asyncio, httpx2
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.httpx2 import AsyncBalancedTransport
    >>> from balancekit.adapters.routed_httpx2 import AsyncRoutedTransport
    >>> from balancekit.l7 import Route, RouteTable
    >>> answer = httpx2.MockTransport(lambda request: httpx2.Response(200, text=request.url.host))
    >>> table = RouteTable([Route("site", LoadBalancer(["10.0.0.1:80"]))])
    >>> made = lambda pool: AsyncBalancedTransport(pool, transport_factory=lambda endpoint: answer)
    >>> async def main():
    ...     async with httpx2.AsyncClient(transport=AsyncRoutedTransport(table, make_transport=made)) as client:
    ...         return (await client.get("http://shop.test/")).text
    >>> asyncio.run(main())
    '10.0.0.1'
    """

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        handle_request = __enter__ = Elsewhere("httpx2.Client needs RoutedTransport")

    def __init__(
        self,
        table: RouteTable[Any],
        *,
        statistics: RouteStatistics | None = None,
        make_transport: Callable[[LoadBalancer[Any]], httpx2.AsyncBaseTransport] | None = None,
        **options: Unpack[AdapterOptions],
    ) -> None:
        if make_transport is not None:
            plain_function("make_transport", make_transport, "a callable of a balancer")
        make = make_transport or (lambda pool: AsyncBalancedTransport(pool, **options))
        self._router: Router[httpx2.AsyncBaseTransport] = Router(
            table, make, key=options.get("key"), statistics=statistics
        )

    def stats(self) -> tuple[RouteStats, ...]:
        """Return requests, failures, retries and latency quantiles of each route."""
        return self._router.statistics.stats()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to an endpoint of the pool that the table picks."""
        router = self._router
        match = _match(router, request)
        with router.sending(match, request) as transport:
            outgoing = _outgoing(router, match, request)
            if router.departed:
                for left in router.leave():
                    try:
                        await left.aclose()
                    except Exception:
                        contain_error(NOT_CLOSED)
            started = time.perf_counter()
            try:
                response = await transport.handle_async_request(outgoing)
            except BaseException:
                router.record(match, started, failed=True)
                raise
        router.record(match, started, failed=response.status_code >= 500, attempts=_attempts(response))
        return response

    async def aclose(self) -> None:
        """Close the transports of all pools."""
        async with AsyncExitStack() as stack:
            for transport in self._router.transports():
                stack.push_async_callback(self._end, transport)

    async def _end(self, transport: httpx2.AsyncBaseTransport) -> None:
        await transport.aclose()
        self._router.closed(transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def _match(router: Router[Any], request: httpx2.Request) -> Match[Any]:
    """Return the route of a request.

    Raises
    ------
    httpx2.LocalProtocolError
        If there is none.
    """
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    wanted = Request(
        path,
        method=request.method,
        host=request.headers.get("Host") or request.url.netloc.decode("ascii"),
        query=query,
        headers=request.headers.raw,
    )
    match = router.match(wanted)
    if match is None:
        raise httpx2.LocalProtocolError(router.refusal(wanted), request=request)
    return match


def _outgoing(router: Router[Any], match: Match[Any], request: httpx2.Request) -> httpx2.Request:
    """Return the request as the pool's transport gets it: with the route's options, its path rewritten."""
    own = current_options(request.extensions.get("balancekit"))
    url = request.url
    if match.route.rewrite is not None:
        url = url.copy_with(raw_path=match.target.encode("ascii"))
    return httpx2.Request(
        request.method,
        url,
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "balancekit": router.options(match, own)},
    )


def _attempts(response: httpx2.Response) -> int:
    info = response.extensions.get("balancekit")
    return 1 if info is None else int(info.attempts)
