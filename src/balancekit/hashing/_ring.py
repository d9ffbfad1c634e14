"""The consistent-hash ring.

Every node has many points on a circle; a key belongs to the owner of the next point clockwise. A node that
leaves gives up its arcs to their neighbours, a node that joins takes arcs, and *no other key moves*.

*Where the points lie.* The 64-bit hash of the id seeds a splitmix64 stream; the high 32 bits of its numbers are
the node's points. One string is hashed per node instead of one per point, which makes building ten times
faster; a node's points depend on its id and weight alone, so all processes with the same nodes have the same
ring, in whatever order they came.

*How even it is.* With ``v`` points each, shares have a relative standard deviation of ``1/sqrt(v)``: 8 % for
150. The busiest of 10 nodes is expected at 1.13 of the mean, of 100 at 1.22, of 1 000 at 1.29.
``balancekit.hashing.vnodes_for`` says how many points a wanted bound takes.

Source: Karger et al. (STOC 1997); shares of a ring are Dirichlet distributed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.calls import checked_call
from balancekit._support.splitmix_batch import mix64
from balancekit._support.text import plain
from balancekit.errors import ConfigurationError, UnknownEndpointError
from balancekit.hashing._batch import Keys, owners
from balancekit.hashing._keys import HashFunction, Narrow, hash_function
from balancekit.hashing._nodes import Nodes, no_owner, node_weights
from balancekit.hashing._partition import Partition
from balancekit.hashing._slots import GROUP, Slots

__all__ = ["HashRing"]

VNODES: Final = 150
"""Points of a node of weight 1: the busiest of 100 nodes is expected at 1.22 of the mean."""
MAX_POINTS: Final = 1 << 28
"""On one ring: 4 GiB of points."""
GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
HIGH: Final = np.uint64(0xFFFF_FFFF_0000_0000)

Lookup: TypeAlias = "tuple[array[int], int, int, tuple[str, ...], Narrow, tuple[array[int], int, int]]"
"""What ``lookup`` reads in one reference: words, shift and mask of the circle, the nodes, the hash function for str, and what
only slots with points need: groups, width and mask of positions. Plain tuples, because these unpack faster than named ones."""


class RingState(NamedTuple):
    """The ring at one time. Replaced whole, so that readers see it before or after a change."""

    nodes: tuple[str, ...]
    """Sorted."""
    weights: tuple[float, ...]
    circle: Slots | None
    """``None`` without nodes."""


@final
class HashRing:
    """Keys to nodes, so that a change of nodes moves only the keys it must.

    *Guarantee.* When a node is added, keys move only to it; when one is removed, only its keys move. Owners
    depend on ids, weights, ``vnodes`` and the hash function, on nothing else: not the order of nodes, not
    the process, not the version of Python. Lookups may run in any thread while *one* other thread changes
    the ring; each sees it as it was before or after a change.

    *When to use it:* nodes come and go one by one, and a moved key costs (caches, sessions, shards). *When
    not:* a set that rarely changes, where :class:`MaglevTable` is more even and faster; few nodes and exact
    weights, where :class:`RendezvousHash` is; keys chosen by others, unless ``hash=keyed(secret)``.

    Parameters
    ----------
    nodes
        Ids, or a mapping from id to weight (finite, > 0).
    vnodes
        Points of a node of weight 1, a whole number >= 1 and <= 2**28. A node has ``vnodes * weight`` of them, rounded,
        at least one.
    hash
        The name of a hash function, or one made by :func:`keyed`.

    Raises
    ------
    ConfigurationError
        If a node is no string, a weight is not > 0, ``vnodes`` is outside its bounds, or ``hash`` is unknown.

    Notes
    -----
    Cost: ``lookup`` about 10 empty method calls at any size, 8 to 13 bytes a point; building 2 ms for
    1 000 nodes of 150 points, adding or removing one 0.8 ms.

    Example
    -------
    >>> from balancekit.hashing import HashRing
    >>> ring = HashRing(["a", "b", "c"])
    >>> before = {key: ring.lookup(key) for key in range(1000)}
    >>> ring.remove("b")
    >>> all(before[key] == "b" for key in range(1000) if ring.lookup(key) != before[key])
    True
    """

    __slots__ = ("_function", "_lookup", "_state", "_vnodes")

    @checked_call
    def __init__(
        self, nodes: Nodes = (), *, vnodes: int = VNODES, hash: str | HashFunction = "murmur3"
    ) -> None:
        self._vnodes: int = valid.integer("vnodes", vnodes, minimum=1, maximum=MAX_POINTS)
        self._function: HashFunction = hash_function(hash)
        self._lookup: Lookup
        self._state: RingState
        self._build(node_weights(nodes))

    # -------------------------------------------------------------------- lookups

    def lookup(self, key: str | bytes | int, /) -> str:
        """Return the node that owns a key.

        Raises
        ------
        PoolEmptyError
            If there are no nodes.
        ConfigurationError
            If the key is no str, bytes or int.
        """
        words, shift, mask, nodes, narrow, rest = self._lookup
        plain = key.__class__ is str and key.isascii()  # pyright: ignore[reportAttributeAccessIssue]  # a str
        place = narrow(key, 0, False) if plain else self._place(key, nodes)
        word = words[place >> shift]
        if word <= mask:
            return nodes[word]
        groups, width, wide = rest
        target = place << width & wide
        if word < GROUP:
            if word >= target:
                return nodes[word & mask]
        else:
            index = word - GROUP
            while (word := groups[index]) < target:
                index += 1
            if word != GROUP:
                return nodes[word & mask]
        word = words[(place >> shift) + 1]
        return nodes[(word if word < GROUP else groups[word - GROUP]) & mask]

    def lookup_many(self, keys: Keys, /) -> NDArray[np.int32]:
        """Return the owner of each key, as an index into :attr:`nodes`.

        An array of integers is looked up without a Python loop. If another thread may change the ring
        meanwhile, take a :meth:`copy` and use its nodes.

        Example
        -------
        >>> from balancekit.hashing import HashRing
        >>> ring = HashRing(["a", "b", "c"])
        >>> [ring.nodes[owner] for owner in ring.lookup_many(["x", "y"])] == [ring.lookup(k) for k in "xy"]
        True
        """
        circle = self._state.circle
        if circle is None:
            no_owner(keys)
        return owners(self._function, keys, lambda places: circle.owners_of(places.astype(np.uint32)))

    def candidates(self, key: str | bytes | int, /) -> Iterator[str]:
        """Yield every node once: the owner, then the node that would own the key if those before it were absent.

        Lazy; taking the first k costs O(k) on average.
        """
        nodes, _, circle = self._state
        place = self._function.hash32(key)
        return iter(()) if circle is None else map(nodes.__getitem__, circle.order(place))

    def shares(self) -> dict[str, float]:
        """Return the exact part of the key space that each node owns; they sum to 1."""
        return self._partition().shares()

    def moved(self, other: HashRing, /) -> float:
        """Return the exact part of the key space that has another owner on another ring.

        Raises
        ------
        ConfigurationError
            If the other one hashes keys by another function.

        Example
        -------
        >>> from balancekit.hashing import HashRing
        >>> HashRing(["a", "b"]).moved(HashRing(["a", "b"]))
        0.0
        """
        if not isinstance(other, HashRing) or other._function is not self._function:
            raise ConfigurationError("other", other, f"a ring with the {self._function!r}")
        return self._partition().moved(other._partition())

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes, sorted."""
        return self._state.nodes

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node."""
        return dict(zip(self._state.nodes, self._state.weights, strict=True))

    @property
    def vnodes(self) -> int:
        """How many points a node of weight 1 has."""
        return self._vnodes

    def __len__(self) -> int:
        return len(self._state.nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._state.nodes

    def __repr__(self) -> str:
        return f"<HashRing of {len(self)} nodes, {self._vnodes} points each>"

    # -------------------------------------------------------------------- changing

    def add(self, node: str, weight: float = 1.0) -> None:
        """Add a node. Keys move only to it.

        Raises
        ------
        ConfigurationError
            If it is on the ring already, or the weight is not finite and > 0.
        """
        node = valid.text("node", node)
        added = node_weights({node: weight})
        nodes, weights, circle = self._state
        number = bisect_left(nodes, node)
        if nodes[number : number + 1] == (node,):
            raise ConfigurationError("node", node, "an id that is not on the ring")
        if circle is None:
            self._build(added)
            return
        self._install(
            circle.inserted(number, self._own(node, added[node])),
            (*nodes[:number], node, *nodes[number:]),
            (*weights[:number], added[node], *weights[number:]),
        )

    def remove(self, node: str) -> None:
        """Remove a node. Only its keys move.

        Raises
        ------
        UnknownEndpointError
            If it is not on the ring.
        """
        nodes, weights, circle = self._state
        if not isinstance(node, str) or (node := plain(node)) not in nodes:
            raise UnknownEndpointError(node, nodes)
        number = nodes.index(node)
        if circle is None or len(nodes) == 1:
            self._build({})
            return
        self._install(
            circle.removed(number, self._own(node, weights[number])),
            (*nodes[:number], *nodes[number + 1 :]),
            (*weights[:number], *weights[number + 1 :]),
        )

    @checked_arguments
    def replace(self, nodes: Nodes) -> None:
        """Make the ring consist of exactly these nodes, in one step."""
        self._build(node_weights(nodes))

    def copy(self) -> HashRing:
        """Return a ring that is the same now and changes on its own. O(1)."""
        made = HashRing(vnodes=self._vnodes, hash=self._function)
        made._state, made._lookup = self._state, self._lookup
        return made

    # -------------------------------------------------------------------- internals

    def _counts(self, weights: Mapping[str, float]) -> list[int]:
        counts = [max(1, round(min(self._vnodes * weight, MAX_POINTS + 1.0))) for weight in weights.values()]
        if sum(counts) > MAX_POINTS:
            raise ConfigurationError(
                "vnodes", self._vnodes, f"at most {MAX_POINTS} points with these weights"
            )
        return counts

    def _own(self, node: str, weight: float) -> NDArray[np.uint64]:
        """Return the points of one node, ascending."""
        weights = {node: weight}
        return np.sort(_packed(self._function, weights, self._counts(weights)) >> np.uint64(32))

    def _place(self, key: str | bytes | int, nodes: tuple[str, ...]) -> int:
        return self._function.hash32(key) if nodes else no_owner(key)

    def _build(self, weights: Mapping[str, float]) -> None:
        if not weights:
            lookup = array("I", [0]), 32, 0, (), no_owner, (array("I"), 0, 0)
            self._state = RingState((), (), None)
            self._lookup = lookup  # nothing is called between these two, so no interrupt comes in between
            return
        packed = _packed(self._function, weights, self._counts(weights))
        packed.sort()
        points, owners = (packed >> np.uint64(32)).astype(np.uint32), packed.astype(np.uint32)
        circle = Slots(points, owners, len(weights))
        self._install(circle, tuple(weights), tuple(weights.values()))

    def _install(self, circle: Slots, nodes: tuple[str, ...], weights: tuple[float, ...]) -> None:
        rest = circle.groups, circle.width, circle.wide
        lookup = circle.words, circle.shift, circle.mask, nodes, self._function.narrow, rest
        self._state = RingState(nodes, weights, circle)
        self._lookup = lookup  # as in _build

    def _partition(self) -> Partition:
        nodes, _, circle = self._state
        if circle is None:
            return Partition(np.empty(0), np.empty(0), ())
        points, owners = circle.points()
        return Partition(np.append(points, 0xFFFF_FFFF), np.append(owners, owners[0]), nodes)


def _packed(function: HashFunction, nodes: Mapping[str, float], counts: Sequence[int]) -> NDArray[np.uint64]:
    """Return ``point << 32 | owner`` for all points of all nodes: one plain sort then orders both."""
    bases = np.fromiter(map(function.hash64, nodes), np.uint64, len(nodes))
    total = sum(counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    steps = (np.arange(total) - first).astype(np.uint64)
    points = mix64(np.repeat(bases, counts) + steps * np.uint64(GOLDEN))
    points &= HIGH
    points |= np.repeat(np.arange(len(nodes), dtype=np.uint64), counts)
    return points
