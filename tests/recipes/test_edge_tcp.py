"""The TCP edge of ``docs/how-to/edge-tcp.md`` over real sockets, with more connections than a reader would try."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct

import pytest
from tests.recipes._page import first_block, names_of

from balancekit.l4 import FlowMatch, FlowRoutes, proxy_protocol

PAGE = "edge-tcp"
MAX_LINES = 85


@pytest.fixture
def edge():
    """Return the names that the page's first block defines."""
    return names_of(PAGE)


def has_ipv6():
    """Return whether the loopback has an IPv6 address."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Backends:
    """Echo servers that say their number and the client's address first."""

    def __init__(self, edge):
        self.read_until = edge["read_until"]
        self.servers, self.addresses, self.accepted = [], [], []

    async def start(self, host="127.0.0.1"):
        """Start one more; return its address."""
        number = len(self.servers)

        async def answer(reader, writer):
            self.accepted.append(number)
            header, data = await self.read_until(proxy_protocol.parse, reader)
            data = data[header.size :]
            writer.write(f"{number} {header.src[0]}:{header.src[1]} ".encode())
            while data or (data := await reader.read(65536)):
                writer.write(data)
                data = b""
            writer.close()

        server = await asyncio.start_server(answer, host, 0, backlog=1000)
        self.servers.append(server)
        shown = f"[{host}]" if ":" in host else host
        self.addresses.append(f"{shown}:{server.sockets[0].getsockname()[1]}")
        return self.addresses[-1]


async def connect(server, client=None):
    """Connect to the edge as the balancer before it does."""
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    if client is not None:
        writer.write(proxy_protocol.build((client, 40000), ("192.0.2.80", 443)))
    return reader, writer


async def ask(connection, data):
    """Send bytes; return as many as come back with the greeting, or without."""
    connection[1].write(data)
    return await asyncio.wait_for(connection[0].readuntil(data), 10)


def address(number):
    """Return one of many clients."""
    return f"203.0.{number // 250}.{number % 250 + 1}"


def test_the_proxy_is_short():
    """The proxy of the recipe has about 80 lines, as the page says."""
    assert first_block(PAGE).count("\n") <= MAX_LINES


def test_200_open_connections_survive_remove_and_add(edge):
    """Each of 200 open connections keeps its endpoint, and 200 new ones avoid the removed one.

    Nothing is in flight at the end.
    """

    async def scenario():
        backends = Backends(edge)
        pool = edge["sticky_pool"]([await backends.start() for _ in range(4)])
        proxy = await edge["Edge"](FlowRoutes([(FlowMatch(), pool)])).serve("127.0.0.1", 0)
        old = [await connect(proxy, address(number)) for number in range(200)]
        homes = [int((await ask(one, b"first.")).split()[0]) for one in old]
        assert set(homes) == {0, 1, 2, 3}
        pool.remove(backends.addresses[0])
        await asyncio.gather(*[ask(one, b"second.") for one in old])
        pool.add(await backends.start())
        echoed = await asyncio.gather(*[ask(one, b"third.") for one in old])
        assert echoed == [b"third."] * 200
        new = [await connect(proxy, address(200 + number)) for number in range(200)]
        fresh = [int((await ask(one, b"hello.")).split()[0]) for one in new]
        assert 0 not in fresh
        assert 4 in fresh
        for number in range(0, 200, 20):  # the same clients again: the same endpoints, unless theirs is gone
            again = await connect(proxy, address(number))
            home = int((await ask(again, b"again.")).split()[0])
            assert home == homes[number] or homes[number] == 0
            again[1].close()
        for _, writer in (*old, *new):
            writer.close()
        for _ in range(200):
            if not sum(one.inflight for one in pool.stats().endpoints):
                break
            await asyncio.sleep(0.02)
        assert sum(one.inflight for one in pool.stats().endpoints) == 0
        proxy.close()
        for server in backends.servers:
            server.close()

    asyncio.run(scenario())


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback")
def test_an_endpoint_may_have_an_ipv6_address(edge):
    """The target of an endpoint may have an IPv6 address, written as in a URL, in brackets."""

    async def scenario():
        backends = Backends(edge)
        pool = edge["sticky_pool"]([await backends.start("::1")])
        proxy = await edge["Edge"](FlowRoutes([(FlowMatch(), pool)])).serve("127.0.0.1", 0)
        connection = await connect(proxy, "203.0.113.7")
        assert (await ask(connection, b"hello.")).startswith(b"0 203.0.113.7:")
        connection[1].write_eof()
        assert await asyncio.wait_for(connection[0].read(), 10) == b""  # each has ended
        connection[1].close()
        proxy.close()
        backends.servers[0].close()

    asyncio.run(scenario())


def hello(name):
    """Return the first flight of a real TLS client."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_a_pool_is_chosen_by_server_name_and_every_byte_arrives(edge):
    """The server name chooses the pool, though the hello comes byte by byte; a name without a route gets no connection."""

    async def scenario():
        backends = Backends(edge)
        shop, other = [edge["sticky_pool"]([await backends.start()]) for _ in range(2)]
        routes = FlowRoutes(
            [(FlowMatch(server_names=["*.shop.test"]), shop), (FlowMatch(server_names=["other.test"]), other)]
        )
        proxy = await edge["Edge"](routes).serve("127.0.0.1", 0)
        for name, number in (("www.shop.test", b"0"), ("other.test", b"1")):
            connection = await connect(proxy, "203.0.113.7")
            data = hello(name)
            for at in range(0, len(data), 40):
                connection[1].write(data[at : at + 40])
                await asyncio.sleep(0)
            assert (
                await asyncio.wait_for(connection[0].readuntil(data), 10)
                == number + b" 203.0.113.7:40000 " + data
            )
            connection[1].close()
        lost = await connect(proxy, "203.0.113.7")
        lost[1].write(hello("elsewhere.test"))
        assert await asyncio.wait_for(lost[0].read(), 10) == b""
        lost[1].close()
        assert backends.accepted == [0, 1]
        proxy.close()
        for server in backends.servers:
            server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 256.0.2.1 198.51.100.2 1 443\r\nGET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1",
    ],
)
def test_a_connection_without_an_exact_header_reaches_no_endpoint(edge, data):
    """A connection without an exact header reaches no endpoint.

    It is closed at once, or when the greeting has taken too long.
    """

    async def scenario():
        backends = Backends(edge)
        pool = edge["sticky_pool"]([await backends.start()])
        proxy = await edge["Edge"](FlowRoutes([(FlowMatch(), pool)]), greeting=0.2).serve("127.0.0.1", 0)
        reader, writer = await connect(proxy)
        writer.write(data)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert backends.accepted == []
        proxy.close()
        backends.servers[0].close()

    asyncio.run(scenario())


def test_a_client_that_resets_harms_no_endpoint(edge):
    """Fifty resets leave the endpoint eligible and nothing in flight; a refused connection goes to the other endpoint."""

    async def scenario():
        backends = Backends(edge)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            dead = f"127.0.0.1:{closed.getsockname()[1]}"
        pool = edge["sticky_pool"]([await backends.start(), dead])
        proxy = await edge["Edge"](FlowRoutes([(FlowMatch(), pool)])).serve("127.0.0.1", 0)
        for number in range(50):
            connection = await connect(proxy, address(number))
            assert (await ask(connection, b"hello.")).startswith(b"0 ")
            raw = connection[1].get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection[1].transport.abort()
        for _ in range(200):
            if not sum(one.inflight for one in pool.stats().endpoints):
                break
            await asyncio.sleep(0.02)
        live = next(one for one in pool.stats().endpoints if one.id == backends.addresses[0])
        assert live.inflight == 0
        assert pool.explain(exclude=[dead]).picked == live.id
        proxy.close()
        backends.servers[0].close()

    asyncio.run(scenario())


def test_a_client_that_has_finished_sending_gets_its_answer(edge):
    """A client that has finished sending gets its answer, though the garbage collector runs meanwhile."""

    async def scenario():
        collected = asyncio.Event()

        async def answer(reader, writer):
            await reader.read()
            await collected.wait()
            writer.write(b"answer")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pool = edge["sticky_pool"]([f"127.0.0.1:{server.sockets[0].getsockname()[1]}"])
        proxy = await edge["Edge"](FlowRoutes([(FlowMatch(), pool)])).serve("127.0.0.1", 0)
        reader, writer = await connect(proxy, "203.0.113.7")
        writer.write_eof()
        await asyncio.sleep(0.2)
        gc.collect()
        collected.set()
        assert await asyncio.wait_for(reader.read(), 10) == b"answer"
        writer.close()
        proxy.close()
        server.close()

    asyncio.run(scenario())


def test_a_header_with_paths_closes_the_connection(edge, caplog):
    """A header with the paths of Unix sockets, which no route takes, closes the connection and is no error of the edge."""
    unix = b"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + b"/from".ljust(108, b"\0") + b"/to".ljust(108, b"\0")

    async def scenario():
        backends = Backends(edge)
        pool = edge["sticky_pool"]([await backends.start()])
        proxy = await edge["Edge"](FlowRoutes([(FlowMatch(), pool)])).serve("127.0.0.1", 0)
        reader, writer = await connect(proxy)
        writer.write(unix + b"hello")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert backends.accepted == []
        proxy.close()
        backends.servers[0].close()

    asyncio.run(scenario())
    assert caplog.records == []


def test_a_cancelled_connection_is_closed(edge):
    """A connection whose task is cancelled is closed on both sides."""

    async def scenario():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # 3.11 reports a cancelled handler
        backends = Backends(edge)
        pool = edge["sticky_pool"]([await backends.start()])
        tcp = edge["Edge"](FlowRoutes([(FlowMatch(), pool)]))
        proxy = await tcp.serve("127.0.0.1", 0)
        connection = await connect(proxy, "203.0.113.7")
        await ask(connection, b"hello.")
        for task in list(tcp.tasks):
            task.cancel()
        assert await asyncio.wait_for(connection[0].read(), 10) == b""
        for _ in range(500):
            if len(asyncio.all_tasks()) == 1:  # all connections have ended
                break
            await asyncio.sleep(0.01)
        assert sum(one.inflight for one in pool.stats().endpoints) == 0
        connection[1].close()
        proxy.close()
        backends.servers[0].close()

    asyncio.run(scenario())
