"""Bytes near those that a parser takes."""

from __future__ import annotations

from random import Random

__all__ = ["fuzzed"]


def fuzzed(rng: Random, seed: bytes) -> bytes:
    """Return bytes near a seed: cut, with another end, changed or longer, up to three times."""
    data = bytearray(seed)
    for _ in range(rng.randrange(4)):
        match rng.randrange(4):
            case 0:
                data[rng.randrange(len(data) + 1) :] = rng.randbytes(rng.randrange(9))
            case 1 if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
            case 2 if data:
                del data[rng.randrange(len(data))]
            case _:
                at = rng.randrange(len(data) + 1)
                data[at:at] = rng.randbytes(rng.randrange(5))
    return bytes(data)
