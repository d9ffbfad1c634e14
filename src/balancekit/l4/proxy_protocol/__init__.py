"""The PROXY protocol: the addresses of a client, sent ahead of its connection.

:func:`parse` reads version 1 (text) and version 2 (binary), :func:`build` writes both. The parser is strict, because
three widely used ones disagree on 25 of 63 headers that were tried: it accepts none that nginx, HAProxy and Envoy
all refuse, and every one that all three accept, with the same addresses.

Only read a header from a peer that is allowed to send one: any client can claim any address.

Source: HAProxy, "The PROXY protocol, versions 1 & 2"; differences observed on nginx 1.22.1, HAProxy 2.6.12 and Envoy
1.40.0.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l4._results import NeedMore
from balancekit.l4.proxy_protocol._build import build
from balancekit.l4.proxy_protocol._crc32c import crc32c
from balancekit.l4.proxy_protocol._header import Address, NoHeader, ProxyHeader, Refused, TlvType
from balancekit.l4.proxy_protocol._v1 import SIGNATURE_V1, parse_v1
from balancekit.l4.proxy_protocol._v2 import SIGNATURE_V2, parse_v2

__all__ = [
    "Address",
    "NeedMore",
    "NoHeader",
    "ProxyHeader",
    "Refused",
    "TlvType",
    "build",
    "crc32c",
    "parse",
]

Mode: TypeAlias = Literal["required", "optional"]


@checked_arguments
def parse(
    buf: bytes | bytearray | memoryview, /, *, mode: Mode = "required"
) -> NeedMore | ProxyHeader | NoHeader | Refused:
    r"""Read the header at the beginning of a connection.

    Parameters
    ----------
    buf
        All bytes received so far.
    mode
        ``"required"``: a connection without a header is refused, as the specification demands of a port that expects
        one. ``"optional"``: it is :class:`NoHeader` from the first byte that belongs to neither signature.

    Returns
    -------
    NeedMore
        For every proper prefix of a good header, and only for what may still become one.
    ProxyHeader
        ``buf[header.size:]`` belongs to the connection.
    NoHeader
        Only with ``mode="optional"``.
    Refused
        Close the connection.

    Raises
    ------
    ConfigurationError
        For another mode, or if ``buf`` is not bytes. Never because of what it contains.

    Notes
    -----
    *Guarantee.* No bytes raise an exception. At most 107 bytes (version 1) or 65,551 (version 2) are waited for.

    *When to use "optional":* nowhere that clients can reach directly, for they could then choose their address.

    Cost: O(header); a checksum about 60 ns a byte.

    Example
    -------
    >>> from balancekit.l4.proxy_protocol import parse
    >>> header = parse(b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\nGET / HTTP/1.1\r\n")
    >>> header.src, header.size
    (('192.0.2.1', 12345), 45)
    >>> parse(b"PROX")
    NeedMore(at_least=6)
    >>> parse(b"GET / HTTP/1.1\r\n")
    Refused(reason='no PROXY header')
    """
    if mode not in {"required", "optional"}:
        raise ConfigurationError("mode", mode, "'required' or 'optional'")
    if not isinstance(buf, bytes | bytearray | memoryview):
        raise ConfigurationError("buf", buf, "bytes")
    data = bytes(buf)
    for signature, read in ((SIGNATURE_V1, parse_v1), (SIGNATURE_V2, parse_v2)):
        if data.startswith(signature):
            return read(data)
        if signature.startswith(data):
            return NeedMore(at_least=len(signature) if data else len(SIGNATURE_V1))
    return NoHeader() if mode == "optional" else Refused(reason="no PROXY header")
