"""One face for all the clients, so that one test says the same of each.

A scenario is a coroutine that is given a :class:`Client`. For a client that blocks, its coroutines do.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import httpx
import httpx2
import requests
import trio

from balancekit import ConfigurationError, LoadBalancer
from balancekit.adapters import CallInfo, info
from balancekit.adapters import aiohttp as for_aiohttp
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters import requests as for_requests

SYNC = ("httpx2", "httpx", "requests")
ASYNC = ("httpx2-asyncio", "httpx2-trio", "httpx-asyncio", "httpx-trio", "aiohttp")
KINDS = (*SYNC, *ASYNC)


class Answer(NamedTuple):
    """What came of a request, and how."""

    status: int
    text: str
    headers: dict[str, str]
    url: str
    info: CallInfo | None


class Client:
    """A balanced client; ``send`` and ``open`` are what the kinds differ in."""

    refused: type[Exception]
    timed_out: tuple[type[BaseException], ...]
    broken: tuple[type[BaseException], ...]

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: Any = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Send a request and read the answer; redirects are followed."""
        raise NotImplementedError

    async def get(self, url: str, **options: Any) -> Answer:
        """GET."""
        return await self.request("GET", url, **options)

    async def open(self, url: str) -> Opened:
        """Send a GET and read nothing but headers."""
        raise NotImplementedError


class Opened(NamedTuple):
    """An answer that is being read."""

    some: Callable[[], Awaitable[bytes]]
    rest: Callable[[], Awaitable[object]]
    close: Callable[[], Awaitable[object]]
    raw: Any


def _slowly(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


class SyncHttpx(Client):
    """httpx or httpx2, blocking."""

    def __init__(self, module: Any, transport: Any) -> None:
        self.client = module.Client(transport=transport, follow_redirects=True)
        self.refused, self.timed_out = module.ConnectError, (module.TimeoutException,)
        self.broken = (module.RemoteProtocolError, module.ReadError, module.DecodingError)

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        r = self.client.request(method, url, **_httpx(options))
        return Answer(r.status_code, r.text, dict(r.headers), str(r.url), r.extensions.get("balancekit"))

    async def open(self, url: str) -> Opened:
        r = self.client.send(self.client.build_request("GET", url), stream=True)
        pieces = r.iter_bytes()
        return Opened(_slowly(lambda: next(pieces)), _slowly(lambda: list(pieces)), _slowly(r.close), r)

    async def aclose(self) -> None:
        """Close it."""
        self.client.close()


class AsyncHttpx(Client):
    """httpx or httpx2, not blocking."""

    def __init__(self, module: Any, transport: Any) -> None:
        self.client = module.AsyncClient(transport=transport, follow_redirects=True)
        self.refused, self.timed_out = module.ConnectError, (module.TimeoutException,)
        self.broken = (module.RemoteProtocolError, module.ReadError, module.DecodingError)

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        r = await self.client.request(method, url, **_httpx(options))
        return Answer(r.status_code, r.text, dict(r.headers), str(r.url), r.extensions.get("balancekit"))

    async def open(self, url: str) -> Opened:
        r = await self.client.send(self.client.build_request("GET", url), stream=True)
        pieces = r.aiter_bytes()

        async def rest() -> list[bytes]:
            return [piece async for piece in pieces]

        async def close() -> None:
            await pieces.aclose()
            await r.aclose()

        return Opened(pieces.__anext__, rest, close, r)

    async def aclose(self) -> None:
        """Close it."""
        await self.client.aclose()


class Requests(Client):
    """requests."""

    refused, timed_out = requests.ConnectionError, (requests.Timeout,)
    broken = (
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        requests.exceptions.InvalidHeader,
    )

    def __init__(self, adapter: Any, verify: str | None) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = verify or True
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, adapter)

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        body = options.pop("body", None)
        r = self.session.request(method, url, data=body, **options)
        return Answer(r.status_code, r.text, _lower(r.headers), r.url, getattr(r, "balancekit", None))

    async def open(self, url: str) -> Opened:
        r = self.session.get(url, stream=True, timeout=10)
        pieces = r.iter_content(None)
        return Opened(_slowly(lambda: next(pieces)), _slowly(lambda: list(pieces)), _slowly(r.close), r)

    async def aclose(self) -> None:
        """Close it."""
        self.session.close()


class Aiohttp(Client):
    """aiohttp."""

    refused, timed_out = aiohttp.ClientConnectionError, (asyncio.TimeoutError,)
    broken = (
        aiohttp.ServerDisconnectedError,
        aiohttp.ClientPayloadError,
        aiohttp.ClientOSError,
        aiohttp.ClientResponseError,
    )

    def __init__(self, middleware: Any, verify: ssl.SSLContext | None) -> None:
        connector = aiohttp.TCPConnector(ssl=verify or True)
        self.session = aiohttp.ClientSession(middlewares=[middleware], connector=connector)

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        limit = aiohttp.ClientTimeout(total=None, sock_read=options.pop("timeout", 10.0), sock_connect=10.0)
        body = options.pop("body", None)
        async with self.session.request(method, url, data=body, timeout=limit, **options) as r:
            text = await r.text()
            return Answer(r.status, text, _lower(r.headers), str(r.url), _info(r))

    async def open(self, url: str) -> Opened:
        r = await self.session.get(url)

        async def some() -> bytes:
            return await r.content.readany()

        async def close() -> None:
            r.close()

        return Opened(some, r.read, close, r)

    async def aclose(self) -> None:
        """Close it, and what waits for the other side's end of TLS longer than the loop runs."""
        await self.session.close()
        loop: Any = asyncio.get_running_loop()
        for transport in list(loop._transports.values()):
            transport.abort()
        await asyncio.sleep(0)


def _info(response: Any) -> CallInfo | None:
    try:
        return info(response)
    except ConfigurationError:
        return None


def _httpx(options: dict[str, Any]) -> dict[str, Any]:
    body = options.pop("body", None)
    return {"content": body, **options}


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def make(kind: str, balancer: LoadBalancer[Any], *, ca: str | None = None, **options: Any) -> Any:
    """Return a client of a kind; ``ca`` is the file of a certificate authority."""
    context = ssl.create_default_context(cafile=ca) if ca else None
    if kind == "requests":
        return Requests(for_requests.BalancedAdapter(balancer, **options), ca)
    if kind == "aiohttp":
        return Aiohttp(for_aiohttp.balanced(options.pop("service", None), balancer, **options), context)
    module, adapter = (httpx2, for_httpx2) if kind.startswith("httpx2") else (httpx, for_httpx)
    if kind in SYNC:
        return SyncHttpx(module, adapter.BalancedTransport(balancer, verify=context, **options))
    return AsyncHttpx(module, adapter.AsyncBalancedTransport(balancer, verify=context, **options))


def play(
    kind: str,
    balancer: LoadBalancer[Any],
    scenario: Callable[[Any], Awaitable[object]],
    **options: Any,
) -> Any:
    """Run a scenario with a client of a kind. Whatever happens, nothing stays in flight."""

    async def main() -> object:
        client = make(kind, balancer, **options)
        try:
            return await scenario(client)
        finally:
            await client.aclose()

    threads = threading.active_count()
    try:
        return trio.run(main) if kind.endswith("trio") else asyncio.run(main())
    finally:
        assert balancer.stats().inflight == 0
        if not kind.endswith("trio"):  # which keeps idle threads for a while
            assert threading.active_count() <= threads
