"""Adapters that balance the requests of existing HTTP clients.

One module per client, each with its own extra: ``httpx2`` and ``httpx`` (transports, sync and async), ``requests`` (an
adapter), ``aiohttp`` (a middleware). ``routed_httpx2``, ``routed_httpx`` and ``routed_requests`` pick the pool by a route
table first; ``asgi`` and ``wsgi`` do so in a server. Here is what they share: what an endpoint is to them
(:class:`HttpTarget`), the options of one request (:func:`request_options`), and how its attempts went (:class:`CallInfo`).
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.adapters._call_info import CallInfo
    from balancekit.adapters._chat import chat_prefix
    from balancekit.adapters._config import AdapterOptions, CallOptions
    from balancekit.adapters._hedge import hedge
    from balancekit.adapters._info import info
    from balancekit.adapters._keys import from_cookie, from_header, from_query
    from balancekit.adapters._request_options import RequestOptions, request_options
    from balancekit.adapters._route_statistics import RouteStatistics, RouteStats
    from balancekit.adapters._target import HttpTarget

__all__ = [
    "AdapterOptions",
    "CallInfo",
    "CallOptions",
    "HttpTarget",
    "RequestOptions",
    "RouteStatistics",
    "RouteStats",
    "chat_prefix",
    "from_cookie",
    "from_header",
    "from_query",
    "hedge",
    "info",
    "request_options",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_call_info": ("CallInfo",),
            "_chat": ("chat_prefix",),
            "_config": ("CallOptions", "AdapterOptions"),
            "_hedge": ("hedge",),
            "_info": ("info",),
            "_keys": ("from_cookie", "from_header", "from_query"),
            "_request_options": ("RequestOptions", "request_options"),
            "_route_statistics": ("RouteStatistics", "RouteStats"),
            "_target": ("HttpTarget",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
