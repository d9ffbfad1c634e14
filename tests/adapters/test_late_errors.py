"""Errors that come later than they look: after the request was sent, in a body, or once for a call that aiohttp does not repeat."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
import trustme

from balancekit import First, LoadBalancer, Outcome, RoundRobin
from balancekit.adapters.aiohttp import balanced
from balancekit.adapters.requests import BalancedAdapter

from ._clients import KINDS, play
from ._server import Server

RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)
"""A TLS record of the right form that no key has made."""


@contextmanager
def answering(
    answer: Callable[[socket.socket], None], context: ssl.SSLContext | None = None
) -> Iterator[Any]:
    """Run a server that reads a request and answers as told; yield its address and the requests."""
    seen: list[bytes] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    connection.settimeout(5.0)
                    with (
                        context.wrap_socket(connection, server_side=True)
                        if context
                        else connection as wrapped
                    ):
                        seen.append(wrapped.recv(65536))
                        answer(wrapped)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}", seen
        finally:
            over.set()
            thread.join()


def garble(connection: socket.socket) -> None:
    """Send what no TLS client can read."""
    with socket.socket(fileno=os.dup(connection.fileno())) as bare:
        bare.sendall(RECORD)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tls_error_after_the_request_does_not_repeat_a_post(kind: str, tmp_path: Path) -> None:
    """A record that cannot be read comes after the request, which may have been carried out: a POST is not sent elsewhere, a GET is."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("orders").configure_cert(context)
    with (
        answering(garble, context) as (address, seen),
        Server("b", authority=authority, names=("orders",)) as good,
    ):
        lb = LoadBalancer([address, good.address], selector=First(), health=None)

        async def scenario(client: Any) -> None:
            with pytest.raises((*client.broken, OSError)):
                await client.request("POST", "https://orders/ok", body=b"pay")
            assert (await client.get("https://orders/ok")).text == "b"

        play(kind, lb, scenario, ca=str(tmp_path / "ca.pem"))
    assert len([request for request in seen if b"POST" in request]) == 1
    assert [request.method for request in good.seen] == ["GET"]
    assert lb.stats()[address].outcomes[Outcome.CONNECT_FAILED] == 0


def half(connection: socket.socket) -> None:
    """Send half a body, and nothing until the client gives up."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    with suppress(OSError):
        connection.recv(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_stops_is_a_timeout(kind: str) -> None:
    """A read that times out in the middle of a body has the outcome that one before the head has, whatever the client."""
    with answering(half) as (address, _):
        lb = LoadBalancer([address], health=None)

        async def scenario(client: Any) -> None:
            with pytest.raises((*client.timed_out, *client.broken)):
                await client.request("GET", "http://orders/ok", timeout=0.2)

        play(kind, lb, scenario)
    assert lb.stats()[address].outcomes[Outcome.TIMEOUT] == 1


def test_a_pool_that_was_closed_is_the_callers() -> None:
    """A session of requests that another thread closes meanwhile says nothing about the endpoint."""
    lb = LoadBalancer(["127.0.0.1:9"], health=None)
    adapter = BalancedAdapter(lb)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        get = adapter.poolmanager.connection_from_host

        def closed(*arguments: Any, **named: Any) -> Any:
            pool = get(*arguments, **named)
            pool.close()
            return pool

        adapter.poolmanager.connection_from_host = closed
        with pytest.raises(requests.ConnectionError):
            session.get("http://orders/ok")
    assert lb.stats()["127.0.0.1:9"].outcomes[Outcome.IGNORED] == 1


def test_a_call_that_aiohttp_does_not_repeat_is_not_taken_for_the_next() -> None:
    """The endpoints that one call has tried in vain are tried by the next call of the same task: aiohttp repeats no failed connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        dead = [f"127.0.0.{k}:{listening.getsockname()[1]}" for k in (2, 3)]
    lb = LoadBalancer(dead, selector=RoundRobin(), health=None)

    async def main() -> None:
        async with aiohttp.ClientSession(middlewares=[balanced("orders", lb)]) as session:
            for _ in range(4):
                with pytest.raises(aiohttp.ClientConnectorError):
                    await session.get("http://orders/ok")

    asyncio.run(main())
    assert [lb.stats()[id].outcomes[Outcome.CONNECT_FAILED] for id in dead] == [4, 4]
