"""Batches of keys: the positions of many keys in one call, the same as one by one.

An array of integers takes no Python loop: it is mixed in chunks that fit a processor's second-level cache,
in place, 2 ns a key. Strings and bytes take one call of the hash function each, driven from C: 50 ns a key,
nearly all of it the hash. Chunks are worth a factor of two to three (measured).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterator
from itertools import chain, islice, repeat
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from balancekit._support.splitmix import splitmix64
from balancekit._support.splitmix_batch import mix64
from balancekit.errors import ConfigurationError
from balancekit.hashing._keys import HashFunction

__all__ = ["Keys", "owners", "positions"]

Keys: TypeAlias = Collection[str] | Collection[bytes] | Collection[int] | NDArray[np.integer[Any]]
"""Many keys: an array of integers, or any sized collection of str, bytes and int."""

MAX_KEYS: Final = 100_000_000
"""Keys that a batch may have, beyond arrays: more fill the memory."""
CHUNK: Final = 1 << 15
"""Keys: 256 KiB of 64-bit numbers; measured best between 2**12 and 2**17."""
CHUNK_OF_TEXTS: Final = 1 << 11
"""Keys: those that were looked at are still in a processor's second-level cache when they are hashed."""


def owners(
    function: HashFunction,
    keys: Keys,
    find: Callable[[NDArray[np.uint64]], NDArray[Any]],
) -> NDArray[np.int32]:
    """Return ``find`` of the positions of all keys.

    Parameters
    ----------
    function
        Makes positions.
    keys
        An array of integers, or any collection of keys.
    find
        From positions, 64 bits wide and its own to write on, to numbers of owners.
    """
    numbers = _numbers(function, keys)
    places = positions(function, keys) if numbers is None else numbers
    found = np.empty(len(places), np.int32)
    part, spare = np.empty((2, CHUNK), np.uint64)
    for begin in range(0, len(places), CHUNK):
        some = places[begin : begin + CHUNK]
        mine = part[: len(some)]
        mine[:] = some
        if numbers is not None:
            mix64(mine, spare[: len(some)])
            mine >>= np.uint64(32)
        found[begin : begin + CHUNK] = find(mine)
    return found


def positions(function: HashFunction, keys: Keys) -> NDArray[np.uint32]:
    """Return the 32-bit position of every key, one call of the hash function each.

    Raises
    ------
    ConfigurationError
        If the keys are a single string, an array of anything but integers, or hold something else than
        str, bytes and int.
    """
    if isinstance(keys, np.ndarray):
        if keys.ndim != 1:
            raise ConfigurationError("keys", f"an array of shape {keys.shape}", "an array of one dimension")
        keys = keys.tolist()
    elif isinstance(keys, str | bytes) or not isinstance(keys, Collection):
        raise ConfigurationError("keys", keys, "a collection of keys, or an array of integers")
    if len(keys) > MAX_KEYS:
        raise ConfigurationError("keys", keys, f"at most {MAX_KEYS} keys at once, or an array of integers")
    rest = iter(keys)
    batches = iter(lambda: tuple(islice(rest, CHUNK_OF_TEXTS)), ())
    found = array("I", chain.from_iterable(_hashes(function, some) for some in batches))
    return np.frombuffer(found, np.uint32)


def _hashes(function: HashFunction, keys: tuple[Any, ...]) -> Iterator[int]:
    """Return the position of each key; ASCII strings go to the hash function as they are."""
    try:
        ascii_only = "".join(keys).isascii()  # others raise; a look at each key takes twice as long
    except TypeError:
        ascii_only = False
    if ascii_only:
        return map(function.narrow, keys, repeat(0), repeat(False))
    return map(function.hash32, keys)


def _numbers(function: HashFunction, keys: Keys) -> NDArray[np.uint64] | None:
    """Return an array of integers as 64-bit numbers; nothing if the keys must be hashed one by one."""
    if not isinstance(keys, np.ndarray) or keys.ndim != 1 or keys.dtype.kind not in "iu":
        return None
    if function.number is not splitmix64:
        return None
    # int64 first: a negative number of any width is its two's complement of 64 bits.
    wide: NDArray[Any] = keys if keys.dtype == np.uint64 else keys.astype(np.int64, copy=False)
    return wide.view(np.uint64)
