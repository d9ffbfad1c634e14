"""Envoy's 64-bit hash of keys and labels.

It is xxHash64. Ring entries can use the 64-bit MurmurHash2 instead. Both are implemented in Python. If the package ``xxhash`` is
installed, it computes xxHash64 in C, about fifty times as fast.

*When not to use them:* for keys that attackers choose. They can choose keys that all belong to one host, because both functions
are public.

Cost: a few microseconds for a label of 20 bytes in Python.
Source: the xxHash specification (XXH64); MurmurHash2, 64-bit variant A (Appleby); Envoy 1.40 for the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["RING_HASHES", "header_hash", "key_hash", "murmur64", "xxh64", "xxh64_in_python"]

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF

PRIME1: Final = 0x9E37_79B1_85EB_CA87
PRIME2: Final = 0xC2B2_AE3D_27D4_EB4F
PRIME3: Final = 0x1656_67B1_9E37_79F9
PRIME4: Final = 0x85EB_CA77_C2B2_AE63
PRIME5: Final = 0x27D4_EB2F_1656_67C5

MURMUR_MULTIPLIER: Final = 0xC6A4_A793_5BD1_E995
MURMUR_SEED: Final = 0xC70F_6907
"""Seed of ``std::hash`` in the C++ library, which Envoy used for its first rings."""


class Hash64(Protocol):
    """A 64-bit hash function with a seed."""

    def __call__(self, data: bytes, seed: int = 0, /) -> int:
        """Return the hash of bytes, from 0 to ``2**64 - 1``."""
        ...


def xxh64_in_python(data: bytes, seed: int = 0, /) -> int:
    """Return the xxHash64 of bytes.

    Example
    -------
    >>> hex(xxh64_in_python(b""))
    '0xef46db3751d8e999'
    """
    size = len(data)
    at = 0
    if size >= 32:
        lanes = [seed + PRIME1 + PRIME2, seed + PRIME2, seed, seed - PRIME1]
        while at <= size - 32:
            for lane in range(4):
                lanes[lane] = _round(lanes[lane], _word(data, at))
                at += 8
        a, b, c, d = lanes
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        for lane in lanes:
            h = (h ^ _round(0, lane)) * PRIME1 + PRIME4
    else:
        h = seed + PRIME5
    h = (h + size) & MASK64
    while at <= size - 8:
        h = (_rotate(h ^ _round(0, _word(data, at)), 27) * PRIME1 + PRIME4) & MASK64
        at += 8
    if at <= size - 4:
        h = (
            _rotate(h ^ (int.from_bytes(data[at : at + 4], "little") * PRIME1), 23) * PRIME2 + PRIME3
        ) & MASK64
        at += 4
    for byte in data[at:]:
        h = (_rotate(h ^ (byte * PRIME5), 11) * PRIME1) & MASK64
    h = ((h ^ (h >> 33)) * PRIME2) & MASK64
    h = ((h ^ (h >> 29)) * PRIME3) & MASK64
    return h ^ (h >> 32)


@checked_arguments
def murmur64(data: bytes, seed: int = MURMUR_SEED) -> int:
    """Return the 64-bit MurmurHash2 of bytes, by default with Envoy's seed.

    Raises
    ------
    ConfigurationError
        If ``data`` is no ``bytes``, or ``seed`` is not a whole number >= 0.

    Example
    -------
    >>> from balancekit.compat.envoy import murmur64
    >>> murmur64(b"abcdefg", seed=0)
    2601573339036254301
    """
    size = len(data)
    tail = size & ~7
    h = valid.integer("seed", seed, minimum=0) ^ (size * MURMUR_MULTIPLIER & MASK64)
    for at in range(0, tail, 8):
        word = _word(data, at) * MURMUR_MULTIPLIER & MASK64
        word = (word ^ (word >> 47)) * MURMUR_MULTIPLIER & MASK64
        h = (h ^ word) * MURMUR_MULTIPLIER & MASK64
    if tail < size:
        h = (h ^ int.from_bytes(data[tail:], "little")) * MURMUR_MULTIPLIER & MASK64
    h = (h ^ (h >> 47)) * MURMUR_MULTIPLIER & MASK64
    return h ^ (h >> 47)


def header_hash(lines: Iterable[bytes]) -> int:
    """Return the hash of a header with several lines. In sorted order, each line is hashed with the previous hash as seed."""
    found = 0
    for line in sorted(lines):
        found = xxh64(line, found)
    return found


def _round(lane: int, word: int) -> int:
    return _rotate(lane + word * PRIME2, 31) * PRIME1 & MASK64


def _rotate(value: int, bits: int) -> int:
    value &= MASK64
    return (value << bits | value >> (64 - bits)) & MASK64


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


try:
    from xxhash import xxh64_intdigest
except ImportError:
    xxh64: Hash64 = xxh64_in_python
else:
    xxh64 = xxh64_intdigest

RING_HASHES: Final[dict[str, Callable[[bytes], int]]] = {"XX_HASH": xxh64, "MURMUR_HASH_2": murmur64}
"""Hash functions of ring entries, by Envoy's names."""


@checked_arguments
def key_hash(key: str | bytes | int) -> int:
    """Return the hash of a key: xxHash64 of a ``str`` or ``bytes``; the low 64 bits of an ``int``, which counts as a hash.

    Raises
    ------
    ConfigurationError
        If the key is not a str, bytes or int.

    Example
    -------
    >>> from balancekit.compat.envoy import key_hash, xxh64
    >>> key_hash("user:1") == key_hash(b"user:1") == key_hash(xxh64(b"user:1"))
    True
    """
    if isinstance(key, str | bytes):
        return xxh64(to_bytes(key))
    if isinstance(key, int) and not isinstance(key, bool):
        return key & MASK64
    raise ConfigurationError("key", key, "a str, bytes or int")
