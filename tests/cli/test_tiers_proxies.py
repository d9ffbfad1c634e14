"""The proxies of the tiers demo in one process: what they pass on, and what they refuse."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest
from aiohttp import web

from balancekit import LoadBalancer
from balancekit.cli._node import HOST
from balancekit.cli._node_l4 import forward
from balancekit.cli._node_l7 import Edge

SMALL_BUFFER = 4096
BODY = b"x" * 60_000


async def listen(answer):
    """Start a server on loopback; return it with its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    server = await asyncio.start_server(answer, sock=listening)
    return server, f"127.0.0.1:{listening.getsockname()[1]}"


async def l4(address):
    """Start an L4 proxy before one server."""
    pool, tasks = LoadBalancer([address]), set()
    server, own = await listen(partial(forward, pool, tasks))
    return server, own, pool, tasks


def test_what_a_server_has_still_to_receive_is_sent(monkeypatch):
    """A server that is the first to finish sending still receives all that its client sends."""
    connect, made = asyncio.open_connection, []

    async def connect_with_a_small_buffer(*arguments):
        reader, writer = await connect(*arguments)
        made.append(writer)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        return reader, writer

    monkeypatch.setattr(asyncio, "open_connection", connect_with_a_small_buffer)

    async def scenario():
        ended, received = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def answer(reader, writer):
            writer.write_eof()
            await ended.wait()
            received.set_result(await reader.read(-1))
            writer.close()

        server, address = await listen(answer)
        proxy, own, pool, tasks = await l4(address)
        reader, writer = await connect(*own.split(":"))
        writer.write(BODY)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        for _ in range(500):
            if not tasks:
                break
            await asyncio.sleep(0.01)
        ended.set()
        assert len(await asyncio.wait_for(received, 10)) == len(BODY)
        await made[0].wait_closed()
        assert pool.stats().inflight == 0
        for one in (writer, server, proxy):
            one.close()

    asyncio.run(scenario())


def test_a_cancelled_connection_is_closed():
    """A connection whose task is cancelled is closed on both sides."""

    async def scenario():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # 3.11 reports a cancelled handler
        ended = asyncio.Event()

        async def answer(reader, writer):
            writer.write(b"hello")
            await reader.read(-1)
            ended.set()
            writer.close()

        server, address = await listen(answer)
        proxy, own, pool, tasks = await l4(address)
        reader, writer = await asyncio.open_connection(*own.split(":"))
        assert await reader.readexactly(5) == b"hello"
        for task in list(tasks):
            task.cancel()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        await asyncio.wait_for(ended.wait(), 10)
        for _ in range(500):
            if len(asyncio.all_tasks()) == 1:  # all connections have ended
                break
            await asyncio.sleep(0.01)
        assert pool.stats().inflight == 0
        for one in (writer, server, proxy):
            one.close()

    asyncio.run(scenario())


def ask_l7(request, answer):
    """Send raw bytes to an L7 edge before one raw server; return the answer, and what the server received."""
    received = []

    async def serve(reader, writer):
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def scenario():
        server, address = await listen(serve)
        edge, app = Edge(LoadBalancer([f"http://{address}"])), web.Application()
        app.router.add_route("*", "/{path:.*}", edge.handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(request)
        got = await asyncio.wait_for(reader.read(-1), 10)
        writer.close()
        await edge.transport.aclose()
        await runner.cleanup()
        server.close()
        return got

    return asyncio.run(scenario()), received


def test_a_length_beside_chunks_is_not_passed_on():
    """A ``Content-Length`` beside ``Transfer-Encoding`` in an answer does not count (RFC 9112 6.3)."""
    answer, _ = ask_l7(
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length" not in head.lower()
    assert b"hello!" in body


@pytest.mark.parametrize("value", [b"caf\xe9", b"caf\xc3\xa9", b"\xff\x80\xe2\x82", "日本".encode()])
def test_bytes_of_fields_arrive_as_they_came(value):
    """Bytes of a value arrive as they came, whatever they are in: UTF-8, Latin-1 or neither, both ways."""
    answer, received = ask_l7(
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n".encode()
        + b"X-Sent: "
        + value
        + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Back: " + value + b"\r\nX-Back: 2\r\n\r\nok",
    )
    assert b"x-sent: " + value + b"\r\n" in received[0]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert [line for line in head.split(b"\r\n") if line.startswith(b"x-back")] == [
        b"x-back: " + value,
        b"x-back: 2",
    ]
    assert body == b"ok"


@pytest.mark.parametrize(
    ("target", "host"), [(f"http://{HOST}/a", HOST), ("/a#b", HOST), ("/a", f"{HOST}:port"), ("/a", "[::1")]
)
def test_a_target_that_no_url_holds_is_refused(target, host):
    """A target or host that no URL can hold is the caller's mistake: the answer is 400, and no server is asked."""
    answer, received = ask_l7(
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert received == []
