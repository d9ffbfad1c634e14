"""Text that people and peers pass in, as the bytes and numbers that structures hash.

Any ``str`` is a valid key. A header that is not UTF-8 and half a surrogate pair in JSON both become strings with lone
surrogates, which UTF-8 cannot encode and which crash C code that does not expect them. They are encoded by
``surrogatepass``: three bytes each, distinct from the bytes of every other string.

Cost: one call of a C method for ASCII text, which is passed on as it is.
"""

from __future__ import annotations

from typing import Final

__all__ = ["decimal", "encodable", "to_bytes"]

_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF


def to_bytes(value: str | bytes) -> bytes:
    r"""Return the UTF-8 bytes of a text, lone surrogates included; bytes as they are.

    Example
    -------
    >>> to_bytes("é"), to_bytes(chr(0xDCFF)), to_bytes(b"k")
    (b'\xc3\xa9', b'\xed\xb3\xbf', b'k')
    """
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


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
