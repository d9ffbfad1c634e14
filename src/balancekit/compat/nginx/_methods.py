"""nginx's balancing methods, one class per directive.

A method makes a *search* for every request. The search keeps the state of the hash, so a second attempt continues after
the first one. A miss is a server found by a hash or a draw that is not eligible. After more than twenty misses, every
method uses smooth round robin.

Source: nginx 1.22.1, ``ngx_http_upstream_{least_conn,ip_hash,hash,random}_module.c``; behaviour as recorded.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections.abc import Collection
from random import Random as Generator
from typing import Final, Protocol
from zlib import crc32

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Policy
from balancekit.compat.nginx._peers import Group, Peer
from balancekit.errors import ConfigurationError

__all__ = ["ConsistentHash", "Hash", "IpHash", "LeastConn", "Method", "Random", "RoundRobin", "Search"]

MISSES: Final = 20
POINTS: Final = 160


class Search(Protocol):
    """The choice of a server for each attempt of one request."""

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        """Return the server of the next attempt; ``None`` if none is eligible."""
        ...


class Method(Protocol):
    """A balancing directive."""

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request.

        Parameters
        ----------
        key
            The value of the hash variable, or the result of :meth:`IpHash.key_of`. Methods that do not hash ignore it.
        rng
            The random generator of methods that draw.
        """
        ...


class RoundRobin(Policy):
    """The method without a directive: smooth weighted round robin with effective weights.

    Example: with the weights 5/1/1 of a, b and c, the first seven choices are a a b a c a a.
    """

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request."""
        return _Smooth()


class LeastConn(Policy):
    """``least_conn``: the fewest requests in progress per weight. Smooth round robin decides between equal servers."""

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request."""
        return _LeastConn()


class IpHash(Policy):
    """``ip_hash``: a hash of the first three bytes of an IPv4 address, or of all sixteen of an IPv6 address.

    Example
    -------
    >>> from balancekit.compat.nginx import IpHash
    >>> IpHash.key_of("10.1.2.3") == IpHash.key_of("10.1.2.99")
    True
    """

    @staticmethod
    @checked_arguments
    def key_of(address: str) -> bytes:
        """Return the bytes of a client's address that are hashed.

        Raises
        ------
        ConfigurationError
            If it is no IP address.
        """
        try:
            packed = ipaddress.ip_address(address).packed
        except ValueError:
            raise ConfigurationError("address", address, "an IPv4 or IPv6 address") from None
        return packed[:3] if len(packed) == 4 else packed

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request."""
        return _IpHash(key)


class Hash(Policy):
    """``hash KEY``: CRC-32 modulo the sum of the weights. Most keys move when a server is added or removed."""

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request."""
        return _Hash(key) if key else _Smooth()


class ConsistentHash(Policy):
    """``hash KEY consistent``: a ring of CRC-32 points similar to ketama, with 160 points per unit of weight."""

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request."""
        return _Consistent(key) if key else _Smooth()


class Random(Policy):
    """``random`` or, with ``two``, ``random two least_conn``: draws by weight.

    Parameters
    ----------
    two
        Whether two different servers are drawn. The second is chosen unless it has more requests per weight.

    Raises
    ------
    ConfigurationError
        If ``two`` is no bool.
    """

    two: bool = False

    def _check(self) -> None:
        valid.flag("two", self.two)

    def search(self, key: bytes, rng: Generator) -> Search:
        """Begin a request."""
        return _Random(rng, two=self.two)


class _Smooth:
    __slots__ = ()

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        return group.smooth(tried, now)


class _LeastConn:
    __slots__ = ()

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        if group.single:
            return group.smooth(tried, now)
        fewest = group.fewest(tried, now, lambda peer: peer.conns)
        return fewest[0] if len(fewest) == 1 else group.turn(fewest)


class _IpHash:
    __slots__ = ("_bytes", "_hash", "_misses")

    def __init__(self, key: bytes) -> None:
        self._bytes = key
        self._hash = 89
        self._misses = 0

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        while not group.single and self._misses <= MISSES:
            for byte in self._bytes:
                self._hash = (self._hash * 113 + byte) % 6271
            peer = group.at(self._hash % group.total)
            if group.eligible(peer, tried, now):
                return peer
            self._misses += 1
        return group.smooth(tried, now)


class _Hash:
    __slots__ = ("_hash", "_key", "_misses", "_rounds")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._hash = 0
        self._rounds = 0
        self._misses = 0

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        while not group.single and self._misses <= MISSES:
            round_text = str(self._rounds).encode() if self._rounds else b""
            self._hash += (crc32(round_text + self._key) >> 16) & 0x7FFF
            self._rounds += 1
            peer = group.at(self._hash % group.total)
            if group.eligible(peer, tried, now):
                return peer
            self._misses += 1
        return group.smooth(tried, now)


class _Consistent:
    __slots__ = ("_key", "_misses", "_place")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._place: int | None = None
        self._misses = 0

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        if group.single:
            return group.smooth(tried, now)
        points, labels = ring(group)
        if self._place is None:
            self._place = bisect_left(points, crc32(self._key))
        while self._misses <= MISSES:
            label = labels[self._place % len(labels)]
            alike = [p for p in group.peers if p.server.label == label and group.eligible(p, tried, now)]
            peer = group.turn(alike)
            if peer is not None:
                return peer
            self._place += 1
            self._misses += 1
        return group.smooth(tried, now)


class _Random:
    __slots__ = ("_misses", "_rng", "_two")

    def __init__(self, rng: Generator, *, two: bool) -> None:
        self._rng = rng
        self._two = two
        self._misses = 0

    def find(self, group: Group, tried: Collection[Peer], now: float) -> Peer | None:
        first: Peer | None = None
        while len(group.peers) > 1 and self._misses <= MISSES:
            peer = group.at(self._rng.randrange(group.total))
            if peer is first or not group.eligible(peer, tried, now):
                self._misses += 1
            elif not self._two:
                return peer
            elif first is None:
                first = peer
                self._misses += 1  # nginx counts the first of two as a miss
            elif peer.conns * first.weight > first.conns * peer.weight:
                return first
            else:
                return peer
        return group.smooth(tried, now)


def ring(group: Group) -> tuple[list[int], list[str]]:
    """Return the sorted points of a group's ring, and the label of each. The ring is built once per group.

    Point ``j`` of a server is ``crc32(host, 0, port, point j - 1 as 4 little-endian bytes)``; the first is computed from 0.
    If two points are equal, the first server's stays. The host of ``unix:PATH`` is the path.
    """
    if group.ring is None:
        owners: dict[int, str] = {}
        for peer in group.peers:
            host, port = _host_and_port(peer.server.label)
            base = crc32(port.encode(), crc32(host.encode() + b"\0"))
            point = 0
            for _ in range(POINTS * peer.weight):
                point = crc32(point.to_bytes(4, "little"), base)
                owners.setdefault(point, peer.server.label)
        points = sorted(owners)
        group.ring = (points, [owners[point] for point in points])
    return group.ring


def _host_and_port(label: str) -> tuple[str, str]:
    if label[:5].lower() == "unix:":
        return label[5:], ""
    host, colon, port = label.rpartition(":")
    return (host, port) if colon and not port.strip("0123456789") else (label, "")
