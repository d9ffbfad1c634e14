"""HTTP/2: what a server has not processed goes elsewhere, and one connection carries many leases."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import httpx
import httpx2
import pytest
import trustme

from balancekit import First, LoadBalancer, Outcome
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2

CLIENTS = pytest.mark.parametrize(
    ("module", "adapter"), [(httpx2, for_httpx2), (httpx, for_httpx)], ids=["httpx2", "httpx"]
)
STREAMS = 8
PAUSE_S = 0.05
STATUSES = {"a status of letters": "abc", "an empty status": ""}
AUTHORITY = trustme.CA()


class Http2Server:
    """A server that processes requests, or says that it does not."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.methods: list[str] = []
        self.connections = 0
        self.open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        self.methods.append(dict(event.headers or [])[b":method"].decode())
                        if await self._answer(connection, event.stream_id or 0, writer):
                            writer.write(connection.data_to_send())
                            await writer.drain()
                            return
                writer.write(connection.data_to_send())
                await writer.drain()
        finally:
            writer.close()

    async def _answer(
        self, connection: h2.connection.H2Connection, stream: int, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer a request; return whether the connection is over."""
        if self.kind.endswith(", later"):
            connection.send_headers(stream, [(":status", "200"), ("content-length", "2")])
            writer.write(connection.data_to_send())
            await writer.drain()
            await asyncio.sleep(PAUSE_S)
        if self.kind == "goaway":
            connection.close_connection(last_stream_id=0)
            return True
        if self.kind == "refused":
            connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif self.kind == "internal":
            connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif self.kind == "too short":
            connection.send_headers(stream, [(":status", "200"), ("content-length", "9")])
            connection.send_data(stream, b"ok", end_stream=True)
        elif self.kind == "too long":
            connection.send_headers(stream, [(":status", "200"), ("content-length", "1")])
            connection.send_data(stream, b"ok", end_stream=True)
        elif self.kind == "no header block":
            writer.write(b"\0\0\1\1\5" + stream.to_bytes(4, "big") + b"\x80")
        elif self.kind in STATUSES:
            connection.send_headers(stream, [(":status", STATUSES[self.kind])], end_stream=True)
        elif self.kind == "too short, later":
            connection.send_data(stream, b"x", end_stream=True)
        elif self.kind == "too long, later":
            connection.send_data(stream, b"too long", end_stream=True)
        elif self.kind == "refused, later":
            connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif self.kind == "dies":
            connection.send_headers(stream, [(":status", "200")])
            self.open += 1
            return self.open == STREAMS
        else:
            connection.send_headers(stream, [(":status", "200"), ("content-length", "0")], end_stream=True)
        return False


class Blocking:
    """A blocking client, in a thread."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def request(self, *arguments: Any, **options: Any) -> Any:
        """Send a request."""
        return await asyncio.to_thread(self._client.request, *arguments, **options)


def play(
    servers: list[Http2Server],
    module: Any,
    adapter: Any,
    scenario: Callable[[Any], Awaitable[Any]],
    *,
    blocking: bool = False,
) -> Any:
    """Run a scenario with a client over these servers; return the balancer and what came of it."""
    for_servers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("orders", "127.0.0.1").configure_cert(for_servers)
    for_servers.set_alpn_protocols(["h2"])
    for_clients = ssl.create_default_context()
    AUTHORITY.configure_trust(for_clients)

    async def main() -> Any:
        listening = [
            await asyncio.start_server(server, "127.0.0.1", 0, ssl=for_servers) for server in servers
        ]
        addresses = [f"127.0.0.1:{one.sockets[0].getsockname()[1]}" for one in listening]
        lb = LoadBalancer(addresses, selector=First())
        if blocking:
            transport = adapter.BalancedTransport(
                lb, transport_factory=lambda _: module.HTTPTransport(verify=for_clients, http2=True)
            )
            with module.Client(transport=transport) as client:
                found = await scenario(Blocking(client))
        else:
            transport = adapter.AsyncBalancedTransport(
                lb, transport_factory=lambda _: module.AsyncHTTPTransport(verify=for_clients, http2=True)
            )
            async with module.AsyncClient(transport=transport) as client:
                found = await scenario(client)
        for one in listening:
            one.close()
        return lb, found

    return asyncio.run(main())


def outcomes(lb: LoadBalancer[Any], place: int) -> dict[Outcome, int]:
    """Return how the leases on an endpoint have ended."""
    return {outcome: count for outcome, count in lb.stats().endpoints[place].outcomes.items() if count}


@CLIENTS
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("kind", ["goaway", "refused"])
def test_what_was_not_processed_goes_elsewhere(kind: str, method: str, module: Any, adapter: Any) -> None:
    """GOAWAY with last stream 0 and REFUSED_STREAM: a request of any method is sent to another endpoint, once."""
    servers = [Http2Server(kind), Http2Server("ok")]

    async def scenario(client: Any) -> int:
        body = b"x" if method != "GET" else None
        return (await client.request(method, "https://orders/", content=body)).status_code

    lb, status = play(servers, module, adapter, scenario)
    assert status == 200
    assert servers[0].methods == servers[1].methods == [method]
    assert (outcomes(lb, 0), outcomes(lb, 1)) == ({Outcome.CONNECT_FAILED: 1}, {Outcome.SUCCESS: 1})


@CLIENTS
@pytest.mark.parametrize(("method", "elsewhere"), [("GET", True), ("POST", False)])
def test_what_may_have_been_processed_goes_elsewhere_only_if_idempotent(
    method: str, elsewhere: bool, module: Any, adapter: Any
) -> None:
    """A stream that is reset with another code goes to another endpoint only if the request is idempotent."""
    servers = [Http2Server("internal"), Http2Server("ok")]

    async def scenario(client: Any) -> Any:
        try:
            return (await client.request(method, "https://orders/")).status_code
        except module.RemoteProtocolError:
            return "broken"

    lb, status = play(servers, module, adapter, scenario)
    assert status == (200 if elsewhere else "broken")
    assert outcomes(lb, 0) == {Outcome.FAILURE: 1}


@CLIENTS
@pytest.mark.parametrize("blocking", [False, True], ids=["asynchronous", "blocking"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("kind", ["too short", "too long", "no header block", *STATUSES])
def test_an_answer_that_http2_does_not_allow_is_the_servers(
    kind: str, method: str, blocking: bool, module: Any, adapter: Any
) -> None:
    """A body of another length than its header says, or a header that cannot be read, is a failure, as in HTTP/1.1; a GET goes elsewhere."""
    servers = [Http2Server(kind), Http2Server("ok")]

    async def scenario(client: Any) -> Any:
        try:
            return (await client.request(method, "https://orders/")).status_code
        except module.RemoteProtocolError:
            return "broken"

    lb, found = play(servers, module, adapter, scenario, blocking=blocking)
    assert found == (200 if method == "GET" else "broken")
    assert outcomes(lb, 0) == {Outcome.FAILURE: 1}


@CLIENTS
@pytest.mark.parametrize("blocking", [False, True], ids=["asynchronous", "blocking"])
@pytest.mark.parametrize("kind", ["too short, later", "too long, later", "refused, later"])
def test_a_body_that_http2_does_not_allow_is_the_servers(
    kind: str, blocking: bool, module: Any, adapter: Any
) -> None:
    """After the header of an answer its request has been processed, whatever follows: the outcome is a failure, and the error the client's."""
    servers = [Http2Server(kind), Http2Server("ok")]

    async def scenario(client: Any) -> None:
        with pytest.raises(module.RemoteProtocolError):
            await client.request("GET", "https://orders/")

    lb, _ = play(servers, module, adapter, scenario, blocking=blocking)
    assert outcomes(lb, 0) == {Outcome.FAILURE: 1}
    assert not outcomes(lb, 1)


@CLIENTS
def test_a_connection_that_dies_ends_all_its_leases(module: Any, adapter: Any) -> None:
    """A connection that dies in the middle of many answers ends all its leases. Each ends once, as a failure."""
    server = Http2Server("dies")

    async def scenario(client: Any) -> Any:
        return await asyncio.gather(
            *[client.post("https://orders/") for _ in range(STREAMS)], return_exceptions=True
        )

    lb, found = play([server], module, adapter, scenario)
    assert server.connections == 1
    assert all(isinstance(one, module.TransportError) for one in found)
    assert outcomes(lb, 0) == {Outcome.FAILURE: STREAMS}
    assert lb.stats().inflight == 0
