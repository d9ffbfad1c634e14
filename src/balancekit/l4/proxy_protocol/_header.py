"""What a PROXY protocol header says, and the other answers of its parser."""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, TypeAlias, final

from balancekit._support.record import Record

__all__ = ["Address", "NoHeader", "ProxyHeader", "Refused", "TlvType", "address_text", "unicast"]

Address: TypeAlias = tuple[str, int]
"""An IP address in its canonical text and a port; for a Unix socket its path (latin-1) and 0."""


class TlvType(enum.IntEnum):
    """The registered types of the fields behind the addresses (version 2)."""

    ALPN = 0x01
    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    NETNS = 0x30


@final
class ProxyHeader(Record):
    """A header that was read whole.

    Parameters
    ----------
    version
        1 or 2.
    command
        ``"proxy"``: the addresses are those of the proxied connection. ``"local"``: the proxy speaks for itself (a
        health check); use the addresses of the connection.
    transport
        ``"stream"`` or ``"datagram"``; ``None`` where there are no addresses.
    src, dst
        Both ends of the proxied connection, ``None`` for ``"local"`` and for UNKNOWN (version 1).
    tlvs
        Further fields in order, as pairs of type and value. Empty in version 1.
    size
        How many bytes the header takes: what follows belongs to the connection.
    """

    version: Literal[1, 2]
    command: Literal["proxy", "local"]
    transport: Literal["stream", "datagram"] | None
    src: Address | None
    dst: Address | None
    tlvs: tuple[tuple[int, bytes], ...]
    size: int

    def tlv(self, type: int) -> bytes | None:
        """Return the value of the first field of a type, ``None`` if there is none."""
        return next((value for found, value in self.tlvs if found == type), None)


@final
class NoHeader(Record):
    """The connection does not begin with a header, and it need not (``mode="optional"``)."""


@final
class Refused(Record):
    """The connection must be closed.

    Parameters
    ----------
    reason
        What is wrong, for a log. Of what was received it contains single numbers at most, never text.
    """

    reason: str


def unicast(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address can be the source of a packet: not multicast, unspecified or broadcast."""
    limited_broadcast = address.version == 4 and int(address) == 0xFFFF_FFFF
    return not (address.is_multicast or address.is_unspecified or limited_broadcast)


def address_text(address: IPv4Address | IPv6Address) -> str:
    """Return the canonical text of an address (RFC 5952), the same in every version of Python.

    Example
    -------
    >>> address_text(IPv6Address("::FFFF:192.0.2.1"))
    '::ffff:192.0.2.1'
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"
