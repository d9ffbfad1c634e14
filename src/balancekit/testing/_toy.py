"""One toy HTTP server on an event loop, with a behavior that can be changed.

aiohttp reads and writes HTTP. Only responses that are deliberately broken are written to the transport directly. Three
paths control the server: ``/_toy/behavior`` (PUT fields as JSON, DELETE), ``/_toy/down`` (PUT seconds) and
``/_toy/requests`` (GET).
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Final, NamedTuple

from balancekit._support import validation as valid
from balancekit._support.extras import extra

with extra("testing"):
    from aiohttp import web

from balancekit.errors import ConfigurationError
from balancekit.testing._behavior import Behavior, named_behavior
from balancekit.testing._toy_chat import chat_completion, chat_pieces

__all__ = ["Received", "Toy"]

HOST: Final = "127.0.0.1"
CONTROL: Final = "/_toy/"
OK: Final = 200
BACKLOG: Final = 1024
ROUNDS: Final = 3
"""Number of event-loop iterations from the acceptance of a connection until asyncio has made its transport. If the server
stopped listening earlier, asyncio would make no transport, and the connection would stay open."""
MAX_RECEIVED: Final = 10_000
"""The most requests that a server keeps. The oldest one is dropped."""
LINGER_ZERO: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with a time of 0: closing sends RST (POSIX)."""


class Received(NamedTuple):
    """A request as the server received it; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Toy:
    """A toy server. Call all its methods on its event loop."""

    def __init__(self, name: str, port: int, tls: ssl.SSLContext | None, behavior: Behavior) -> None:
        self.name: str = name
        self.port: int = port
        self.tls: ssl.SSLContext | None = tls
        self.default: Behavior = behavior
        """Behavior for requests whose URL names none."""
        self.fixed: Behavior | None = None
        """Behavior for all requests, whatever their URLs; ``None`` to use the URLs."""
        self.script: deque[Behavior] = deque()
        """Behaviors for the next requests, one each. They come before ``fixed``."""
        self.received: list[Received] = []
        self.connections: int = 0
        self._rng = Random(name)
        self._wanted = False
        """Whether the server is to listen when the time for which it is down ends."""
        self._runner: web.ServerRunner | None = None
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start listening. After a stop, use the same port again."""
        self._wanted = True
        if self._runner is not None:
            return
        server = _Counting(self._answer, self._connected)
        runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.0)
        await runner.setup()
        try:
            self._listening = socket.create_server((HOST, self.port), backlog=BACKLOG)
            await web.SockSite(runner, self._listening, backlog=BACKLOG, ssl_context=self.tls).start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = self._listening.getsockname()[1]
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening and reset every open connection, as a killed process does."""
        self._wanted = False
        await self._halt()

    async def _halt(self) -> None:
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if self._listening is not None:
            with suppress(NotImplementedError):  # on Windows
                asyncio.get_running_loop().remove_reader(self._listening)
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
        for connection in runner.server.connections if runner.server is not None else ():
            _reset(connection.transport)
        await runner.cleanup()

    def _connected(self) -> None:
        self.connections += 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or break its connection, by its behavior."""
        body = await request.read()
        if request.path.startswith(CONTROL):
            return self._control(request, body)
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.method, request.path_qs, headers, body)
        self.received.append(received)
        if len(self.received) > MAX_RECEIVED:
            del self.received[0]
        try:
            behavior = self._behavior(request.path_qs)
        except ConfigurationError as error:
            return web.Response(status=400, text=f"{error}\n")
        if behavior.latency:
            await asyncio.sleep(behavior.latency * self._rng.lognormvariate(0.0, behavior.jitter))
        if behavior.ending == "hang":
            await asyncio.Event().wait()
        if behavior.ending in ("close", "reset", "nonsense"):
            return _broken(request, behavior.ending)
        return await self._respond(request, behavior, received)

    def _behavior(self, url: str) -> Behavior:
        if self.script:
            return self.script.popleft()
        if self.fixed is not None:
            return self.fixed
        return named_behavior(url) or self.default

    async def _respond(
        self, request: web.BaseRequest, behavior: Behavior, received: Received
    ) -> web.StreamResponse:
        """Send a response with the status, headers and body that the behavior names."""
        headers = {"Retry-After": behavior.retry_after, "Location": behavior.location}
        given = {name: value for name, value in headers.items() if value is not None}
        chat = behavior.body == "chat" and behavior.status == OK
        pieces = (
            chat_pieces(received.body) if chat else _pieces(behavior, request.headers.get("Last-Event-ID"))
        )
        if chat and pieces is None:
            return web.Response(headers=given, body=chat_completion(), content_type="application/json")
        if pieces is None:
            text = self._echo(received) if behavior.body == "echo" else self.name.encode()
            if behavior.ending == "complete":
                return web.Response(status=behavior.status, headers=given, body=text)
            pieces = [text]
        response = web.StreamResponse(status=behavior.status, headers=given)
        response.content_type = "text/event-stream" if behavior.body in ("events", "chat") else "text/plain"
        await response.prepare(request)
        broken = await _send(response, pieces, behavior)
        if broken:
            _close(request.transport)
        return response

    def _echo(self, received: Received) -> bytes:
        content = received._asdict() | {"server": self.name, "body": received.body.decode("latin-1")}
        return json.dumps(content, sort_keys=True).encode()

    def _control(self, request: web.BaseRequest, body: bytes) -> web.Response:
        """Change the behavior, take the server down for a while, or report the requests."""
        what = request.path.removeprefix(CONTROL)
        try:
            if what == "behavior" and request.method == "PUT":
                self.fixed = Behavior.from_fields(json.loads(body))
            elif what == "behavior" and request.method == "DELETE":
                self.fixed = None
            elif what == "down" and request.method == "PUT":
                self._go_down(valid.number("down", json.loads(body), minimum=0.0))
            elif what == "requests" and request.method == "GET":
                return web.json_response([received.path for received in self.received])
            else:
                return web.Response(status=404, text=f"no {request.method} {request.path}\n")
        except (
            ConfigurationError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    def _go_down(self, seconds: float) -> None:
        """Stop for some seconds, after the response to this request has been sent."""

        async def outage() -> None:
            await asyncio.sleep(0.01)
            await self._halt()
            await asyncio.sleep(seconds)
            if self._wanted:  # not if it was stopped meanwhile
                await self.start()

        task = asyncio.get_running_loop().create_task(outage())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Counting(web.Server):
    """A server that counts connections."""

    def __init__(self, handler: Callable[[web.BaseRequest], object], connected: Callable[[], None]) -> None:
        super().__init__(handler, handler_cancellation=True)  # type: ignore[arg-type]  # a coroutine function
        self._on_connection = connected

    def __call__(self) -> web.RequestHandler:
        self._on_connection()
        return super().__call__()


def _broken(request: web.BaseRequest, ending: str) -> web.StreamResponse:
    """End a connection without a response."""
    transport = request.transport
    if ending == "nonsense" and transport is not None:
        transport.write(b"this is not HTTP\r\n\r\n")
    if ending == "reset":
        _reset(transport)
    else:
        _close(transport)
    return web.Response()


def _close(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection after the written data has been sent."""
    if transport is not None:
        transport.close()


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection with RST."""
    if not isinstance(transport, asyncio.Transport):
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    transport.abort()


async def _send(response: web.StreamResponse, pieces: Sequence[bytes], behavior: Behavior) -> bool:
    """Send pieces with a pause between two; return whether the body is to stay incomplete."""
    for number, piece in enumerate(pieces):
        if number == behavior.stop:
            return True
        if number:
            await asyncio.sleep(behavior.gap)
        await response.write(piece)
    return behavior.ending == "half"


def _pieces(behavior: Behavior, last: str | None) -> Sequence[bytes] | None:
    """Return the pieces of a body; ``None`` if it has none. Events begin after ``last``, the id of the client's last one."""
    if behavior.body == "pieces":
        return [b"piece %d " % number for number in range(behavior.pieces)]
    if behavior.body == "events":
        first = int(last) + 1 if last is not None and last.isdecimal() else 0
        return [b"id: %d\ndata: %d\n\n" % (number, number) for number in range(first, behavior.pieces)]
    return None
