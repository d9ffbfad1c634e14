"""Announcements of an address that has moved: gratuitous ARP and unsolicited neighbour advertisements.

Both functions return whole Ethernet frames, for a packet socket. Neighbours and switches update their tables by
them. Without them, they keep sending to the former holder until their entries expire.

Cost: O(1), a few microseconds.

Source: RFC 5227 section 2.3 (ARP announcement); RFC 4861 sections 4.4 and 7.2.6 (neighbour advertisement).
"""

from __future__ import annotations

import struct
from typing import Final

from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.ha._packet import ip, ones_complement_sum

__all__ = ["gratuitous_arp", "unsolicited_na"]

BROADCAST: Final = b"\xff" * 6
ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
ICMPV6: Final = 58
NEIGHBOUR_ADVERTISEMENT: Final = 136
OVERRIDE: Final = 0x2000_0000
TARGET_LINK_ADDRESS: Final = bytes((2, 1))
"""Option 2, one unit of eight bytes long."""


@checked_arguments
def gratuitous_arp(address: str, mac: bytes) -> bytes:
    """Return the ARP announcement of an IPv4 address.

    Parameters
    ----------
    address
        The address that is here now.
    mac
        Six bytes: the interface that holds it.

    Raises
    ------
    ConfigurationError
        If it is no IPv4 address, or the other not six bytes.

    Example
    -------
    >>> from balancekit.ha import gratuitous_arp
    >>> gratuitous_arp("192.0.2.100", bytes.fromhex("020000000001")).hex()
    'ffffffffffff02000000000108060001080006040001020000000001c0000264000000000000c0000264'
    """
    packed = _packed(address, mac, 4)
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return BROADCAST + mac + struct.pack("!H", ETHERTYPE_ARP) + head + mac + packed + bytes(6) + packed


@checked_arguments
def unsolicited_na(address: str, mac: bytes) -> bytes:
    """Return the unsolicited neighbour advertisement of an IPv6 address, to all nodes, with the override flag.

    Parameters
    ----------
    address
        The address that is here now.
    mac
        Six bytes: the interface that holds it.

    Raises
    ------
    ConfigurationError
        If it is no IPv6 address, or the other not six bytes.

    Example
    -------
    >>> from balancekit.ha import unsolicited_na
    >>> len(unsolicited_na("2001:db8::100", bytes.fromhex("020000000001")))
    86
    """
    packed = _packed(address, mac, 16)
    body = struct.pack("!L", OVERRIDE) + packed + TARGET_LINK_ADDRESS + mac
    pseudo = packed + ALL_NODES + struct.pack("!LL", len(body) + 4, ICMPV6)
    message = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0) + body
    checksum = ones_complement_sum(pseudo, message) ^ 0xFFFF
    message = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, checksum) + body
    header = struct.pack("!LHBB", 6 << 28, len(message), ICMPV6, 255) + packed + ALL_NODES
    return ALL_NODES_MAC + mac + struct.pack("!H", ETHERTYPE_IPV6) + header + message


def _packed(address: str, mac: bytes, width: int) -> bytes:
    if not isinstance(mac, bytes) or len(mac) != 6:
        raise ConfigurationError("mac", mac, "six bytes")
    packed = ip(address).packed
    if len(packed) != width:
        raise ConfigurationError("address", address, "an IPv4 address" if width == 4 else "an IPv6 address")
    return packed
