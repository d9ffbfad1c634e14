"""Version 2 of the PROXY protocol: a binary header.

.. code-block:: text

    12 bytes  signature
     1        version (2) and command: 0 LOCAL, 1 PROXY
     1        family and transport: 0x11 TCP/IPv4, 0x12 UDP/IPv4, 0x21, 0x22 IPv6, 0x31, 0x32 Unix
     2        bytes that follow
    12|36|216 source and destination address, source and destination port
     …        type (1), length (2), value; the CRC-32C is over the whole header with its own value zero

Source: HAProxy, "The PROXY protocol", section 2.2.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, Literal

from balancekit.l4._results import NeedMore
from balancekit.l4.proxy_protocol._crc32c import crc32c
from balancekit.l4.proxy_protocol._header import (
    Address,
    ProxyHeader,
    Refused,
    TlvType,
    address_text,
    unicast,
)

__all__ = ["FIXED_SIZE", "SIGNATURE_V2", "parse_v2"]

SIGNATURE_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_SIZE: Final = 16
ADDRESS_BYTES: Final = {1: 4, 2: 16, 3: 108}
"""By family; IPv4, IPv6, and the path of a Unix socket, which has no port."""
UNIX: Final = 3
LOCAL: Final = 0x20
PROXY: Final = 0x21
TLV_HEAD: Final = 3
CRC_SIZE: Final = 4
MAX_UNIQUE_ID: Final = 128

Transport = Literal["stream", "datagram"]
TRANSPORTS: Final[dict[int, Transport]] = {1: "stream", 2: "datagram"}


def parse_v2(data: bytes) -> NeedMore | ProxyHeader | Refused:
    """Read a binary header, given that it begins with :data:`SIGNATURE_V2` or a part of it.

    Example
    -------
    >>> parse_v2(SIGNATURE_V2 + bytes([0x20, 0, 0, 0])).command
    'local'
    """
    if len(data) < FIXED_SIZE:
        return NeedMore(at_least=FIXED_SIZE)
    command, family = data[12], data[13]
    if command not in {LOCAL, PROXY}:
        return Refused(reason=f"version and command {command:#04x}: only 0x20 (LOCAL) and 0x21 (PROXY) exist")
    size = FIXED_SIZE + int.from_bytes(data[14:16], "big")
    if command == LOCAL:
        # Whatever else it holds is to be ignored (section 2.2).
        return NeedMore(at_least=size) if len(data) < size else _header("local", None, None, None, (), size)
    width, transport = ADDRESS_BYTES.get(family >> 4), TRANSPORTS.get(family & 15)
    if width is None or transport is None:
        return Refused(reason=f"family and transport {family:#04x} under PROXY")
    tlvs_at = FIXED_SIZE + 2 * width + (0 if family >> 4 == UNIX else 4)
    if size < tlvs_at:
        return Refused(reason=f"{size - FIXED_SIZE} bytes, too few for two addresses")
    if len(data) < size:
        return NeedMore(at_least=size)
    header = data[:size]
    tlvs = _tlvs(header, tlvs_at)
    if isinstance(tlvs, Refused):
        return tlvs
    if family >> 4 == UNIX:
        src, dst = _path(header[16:124]), _path(header[124:232])
    else:
        sources = ip_address(header[16 : 16 + width])
        if not unicast(sources):
            return Refused(reason="a source address that no connection can have")
        ports = header[tlvs_at - 4 : tlvs_at]
        src = address_text(sources), int.from_bytes(ports[:2], "big")
        dst = address_text(ip_address(header[16 + width : 16 + 2 * width])), int.from_bytes(ports[2:], "big")
    return _header("proxy", transport, src, dst, tlvs, size)


def _tlvs(header: bytes, at: int) -> tuple[tuple[int, bytes], ...] | Refused:
    found: list[tuple[int, bytes]] = []
    checked = False
    while at < len(header):
        value_at = at + TLV_HEAD
        end = value_at + int.from_bytes(header[at + 1 : value_at], "big")
        if value_at > len(header) or end > len(header):
            return Refused(reason="a field that is cut off")
        type, value = header[at], header[value_at:end]
        if type == TlvType.CRC32C:
            if checked or len(value) != CRC_SIZE:
                return Refused(reason="a checksum that is not one field of four bytes")
            checked = True
            zeroed = crc32c(header[end:], crc32c(bytes(CRC_SIZE), crc32c(header[:value_at])))
            if zeroed != int.from_bytes(value, "big"):
                return Refused(reason="a wrong checksum")
        elif type == TlvType.UNIQUE_ID and len(value) > MAX_UNIQUE_ID:
            return Refused(reason=f"a unique id of more than {MAX_UNIQUE_ID} bytes")
        found.append((type, value))
        at = end
    return tuple(found)


def _path(padded: bytes) -> Address:
    return padded.rstrip(b"\0").decode("latin-1"), 0


def _header(
    command: Literal["proxy", "local"],
    transport: Transport | None,
    src: Address | None,
    dst: Address | None,
    tlvs: tuple[tuple[int, bytes], ...],
    size: int,
) -> ProxyHeader:
    return ProxyHeader(
        version=2, command=command, transport=transport, src=src, dst=dst, tlvs=tlvs, size=size
    )
