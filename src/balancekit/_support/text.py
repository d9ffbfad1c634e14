"""Text that people and peers pass in, as the bytes and numbers that structures hash.

Any ``str`` is a valid key. A header that is not UTF-8 and half a surrogate pair in JSON both become strings with lone
surrogates, which UTF-8 cannot encode and which crash C code that does not expect them. They are encoded by
``surrogatepass``: three bytes each, distinct from the bytes of every other string.

Cost: one call of a C method for ASCII text, which is passed on as it is.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import ip_address
from typing import Any, Final

__all__ = [
    "ascii_host",
    "decimal",
    "encodable",
    "host_of",
    "listed",
    "plain",
    "to_bytes",
    "with_ascii_host",
    "with_zone",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib.parse import SplitResult

_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
"""Letters, digits and hyphens (RFC 1123), and the underscore, which names of services have (RFC 2782)."""
_FOUR_NUMBERS: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_ENCODED_ZONE: Final = re.compile(r"%25(?=[^0-9])")
"""The mark of a zone in a URL (RFC 6874); before a digit it may as well be that of interface 25 and more."""
MAX_HOST_CHARACTERS: Final = 253
"""Of a host name without the dot of the root (RFC 1035)."""


def plain(value: str) -> str:
    """Return a text as a plain ``str``: a class derived from it may compare, hash and print as it likes.

    Example
    -------
    >>> from enum import StrEnum
    >>> plain(StrEnum("Site", {"EU": "eu"}).EU)
    'eu'

    Raises
    ------
    TypeError
        If it is no text.
    """
    return str.__str__(value)


def to_bytes(value: str | bytes) -> bytes:
    r"""Return the UTF-8 bytes of a text, lone surrogates included; bytes as they are.

    Example
    -------
    >>> to_bytes("é"), to_bytes(chr(0xDCFF)), to_bytes(b"k")
    (b'\xc3\xa9', b'\xed\xb3\xbf', b'k')
    """
    return str.encode(value, "utf-8", "surrogatepass") if isinstance(value, str) else value


def encodable(value: str) -> bool:
    """Return whether a text can be sent and printed: it has no lone surrogate.

    Example
    -------
    >>> encodable("é"), encodable(chr(0xD83D))
    (True, False)
    """
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def decimal(value: int) -> str:
    """Return an integer in decimal digits; one that 64 bits cannot hold by its low 64 bits.

    Python refuses to write integers of more than 4,300 digits, and takes long for those of many.

    Example
    -------
    >>> decimal(-5), decimal(2**64 + 7)
    ('-5', '7')
    """
    return str(value if -(2**63) <= value <= _MASK64 else value & _MASK64)


def ascii_host(host: str) -> str | None:
    """Return the one spelling of a host name or an address.

    A name in A-labels and lower case, without the dot of the root; an address as short as it can be.

    ``None`` for what is neither a host name that resolvers take nor an IP address. Names are taken by IDNA 2008, which
    allows no full-width letters and the like (RFC 5891), and four numbers are an address or nothing (RFC 1123, 2.1). The
    zone of an address stays as it is, for names of interfaces have capital letters; ``%25``, as URLs have it, becomes ``%``.

    Example
    -------
    >>> ascii_host("Bücher.example."), ascii_host("orders"), ascii_host("0::1"), ascii_host("a b"), ascii_host("10.0.0.256")
    ('xn--bcher-kva.example', 'orders', '::1', None, None)
    """
    if ":" in host:
        return _address(_ENCODED_ZONE.sub("%", host))
    name = host.lower().removesuffix(".")
    if not name.isascii():
        found = _a_labels(unicodedata.normalize("NFC", name))
        if found is None:
            return None
        name = found
    if len(name) > MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, name.split("."))):
        return None
    return _address(name) if _FOUR_NUMBERS.fullmatch(name) else name


def host_of(url: SplitResult) -> str:
    """Return the host of a URL, for :func:`ascii_host`: empty if there is none, or brackets without an IPv6 address.

    RFC 3986 has brackets for addresses of versions to come as well (``[v7.x]``), and no version has come.

    Example
    -------
    >>> from urllib.parse import urlsplit
    >>> host_of(urlsplit("//[::1]:80")), host_of(urlsplit("//orders:80")), host_of(urlsplit("//[v7.orders]:80"))
    ('::1', 'orders', '')
    """
    host = url.hostname or ""
    return "" if "[" in url.netloc and ":" not in host else host


def with_ascii_host(url: str) -> str:
    """Return a URL with a host name in A-labels, as clients send it; a URL with any other host as it is.

    Example
    -------
    >>> with_ascii_host("http://me@bücher.example:8080/x"), with_ascii_host("http://[::1]/x")
    ('http://me@xn--bcher-kva.example:8080/x', 'http://[::1]/x')

    Raises
    ------
    ValueError
        If it has brackets without an address, or a port that is none.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - few programs give such a URL

    parts = urlsplit(url)
    name = parts.hostname or ""
    host = None if name.isascii() or ":" in name else ascii_host(name)
    if host is None:
        return url
    user = parts.netloc[: parts.netloc.rfind("@") + 1]
    return parts._replace(netloc=f"{user}{host}{'' if parts.port is None else f':{parts.port}'}").geturl()


def with_zone(address: tuple[Any, ...]) -> str:
    """Return the address of a socket; a link-local one leads nowhere without its zone.

    Example
    -------
    >>> with_zone(("fe80::1", 80, 0, 2)), with_zone(("::1", 80, 0, 0)), with_zone(("10.0.0.1", 80))
    ('fe80::1%2', '::1', '10.0.0.1')
    """
    host = str(address[0])
    return f"{host}%{address[3]}" if len(address) == 4 and address[3] and "%" not in host else host


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _a_labels(name: str) -> str | None:
    try:
        from idna import encode  # noqa: PLC0415 - every HTTP client brings it
    except ModuleNotFoundError:
        return _a_labels_of_2003(name)
    try:
        return encode(name).decode("ascii")
    except UnicodeError:
        return None


def _a_labels_of_2003(name: str) -> str | None:
    """Return what the codec of the standard library makes of a name, unless it changes the name on the way."""
    try:
        found = name.encode("idna")
        return found.decode("ascii") if found.decode("idna") == name else None
    except UnicodeError:
        return None


def listed(text: str) -> list[str]:
    """Return what a text lists, between commas, semicolons and blanks; for advice, so no more than its first 200 characters count.

    Example
    -------
    >>> listed("a:80, b:80")
    ['a:80', 'b:80']
    """
    return text[:200].replace(",", " ").replace(";", " ").split()
