"""A body that can be read only once is sent again if the adapter may keep it, and no more of it is kept than was said."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError, First, LoadBalancer, Outcome
from balancekit.adapters._body_buffer import buffer_body
from balancekit.adapters.httpx2 import BalancedTransport
from balancekit.adapters.requests import BalancedAdapter

from ._clients import KINDS, SYNC, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)
REFUSED = "/status?code=429&retry_after=0"


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Start two servers; the first refuses its first request."""
    with ExitStack() as stack:
        found = [stack.enter_context(Server(name)) for name in ("a", "b")]
        found[0].script.append(REFUSED)
        yield found


def pool(servers: list[Server]) -> LoadBalancer[str]:
    """Return a balancer that picks the first server first."""
    return LoadBalancer([server.address for server in servers], selector=First())


def once(kind: str, pieces: Sequence[bytes]) -> Iterator[bytes] | AsyncIterator[bytes]:
    """Return a body that can be read once."""

    async def later() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return iter(pieces) if kind in SYNC else later()


def bodies(server: Server) -> list[bytes]:
    """Return what a server has received."""
    return [seen.body for seen in server.seen]


@every_client
@pytest.mark.parametrize("pieces", [[b"one ", b"two"], [b"1234567890"], []])
def test_a_short_body_goes_on_to_another_endpoint(
    kind: str, servers: list[Server], pieces: list[bytes]
) -> None:
    """A short body goes on to another endpoint after a failure. Each endpoint gets all of it and its length."""
    lb = pool(servers)

    async def scenario(client: Any) -> None:
        answer = await client.request("POST", "http://orders/ok", body=once(kind, pieces))
        assert (answer.status, answer.text) == (200, "b")

    play(kind, lb, scenario, buffer_body=10)
    assert [bodies(server) for server in servers] == [[b"".join(pieces)]] * 2
    if kind != "aiohttp":  # it goes on sending chunks where it has begun to
        lengths = [seen.headers.get("content-length") for server in servers for seen in server.seen]
        assert lengths == [str(len(b"".join(pieces)))] * 2


@every_client
@pytest.mark.parametrize("limit", [0, 6])
def test_a_longer_one_is_sent_once(kind: str, servers: list[Server], limit: int) -> None:
    """A body longer than the limit is sent once, whole, and the answer is returned as it is."""
    lb = pool(servers)

    async def scenario(client: Any) -> None:
        body = once(kind, [b"one ", b"two ", b"three"])
        assert (await client.request("POST", "http://orders/ok", body=body)).status == 429

    play(kind, lb, scenario, buffer_body=limit)
    assert [bodies(server) for server in servers] == [[b"one two three"], []]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "requests"])
def test_a_length_that_the_caller_gave_is_kept(kind: str, servers: list[Server]) -> None:
    """A buffered body is sent with its length and without chunks, for servers that accept no chunks."""

    async def scenario(client: Any) -> None:
        for body in (b"one two", b"one two three"):
            headers = {"Content-Length": str(len(body))}
            await client.request("POST", "http://orders/ok", body=once(kind, [body]), headers=headers)

    play(kind, pool(servers), scenario, buffer_body=10)
    for server in servers:
        for seen in server.seen:
            assert seen.headers["content-length"] == str(len(seen.body))
            assert "transfer-encoding" not in seen.headers


@every_client
def test_a_body_that_fails_while_it_is_read_ahead_costs_no_endpoint_anything(
    kind: str, servers: list[Server]
) -> None:
    """If a body raises while it is buffered, the caller gets its error, and no endpoint has been picked."""
    lb = pool(servers)

    def blocking() -> Iterator[bytes]:
        yield b"one "
        raise KeyError("mine")

    async def later() -> AsyncIterator[bytes]:
        yield b"one "
        raise KeyError("mine")

    async def scenario(client: Any) -> None:
        with pytest.raises(KeyError):
            await client.request("POST", "http://orders/ok", body=blocking() if kind in SYNC else later())

    play(kind, lb, scenario, buffer_body=10)
    assert not any(lb.stats().outcomes.values())


@every_client
def test_an_idempotent_body_survives_a_broken_connection(kind: str, servers: list[Server]) -> None:
    """An idempotent request with a body is sent again after a broken connection."""
    lb = pool(servers)
    servers[0].script[0] = "/close"

    async def scenario(client: Any) -> None:
        assert (await client.request("PUT", "http://orders/ok", body=once(kind, [b"one"]))).text == "b"

    play(kind, lb, scenario, buffer_body=10)
    assert [bodies(server) for server in servers] == [[b"one"], [b"one"]]
    assert lb.stats().outcomes[Outcome.FAILURE] == 1


def pipe() -> Any:
    """Return a file that cannot be rewound."""
    reading, writing = os.pipe()
    os.write(writing, b"one two")
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize("body", [lambda: iter(["one ", "two"]), pipe], ids=["text", "pipe"])
def test_what_requests_takes_is_read_as_requests_would(
    servers: list[Server], body: Callable[[], Any]
) -> None:
    """A body is read as requests would read it: text in UTF-8, files in pieces.

    The caller's request keeps its body.
    """
    with requests.Session() as session, ExitStack() as stack:
        session.mount("http://orders/", BalancedAdapter(pool(servers), buffer_body=10))
        given = body()
        if isinstance(given, io.IOBase):
            stack.enter_context(given)
        answer = session.post("http://orders/ok", data=given)
        assert answer.request.body is given
        assert answer.text == "b"
    assert [bodies(server) for server in servers] == [[b"one two"]] * 2


@given(pieces=st.lists(st.binary(max_size=5)), limit=st.integers(1, 20))
def test_nothing_is_lost_and_no_more_is_read_than_is_needed(pieces: list[bytes], limit: int) -> None:
    """Bytes if they fit, an iterator if not; the piece that did not fit is the last one that was read."""
    read: list[bytes] = []

    def reading() -> Iterator[bytes]:
        for piece in pieces:
            read.append(piece)
            yield piece

    found = buffer_body(reading(), limit)
    whole = b"".join(pieces)
    if len(whole) <= limit:
        assert found == whole
    else:
        assert not isinstance(found, bytes)
        assert len(b"".join(read[:-1])) <= limit < len(b"".join(read))
        assert b"".join(found) == whole


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "10", None])
def test_the_limit_is_a_number_of_bytes(wrong: Any) -> None:
    """The limit of a buffered body is None or a number of bytes."""
    with pytest.raises(ConfigurationError, match="buffer_body"):
        BalancedTransport(LoadBalancer(["a:1"]), buffer_body=wrong)
