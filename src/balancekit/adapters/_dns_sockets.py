"""Sockets of a DNS server: messages of a connection, and datagrams that are answered from where they were sent to.

Source: RFC 7766 sections 6 and 8 for connections; ip(7) and ipv6(7) for the address that a datagram was sent to.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, Final

from balancekit.adapters._gslb import MAX_SIZE

__all__ = ["IDLE_S", "ask_for_destination", "messages", "receive_datagram", "send_datagram", "send_message"]

IDLE_S: Final = 10.0
"""Seconds that a connection may take for the next message: "a few seconds" (RFC 7766, 6.2.3)."""
ANCILLARY_BYTES: Final = 256
IP_PKTINFO: Final = 8
LINK_LOCAL: Final = bytes((0xFE, 0x80))


def messages(connection: socket.socket) -> Iterator[bytes]:
    """Yield the messages of a connection, until one does not come whole within its time.

    Raises
    ------
    OSError
        If the connection fails.
    """
    while (head := _exactly(connection, 2, until := time.monotonic() + IDLE_S)) is not None:
        data = _exactly(connection, int.from_bytes(head, "big"), until)
        if data is None:
            return
        yield data


def _exactly(connection: socket.socket, size: int, until: float) -> bytes | None:
    """Return so many bytes; ``None`` if the other end has none left."""
    data = b""
    while len(data) < size:
        connection.settimeout(max(1e-3, until - time.monotonic()))
        more = connection.recv(size - len(data))
        if not more or time.monotonic() >= until:
            return None
        data += more
    return data


def send_message(connection: socket.socket, data: bytes) -> None:
    """Send a message; raises ``OSError`` if the connection fails, or its reader takes too long."""
    connection.settimeout(IDLE_S)
    connection.sendall(len(data).to_bytes(2, "big") + data)


def ask_for_destination(datagrams: socket.socket) -> None:
    """Let datagrams come with the address that they were sent to, if the system has that."""
    if not hasattr(socket, "CMSG_SPACE"):  # Windows
        return
    if datagrams.family == socket.AF_INET6:
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    elif hasattr(socket, "AF_PACKET"):  # Linux
        datagrams.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def receive_datagram(datagrams: socket.socket) -> tuple[bytes, Any, list[tuple[int, int, bytes]]]:
    """Return a datagram, its sender, and what a reply is to be sent with so that it comes from where the datagram went to."""
    if not hasattr(datagrams, "recvmsg"):
        data, sender = datagrams.recvfrom(MAX_SIZE)
        return data, sender, []
    data, ancillary, _, sender = datagrams.recvmsg(MAX_SIZE, ANCILLARY_BYTES)
    return data, sender, [_source(each) for each in ancillary]


def _source(ancillary: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """Return the address of a datagram as that of its reply. The routes choose the interface, except for a link's own."""
    level, kind, value = ancillary
    if level == socket.IPPROTO_IP:
        return level, kind, bytes(4) + value[4:8] + bytes(4)
    index = value[16:20] if value[:2] == LINK_LOCAL else struct.pack("@i", 0)
    return level, kind, value[:16] + index


def send_datagram(
    datagrams: socket.socket, data: bytes, receiver: Any, source: list[tuple[int, int, bytes]]
) -> None:
    """Send a reply; raises ``OSError`` if the system refuses."""
    if source:
        datagrams.sendmsg([data], source, 0, receiver)
    else:
        datagrams.sendto(data, receiver)
