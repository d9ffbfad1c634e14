"""Bob Jenkins' lookup2, the hash of PowerDNS's Lua records.

Source: R. J. Jenkins, *lookup2.c* (1996, public domain).
"""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

_MASK: Final = 0xFFFF_FFFF


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for first, second, third in ((13, 8, 13), (12, 16, 5), (3, 10, 15)):
        a = ((a - b - c) & _MASK) ^ (c >> first)
        b = ((b - c - a) & _MASK) ^ (a << second & _MASK)
        c = ((c - a - b) & _MASK) ^ (b >> third)
    return a, b, c


@checked_arguments
def lookup2(data: bytes, start: int = 0) -> int:
    """Return Bob Jenkins' lookup2 hash of 32 bits.

    Raises
    ------
    ConfigurationError
        If ``data`` is no ``bytes``, or ``start`` is not a whole number >= 0.

    Example
    -------
    >>> from balancekit.compat.powerdns import lookup2
    >>> lookup2(bytes([192, 0, 2, 1])) == lookup2(bytes([192, 0, 2, 1]), 0) != lookup2(bytes([192, 0, 2, 2]))
    True
    """
    a = b = 0x9E37_79B9
    c = valid.integer("start", start, minimum=0)
    place = 0
    while len(data) - place >= 12:
        words = [int.from_bytes(data[place + k : place + k + 4], "little") for k in (0, 4, 8)]
        a, b, c = _mix((a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK)
        place += 12
    rest = data[place:]
    a = (a + int.from_bytes(rest[:4], "little")) & _MASK
    b = (b + int.from_bytes(rest[4:8], "little")) & _MASK
    c = (c + len(data) + (int.from_bytes(rest[8:], "little") << 8)) & _MASK
    return _mix(a, b, c)[2]
