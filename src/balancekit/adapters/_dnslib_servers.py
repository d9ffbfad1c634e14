"""Servers for ``dnslib.server.DNSServer`` that answer from the queried address, and bound their connections."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, final

from balancekit._support.display import StateRepr
from balancekit._support.extras import extra
from balancekit._support.fork import new_lock
from balancekit._support.log import contain_error
from balancekit._support.shortage import is_shortage
from balancekit.adapters._dns_sockets import ask_for_destination, receive_datagram

with extra("dnslib"):
    if not TYPE_CHECKING:
        from dnslib.server import TCPServer, UDPServer

if TYPE_CHECKING:
    import socketserver

    class UDPServer(socketserver.UDPServer):
        """That of ``dnslib``, which has no types."""

    class TCPServer(socketserver.ThreadingTCPServer):
        """The same."""


__all__ = ["MAX_CONNECTIONS", "GslbTcpServer", "GslbUdpServer"]

MAX_CONNECTIONS: Final = 256
"""Connections at a time, a thread each."""
RETRY_S: Final = 0.1
"""Seconds until the next attempt to accept a connection for which there is no descriptor."""
BACKLOG: Final = 128
"""Connections that wait to be accepted: as many as Linux takes for small machines."""


@final
class GslbUdpServer(StateRepr, UDPServer, prints=("server_address",)):
    """A UDP server for ``dnslib.server.DNSServer`` with a :class:`~balancekit.adapters.dnslib.GslbHandler`.

    *Guarantee.* A reply comes from the address that the query was sent to, also from a machine with several addresses whose
    server listens on all of them (Linux; elsewhere over IPv6). A port that another socket has is refused.

    *When not to use it:* with policies that wait. Queries are answered one after another, in one thread.

    Raises
    ------
    OSError
        For an address that is none of the machine's, or a port that is taken.

    Example
    -------
    >>> from balancekit.adapters.dnslib import GslbHandler, GslbResolver, GslbUdpServer
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> from dnslib.server import DNSServer
    >>> zone = Zone("example.com", Soa(primary="ns1.example.com", contact="admin.example.com"), {"www": AllUp(["192.0.2.1"])})
    >>> resolver = GslbResolver(zone, fixed_standings({}))
    >>> server = DNSServer(resolver, address="127.0.0.1", port=0, handler=GslbHandler, server=GslbUdpServer)
    >>> server.server.server_close()
    """

    def server_bind(self) -> None:
        """Bind the socket; called when it is made."""
        self.allow_reuse_address = (
            False  # for UDP it means that two servers share a port, and one gets all queries
        )
        ask_for_destination(self.socket)
        super().server_bind()

    def get_request(self) -> tuple[Any, Any]:
        """Return the next datagram; called when there is one."""
        data, sender, source = receive_datagram(self.socket)
        return (data, self.socket, *source), sender

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a datagram, in the thread of the server: a policy takes less time than the start of a thread."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a handler; called where it is handled."""
        contain_error("DNS: a datagram from %s could not be handled", client_address[0])


@final
class GslbTcpServer(StateRepr, TCPServer, prints=("server_address",)):
    """A TCP server for ``dnslib.server.DNSServer`` with a :class:`~balancekit.adapters.dnslib.GslbHandler`.

    *Guarantee.* At most 256 connections at a time. For one more, that which has been idle for longest is closed.

    *When not to use it:* on the Internet without a limit by client in front.

    Raises
    ------
    OSError
        For an address that is none of the machine's, or a port that is taken.

    Example
    -------
    >>> from balancekit.adapters.dnslib import GslbHandler, GslbResolver, GslbTcpServer
    >>> from balancekit.gslb import AllUp, Soa, Zone, fixed_standings
    >>> from dnslib.server import DNSServer
    >>> zone = Zone("example.com", Soa(primary="ns1.example.com", contact="admin.example.com"), {"www": AllUp(["192.0.2.1"])})
    >>> resolver = GslbResolver(zone, fixed_standings({}))
    >>> server = DNSServer(resolver, address="127.0.0.1", port=0, tcp=True, handler=GslbHandler, server=GslbTcpServer)
    >>> server.server.server_close()
    """

    request_queue_size = BACKLOG

    def server_bind(self) -> None:
        """Bind the socket; called when it is made."""
        self._lock = new_lock()
        self._open: dict[socket.socket, None] = {}
        super().server_bind()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; called when there is one. Without a descriptor for it, an idle one is closed.

        If there is no idle one, wait: the connection is there still, and the server would try again at once.
        """
        try:
            return super().get_request()
        except OSError as error:
            if is_shortage(error) and not self._close_idle():
                time.sleep(RETRY_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection."""
        if len(self._open) >= MAX_CONNECTIONS:
            self._close_idle()
        self.touch(request)
        super().process_request(request, client_address)

    def touch(self, connection: socket.socket) -> None:
        """Note that a connection has sent a message; the others have been idle for longer."""
        with self._lock:
            self._open.pop(connection, None)
            self._open[connection] = None

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; called when its handler has returned."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def _close_idle(self) -> bool:
        """End the connection that has been idle for longest; its thread then closes it. Return whether there is one."""
        with self._lock:
            idle = next(iter(self._open), None)
            if idle is not None:
                del self._open[idle]
        if idle is not None:
            with suppress(OSError):  # it ended
                idle.shutdown(socket.SHUT_RDWR)
        return idle is not None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a handler; called where it is handled."""
        contain_error("DNS: a connection from %s could not be handled", client_address[0])
