"""Situations of the contract of all adapters: what an endpoint does, and what must come of it.

The first of two endpoints does what a situation says, the second one answers 200. ``seen`` is what the caller sees:
``b`` for the answer of the second endpoint, a status, or a kind of error. ``outcome`` is how the lease on the first one ends.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from balancekit import Outcome

BOTH = ("GET", "POST")
ELSEWHERE = "b"
PAUSE_S = 0.05
BROKEN, TIMED_OUT, REFUSED = "broken", "timed out", "not connected"


class Situation(NamedTuple):
    """One row, for one method."""

    name: str
    method: str
    wire: Any
    """Bytes that the first endpoint sends, pieces and pauses, a function of the connection, or a target."""
    seen: Any
    outcome: Outcome
    differs: dict[str, tuple[Any, Outcome]] = {}  # noqa: RUF012 - read only
    """What a client that cannot do it does instead; the reasons are in ``REASONS``."""
    timeout: float = 10.0


def head(status: str, *fields: str, body: bytes = b"") -> bytes:
    """Return an answer."""
    length = (
        ()
        if any(f.lower().startswith(("content-length", "transfer-encoding")) for f in fields)
        else (f"Content-Length: {len(body)}",)
    )
    return (
        "\r\n".join([f"HTTP/1.1 {status} X", *fields, *length, "Connection: close", "", ""]).encode("latin-1")
        + body
    )


def reset(connection: socket.socket) -> None:
    """Reset the connection in place of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def later(first: bytes, rest: bytes) -> Any:
    """Return a function that sends the rest of an answer when its head has been read."""

    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        time.sleep(PAUSE_S)
        connection.sendall(rest)
        connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            connection.recv(1)

    return send


def stay(wire: bytes) -> Any:
    """Return a function that sends an answer and leaves it to the client to hang up."""

    def send(connection: socket.socket) -> None:
        connection.sendall(wire)
        hang(connection)

    return send


def hang(connection: socket.socket) -> None:
    """Say nothing until the client gives up."""
    connection.settimeout(10.0)
    with suppress(OSError):
        connection.recv(1)


def _statuses() -> Iterator[Situation]:
    plain = {**dict.fromkeys((200, 201, 204, 304, 400, 401, 403, 404, 409, 418, 451, 501), Outcome.SUCCESS)}
    for status, outcome in plain.items():
        for method in BOTH:
            yield Situation(f"{status}", method, head(str(status)), status, outcome)
    for status in (500, 505, 507, 599):
        for method in BOTH:
            yield Situation(f"{status}", method, head(str(status)), status, Outcome.FAILURE)
    for status in (408, 502, 503, 504):
        yield Situation(f"{status}", "GET", head(str(status)), ELSEWHERE, Outcome.FAILURE)
        yield Situation(f"{status}", "POST", head(str(status)), status, Outcome.FAILURE)
    for name, wire, outcome in (
        ("421", head("421"), Outcome.SUCCESS),
        ("429", head("429"), Outcome.OVERLOADED),
        ("429, Retry-After: 1", head("429", "Retry-After: 1"), Outcome.OVERLOADED),
        ("503, Retry-After: 1", head("503", "Retry-After: 1"), Outcome.OVERLOADED),
        (
            "503, Retry-After: a date",
            head("503", "Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"),
            Outcome.OVERLOADED,
        ),
    ):
        for method in BOTH:
            yield Situation(name, method, wire, ELSEWHERE, outcome)
    for value in ("soon", "-1", "9" * 400, "\xff"):
        shown = value if len(value) < 9 else "400 digits"
        yield Situation(
            f"503, Retry-After: {shown!a}",
            "GET",
            head("503", f"Retry-After: {value}"),
            ELSEWHERE,
            Outcome.FAILURE,
        )


def _headers() -> Iterator[Situation]:
    for value in ("http://[half/x", "http://a:99999999/", ""):
        yield Situation(
            f"201, Location: {value!r}", "GET", head("201", f"Location: {value}"), 201, Outcome.SUCCESS
        )
    for value in ("a=b; expires=x; domain=[", "a=b; Max-Age=" + "9" * 400, "=", "a=\xff"):
        shown = value if len(value) < 40 else "Max-Age of 400 digits"
        yield Situation(
            f"200, Set-Cookie: {shown!a}",
            "GET",
            head("200", f"Set-Cookie: {value}"),
            200,
            Outcome.SUCCESS,
        )


def _wires() -> Iterator[Situation]:
    squeezed = zlib.compress(b"x" * 1000)
    never: dict[str, tuple[Any, Outcome]] = {}
    for name, wire in (
        ("hangs up before its answer", b""),
        ("resets before its answer", reset),
        ("answers what is not HTTP", b"this is no answer\r\n\r\n"),
        ("hangs up in its head", b"HTTP/1.1 200 OK\r\nX: y"),
        ("two lengths that differ", head("200", "Content-Length: 1", "Content-Length: 2", body=b"x")),
        ("a length that is none", head("200", "Content-Length: x")),
    ):
        lenient = {"requests": (200, Outcome.SUCCESS)} if name == "a length that is none" else never
        yield Situation(
            name,
            "GET",
            wire,
            ELSEWHERE,
            Outcome.FAILURE,
            lenient if name != "hangs up in its head" else {"requests": (200, Outcome.SUCCESS)},
        )
        yield Situation(
            name,
            "POST",
            wire,
            BROKEN,
            Outcome.FAILURE,
            lenient if name != "hangs up in its head" else {"requests": (200, Outcome.SUCCESS)},
        )
    for name, wire in (
        ("half a body", head("200", "Content-Length: 100", body=b"x")),
        ("half a chunk", head("200", "Transfer-Encoding: chunked", body=b"ff\r\nabc")),
        (
            "a chunk without a size",
            head("200", "Transfer-Encoding: chunked", body=b"xyz\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "a chunk of negative size",
            head("200", "Transfer-Encoding: chunked", body=b"-2\r\nabc\r\n0\r\n\r\n"),
        ),
        ("no last chunk", head("200", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n")),
        ("gzip that is none", head("200", "Content-Encoding: gzip", body=b"not gzip")),
        ("gzip that is none, then deflate", head("200", "Content-Encoding: deflate, gzip", body=b"not gzip")),
        ("deflate that is broken", head("200", "Content-Encoding: deflate", body=b"\x00" + squeezed[1:])),
    ):
        for method in BOTH:
            differs = never
            if name in {"a chunk without a size", "a chunk of negative size"} and method == "GET":
                differs = {"aiohttp": (ELSEWHERE, Outcome.FAILURE)}
            elif name == "gzip that is none, then deflate":
                differs = {"aiohttp": (200, Outcome.SUCCESS)}
            yield Situation(name, method, wire, BROKEN, Outcome.FAILURE, differs)
    chunked = head("200", "Transfer-Encoding: chunked")
    for name, first, rest in (
        ("a chunk without a size, later", chunked, b"xyz\r\nabc\r\n0\r\n\r\n"),
        ("a chunk of negative size, later", chunked, b"-2\r\nabc\r\n0\r\n\r\n"),
        ("a chunk longer than its size, later", chunked, b"2\r\nabc\r\n0\r\n\r\n"),
        ("a chunk of more than 64 bits, later", chunked, b"f" * 17 + b"\r\nabc\r\n0\r\n\r\n"),
        (
            "gzip that is none, later",
            head("200", "Content-Encoding: gzip", "Content-Length: 8"),
            b"not gzip",
        ),
    ):
        for method in BOTH:
            yield Situation(name, method, later(first, rest), BROKEN, Outcome.FAILURE)
    for status in (204, 304):
        yield Situation(
            f"{status}, in chunks that do not come",
            "GET",
            stay(f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode()),
            status,
            Outcome.SUCCESS,
        )
    for name, wire in (
        ("no length, until the end", b"HTTP/1.1 200 OK\r\n\r\nabc"),
        ("a reply of HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nabc"),
        ("102 and 103 before 200", b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\nLink: x\r\n\r\n" + head("200")),
    ):
        yield Situation(name, "GET", wire, 200, Outcome.SUCCESS)
    yield Situation("no answer in time", "GET", hang, ELSEWHERE, Outcome.TIMEOUT, timeout=0.3)
    yield Situation("no answer in time", "POST", hang, TIMED_OUT, Outcome.TIMEOUT, timeout=0.3)
    for name, target in (
        ("nothing listens", "127.0.0.1:1"),
        ("a name that does not resolve", "nobody.invalid:80"),
        ("a port too large", "10.0.0.9:99999"),
        ("a label of 70 letters", "a" * 70 + ".example:80"),
        ("an address of five numbers", "1.2.3.4.5:80"),
        ("a zone that does not exist", "[fe80::1%nowhere]:80"),
        ("TLS that is none", "https://{address}"),
    ):
        for method in BOTH:
            yield Situation(name, method, target, ELSEWHERE, Outcome.CONNECT_FAILED)


REASONS = {
    "a length that is none": "urllib3 reads such a body to the end of the connection",
    "a chunk without a size": "aiohttp reads the beginning of a body with the head",
    "a chunk of negative size": "aiohttp reads the beginning of a body with the head",
    "gzip that is none, then deflate": "aiohttp decodes one encoding, and hands on what has two",
    "hangs up in its head": "http.client takes a head that ends with the connection for a whole one",
}
SITUATIONS = [*_statuses(), *_headers(), *_wires()]


@contextmanager
def endpoint(situation: Situation) -> Iterator[str]:
    """Run an endpoint that does what a situation says, for one connection after the other; yield its target."""
    wire = situation.wire
    if isinstance(wire, str) and "{address}" not in wire:
        yield wire
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        over = threading.Event()

        def serve() -> None:
            server.settimeout(0.05)
            while not over.is_set():
                with suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        _answer(connection, wire)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield wire.format(address=address) if isinstance(wire, str) else address
        finally:
            over.set()
            thread.join()


def _answer(connection: socket.socket, wire: Any) -> None:
    connection.settimeout(5.0)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        received += piece
        if not piece or piece[0] == 0x16:  # the end, or a TLS handshake
            connection.sendall(b"no TLS")
            return
    if b"POST" in received[:4] and not received.endswith(b"body"):
        connection.recv(65536)
    if callable(wire):
        wire(connection)
        return
    connection.sendall(wire)
    connection.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        connection.settimeout(0.5)
        while connection.recv(65536):
            time.sleep(0)
