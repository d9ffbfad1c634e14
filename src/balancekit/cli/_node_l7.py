"""An L7 edge of the tiers demo, as a process: ``python -m balancekit.cli._node_l7``.

A route table picks the pool, and the pool picks a server. A request that fails is retried at another server.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

import httpx2
from aiohttp import web

from balancekit.adapters.routed_httpx2 import AsyncRoutedTransport
from balancekit.balancer import LoadBalancer
from balancekit.checks import AsyncChecks, HttpCheck
from balancekit.cli._node import ALIVE, CHECKS, HOST, emit, endpoints, lifecycle, on_event, run_until_orphaned
from balancekit.l7 import Route, RouteTable, prefix
from balancekit.retry import RetryBudget

__all__ = ["Edge", "main"]

ATTEMPTS: Final = 2
TIMEOUT: Final = {"connect": 1.0, "read": 2.0, "write": 2.0, "pool": 2.0}
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


def passed_on(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the fields to forward: all except hop-by-hop fields and those that ``Connection`` names (RFC 9110 7.6.1)."""
    fields = [(name.lower(), value) for name, value in headers]
    named = b",".join(value for name, value in fields if name == b"connection").lower().split(b",")
    dropped = HOP_BY_HOP | {name.strip() for name in named}
    if any(name == b"transfer-encoding" for name, _ in fields):
        dropped |= {b"content-length"}  # Transfer-Encoding overrides it (RFC 9112 6.3)
    return [(name, value) for name, value in fields if name not in dropped]


class RawAnswer(web.StreamResponse):
    """A response whose fields are written as Latin-1, which keeps all bytes of a server. aiohttp would write UTF-8."""

    async def _write_headers(self) -> None:
        """Write the status line and the fields to the connection."""
        request = self._req
        assert request is not None
        if request.transport is None:
            raise ConnectionResetError("the client has gone")
        major, minor = request.version
        lines = [f"HTTP/{major}.{minor} {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        request.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


class Edge:
    """A reverse proxy: one handler for all paths.

    Parameters
    ----------
    pool
        Balancer over the servers. Its targets are base URLs.
    """

    def __init__(self, pool: LoadBalancer[str]) -> None:
        table = RouteTable(
            [
                Route("api", pool, host=HOST, path=prefix("/api"), attempts=ATTEMPTS),
                Route("site", pool, host=HOST, attempts=ATTEMPTS),
            ]
        )
        self.transport: AsyncRoutedTransport = AsyncRoutedTransport(
            table, budget=RetryBudget(ratio=0.5, reserve=20.0)
        )

    async def alive(self, request: web.Request) -> web.Response:
        """Answer a health check of this process."""
        return web.Response(text="alive")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request."""
        try:
            url = httpx2.URL(f"http://{request.host}", raw_path=request.raw_path.encode("latin-1"))
        except (httpx2.InvalidURL, ValueError) as error:
            return web.Response(status=400, text=f"{error}\n")
        outgoing = httpx2.Request(
            request.method,
            url,
            headers=passed_on(list(request.raw_headers)),
            content=await request.read(),
            extensions={"timeout": TIMEOUT},
        )
        try:
            response = await self.transport.handle_async_request(outgoing)
        except httpx2.LocalProtocolError as error:  # no route, or an ambiguous target
            return web.Response(status=404, text=f"{error}\n")
        except httpx2.TransportError as error:
            status = 504 if isinstance(error, httpx2.TimeoutException) else 502
            return web.Response(status=status, text=f"{type(error).__name__}\n")
        answer = RawAnswer(status=response.status_code)
        try:
            for name, value in passed_on(response.headers.raw):
                answer.headers.add(name.decode("latin-1"), value.decode("latin-1"))
            await answer.prepare(request)
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            async for chunk in response.stream:
                await answer.write(chunk)
            await answer.write_eof()
        except ConnectionResetError:
            pass  # the client is gone
        finally:
            await response.aclose()
        return answer


async def serve(options: argparse.Namespace) -> None:
    """Serve until standard input is closed."""
    pool = LoadBalancer(endpoints(options.servers), health=lifecycle(), listeners=[on_event])
    edge = Edge(pool)
    app = web.Application()
    app.router.add_route("GET", ALIVE, edge.alive)
    app.router.add_route("*", "/{path:.*}", edge.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, options.host, 0, backlog=1024)
    await site.start()
    async with AsyncChecks(pool, HttpCheck("/"), schedule=CHECKS):
        emit("ready", port=runner.addresses[0][1])
        await run_until_orphaned(pool)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m balancekit.cli._node_l7")
    parser.add_argument("--host", required=True)
    parser.add_argument("servers", nargs="+", metavar="NAME=URL")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
