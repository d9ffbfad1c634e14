"""The splitmix64 mixer for one integer. ``splitmix_batch`` has the same function for arrays.

Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
"""

from __future__ import annotations

from typing import Final

__all__ = ["MASK64", "splitmix64"]

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
"""A mask of the low 64 bits."""


def splitmix64(value: int) -> int:
    """Mix the low 64 bits of an integer. The function is a bijection; every output bit depends on every input bit.

    Example
    -------
    >>> hex(splitmix64(0))
    '0xe220a8397b1dcdaf'
    """
    z = (value + 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & 0xFFFF_FFFF_FFFF_FFFF
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & 0xFFFF_FFFF_FFFF_FFFF
    return z ^ (z >> 31)
