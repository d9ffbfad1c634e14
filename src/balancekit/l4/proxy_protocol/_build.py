"""Writing PROXY protocol headers: the reverse of the parser."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l4.proxy_protocol._crc32c import crc32c
from balancekit.l4.proxy_protocol._header import Address, TlvType, address_text, unicast
from balancekit.l4.proxy_protocol._v1 import MAX_PORT
from balancekit.l4.proxy_protocol._v2 import (
    CRC_SIZE,
    LOCAL,
    MAX_UNIQUE_ID,
    PROXY,
    SIGNATURE_V2,
    TLV_HEAD,
)

__all__ = ["build"]

MAX_BODY = 65_535


@checked_arguments
def build(
    src: Address | None = None,
    dst: Address | None = None,
    *,
    version: Literal[1, 2] = 2,
    transport: Literal["stream", "datagram"] = "stream",
    tlvs: Sequence[tuple[int, bytes]] = (),
    checksum: bool = False,
) -> bytes:
    r"""Return the header to send before anything else.

    Parameters
    ----------
    src, dst
        Both ends of the connection that is passed on, as pairs of IP address and port. Leave both out for a
        connection of the proxy's own: ``LOCAL`` in version 2, ``UNKNOWN`` in version 1.
    version
        1 or 2.
    transport
        ``"stream"`` or ``"datagram"``; version 1 knows streams only.
    tlvs
        Further fields, pairs of type (0 to 255) and value; version 2 only. The checksum is not one of them.
    checksum
        Add a CRC-32C; version 2 only.

    Raises
    ------
    ConfigurationError
        For anything that the parser would refuse.

    Example
    -------
    >>> from balancekit.l4.proxy_protocol import build
    >>> build(("192.0.2.1", 12345), ("198.51.100.2", 443), version=1)
    b'PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n'
    """
    if version not in {1, 2} or isinstance(version, bool):
        raise ConfigurationError("version", version, "1 or 2")
    if transport not in {"stream", "datagram"}:
        raise ConfigurationError("transport", transport, "'stream' or 'datagram'")
    if (src is None) != (dst is None):
        raise ConfigurationError("dst", dst, "both addresses, or none")
    if version == 1 and (tlvs or valid.flag("checksum", checksum) or transport != "stream"):
        raise ConfigurationError("version", version, "2 for fields, a checksum or datagrams")
    if src is None or dst is None:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _v2(LOCAL, 0, b"", tlvs, checksum)
    ends = _end("src", src), _end("dst", dst)
    family = ends[0][0].version
    if ends[1][0].version != family:
        raise ConfigurationError("dst", dst, "an address of the same IP version as src")
    if not unicast(ends[0][0]):
        raise ConfigurationError("src", src, "an address that a connection can have")
    if version == 1:
        words = (f"TCP{family}", *[address_text(ip) for ip, _ in ends], *[str(port) for _, port in ends])
        return f"PROXY {' '.join(words)}\r\n".encode()
    addresses = b"".join([ip.packed for ip, _ in ends]) + b"".join(
        [port.to_bytes(2, "big") for _, port in ends]
    )
    kind = (1 if family == 4 else 2) << 4 | (1 if transport == "stream" else 2)
    return _v2(PROXY, kind, addresses, tlvs, checksum)


def _end(parameter: str, value: object) -> tuple[IPv4Address | IPv6Address, int]:
    if not isinstance(value, tuple) or len(value) != 2:
        raise ConfigurationError(parameter, value, "a pair of IP address and port")
    try:
        address = ip_address(valid.text(parameter, value[0]))
    except ValueError:
        raise ConfigurationError(parameter, value, "a pair of IP address and port") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ConfigurationError(parameter, value, "an address without a zone")
    return address, valid.integer(parameter, value[1], minimum=0, maximum=MAX_PORT)


def _v2(
    command: int, kind: int, addresses: bytes, tlvs: Sequence[tuple[int, bytes]], checksum: object
) -> bytes:
    fields = [_field(type, value) for type, value in tlvs]
    body = addresses + b"".join(fields)
    if valid.flag("checksum", checksum):
        body += bytes((TlvType.CRC32C,)) + CRC_SIZE.to_bytes(2, "big") + bytes(CRC_SIZE)
    if len(body) > MAX_BODY:
        raise ConfigurationError("tlvs", f"{len(body)} bytes with addresses", f"{MAX_BODY} at most")
    header = SIGNATURE_V2 + bytes((command, kind)) + len(body).to_bytes(2, "big") + body
    return header[:-CRC_SIZE] + crc32c(header).to_bytes(4, "big") if checksum else header


def _field(type: object, value: object) -> bytes:
    number = valid.integer("tlvs", type, minimum=0, maximum=255)
    most = MAX_UNIQUE_ID if number == TlvType.UNIQUE_ID else MAX_BODY - TLV_HEAD
    if number == TlvType.CRC32C:
        raise ConfigurationError("tlvs", type, "no checksum; set checksum=True")
    if not isinstance(value, bytes) or len(value) > most:
        raise ConfigurationError("tlvs", value, f"bytes, {most} of them at most")
    return bytes((number,)) + len(value).to_bytes(2, "big") + value
