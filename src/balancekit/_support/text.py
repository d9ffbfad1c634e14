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
from typing import Final

__all__ = ["ascii_host", "decimal", "encodable", "plain", "to_bytes"]

_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
"""Letters, digits and hyphens (RFC 1123), and the underscore, which names of services have (RFC 2782)."""
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
    """Return the one spelling of a host name: A-labels in lower case, without the dot of the root.

    ``None`` for what is neither a host name that resolvers take nor an IP address. Names are taken by IDNA 2008, which
    allows no full-width letters and the like; see RFC 5891.

    Example
    -------
    >>> ascii_host("Bücher.example."), ascii_host("orders"), ascii_host("::1"), ascii_host("a b")
    ('xn--bcher-kva.example', 'orders', '::1', None)
    """
    name = host.lower().removesuffix(".")
    if not name.isascii():
        found = _a_labels(unicodedata.normalize("NFC", name))
        if found is None:
            return None
        name = found
    if len(name) <= MAX_HOST_CHARACTERS and all(map(_LABEL.fullmatch, name.split("."))):
        return name
    try:
        ip_address(name)
    except ValueError:
        return None
    return name


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
