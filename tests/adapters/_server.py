"""Real HTTP servers that misbehave on request: the path says how.

==================================  =====================================================================
``/ok``                             200, the server's name
``/echo``                           200, what was received, as JSON
``/drip-bytes?head=...&rest=...&gap=0.1``  the head at once, the rest byte by byte
``/status?code=503&retry_after=5``  that status
``/slow?seconds=1``                 200 after a while
``/close``                          reads the request and hangs up
``/drip-head?gap=0.05``             200, two letters of its head at a time
``/nonsense``                       answers what is not HTTP
``/half``, ``/half-chunked``        the beginning of a body, then hangs up
``/drip?n=5&gap=0.01``              a chunked body, one piece at a time
``/sse?n=3&gap=0.01``               server-sent events
``/events?n=5&stop=2``              events with ids, from after ``Last-Event-ID``; hangs up after so many
``/redirect?to=/ok``                302
``/header?code=201&Location=x``     that status, with the other arguments as headers
``/cookie?more=Path=/``             sets ``pin`` to the server's name, and ``seen``
==================================  =====================================================================

A request that expects "100 Continue" gets it, unless it is refused by its status.
``server.script`` overrides the paths of the next requests, ``server.always`` those of all.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import trustme


class Seen(NamedTuple):
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """One server on loopback, in a thread of its own."""

    def __init__(
        self, name: str = "", *, authority: trustme.CA | None = None, names: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.seen: list[Seen] = []
        self.names: list[str | None] = []
        """What TLS handshakes asked for."""
        self.connections = 0
        self.dripped = 0
        self.script: deque[str] = deque()
        self.always: str | None = None
        self._tls: ssl.SSLContext | None = None
        if authority is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(*names).configure_cert(self._tls)
            self._tls.sni_callback = lambda _socket, asked, _context: self.names.append(asked)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread.is_alive():  # it may have been stopped before
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())  # no more connections are accepted,
        await asyncio.sleep(
            0
        )  # and those that have been get transports; a closed server of asyncio has none for them
        server.close()
        for _ in range(10):  # a connection that has just been accepted begins, so that it can be closed
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in list(getattr(self._loop, "_transports", {}).values()):
            transport.abort()  # in the middle of a handshake; Server.abort_clients() begins with 3.13
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head[1:] if line}
        asked = self.script.popleft() if self.script else self.always or path
        waits = headers.get("expect", "").lower() == "100-continue"
        if waits and not asked.startswith("/status"):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            waits = False
        body = b"" if waits else await self._body(reader, headers)
        self.seen.append(Seen(method, path, headers, body))
        parts = urlsplit(asked)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        what = parts.path.rpartition("/")[2]
        if what == "close":
            return False
        if what == "nonsense":
            writer.write(b"this is no answer\r\n\r\n")
            await writer.drain()
            return False
        if what == "drip-head":
            head = b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n"
            for place in range(0, len(head), 2):
                writer.write(head[place : place + 2])
                await writer.drain()
                await asyncio.sleep(float(query["gap"]))
            return True
        if what == "drip-bytes":
            writer.write(query["head"].encode())
            for letter in query["rest"].encode():
                writer.write(bytes([letter]))
                await writer.drain()
                self.dripped += 1
                await asyncio.sleep(float(query["gap"]))
            return False
        if what == "slow":
            await asyncio.sleep(float(query["seconds"]))
        extra: list[tuple[str, str]] = []
        code, text = 200, self.name.encode()
        code = int(query.get("code", code))
        extra += [("Retry-After", query["retry_after"])] if "retry_after" in query else []
        if what == "echo":
            text = json.dumps(
                {"method": method, "path": path, "headers": headers, "body": body.decode("latin-1")}
            ).encode()
        elif what == "header":
            extra = [(name, value) for name, value in query.items() if name != "code"]
        elif what == "redirect":
            code = 302
            extra.append(("Location", query["to"]))
        elif what == "cookie":
            extra.append(("Set-Cookie", f"pin={self.name}; {query.get('more', 'Path=/')}"))
            extra.append(("Set-Cookie", "seen=1; Path=/"))
        elif what == "events":
            return await self._events(writer, headers, int(query["n"]), int(query.get("stop", query["n"])))
        elif what in ("half", "half-chunked", "drip", "sse"):
            return await self._piecewise(writer, what, int(query.get("n", 3)), float(query.get("gap", 0.0)))
        lines = [
            f"HTTP/1.1 {code} X",
            f"Content-Length: {len(text)}",
            *[f"{k}: {v}" for k, v in extra],
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else text))
        await writer.drain()
        return True

    async def _piecewise(self, writer: asyncio.StreamWriter, what: str, n: int, gap: float) -> bool:
        if what == "half":
            writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n0123456789")
            await writer.drain()
            return False
        kind = b"text/event-stream" if what == "sse" else b"text/plain"
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        async for piece in _pieces(what, n, gap):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        if what == "half-chunked":
            writer.write(b"ff\r\nabc")
            await writer.drain()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _events(self, writer: asyncio.StreamWriter, headers: dict[str, str], n: int, stop: int) -> bool:
        writer.write(
            b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        begin = int(headers.get("last-event-id", -1)) + 1
        for number in range(begin, min(n, begin + stop)):
            event = b"id: %d\ndata: %d\n\n" % (number, number)
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        over = begin + stop >= n
        writer.write(b"0\r\n\r\n" if over else b"")
        await writer.drain()
        return over

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            found = b""
            while size := int((await reader.readuntil(b"\n")).strip(), 16):
                found += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
            return found
        return await reader.readexactly(int(headers.get("content-length", 0)))


async def _pieces(what: str, n: int, gap: float) -> AsyncIterator[bytes]:
    for number in range(n):
        if number:
            await asyncio.sleep(gap)
        yield b"data: %d\n\n" % number if what == "sse" else b"piece %d " % number
