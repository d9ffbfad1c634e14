"""The ring of libketama, which memcached clients have shared since 2007.

Every server has ``floor(40 * servers * weight / total weight)`` MD5 digests of ``"address-number"``, each of which
gives four points of 32 bits, so 160 points at equal weights. A key lies at the first four bytes of its own
MD5, little-endian, and belongs to the first point at or after it.

Weights are relative: changing one server's weight, or adding a server, changes how many points all others
have, and moves a few of their keys too.

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
        Weights (whole numbers >= 1) by address as in the list of servers, ``"10.0.1.1:11211"``.

    Raises
    ------
    ConfigurationError
        For no servers or a wrong weight.

    *When not to use it:* for anything new; ``balancekit.hashing.HashRing`` is faster and moves nothing it
    need not.

    Cost: a look-up O(log points) and one MD5; building one MD5 per four points.

    Example
    -------
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
        """Return the address a key belongs to."""
        return self._owners[self._place(key)]

    def candidates(self, key: str | bytes) -> Iterator[str]:
        """Yield all addresses that have points, in the order of the ring from the key on."""
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
