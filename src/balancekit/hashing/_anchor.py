"""AnchorHash: uniform shares, minimal disruption and constant time, for nodes that leave and return.

There are more *buckets* than nodes. A key is hashed to one of them; if that one is removed, the key is hashed again
among those that were working when it was removed, and so on. Four arrays make that constant time:

- ``A[b]`` is 0 for a working bucket, else how many were working just after b was removed;
- ``K[b]`` is the bucket that took b's place from then on;
- ``W`` lists the working buckets, ``L`` has the position of each in it.

Removed buckets lie on a stack: the one removed last is used again first, which restores exactly what it had.

Source: Mendelson, Vargaftik, Barabash, Lorenz, Keslassy, Orda, "AnchorHash" (IEEE/ACM ToN 2021), algorithm 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.splitmix import splitmix64
from balancekit._support.text import plain
from balancekit.errors import ConfigurationError, UnknownEndpointError
from balancekit.hashing._batch import Keys, owners
from balancekit.hashing._keys import HashFunction, Narrow, hash_function
from balancekit.hashing._nodes import keyed_order, unweighted

__all__ = ["AnchorHash"]

MULTIPLIER: Final = 2862933555777941757
"""Of a linear congruential generator modulo 2**64 (L'Ecuyer 1999)."""
MAX_CAPACITY: Final = 1 << 24

Lookup: TypeAlias = "tuple[list[int], list[int], int, list[str], Narrow]"
"""What ``lookup`` reads in one reference: A, K, the capacity, the node in each bucket, the hash function. A plain tuple,
because that unpacks faster than a named one."""


class AnchorState(NamedTuple):
    """The buckets at one time, by the letters of the paper.

    Replaced whole, so that readers see it before or after a change.
    """

    anchors: list[int]
    """A: the size of the working set when the bucket was removed; 0 if it is in use."""
    heirs: list[int]
    """K: the bucket that took the place of a removed one."""
    working: list[int]
    """W: the buckets, those in use first."""
    places: list[int]
    """L: where each bucket stands in W."""
    removed: list[int]
    """R: the removed buckets; the last one is used first."""
    names: list[str]
    """The node in each bucket; empty if there is none."""
    buckets: dict[str, int]
    """The bucket of each node."""


@final
class AnchorHash:
    """Keys to nodes, uniformly; any node may leave, and moves only its keys.

    *Guarantee.* The expected share of every node is exactly the same. The keys of a node that leaves spread evenly
    over all others, and no other key moves; a node that joins takes keys only for itself. Removing and adding in
    the reverse order restores every key. Lookups may run in any thread while *one* other changes nodes.

    *When to use it:* equal nodes of which any may leave; more even than a ring, faster than rendezvous.
    *When not:* weights, which are not supported; processes that do not apply changes in the same order,
    because owners depend on the *history* of changes (not on the order of the first nodes); growth beyond the
    capacity.

    Parameters
    ----------
    nodes
        Ids, at least one.
    capacity
        The largest number of nodes at any time. An eighth more than the present ones, if left out. Spare buckets cost
        time: lookups hash ``1 + ln(capacity / nodes)`` times.
    hash
        The name of a hash function, or one made by :func:`keyed`.

    Raises
    ------
    ConfigurationError
        If ``nodes`` is empty, a mapping or holds a node twice, ``capacity`` is less than the nodes, or
        ``hash`` is unknown.

    Notes
    -----
    Cost: ``lookup`` about nine empty method calls; ``add`` and ``remove`` copy the arrays, O(capacity).

    Example
    -------
    >>> from balancekit.hashing import AnchorHash
    >>> anchor = AnchorHash(["a", "b", "c"])
    >>> before = [anchor.lookup(key) for key in range(100)]
    >>> anchor.remove("b")
    >>> anchor.add("b")
    >>> before == [anchor.lookup(key) for key in range(100)]
    True
    """

    __slots__ = ("_function", "_lookup", "_state")

    @checked_call
    def __init__(
        self,
        nodes: Iterable[str],
        *,
        capacity: int | None = None,
        hash: str | HashFunction = "murmur3",
    ) -> None:
        self._function: HashFunction = hash_function(hash)
        names = sorted(unweighted(nodes))
        working = len(names)
        if not names:
            raise ConfigurationError("nodes", nodes, "at least one node")
        size = working + working // 8 + 1 if capacity is None else capacity
        size = valid.integer("capacity", size, minimum=working, maximum=MAX_CAPACITY)
        spare = range(working, size)
        anchors = [0] * working + list(spare)
        self._lookup: Lookup
        self._state: AnchorState
        self._install(
            anchors,
            list(range(size)),
            list(range(size)),
            list(range(size)),
            list(reversed(spare)),
            names + [""] * (size - working),
        )

    # -------------------------------------------------------------------- lookups

    def lookup(self, key: str | bytes | int, /) -> str:
        """Return the node that owns a key.

        Raises
        ------
        ConfigurationError
            If the key is no str, bytes or int.
        """
        anchors, heirs, size, nodes, narrow = self._lookup
        plain = key.__class__ is str and key.isascii()  # pyright: ignore[reportAttributeAccessIssue]  # a str
        place = narrow(key, 0, False) if plain else self._function.hash32(key)
        bucket = place * size >> 32
        while anchors[bucket]:
            place = (place * MULTIPLIER + bucket + 1) & 0xFFFF_FFFF_FFFF_FFFF
            before = anchors[bucket]
            bucket = (place >> 32) * before >> 32
            while anchors[bucket] >= before:
                bucket = heirs[bucket]
        return nodes[bucket]

    def lookup_many(self, keys: Keys, /) -> NDArray[np.int32]:
        """Return the owner of each key, as an index into :attr:`nodes`. No Python loop per key."""
        state = self._state
        names, buckets, size = state.names, state.buckets, len(state.names)
        order = {name: number for number, name in enumerate(sorted(buckets))}
        numbers = np.array([order.get(name, -1) for name in names], np.int32)
        removed, heir = np.array(state.anchors), np.array(state.heirs)

        def owners_of(states: NDArray[np.uint64]) -> NDArray[Any]:
            bucket = (states * np.uint64(size) >> np.uint64(32)).view(np.int64)
            lost = np.flatnonzero(removed[bucket])
            while len(lost):
                at = bucket[lost]
                moved = states[lost] * np.uint64(MULTIPLIER) + at.view(np.uint64) + np.uint64(1)
                before = removed[at]
                next_one = ((moved >> np.uint64(32)) * before.view(np.uint64) >> np.uint64(32)).view(np.int64)
                while (late := removed[next_one] >= before).any():
                    next_one[late] = heir[next_one[late]]
                states[lost], bucket[lost] = moved, next_one
                lost = lost[removed[next_one] > 0]
            return numbers[bucket]

        return owners(self._function, keys, owners_of)

    def candidates(self, key: str | bytes | int, /) -> Iterator[str]:
        """Yield every node once: the owner, then the others in an order of the key's own."""
        nodes = self.nodes
        owner = self.lookup(key)
        if owner not in nodes:  # it left between the two
            return self.candidates(key)
        return keyed_order(splitmix64(self._function.hash32(key)), nodes, nodes.index(owner))

    def shares(self) -> dict[str, float]:
        """Return the exact expected part of the key space of each node: all alike."""
        nodes = self.nodes
        return {node: 1.0 / len(nodes) for node in nodes}

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes, sorted."""
        return tuple(sorted(self._state.buckets))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node: 1."""
        return dict.fromkeys(self.nodes, 1.0)

    @property
    def capacity(self) -> int:
        """How many nodes there may be."""
        return len(self._state.names)

    def __len__(self) -> int:
        return len(self._state.buckets)

    def __contains__(self, node: object) -> bool:
        return node in self._state.buckets

    def __repr__(self) -> str:
        return f"<AnchorHash of {len(self)} nodes, {self.capacity} buckets>"

    # -------------------------------------------------------------------- changing

    def add(self, node: str) -> None:
        """Add a node, in the bucket that was removed last. Keys move only to it.

        Raises
        ------
        ConfigurationError
            If the node is there already, or all buckets are in use.
        """
        name = valid.text("node", node)
        *lists, names, buckets = self._state
        if name in buckets:
            raise ConfigurationError("node", node, "an id that is not there")
        anchors, heirs, working, places, stack = [list(one) for one in lists]
        if not stack:
            raise ConfigurationError("node", node, f"no more than {len(names)} nodes, the capacity")
        bucket, count = stack.pop(), len(buckets)
        anchors[bucket] = 0
        places[working[count]] = count
        working[places[bucket]] = bucket
        heirs[bucket] = bucket
        names = list(names)
        names[bucket] = name
        self._install(anchors, heirs, working, places, stack, names)

    def remove(self, node: str) -> None:
        """Remove a node. Only its keys move.

        Raises
        ------
        UnknownEndpointError
            If it is not there.
        ConfigurationError
            If it is the last one.
        """
        *lists, names, buckets = self._state
        if not isinstance(node, str) or (node := plain(node)) not in buckets:
            raise UnknownEndpointError(node, self.nodes)
        if len(buckets) == 1:
            raise ConfigurationError("node", node, "at least one node to stay")
        anchors, heirs, working, places, stack = [list(one) for one in lists]
        bucket, count = buckets[node], len(buckets) - 1
        stack.append(bucket)
        anchors[bucket] = count
        last = working[count]
        working[places[bucket]] = heirs[bucket] = last
        places[last] = places[bucket]
        names = list(names)
        names[bucket] = ""
        self._install(anchors, heirs, working, places, stack, names)

    def _install(
        self,
        anchors: list[int],
        heirs: list[int],
        working: list[int],
        places: list[int],
        removed: list[int],
        names: list[str],
    ) -> None:
        buckets = {name: bucket for bucket, name in enumerate(names) if name}
        lookup = anchors, heirs, len(names), names, self._function.narrow
        self._state = AnchorState(anchors, heirs, working, places, removed, names, buckets)
        self._lookup = lookup  # nothing is called between these two, so no interrupt comes in between
