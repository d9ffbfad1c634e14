"""HAProxy's hash functions of 32 bits: four over bytes, and :func:`avalanche`, which mixes a hash.

Source: HAProxy 2.6.12, ``src/hash.c`` and ``full_hash`` of ``include/haproxy/tools.h``; behaviour as recorded.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["HASHES", "avalanche", "crc32", "djb2", "sdbm", "wt6"]

MASK: Final = 0xFFFF_FFFF


@checked_arguments
def sdbm(data: bytes) -> int:
    """Return the hash ``h = c + h * 65599`` over bytes ``c``, from 0."""
    h = 0
    for byte in data:
        h = (byte + h * 65599) & MASK
    return h


@checked_arguments
def djb2(data: bytes) -> int:
    """Return the hash ``h = h * 33 + c`` over bytes ``c``, from 5381.

    Example
    -------
    >>> from balancekit.compat.haproxy import djb2
    >>> djb2(b"a")
    177670
    """
    h = 5381
    for byte in data:
        h = (h * 33 + byte) & MASK
    return h


@checked_arguments
def wt6(data: bytes) -> int:
    """Return the hash of two words. Each byte rotates them, by amounts that depend on the bytes before."""
    x, y = 0xA53C_965A, 0x5CA6_953A
    first, second = 6, 18
    for byte in data:
        x = ~(x ^ byte) & MASK
        y = ~(y + byte) & MASK
        x, y = _rotated(y, first), _rotated(x, second)
        t = ((x >> 16) ^ y) & 0xFFFF
        first, second = t & 31, t >> 11
    return x ^ y


@checked_arguments
def crc32(data: bytes) -> int:
    """Return the CRC-32 that ``zlib`` computes."""
    return zlib.crc32(data)


HASHES: Final[Mapping[str, Callable[[bytes], int]]] = MappingProxyType(
    {"sdbm": sdbm, "djb2": djb2, "wt6": wt6, "crc32": crc32}
)
"""The functions of ``hash-type``, by name."""


@checked_arguments
def avalanche(a: int) -> int:
    """Mix 32 bits so that every output bit depends on every input bit, then multiply.

    Raises
    ------
    ConfigurationError
        If ``a`` is not a whole number >= 0.
    """
    a = valid.integer("a", a, minimum=0)
    a = (a + 0x7ED5_5D16 + (a << 12)) & MASK
    a = a ^ 0xC761_C23C ^ (a >> 19)
    a = (a + 0x1656_67B1 + (a << 5)) & MASK
    a = ((a + 0xD3A2_646C) ^ (a << 9)) & MASK
    a = (a + 0xFD70_46C5 + (a << 3)) & MASK
    a = a ^ 0xB55A_4F09 ^ (a >> 16)
    return a * 3_221_225_473 & MASK


def _rotated(word: int, places: int) -> int:
    return (word << places | word >> (32 - places)) & MASK
