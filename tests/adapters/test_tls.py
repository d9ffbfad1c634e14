"""Whose certificate is it? That of the name that was asked for, and of no other."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from balancekit import Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import HttpTarget

from ._clients import KINDS, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its file."""
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Server]:
    """Start a server that can prove to be ``orders``."""
    with Server("a", authority=authority, names=("orders",)) as server:
        yield server


@every_client
def test_pods_are_asked_for_the_service(kind: str, secure: Server, ca: str) -> None:
    """An endpoint whose address is a number must have a certificate of the service."""
    lb = LoadBalancer([secure.address], selector=First())

    async def scenario(client: Any) -> None:
        assert (await client.get("https://orders/ok")).text == "a"
        assert (await client.get("https://orders/ok")).text == "a"

    play(kind, lb, scenario, ca=ca)
    assert set(secure.names) == {"orders"}
    assert {seen.headers["host"] for seen in secure.seen} == {"orders"}


@every_client
def test_a_certificate_of_another_name_is_refused(kind: str, secure: Server, ca: str) -> None:
    """A certificate of another name is refused, also after a connection to that address was verified under the right name."""
    lb = LoadBalancer([secure.address], selector=First(), health=None)

    async def scenario(client: Any) -> None:
        assert (await client.get("https://orders/ok")).text == "a"
        with pytest.raises(client.refused):
            await client.get("https://invoices/ok")

    play(kind, lb, scenario, ca=ca)
    assert lb.stats()[secure.address].outcomes[Outcome.CONNECT_FAILED] == 1


@every_client
def test_a_vendor_is_asked_for_its_own_name(kind: str, authority: trustme.CA, ca: str) -> None:
    """A vendor's certificate is checked for the name of its address, or for the name that the target gives."""
    with Server("v", authority=authority, names=("localhost", "vendor.example")) as vendor:
        targets = [
            Endpoint("by address", HttpTarget(url=f"https://localhost:{vendor.port}")),
            Endpoint("by target", HttpTarget(url=f"https://{vendor.address}", authority="vendor.example")),
        ]
        for target, name in zip(targets, ("localhost", "vendor.example"), strict=True):
            lb: LoadBalancer[HttpTarget] = LoadBalancer([target])

            async def scenario(client: Any) -> None:
                assert (await client.get("http://orders/ok")).text == "v"

            play(kind, lb, scenario, ca=ca)
            assert vendor.names[-1] == name
            assert vendor.seen[-1].headers["host"].partition(":")[0] == name


@every_client
def test_the_name_can_be_said(kind: str, secure: Server, ca: str) -> None:
    """``server_name`` sets the name in TLS for one endpoint, and ``authority`` for all."""
    target = HttpTarget(url=f"https://{secure.address}", server_name="orders")
    lb: LoadBalancer[HttpTarget] = LoadBalancer([Endpoint("a", target)])

    async def scenario(client: Any) -> None:
        assert (await client.get("http://anything/ok")).text == "a"

    play(kind, lb, scenario, ca=ca)
    assert secure.seen[-1].headers["host"] == "anything"


@contextmanager
def answering(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """Run an endpoint that does as it is told with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def reset(connection: socket.socket) -> None:
    """Reset a connection when the first message of the handshake has come."""
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(connection: socket.socket) -> None:
    """Hang up when the first message of the handshake has come."""
    connection.recv(65536)


def alert(connection: socket.socket) -> None:
    """Answer with the alert that no handshake is possible (RFC 8446, 6.2)."""
    connection.recv(65536)
    connection.sendall(bytes.fromhex("15030300020228"))
    connection.recv(65536)


def hang(connection: socket.socket) -> None:
    """Answer nothing until the client gives up."""
    while connection.recv(65536):
        pass


@every_client
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", [reset, close, alert, hang], ids=lambda how: how.__name__)
def test_a_handshake_that_does_not_end_is_the_endpoints(
    kind: str, how: Callable[[socket.socket], object], method: str, secure: Server, ca: str
) -> None:
    """Nothing was sent: however a handshake fails, the outcome is connect failed, and any request goes elsewhere."""
    with answering(how) as address:
        lb = LoadBalancer([Endpoint("a", address), Endpoint("b", secure.address)], selector=First())

        async def scenario(client: Any) -> None:
            timeout = 0.3 if how is hang else 10.0
            if kind == "aiohttp":
                limit = aiohttp.ClientTimeout(sock_connect=timeout, sock_read=10.0)
                body = None if method == "GET" else b"once"
                async with client.session.request(
                    method, "https://orders/ok", data=body, timeout=limit
                ) as answer:
                    assert answer.status == 200
                return
            body = None if method == "GET" else b"once"
            answer = await client.request(method, "https://orders/ok", body=body, timeout=timeout)
            assert answer.text == "a"

        play(kind, lb, scenario, ca=ca)
    assert lb.stats()["a"].outcomes[Outcome.CONNECT_FAILED] == 1
    assert lb.stats()["b"].outcomes[Outcome.SUCCESS] == 1


@every_client
@pytest.mark.parametrize("begun", [False, True], ids=["head", "body"])
def test_a_record_that_cannot_be_read_is_a_broken_connection(
    kind: str, begun: bool, authority: trustme.CA, ca: str
) -> None:
    """The caller gets an error of its client, in the head and in the body, and the endpoint a failure."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("orders").configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            if begun:
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            raw = socket.socket(fileno=secured.detach())
            with raw:
                raw.sendall(bytes.fromhex("1703030010") + b"x" * 16)
                raw.recv(65536)

    with answering(serve) as address:
        lb = LoadBalancer([address])

        async def scenario(client: Any) -> None:
            with pytest.raises((*client.broken, *client.timed_out)):
                await client.request("POST", "https://orders/ok", body=b"once")

        play(kind, lb, scenario, ca=ca)
    assert lb.stats()[address].outcomes[Outcome.FAILURE] == 1


@every_client
def test_what_the_caller_was_handling_is_not_the_requests(kind: str, secure: Server, ca: str) -> None:
    """A request that times out while the caller handles a failed handshake was sent: the outcome is a time-out, and no POST goes elsewhere."""
    with answering(reset) as address:
        lb = LoadBalancer([Endpoint("a", address)], selector=First(), health=None)

        async def scenario(client: Any) -> None:
            try:
                await client.request("POST", "https://orders/ok", body=b"once")
            except client.refused:
                lb.update([Endpoint("b", secure.address), Endpoint("c", "127.0.0.1:1")])
                with pytest.raises(client.timed_out):
                    await client.request("POST", "https://orders/slow?seconds=3", body=b"once", timeout=0.3)
            else:
                pytest.fail("the handshake was reset")

        play(kind, lb, scenario, ca=ca)
    assert lb.stats()["b"].outcomes[Outcome.TIMEOUT] == 1
    assert not sum(lb.stats()["c"].outcomes.values())
