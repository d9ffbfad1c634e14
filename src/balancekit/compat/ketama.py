"""The hash ring of libketama, which many memcached clients use.

Each server has ``floor(40 * servers * weight / total weight)`` MD5 digests of ``"address-number"``. Each digest gives four points
of 32 bits; so a server has 160 points if weights are equal. The position of a key is the first four bytes of its MD5 digest,
little-endian. The key belongs to the first point at or after its position.

Weights are relative. If a weight changes or a server is added, the numbers of points of other servers change, and some of their
keys move.

Source: libketama (Richard Jones, Last.fm, 2007), ``ketama.c``; compared with uhashring's ketama mode.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from hashlib import md5
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

__all__ = ["Ketama"]


@final
class Ketama(ConstructorRepr):
    """libketama's ring. Immutable.

    Parameters
    ----------
    servers
        Weights by address, whole numbers >= 1. An address is written as in the server list of clients, such as
        ``"10.0.1.1:11211"``.

    Raises
    ------
    ConfigurationError
        If there is no server, or a weight is not a whole number >= 1.

    Notes
    -----
    *When not to use it:* for new systems. :class:`balancekit.hashing.HashRing` is faster and moves no key needlessly.

    Cost: O(log points) and one MD5 digest for a look-up; one MD5 digest per four points to build.

    Example
    -------
    >>> from balancekit.compat.ketama import Ketama
    >>> ring = Ketama({"10.0.1.1:11211": 1, "10.0.1.2:11211": 1})
    >>> ring.lookup("user:1") in {"10.0.1.1:11211", "10.0.1.2:11211"}
    True
    """

    __slots__ = ("_owners", "_points")

    @checked_arguments
    def __init__(self, servers: Mapping[str, int]) -> None:
        if not isinstance(servers, Mapping) or not servers:
            raise ConfigurationError("servers", servers, "weights by address, at least one")
        weights = {
            valid.text("servers", address): valid.integer("weight", weight, minimum=1)
            for address, weight in servers.items()
        }
        total = sum(weights.values())
        points: dict[int, str] = {}
        for address, weight in weights.items():
            for number in range(40 * len(weights) * weight // total):
                digest = md5(f"{address}-{number}".encode(), usedforsecurity=False).digest()
                for start in range(0, 16, 4):
                    points[int.from_bytes(digest[start : start + 4], "little")] = address
        self._points = sorted(points)
        self._owners = [points[point] for point in self._points]

    @checked_arguments
    def lookup(self, key: str | bytes) -> str:
        """Return the address of the server that owns a key.

        Raises
        ------
        ConfigurationError
            If the key is neither ``str`` nor ``bytes``.
        """
        return self._owners[self._place(key)]

    def candidates(self, key: str | bytes) -> Iterator[str]:
        """Yield all addresses that have points, in the order of the ring, beginning at the key."""
        start = self._place(key)
        seen: dict[str, None] = {}
        for place in range(start, start + len(self._owners)):
            address = self._owners[place % len(self._owners)]
            if address not in seen:
                seen[address] = None
                yield address

    def _place(self, key: str | bytes) -> int:
        if not isinstance(key, str | bytes):
            raise ConfigurationError("key", key, "a str or bytes")
        data = to_bytes(key)
        position = int.from_bytes(md5(data, usedforsecurity=False).digest()[:4], "little")
        return bisect_left(self._points, position) % len(self._points)
