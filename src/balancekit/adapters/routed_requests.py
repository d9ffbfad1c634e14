"""Routed adapter for requests sessions: the table picks the pool, the pool's balanced adapter sends.

Cost: one match more than a balanced adapter. The connections of a pool that has left the table are closed by a later request,
once nothing is in flight there. Needs the extra ``requests``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn, Unpack, cast, final
from urllib.parse import urlsplit

from balancekit._support.display import ConstructorRepr
from balancekit._support.extras import extra

with extra("requests"):
    from requests import PreparedRequest, Response, exceptions
    from requests.adapters import BaseAdapter

from balancekit._support.functions import plain_function
from balancekit._support.signature import spelled
from balancekit.adapters._config import AdapterOptions
from balancekit.adapters._request_options import current_options, in_force
from balancekit.adapters._route_statistics import RouteStatistics, RouteStats
from balancekit.adapters._routing import Router, close_departed
from balancekit.adapters.requests import BalancedAdapter, BalancedResponse
from balancekit.balancer import LoadBalancer
from balancekit.l7 import Request, RouteTable

__all__ = ["RoutedAdapter"]


@spelled(AdapterOptions)
@final
class RoutedAdapter(ConstructorRepr, BaseAdapter):
    """An adapter for ``requests.Session`` that sends each request to the pool that a route table picks.

    Parameters
    ----------
    table
        A :class:`~balancekit.l7.RouteTable` whose pools are balancers.
    statistics
        Where requests are counted; its own if left out.
    make_adapter
        Makes the adapter of a pool; ``BalancedAdapter(pool, **options)`` if left out.
    options
        :class:`~balancekit.adapters.AdapterOptions` of these; ``key`` is for splits too. A route's ``timeout``, ``attempts``
        and ``retry_on`` come before them; the options of a request itself come before those, and the earlier deadline
        counts.

    Raises
    ------
    ConfigurationError
        If ``table`` is no ``RouteTable``, ``statistics`` is no ``RouteStatistics``, or ``make_adapter`` or
        ``key`` is no function.

    *Errors of requests* are the client's own: ``InvalidURL`` if no route takes a request or the table rejects it, with the
    reason; the others as for ``BalancedAdapter``.

    *When not to use it:* for one pool; use :class:`~balancekit.adapters.requests.BalancedAdapter`.

    Example
    -------
    >>> import requests
    >>> from balancekit import LoadBalancer
    >>> from balancekit.adapters.routed_requests import RoutedAdapter
    >>> from balancekit.l7 import Route, RouteTable
    >>> session = requests.Session()
    >>> session.mount("http://shop.test/", RoutedAdapter(RouteTable([Route("site", LoadBalancer(["10.0.0.1:80"]))])))
    """

    def __init__(
        self,
        table: RouteTable[Any],
        *,
        statistics: RouteStatistics | None = None,
        make_adapter: Callable[[LoadBalancer[Any]], BaseAdapter] | None = None,
        **options: Unpack[AdapterOptions],
    ) -> None:
        super().__init__()
        if make_adapter is not None:
            plain_function("make_adapter", make_adapter, "a callable of a balancer")
        make = make_adapter or (lambda pool: BalancedAdapter(pool, **options))
        self._router: Router[BaseAdapter] = Router(table, make, key=options.get("key"), statistics=statistics)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RoutedAdapter cannot be copied or pickled: mount a new one on each session")

    def stats(self) -> tuple[RouteStats, ...]:
        """Return requests, failures, retries and latency quantiles of each route."""
        return self._router.statistics.stats()

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is requests'
        timeout: Any = None,
        verify: Any = True,  # noqa: FBT002 - the same
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request to an endpoint of the pool that the table picks."""
        router, url = self._router, urlsplit(request.url or "")
        path, _, query = request.path_url.partition("?")
        host = request.headers.get("Host") or url.netloc.rpartition("@")[2]
        headers = [(name, value) for name, value in request.headers.items() if value is not None]
        wanted = Request(path, method=request.method or "GET", host=str(host), query=query, headers=headers)
        match = router.match(wanted)
        if match is None:
            raise exceptions.InvalidURL(router.refusal(wanted), request=request)
        outgoing = request
        if match.route.rewrite is not None:
            outgoing = request.copy()
            outgoing.url = f"{url.scheme}://{url.netloc}{match.target}"
        with router.sending(match, request) as adapter:
            if router.departed:
                close_departed(router.leave())
            started = time.perf_counter()
            try:
                with in_force(router.options(match, current_options())):
                    response = adapter.send(outgoing, stream, timeout, verify, cert, cast("Any", proxies))
            except BaseException:
                router.record(match, started, failed=True)
                raise
        info = response.balancekit if isinstance(response, BalancedResponse) else None
        attempts = 1 if info is None else info.attempts
        router.record(match, started, failed=response.status_code >= 500, attempts=attempts)
        response.request = request
        response.url = request.url or ""
        return response

    def close(self) -> None:
        """Close the adapters of all pools."""
        with ExitStack() as stack:
            for adapter in self._router.transports():
                stack.callback(self._end, adapter)

    def _end(self, adapter: BaseAdapter) -> None:
        adapter.close()
        self._router.closed(adapter)
