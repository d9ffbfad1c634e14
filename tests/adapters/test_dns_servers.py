"""The servers of the dnslib adapter on real sockets: addresses, ports, connections that idle, and clients that go away."""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import sys
import threading
from contextlib import ExitStack, contextmanager

import dns.message
import dns.query
import dns.rcode
import pytest
from dnslib.server import DNSLogger, DNSServer

from balancekit.adapters import _dns_sockets, _dnslib_servers
from balancekit.adapters.dnslib import GslbHandler, GslbResolver, GslbTcpServer, GslbUdpServer
from balancekit.gslb import AllUp, Soa, Zone, fixed_standings

ZONE = Zone(
    "example.com",
    Soa(primary="ns1.example.com", contact="admin.example.com"),
    {"www": AllUp(["192.0.2.1"])},
)
QUERY = dns.message.make_query("www.example.com", "A")
WIRE = QUERY.to_wire()
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs the loopback network of Linux")


@contextmanager
def serving(address, *, tcp=False, port=0):
    """Run a server; yield it."""
    quiet = DNSLogger("-request,-reply,-truncated,-error", prefix=False)
    server = DNSServer(
        GslbResolver(ZONE, fixed_standings({})),
        address=address,
        port=port,
        tcp=tcp,
        logger=quiet,
        handler=GslbHandler,
        server=GslbTcpServer if tcp else GslbUdpServer,
    )
    with ExitStack() as stack:
        stack.callback(server.server.server_close)
        server.start_thread()
        stack.callback(server.stop)
        yield server.server


def framed(wire):
    """Return a message as it is sent over TCP."""
    return len(wire).to_bytes(2, "big") + wire


def received(connection):
    """Return the next message of a connection, ``None`` at its end."""
    with connection.makefile("rb") as file:
        head = file.read(2)
        return file.read(int.from_bytes(head, "big")) if head else None


@LINUX
@pytest.mark.parametrize("bound", ["0.0.0.0", "::", ""])
@pytest.mark.parametrize("queried", ["127.0.0.1", "127.0.0.2", "127.9.9.9"])
def test_a_datagram_is_answered_from_where_it_was_sent_to(bound, queried):
    """A machine with many addresses answers from the queried one (RFC 2181, 4); a client drops a reply from another."""
    with serving(bound) as server:
        reply = dns.query.udp(QUERY, queried, port=server.server_address[1], timeout=10.0)
    assert reply.answer


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
@pytest.mark.parametrize("tcp", [False, True])
def test_queries_over_ipv6_are_answered(tcp):
    """Over both protocols, from the loopback address."""
    with serving("::1", tcp=tcp) as server:
        ask = dns.query.tcp if tcp else dns.query.udp
        assert ask(QUERY, "::1", port=server.server_address[1], timeout=10.0).answer


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_another_socket_has_is_refused(shared):
    """A port that another socket has is refused, also one that is ready to share it: one of the two would get every query."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        other.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="in use"), serving("127.0.0.1", port=other.getsockname()[1]):
            pass


def test_a_connection_is_kept_and_ends_with_its_client():
    """Queries follow each other on a connection; a client that has sent all of its own still gets the reply."""
    with serving("127.0.0.1", tcp=True) as server:
        with socket.create_connection(server.server_address, timeout=10.0) as connection:
            for _ in range(3):
                connection.sendall(framed(WIRE))
                assert dns.message.from_wire(received(connection)).answer
            connection.sendall(framed(WIRE))
            connection.shutdown(socket.SHUT_WR)
            assert dns.message.from_wire(received(connection)).answer
            assert received(connection) is None


@pytest.mark.parametrize("sent", [b"", b"\0", framed(WIRE)[:20]], ids=["nothing", "a byte", "a part"])
def test_a_connection_without_a_whole_query_is_closed(sent, monkeypatch):
    """A client that sends nothing, or a part of a message, does not keep a thread."""
    monkeypatch.setattr(_dns_sockets, "IDLE_S", 0.2)
    with serving("127.0.0.1", tcp=True) as server:
        with socket.create_connection(server.server_address, timeout=10.0) as connection:
            connection.sendall(sent)
            assert received(connection) is None


def test_a_message_has_its_time_as_a_whole(monkeypatch):
    """A client that sends a byte now and then is closed after the time of a message, not after that of a byte."""
    clock = itertools.count()
    monkeypatch.setattr(_dns_sockets.time, "monotonic", lambda: float(next(clock)))
    left = []

    class Dripping:
        def settimeout(self, seconds):
            left.append(seconds)

        def recv(self, size):
            return b"\1"

    assert list(_dns_sockets.messages(Dripping())) == []
    assert left == sorted(left, reverse=True)
    assert len(left) < _dns_sockets.IDLE_S


def test_one_connection_more_than_are_kept_closes_the_idlest(monkeypatch):
    """Of four connections for three places, that which has sent nothing for longest ends; the others go on."""
    monkeypatch.setattr(_dnslib_servers, "MAX_CONNECTIONS", 3)
    with serving("127.0.0.1", tcp=True) as server, ExitStack() as stack:
        opened = []
        for _ in range(3):
            opened.append(stack.enter_context(socket.create_connection(server.server_address, timeout=10.0)))
            opened[-1].sendall(framed(WIRE))
            assert received(opened[-1])
        opened[0].sendall(framed(WIRE))  # the second is the idlest now
        assert received(opened[0])
        opened.append(stack.enter_context(socket.create_connection(server.server_address, timeout=10.0)))
        for connection in (opened[0], opened[2], opened[3]):
            connection.sendall(framed(WIRE))
            assert received(connection)
        assert received(opened[1]) is None


@pytest.mark.parametrize(
    ("number", "idle", "waits", "ends"),
    [
        (errno.EMFILE, True, 0, True),
        (errno.EMFILE, False, 1, False),
        (errno.ENOBUFS, False, 1, False),
        (errno.ECONNABORTED, True, 0, False),
        (errno.ECONNABORTED, False, 0, False),
    ],
)
def test_a_server_without_descriptors_closes_an_idle_connection_or_waits(
    number, idle, waits, ends, monkeypatch
):
    """It does not try again at once. A client that went away costs no other its connection."""
    paused = []
    monkeypatch.setattr(_dnslib_servers.time, "sleep", paused.append)
    resolver = GslbResolver(ZONE, fixed_standings({}))
    server = DNSServer(
        resolver, address="127.0.0.1", port=0, tcp=True, handler=GslbHandler, server=GslbTcpServer
    ).server
    one, other = socket.socketpair()
    with one, other, ExitStack() as stack:
        stack.callback(server.server_close)
        other.settimeout(10.0)
        if idle:
            server.touch(one)
        listener, server.socket = server.socket, Failing(number)
        try:
            with pytest.raises(OSError, match=errno.errorcode[number]):
                server.get_request()
        finally:
            server.socket = listener
        assert paused == [_dnslib_servers.RETRY_S] * waits
        if ends:
            assert other.recv(1) == b""
        else:
            assert (one in server._open) is idle


class Failing:
    """A listening socket that cannot accept."""

    def __init__(self, number):
        self.number = number

    def accept(self):
        raise OSError(self.number, errno.errorcode[self.number])


def test_a_client_that_goes_away_is_no_error(capfd, caplog):
    """A connection that is reset within a message, and a datagram whose reply cannot be sent, are not logged."""
    with serving("127.0.0.1", tcp=True) as server:
        connection = socket.create_connection(server.server_address)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"\0\x40abc")
        connection.close()
        with socket.create_connection(server.server_address, timeout=10.0) as other:
            other.sendall(framed(WIRE))
            assert received(other)

    class Unreachable:
        def sendto(self, data, receiver):
            raise OSError(101, "Network is unreachable")

    with serving("127.0.0.1") as server:
        GslbHandler((WIRE, Unreachable()), ("192.0.2.53", 53), server)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_datagrams_start_no_threads():
    """As many threads as before answer a thousand datagrams: one flood is no thousand threads."""
    with serving("127.0.0.1") as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10.0)
        client.connect(server.server_address)
        began = threading.Thread.start
        started = []
        threading.Thread.start = lambda thread: started.append(thread) or began(thread)
        try:
            for _ in range(20):
                client.send(WIRE)
            for _ in range(20):
                assert dns.message.from_wire(client.recv(4096)).rcode() == dns.rcode.NOERROR
        finally:
            threading.Thread.start = began
    assert started == []
