"""Version 1 of the PROXY protocol: one line of text.

``PROXY TCP4 192.0.2.1 198.51.100.2 12345 443`` and CR LF, 107 bytes at most. Single spaces, exact words, IPv4
addresses without leading zeros, the family as announced. Ports may have leading zeros: the specification forbids
them, but nginx, HAProxy and Envoy all read such a port as the same decimal number.

Source: HAProxy, "The PROXY protocol", section 2.1.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from balancekit.l4._results import NeedMore
from balancekit.l4.proxy_protocol._header import Address, ProxyHeader, Refused, address_text, unicast

__all__ = ["MAX_LINE", "SIGNATURE_V1", "parse_v1"]

SIGNATURE_V1: Final = b"PROXY "
MAX_LINE: Final = 107
"""Bytes, CR LF included: what the longest pair of addresses takes (section 2.1)."""

LINE: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]{1,5}) ([0-9]{1,5})")
UNKNOWN: Final = b"PROXY UNKNOWN"
MAX_PORT: Final = 65_535


def parse_v1(data: bytes) -> NeedMore | ProxyHeader | Refused:
    r"""Read a line, given that it begins with :data:`SIGNATURE_V1`.

    Example
    -------
    >>> parse_v1(b"PROXY UNKNOWN\r\n").src is None
    True
    """
    end = data.find(b"\n", 0, MAX_LINE)
    if end < 0:
        if len(data) >= MAX_LINE:
            return Refused(reason=f"a line of more than {MAX_LINE} bytes")
        return NeedMore(at_least=len(data) + (1 if data.endswith(b"\r") else 2))
    line = data[: end - 1]
    if data[end - 1 : end] != b"\r" or b"\r" in line:
        return Refused(reason="a line that does not end in CR LF")
    if line == UNKNOWN or line.startswith(UNKNOWN + b" "):
        return _header(None, None, end + 1)
    found = LINE.fullmatch(line)
    if found is None:
        return Refused(reason="a line that is no PROXY header")
    kind = IPv4Address if found[1] == b"TCP4" else IPv6Address
    try:
        src, dst = kind(found[2].decode()), kind(found[3].decode())
    except ValueError:
        return Refused(reason=f"an address that is not one of {found[1].decode()}")
    ports = int(found[4]), int(found[5])
    if max(ports) > MAX_PORT:
        return Refused(reason=f"a port above {MAX_PORT}")
    if not unicast(src):
        return Refused(reason="a source address that no connection can have")
    return _header((address_text(src), ports[0]), (address_text(dst), ports[1]), end + 1)


def _header(src: Address | None, dst: Address | None, size: int) -> ProxyHeader:
    return ProxyHeader(
        version=1,
        command="proxy",
        transport=None if src is None else "stream",
        src=src,
        dst=dst,
        tlvs=(),
        size=size,
    )
