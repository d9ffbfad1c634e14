"""Where does a key lie? One encoding for the three key types, one default hash: MurmurHash3.

=========  =====================================================================================
``str``    MurmurHash3 of its UTF-8 bytes
``bytes``  MurmurHash3 of the bytes themselves (so ``"k"`` and ``b"k"`` agree)
``int``    the splitmix64 mixer over the low 64 bits of its two's complement
=========  =====================================================================================

Never Python's own ``hash``: it differs from process to process. Never chosen by what is installed: the
same key has the same place on every machine and in every version of balancekit.

*When not to use it:* for keys an attacker chooses. Who knows the scheme can aim all traffic at one
endpoint; hash them with a secret first.

Cost: 1.5 empty method calls for a short string; integers cost five, in Python.
Source: MurmurHash3 (Appleby 2011) by the ``mmh3`` package; splitmix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from typing import Final

import mmh3

from balancekit.errors import ConfigurationError

__all__ = ["hash32", "hash64", "splitmix64"]

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF


def hash32(key: str | bytes | int) -> int:
    """Return the 32-bit position of a key, 0 to ``2**32 - 1``.

    Raises
    ------
    ConfigurationError
        If the key is not a str, bytes or int.

    Example
    -------
    >>> hash32("user:1") == hash32(b"user:1")
    True
    """
    try:
        return mmh3.hash(key, 0, False)  # type: ignore[arg-type]
    except TypeError:
        return splitmix64(_number(key)) >> 32


def hash64(key: str | bytes | int) -> int:
    """Return the 64-bit position of a key, 0 to ``2**64 - 1``.

    Raises
    ------
    ConfigurationError
        If the key is not a str, bytes or int.
    """
    try:
        wide: int = mmh3.hash128(key, 0, x64arch=True, signed=False)  # type: ignore[arg-type]
    except TypeError:
        return splitmix64(_number(key))
    return wide & MASK64


def splitmix64(value: int) -> int:
    """Mix the low 64 bits of an integer: a bijection whose every output bit depends on every input bit.

    Example
    -------
    >>> hex(splitmix64(0))
    '0xe220a8397b1dcdaf'
    """
    z = (value + 0x9E37_79B9_7F4A_7C15) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & MASK64
    return z ^ (z >> 31)


def _number(key: object) -> int:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    raise ConfigurationError("key", key, "a str, bytes or int")
