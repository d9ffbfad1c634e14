"""Raw sockets for VRRP on Linux: adverts in and out, announcements out, and whether the link is up.

An advert socket belongs to one interface and one family. Its own multicast packets do not come back, and what
it sends has hop limit 255 and the router's own source address. Raw IPv4 sockets hand out the IP header, raw
IPv6 sockets do not: there the hop limit and the destination come as ancillary data.

Needs CAP_NET_RAW. Source: ip(7), ipv6(7), packet(7), netdevice(7).
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from balancekit._support.ip import IpAddress
from balancekit.errors import ConfigurationError
from balancekit.ha import (
    IPV4_GROUP,
    IPV6_GROUP,
    PROTOCOL,
    VirtualRouter,
    gratuitous_arp,
    unsolicited_na,
)

__all__ = ["AdvertSocket", "Announcer", "Packet", "interface_address", "plain_address"]

MAX_PACKET_BYTES: Final = 65_535
ANCILLARY_BYTES: Final = 256
SIOCGIFFLAGS: Final = 0x8913
SIOCGIFADDR: Final = 0x8915
SIOCGIFINDEX: Final = 0x8933
IFF_UP: Final = 0x1
IFF_RUNNING: Final = 0x40
IP_PKTINFO: Final = 8
ONLY_PROBE: Final = 0x800 | 0x10
"""MSG_CONFIRM and MSG_PROBE: a message without data finds its route and its source, and is not sent."""
HOP_LIMIT: Final = 255
IPV6_ADDRESSES: Final = "/proc/self/net/if_inet6"
LINK_SCOPE: Final = "20"
UNUSABLE: Final = 0x08 | 0x40
"""IFA_F_DADFAILED and IFA_F_TENTATIVE: another machine has the address, or it is not known yet."""
NAME_BYTES: Final = 15
"""The longest name of an interface."""


class Packet(NamedTuple):
    """One received payload, and how it came."""

    data: bytes
    source: str
    destination: str
    hop_limit: int


@final
class AdvertSocket:
    """A raw socket for the adverts of one family on one interface.

    Raises
    ------
    ConfigurationError
        If there is no such interface, or the system is not Linux.
    PermissionError
        Without CAP_NET_RAW.
    """

    def __init__(self, interface: str, router: VirtualRouter) -> None:
        if not hasattr(socket, "AF_PACKET"):
            raise ConfigurationError("interface", interface, "one of a Linux system")
        _index(interface)
        self._interface = interface
        self._index = 0
        self._source = plain_address(router.source)
        family = socket.AF_INET if self._source.version == 4 else socket.AF_INET6
        try:
            self.socket = socket.socket(family, socket.SOCK_RAW, PROTOCOL)
        except PermissionError as error:
            raise PermissionError(error.errno, "VRRP needs raw sockets: root, or CAP_NET_RAW") from None
        try:
            self.socket.setblocking(False)
            self.attach()
        except BaseException:
            self.socket.close()
            raise

    def attach(self) -> None:
        """Belong to the interface, also if it was recreated under the same name; raises ``OSError`` if it is not there."""
        index = int.from_bytes(_ioctl(self.socket, self._interface, SIOCGIFINDEX)[16:20], sys.byteorder)
        if index != self._index:
            self._set_up(index)
            self._index = index

    def link_is_up(self) -> bool:
        """Return whether the interface is up and has a carrier; ``False`` if it is gone."""
        try:
            flags = int.from_bytes(_ioctl(self.socket, self._interface, SIOCGIFFLAGS)[16:18], sys.byteorder)
        except OSError:
            return False
        return flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING

    def can_send(self, source: str) -> bool:
        """Return whether the system would send from an address: not if the machine has it not."""
        address = plain_address(source)
        try:
            self._send(b"", IPV4_GROUP if address.version == 4 else IPV6_GROUP, ONLY_PROBE, address)
        except OSError:
            return False
        return True

    def _set_up(self, index: int) -> None:
        raw = self.socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
        if self._source.version == 4:
            own = self._source.packed
            group = ipaddress.ip_address(IPV4_GROUP).packed
            membership, old = [group + own + struct.pack("@i", one) for one in (index, self._index)]
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(4) + membership[4:])
            with suppress(OSError):  # it has none yet
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, old)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, HOP_LIMIT)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, HOP_LIMIT)
        else:
            group = ipaddress.ip_address(IPV6_GROUP).packed
            membership, old = [group + struct.pack("@i", one) for one in (index, self._index)]
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            with suppress(OSError):  # it has none yet
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, old)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOP_LIMIT)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self.socket.fileno()

    def send(self, data: bytes, destination: str, source: str) -> None:
        """Send a payload from an address of the family; raises ``OSError`` if the system refuses."""
        self._send(data, destination, 0, plain_address(source))

    def _send(self, data: bytes, destination: str, flags: int, source: IpAddress) -> None:
        if source.version == 4:
            info = struct.pack("@i4s4s", self._index, source.packed, bytes(4))
            self.socket.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], flags, (destination, 0))
        else:
            info = source.packed + struct.pack("@i", self._index)
            where = (destination, 0, 0, self._index)
            self.socket.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)], flags, where)

    def receive(self) -> Packet | None:
        """Return the next packet that has arrived, ``None`` if there is none."""
        try:
            data, ancillary, _, sender = self.socket.recvmsg(MAX_PACKET_BYTES, ANCILLARY_BYTES)
        except BlockingIOError:
            return None
        return _ipv4(data) if self._source.version == 4 else _ipv6(data, ancillary, sender)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def plain_address(address: str) -> IpAddress:
    """Return an address without its scope."""
    return ipaddress.ip_address(address.partition("%")[0])


def _ipv4(data: bytes) -> Packet:
    """Cut off the header that the kernel has checked."""
    source, destination = (socket.inet_ntoa(data[place : place + 4]) for place in (12, 16))
    return Packet(data[(data[0] & 15) * 4 :], source, destination, data[8])


def _ipv6(data: bytes, ancillary: list[tuple[int, int, bytes]], sender: Any) -> Packet:
    hop_limit, destination = 0, "::"
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
            (hop_limit,) = struct.unpack("@i", value[:4])
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            destination = str(ipaddress.ip_address(value[:16]))
    return Packet(data, sender[0].partition("%")[0], destination, hop_limit)


@final
class Announcer:
    """A packet socket that announces addresses to the network.

    Raises
    ------
    PermissionError
        Without CAP_NET_RAW.
    """

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._interface = interface
            self.attach()
        except BaseException:
            self._socket.close()
            raise

    def attach(self) -> None:
        """Belong to the interface, also if it was recreated; raises ``OSError`` if it is not there."""
        self._socket.bind((self._interface, 0))

    def announce(self, addresses: tuple[str, ...]) -> None:
        """Send one announcement for each address, from the present hardware address; raises ``OSError`` if the system refuses."""
        mac: bytes = self._socket.getsockname()[4]
        for address in addresses:
            frame = unsolicited_na(address, mac) if ":" in address else gratuitous_arp(address, mac)
            self._socket.send(frame)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def interface_address(interface: str, version: int = 4) -> str:
    """Return the first IPv4 address of an interface, or its first link-local address of IPv6 (RFC 9568, 5.1.2.1).

    Raises
    ------
    ConfigurationError
        If there is no such interface, or it has none.
    """
    _index(interface)
    if version == 6:
        return _link_local(interface)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            return socket.inet_ntoa(_ioctl(any_socket, interface, SIOCGIFADDR)[20:24])
    except OSError:
        raise ConfigurationError("interface", interface, "an interface with an IPv4 address") from None


def _link_local(interface: str) -> str:
    with suppress(OSError), Path(IPV6_ADDRESSES).open(encoding="ascii") as lines:
        for line in lines:
            digits, _, _, scope, flags, name = line.split()
            if (name, scope) == (interface, LINK_SCOPE) and not int(flags, 16) & UNUSABLE:
                return str(ipaddress.IPv6Address(bytes.fromhex(digits)))
    raise ConfigurationError("interface", interface, "an interface with a link-local IPv6 address")


def _ioctl(of: socket.socket, interface: str, request: int) -> bytes:
    """Query an interface of the network namespace in which a socket was made."""
    return fcntl.ioctl(of, request, struct.pack("@256s", interface.encode()[:NAME_BYTES]))


def _index(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        names = ", ".join([name for _, name in socket.if_nameindex()])
        raise ConfigurationError("interface", interface, f"one of {names}") from None
