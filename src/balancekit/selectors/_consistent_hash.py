"""Consistent hashing: a key keeps its endpoint while others join, leave and fail.

All three selectors build a structure of ``balancekit.hashing`` from the *members*, weights included, before these are
published, and keep it until the members change. Health does not change it: a key whose owner may not be
picked moves to its next candidate, and returns with its owner.

Endpoints of weight zero own no keys. If no other endpoint is left, keys go to them by a structure of their own.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import ClassVar, Final, TypeAlias, final

from balancekit import hashing
from balancekit._selection.pickers import NO_KEY, Pickers, keyless
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.errors import brief
from balancekit.loads import InFlight
from balancekit.snapshot import Key, Members, Node, PickContext, Snapshot

__all__ = ["MaglevHash", "RendezvousHash", "RingHash", "eligible_by_id"]

MAX_POINTS: Final = 1 << 21
"""On the ring of one selector: 20 MB."""


Tables: TypeAlias = tuple[Snapshot, Mapping[str, Node], tuple[hashing.HashStructure, ...]]
"""A snapshot, its eligible nodes by id, and the structures of its members, weighted ones first."""


class _ConsistentHash(ConstructorRepr, ABC):
    """The part that all consistent-hash selectors share; a subclass makes the structure."""

    keyed: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    _tables: Tables | None = None

    @abstractmethod
    def structure(self, weights: Mapping[str, float]) -> hashing.HashStructure:
        """Return the structure of these ids and weights."""

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build the structure of the members."""
        return snapshot.members.derive(self._tiers)

    def ranking(self, snapshot: Snapshot, ctx: PickContext, /) -> Iterator[Node]:
        """Yield the candidates in the order in which the key would try them."""
        return _ranking(snapshot, ctx, snapshot.members.derive(self._tiers))

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the first candidate in the key's order."""
        if ctx.trace is None:
            tables = self._tables
            if tables is None or tables[0] is not snapshot:
                tables = snapshot, snapshot.derive(eligible_by_id), snapshot.members.derive(self._tiers)
            return _find(tables, ctx)
        return _first(self.ranking(snapshot, ctx), ctx)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        tiers = snapshot.members.derive(self._tiers)
        self._tables = snapshot, snapshot.derive(eligible_by_id), tiers
        return _picker(snapshot, tiers)

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes; without a key, that of a key drawn at random."""
        pick_by_key = self.picker(snapshot, rng=rng)
        return keyless(pick_by_key, rng), pick_by_key

    def _tiers(self, members: Members) -> tuple[hashing.HashStructure, ...]:
        """Return the structure of the nodes with a weight, then that of those without, each if there are any."""
        weighted = {node.id: node.weight for node in members.nodes if node.weight}
        rest = {node.id: 1.0 for node in members.nodes if not node.weight}
        return tuple([self.structure(weights) for weights in (weighted, rest) if weights])


@final
class RingHash(_ConsistentHash):
    """Consistent hashing on a ring: each key to the next point clockwise; a change moves as few keys as possible.

    *Guarantee.* When an endpoint joins, keys move only to it; when one leaves or fails, only its keys move, and
    they spread over all others. The same owners in every process, whatever the order of endpoints.

    *When to use it:* caches, sessions, shards: moving a key is expensive, and endpoints join and leave. *When not:*
    one key is very hot (see :class:`BoundedLoad`); shares must be even within 8 % (use :class:`MaglevHash` or more
    ``vnodes``); attackers may choose keys and there is no ``hash=keyed(secret)``.

    Parameters
    ----------
    vnodes
        Points of an endpoint of weight 1. Shares have a relative standard deviation of ``1/sqrt(vnodes)``.
        Weights count as they are: twice the weight is twice the points.
    hash
        The name of a hash function, or one made by ``balancekit.hashing.keyed``.

    Raises
    ------
    ConfigurationError
        If ``vnodes`` is not a whole number from 1 to 2**28, or ``hash`` is no hash function.

    Notes
    -----
    Cost: about 13 empty method calls a pick at any size. A request without a key goes to any endpoint, by weight.

    Example
    -------
    >>> from balancekit import LoadBalancer, RingHash
    >>> lb = LoadBalancer(["a", "b", "c"], selector=RingHash())
    >>> lb.ranking("user:1") == lb.ranking("user:1")
    True
    """

    def __init__(self, *, vnodes: int = 150, hash: str | hashing.HashFunction = "murmur3") -> None:
        hashing.HashRing(vnodes=vnodes, hash=hash)
        self._vnodes = valid.integer("vnodes", vnodes, minimum=1)
        self._hash = hashing.hash_function(hash)

    def structure(self, weights: Mapping[str, float]) -> hashing.HashRing:
        """Return the ring of these ids and weights.

        If the weights would make more than two million points, all are halved until they do not.
        """
        points, scale = math.fsum(weights.values()) * self._vnodes, 1.0
        while points * scale > MAX_POINTS:
            scale /= 2.0
        least = math.ulp(0.0)  # what is halved to nothing keeps the one point that each has
        scaled = {id: weight * scale or least for id, weight in weights.items()}
        return hashing.HashRing(scaled, vnodes=self._vnodes, hash=self._hash)


@final
class MaglevHash(_ConsistentHash):
    """Maglev hashing: each key to a slot of an evenly filled table; the fastest lookup.

    *Guarantee.* Endpoints of equal weight own the same share of the keys up to one slot. When one leaves or joins,
    a few keys of others move too (0.24 % beyond the unavoidable for ten endpoints and the default size); when
    one *fails*, only its keys move.

    *When to use it:* even load matters more than moving the fewest keys. *When not:* see :class:`RingHash`; more
    endpoints than ``size / 100``.

    Parameters
    ----------
    size
        Slots, a prime number.
    hash
        The name of a hash function, or one made by ``balancekit.hashing.keyed``.

    Raises
    ------
    ConfigurationError
        If ``size`` is no prime number up to 2**26, or ``hash`` is no hash function.

    Notes
    -----
    Cost: about 9 empty method calls a pick; each change of members or weights builds a table.

    Example
    -------
    >>> from balancekit import LoadBalancer, MaglevHash
    >>> lb = LoadBalancer(["a", "b", "c"], selector=MaglevHash(size=1009))
    >>> lb.ranking("user:1") == lb.ranking("user:1")
    True
    """

    def __init__(self, *, size: int = 65_537, hash: str | hashing.HashFunction = "murmur3") -> None:
        hashing.MaglevTable([], size=size, hash=hash)
        self._size = valid.integer("size", size, minimum=1)
        self._hash = hashing.hash_function(hash)

    def structure(self, weights: Mapping[str, float]) -> hashing.MaglevTable:
        """Return the table of these ids and weights."""
        return hashing.MaglevTable(weights, size=self._size, hash=self._hash)


@final
class RendezvousHash(_ConsistentHash):
    """Rendezvous hashing: each key to the endpoint with the highest score; exact weights, minimal changes, O(n).

    *Guarantee.* Expected shares are exactly the weights', whichever endpoints are down. When an endpoint joins, leaves, fails or
    changes its weight, keys move only to or from it.

    *When to use it:* up to some tens of endpoints; uneven or changing weights. *When not:* hundreds; use
    :class:`RingHash`.

    Parameters
    ----------
    hash
        The name of a hash function, or one made by ``balancekit.hashing.keyed``.

    Notes
    -----
    Cost: about 80 empty method calls a pick for ten endpoints, and 0.3 ns for each further one.

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer, RendezvousHash
    >>> lb = LoadBalancer([Endpoint("a", weight=3), Endpoint("b")], selector=RendezvousHash())
    >>> lb.ranking("user:1") == lb.ranking("user:1")
    True
    """

    def __init__(self, *, hash: str | hashing.HashFunction = "murmur3") -> None:
        self._hash = hashing.hash_function(hash)

    def structure(self, weights: Mapping[str, float]) -> hashing.RendezvousHash:
        """Return the bids of these ids and weights."""
        return hashing.RendezvousHash(weights, hash=self._hash)


def _find(tables: Tables, ctx: PickContext) -> Node | None:
    """Return the first candidate in the key's order."""
    _, up, tiers = tables
    exclude = ctx.exclude
    key = ctx.rng.getrandbits(64) if ctx.key is None else ctx.key
    for structure in tiers:
        node = up.get(structure.lookup(key))
        if node is not None and node.id not in exclude:
            return node
        for id in structure.candidates(key):
            node = up.get(id)
            if node is not None and id not in exclude:
                return node
    return None


def eligible_by_id(snapshot: Snapshot) -> dict[str, Node]:
    """Return the eligible nodes by id; made once with ``derive``."""
    return {node.id: node for node in snapshot.eligible}


def _ranking(
    snapshot: Snapshot, ctx: PickContext, tiers: tuple[hashing.HashStructure, ...]
) -> Iterator[Node]:
    up, exclude = snapshot.derive(eligible_by_id), ctx.exclude
    key = ctx.rng.getrandbits(64) if ctx.key is None else ctx.key
    if ctx.trace is not None and ctx.key is None:
        ctx.trace.note(NO_KEY)
    for structure in tiers:
        # The owner alone is cheaper to find than the beginning of an order.
        owner = structure.lookup(key)
        for id in itertools.chain((owner,), _others(structure, key, owner)):
            node = up.get(id)
            if node is not None and id not in exclude:
                yield node
            elif ctx.trace is not None:
                ctx.trace.note(f"{id!r} owns the key but may not be picked: on to its next candidate")


def _others(structure: hashing.HashStructure, key: Key, owner: str) -> Iterator[str]:
    for id in structure.candidates(key):
        if id != owner:
            yield id


def _first(ranking: Iterator[Node], ctx: PickContext) -> Node | None:
    node = next(ranking, None)
    if ctx.trace is not None and node is not None and ctx.key is not None:
        ctx.trace.note(f"key {brief(ctx.key)} belongs to {node.id!r}")
    return node


def _picker(snapshot: Snapshot, tiers: tuple[hashing.HashStructure, ...]) -> Callable[..., Node]:
    up = snapshot.derive(eligible_by_id)
    lookup, find = tiers[0].lookup, up.get

    def pick(key: Key, _now: float = 0.0, /) -> Node:
        node = find(lookup(key))
        return node if node is not None else walk(key)

    def walk(key: Key) -> Node:
        return next(up[id] for structure in tiers for id in structure.candidates(key) if id in up)

    return pick
