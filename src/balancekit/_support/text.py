"""Conversion of keys, ids and host names to the form that is hashed, compared and sent.

Any ``str`` is a valid key, even one with lone surrogates. Such strings come from headers that are not UTF-8, and from
JSON with half a surrogate pair. UTF-8 cannot encode lone surrogates, and C code that does not expect them may crash.
They are encoded with ``surrogatepass``, as three bytes each. The result differs from the bytes of every other string.

Cost: one call of a C method for ASCII text.
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
    "figure",
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
"""A label of letters, digits and hyphens (RFC 1123), and of underscores, which occur in names of services (RFC 2782)."""
_FOUR_NUMBERS: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_ENCODED_ZONE: Final = re.compile(r"%25(?=[^0-9])")
"""The separator of a zone in a URL (RFC 6874). Before a digit it is ambiguous: ``%25`` could also be interface 25."""
MAX_WRITTEN_OUT: Final = 1e15
"""The size from which on a number is written with an exponent. A float has no more digits."""
MAX_HOST_CHARACTERS: Final = 253
"""The maximal length of a host name without the trailing dot (RFC 1035)."""


def plain(value: str) -> str:
    """Return a plain ``str`` with the same characters. A subclass of ``str`` may compare, hash and print differently.

    Example
    -------
    >>> from enum import StrEnum
    >>> plain(StrEnum("Site", {"EU": "eu"}).EU)
    'eu'

    Raises
    ------
    TypeError
        If the value is no ``str``.
    """
    return str.__str__(value)


def to_bytes(value: str | bytes) -> bytes:
    r"""Return the UTF-8 bytes of a string, with lone surrogates encoded too. Bytes are returned unchanged.

    Example
    -------
    >>> to_bytes("é"), to_bytes(chr(0xDCFF)), to_bytes(b"k")
    (b'\xc3\xa9', b'\xed\xb3\xbf', b'k')
    """
    return str.encode(value, "utf-8", "surrogatepass") if isinstance(value, str) else value


def encodable(value: str) -> bool:
    """Return whether a string has no lone surrogate, so that UTF-8 can encode it.

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
    """Return an integer in decimal digits. Of an integer that does not fit in 64 bits, only the low 64 bits are used.

    Python refuses to print integers of more than 4,300 digits, and is slow for long ones.

    Example
    -------
    >>> decimal(-5), decimal(2**64 + 7)
    ('-5', '7')
    """
    return str(value if -(2**63) <= value <= _MASK64 else value & _MASK64)


def figure(value: float, spec: str = ".1f") -> str:
    """Return a number for a text, by a format; if it is very large, with three digits and an exponent.

    Example
    -------
    >>> figure(2.5), figure(1234.4, ",.0f"), figure(-1e308)
    ('2.5', '1,234', '-1e+308')
    """
    return format(value, spec if abs(value) < MAX_WRITTEN_OUT else ".3g")


def ascii_host(host: str) -> str | None:
    """Return the normal form of a host name or an IP address; ``None`` if the text is neither.

    The normal form of a name has A-labels, lower-case letters and no trailing dot. That of an address is the shortest.

    Names are converted by IDNA 2008, which refuses full-width letters and the like (RFC 5891). Four numbers with dots
    are an address or invalid, and never a name (RFC 1123, 2.1). The zone of an address keeps its case, because names of
    interfaces may have capital letters. ``%25``, the form of URLs, becomes ``%``.

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
    """Return the host of a URL, for :func:`ascii_host`; empty if there is none, or if its brackets hold no IPv6 address.

    RFC 3986 also allows addresses of future versions in brackets (``[v7.x]``). No such version exists.

    Example
    -------
    >>> from urllib.parse import urlsplit
    >>> host_of(urlsplit("//[::1]:80")), host_of(urlsplit("//orders:80")), host_of(urlsplit("//[v7.orders]:80"))
    ('::1', 'orders', '')
    """
    host = url.hostname or ""
    return "" if "[" in url.netloc and ":" not in host else host


def with_ascii_host(url: str) -> str:
    """Return a URL with its host name in A-labels. A URL with another kind of host is returned unchanged.

    Example
    -------
    >>> with_ascii_host("http://me@bücher.example:8080/x"), with_ascii_host("http://[::1]/x")
    ('http://me@xn--bcher-kva.example:8080/x', 'http://[::1]/x')

    Raises
    ------
    ValueError
        If the URL has brackets without an address, or a port that is no number from 0 to 65535.
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
    """Return the host of a socket address. An IPv6 address gets its zone, which a link-local address needs.

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
        from idna import encode  # noqa: PLC0415 - optional; every HTTP client depends on it
    except ModuleNotFoundError:
        return _a_labels_of_2003(name)
    try:
        return encode(name).decode("ascii")
    except UnicodeError:
        return None


def _a_labels_of_2003(name: str) -> str | None:
    """Return the A-labels of the standard library's codec (IDNA 2003); ``None`` if decoding them gives another name."""
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
