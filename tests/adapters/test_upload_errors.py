"""Uploads that fail: the body of a request raises, which is the caller's, or the endpoint goes away, which is its own."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import trustme

from balancekit import Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import aiohttp as for_aiohttp
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.retry import RetryBudget

from ._clients import KINDS, SYNC, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)
ERRORS: list[Exception] = [
    KeyError("mine"),
    OSError(5, "Input/output error"),
    ConnectionResetError("of another server"),
    TimeoutError("of another server"),
    ssl.SSLError("of another server"),
    httpx.ConnectError("of another server"),
    httpx.ReadError("of another server"),
    httpx.ReadTimeout("of another server"),
    httpx.RemoteProtocolError("of another server"),
    httpx2.ConnectTimeout("of another server"),
    httpx2.ReadError("of another server"),
    requests.ConnectionError("of another server"),
    requests.ReadTimeout("of another server"),
    aiohttp.ClientOSError("of another server"),
    aiohttp.ServerDisconnectedError("of another server"),
    aiohttp.SocketTimeoutError("of another server"),
]
"""What a body raises that is read from a disk, or from a server by any of the clients."""
BLAMELESS = {Outcome.IGNORED, Outcome.CANCELLED}
PIECE = b"x" * 65_536


def outcomes(lb: LoadBalancer[Any], id: str) -> dict[Outcome, int]:
    """Return how the leases of an endpoint ended."""
    return {outcome: count for outcome, count in lb.stats()[id].outcomes.items() if count}


def pool(first: str, second: str) -> LoadBalancer[Any]:
    """Return a balancer that asks one endpoint, then the other."""
    return LoadBalancer([Endpoint("a", first), Endpoint("b", second)], selector=First())


def budget() -> RetryBudget:
    """Return one that allows retries."""
    return RetryBudget(ratio=0.0, reserve=10.0)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """Run two endpoints."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in "ab"]


def body_of(kind: str, pieces: int, error: BaseException | None = None) -> Any:
    """Return a body that is made as it is sent, and ends in an error if there is one."""

    def blocking() -> Iterator[bytes]:
        yield from [PIECE] * pieces
        if error is not None:
            raise error

    async def asynchronous() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield PIECE
        if error is not None:
            raise error

    return blocking() if kind in SYNC else asynchronous()


@every_client
@pytest.mark.parametrize(
    "error", ERRORS, ids=lambda error: f"{type(error).__module__}.{type(error).__name__}"
)
@pytest.mark.parametrize("pieces", [0, 1])
def test_a_body_that_raises_is_the_callers(
    kind: str, error: Exception, pieces: int, servers: list[Server]
) -> None:
    """Whatever class of error a body raises, no endpoint is blamed, and a body that has begun is not sent elsewhere."""
    lb = pool(servers[0].address, servers[1].address)
    sent = len(servers[1].seen)

    async def scenario(client: Any) -> None:
        with pytest.raises(Exception) as caught:
            await client.request("PUT", "http://orders/ok", body=body_of(kind, pieces, error))
        assert not isinstance(caught.value, AssertionError | httpx.StreamConsumed | httpx2.StreamConsumed)

    play(kind, lb, scenario, budget=budget())
    assert set(outcomes(lb, "a")) <= BLAMELESS
    assert not outcomes(lb, "b")
    assert len(servers[1].seen) == sent


class Abandoned(BaseException):
    """What ends the work of a framework, such as its time limit, and is no Exception."""


@every_client
@pytest.mark.parametrize("error", [asyncio.CancelledError(), Abandoned()], ids=["cancelled", "abandoned"])
@pytest.mark.parametrize("pieces", [0, 1])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_body_whose_source_is_cancelled_is_the_callers(
    kind: str, error: BaseException, pieces: int, servers: list[Server]
) -> None:
    """A body that ends in a cancellation of what it reads from blames no endpoint, and is not sent elsewhere."""
    lb = pool(servers[0].address, servers[1].address)

    async def scenario(client: Any) -> None:
        with pytest.raises(BaseException) as caught:
            await client.request("PUT", "http://orders/ok", body=body_of(kind, pieces, error))
        assert not isinstance(caught.value, AssertionError)

    play(kind, lb, scenario, budget=budget())
    assert set(outcomes(lb, "a")) <= BLAMELESS
    assert not outcomes(lb, "b")


class BrokenDisk(io.RawIOBase):
    """A file that cannot be read to its end, or not at all."""

    def __init__(self, left: int) -> None:
        self._left = left

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return 0

    def seek(self, *_: Any) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        """Return a piece, then raise."""
        if not self._left:
            raise OSError(5, "Input/output error")
        if size == 0:
            return b""
        self._left -= 1
        return b"x"

    def __len__(self) -> int:
        return 1000


@pytest.mark.parametrize("readable", [0, 1])
@pytest.mark.parametrize("kind", ["requests", "aiohttp"])
def test_a_file_that_cannot_be_read_is_the_callers(kind: str, readable: int, servers: list[Server]) -> None:
    """An error of a disk says nothing against the endpoint that gets the file."""
    lb = pool(servers[0].address, servers[1].address)

    async def scenario(client: Any) -> None:
        with pytest.raises((*client.broken, OSError)):
            await client.request("POST", "http://orders/ok", body=BrokenDisk(readable))

    play(kind, lb, scenario, budget=budget())
    assert outcomes(lb, "a") == {Outcome.IGNORED: 1}
    assert not outcomes(lb, "b")


@contextmanager
def dying(how: str) -> Iterator[str]:
    """Run an endpoint that goes away when a body has begun."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.recv(65_536)
                    if how == "reset":
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@every_client
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # httpx closes no body, and trio minds
def test_an_endpoint_that_goes_away_during_an_upload_is_blamed(
    kind: str, how: str, servers: list[Server]
) -> None:
    """A connection that breaks under a body is a failure of the endpoint, and the body is not sent again."""
    with dying(how) as address:
        lb = pool(address, servers[1].address)

        async def scenario(client: Any) -> None:
            with pytest.raises(Exception):  # noqa: B017 - each client has its own
                await client.request("PUT", "http://orders/ok", body=body_of(kind, 400))

        play(kind, lb, scenario, budget=budget())
    assert outcomes(lb, "a") == {Outcome.FAILURE: 1}
    assert not outcomes(lb, "b")


@pytest.mark.parametrize("limit", [0, 1_000_000])
@pytest.mark.parametrize("kind", [bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_buffers_are_sent_as_they_are_and_elsewhere(kind: Any, limit: int, servers: list[Server]) -> None:
    """Requests takes a body in a buffer; it can be sent again, and reading bodies ahead leaves it alone."""
    servers[0].always = "/status?code=503&retry_after=1"
    try:
        lb = pool(servers[0].address, servers[1].address)

        async def scenario(client: Any) -> str:
            answer = await client.request("POST", "http://orders/echo", body=kind(b"whole body"))
            return str(json.loads(answer.text)["body"])

        assert play("requests", lb, scenario, budget=budget(), buffer_body=limit) == "whole body"
    finally:
        servers[0].always = None
    assert outcomes(lb, "b") == {Outcome.SUCCESS: 1}


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_001])
@pytest.mark.parametrize("first", ["ok", "refuses"])
def test_files_arrive_whole(size: int, first: str, servers: list[Server]) -> None:
    """A file arrives whole and with its length, at the first endpoint and after a refusal at the second."""
    servers[0].always = None if first == "ok" else "/status?code=503&retry_after=1"
    try:
        lb = pool(servers[0].address, servers[1].address)
        data = bytes(range(256)) * (size // 256 + 1)

        async def scenario(client: Any) -> None:
            await client.request("POST", "http://orders/ok", body=io.BytesIO(data[:size]))

        play("requests", lb, scenario, budget=budget())
    finally:
        servers[0].always = None
    seen = servers[first != "ok"].seen[-1]
    assert seen.body == data[:size]
    assert seen.headers.get("content-length", "0") == str(size)


class Pipe(io.BytesIO):
    """A file that cannot be read twice."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("module", [httpx, httpx2], ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("file", "again"),
    [(b"z" * 5000, True), (io.BytesIO(b"z" * 5000), True), (Pipe(b"z" * 5000), False)],
    ids=["bytes", "file", "pipe"],
)
def test_a_form_that_was_refused_goes_elsewhere_whole(
    module: Any, file: Any, again: bool, servers: list[Server]
) -> None:
    """A form of files that can be read anew is sent again, as requests and aiohttp do; one of a pipe is sent once."""
    adapter = {httpx: for_httpx, httpx2: for_httpx2}[module]
    servers[0].always = "/status?code=503&retry_after=1"
    try:
        lb = pool(servers[0].address, servers[1].address)
        with module.Client(transport=adapter.BalancedTransport(lb, budget=budget())) as client:
            answer = client.post("http://orders/ok", files={"f": ("n", file)}, data={"a": "b"})
    finally:
        servers[0].always = None
    assert answer.status_code == (200 if again else 503)
    assert bool(outcomes(lb, "b")) is again
    if again:
        assert servers[1].seen[-1].body == servers[0].seen[-1].body
        assert b"z" * 5000 in servers[1].seen[-1].body


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_certificate_with_another_fingerprint_is_the_endpoints(method: str) -> None:
    """Nothing was sent to an endpoint whose certificate is another one: the request goes elsewhere."""
    authority = trustme.CA()
    with (
        Server("a", authority=authority, names=("orders",)) as other,
        Server("b", authority=trustme.CA(), names=("orders",)) as right,
    ):
        der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", right.port)))
        pinned = aiohttp.Fingerprint(hashlib.sha256(der).digest())
        lb = pool(other.address, right.address)

        async def main() -> str:
            async with aiohttp.ClientSession(middlewares=[for_aiohttp.balanced("orders", lb)]) as session:
                async with session.request(method, "https://orders/ok", ssl=pinned) as answer:
                    return await answer.text()

        assert asyncio.run(main()) == "b"
    assert outcomes(lb, "a") == {Outcome.CONNECT_FAILED: 1}


@pytest.mark.parametrize(("method", "answers"), [("GET", ["a", "b"]), ("POST", ["a"])])
def test_a_connection_that_closes_before_it_is_used_is_a_disconnect(
    method: str, answers: list[str], servers: list[Server]
) -> None:
    """A kept connection that is closed while a request begins has failed; an idempotent request goes elsewhere."""

    async def main(first: str, second: str) -> list[str]:
        lb = pool(first, second)
        tracing, begun, found = aiohttp.TraceConfig(), [], []

        async def wait(*_: Any) -> None:
            begun.append(True)
            if len(begun) == 2:
                (connection,) = session.connector._acquired
                connection.transport.close()

        tracing.on_request_headers_sent.append(wait)
        middlewares = [for_aiohttp.balanced("orders", lb, budget=budget())]
        async with aiohttp.ClientSession(middlewares=middlewares, trace_configs=[tracing]) as session:
            async with session.get("http://orders/ok") as answer:
                found.append(await answer.text())
            with suppress(aiohttp.ClientConnectionResetError):
                async with session.request(method, "http://orders/ok") as answer:
                    found.append(await answer.text())
        assert outcomes(lb, "a") == {Outcome.SUCCESS: 1, Outcome.FAILURE: 1}
        return found

    assert asyncio.run(main(*[server.address for server in servers])) == answers
