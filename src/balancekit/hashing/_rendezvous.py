"""Rendezvous hashing: exact weights and no table; every node bids, and the highest bid wins.

Node i bids ``seed_i * position mod 2**64``, an odd random multiple of the key's position: a number as good as random
for each pair. With equal weights the highest bid wins; with weights the highest ``log(bid) / weight``, which a
node wins with a probability of exactly its share.

Source: Thaler and Ravishankar (1998), highest random weight; weights by Schindelhauer and Schomaker (2005).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support.calls import checked_call
from balancekit.errors import ConfigurationError
from balancekit.hashing._batch import Keys, owners
from balancekit.hashing._keys import HashFunction, hash_function
from balancekit.hashing._nodes import Nodes, no_owner, node_weights

__all__ = ["RendezvousHash"]

CELLS: Final = 1 << 16
"""Bids held at once in a batch: 512 KiB."""
MIN_WEIGHT: Final = 1e-300
"""What a smaller weight counts as: bids are divided by it."""


@final
class RendezvousHash:
    """Keys to nodes by highest bid: exact weights, no table, O(n). Immutable.

    *Guarantee.* Expected shares are exactly the weights' shares. When a node leaves, only its keys move, to all
    others in proportion; when one joins, keys move only to it; when a weight grows, keys move only to it.
    Owners do not depend on the order of nodes.

    *When to use it:* up to some tens of nodes; weights that must be exact or change often; several owners
    per key (replicas), for :meth:`candidates` is the whole ranking. *When not:* hundreds of nodes and more,
    where :class:`HashRing` and :class:`MaglevTable` cost the same as for ten.

    Parameters
    ----------
    nodes
        Ids, or a mapping from id to weight (finite, > 0).
    hash
        The name of a hash function, or one made by :func:`keyed`.

    Raises
    ------
    ConfigurationError
        If a node is no string, a weight is not > 0, or ``hash`` is unknown.

    Notes
    -----
    Cost: O(n) per lookup; 16 bytes a node.

    Example
    -------
    >>> from balancekit.hashing import RendezvousHash
    >>> replicas = RendezvousHash(["a", "b", "c", "d"])
    >>> first, second, *_ = replicas.candidates("user:1")
    >>> first == replicas.lookup("user:1") != second
    True
    """

    __slots__ = ("_function", "_inverse", "_nodes", "_seeds", "_weights")

    @checked_call
    def __init__(self, nodes: Nodes, *, hash: str | HashFunction = "murmur3") -> None:
        self._function: HashFunction = hash_function(hash)
        self._weights: dict[str, float] = node_weights(nodes)
        self._nodes: tuple[str, ...] = tuple(self._weights)
        seeds = [self._function.hash64(node) | 1 for node in self._nodes]
        self._seeds: NDArray[np.uint64] = np.array(seeds, np.uint64)
        weights = np.array(list(self._weights.values()))
        alike = len(set(self._weights.values())) < 2
        self._inverse: NDArray[np.float64] | None = None if alike else 1.0 / np.maximum(MIN_WEIGHT, weights)

    def lookup(self, key: str | bytes | int, /) -> str:
        """Return the node that owns a key.

        Raises
        ------
        PoolEmptyError
            If there are no nodes.
        ConfigurationError
            If the key is no str, bytes or int.
        """
        if not self._nodes:
            no_owner(key)
        bids = self._seeds * np.uint64(self._function.hash32(key))
        if self._inverse is None:
            return self._nodes[bids.argmax()]
        return self._nodes[self._scores(bids).argmax()]

    def lookup_many(self, keys: Keys, /) -> NDArray[np.int32]:
        """Return the owner of each key, as an index into :attr:`nodes`. O(n) per key, in one call."""
        if not self._nodes:
            no_owner(keys)
        return owners(self._function, keys, self._owners_of)

    def candidates(self, key: str | bytes | int, /) -> Iterator[str]:
        """Yield every node once, the highest bid first: the node that would own the key if those before it were absent."""
        bids = self._seeds * np.uint64(self._function.hash32(key))
        scores = self._scores(bids).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
        return map(self._nodes.__getitem__, order)

    def shares(self) -> dict[str, float]:
        """Return the exact expected part of the key space of each node: its part of all weights."""
        whole = math.fsum(self._weights.values())
        return {node: weight / whole for node, weight in self._weights.items()}

    def moved(self, other: RendezvousHash, /) -> float:
        """Return the exact expected part of the key space that has another owner under other weights.

        A key stays with node i if i outbids every node under both weights. Logarithms of bids are
        exponential variables, so that has the probability ``1 / sum_j max(w_j / w_i, v_j / v_i)`` for
        weights w before and v after.

        Raises
        ------
        ConfigurationError
            If the other one hashes keys by another function.

        Example
        -------
        >>> from balancekit.hashing import RendezvousHash
        >>> RendezvousHash([*"abcd"]).moved(RendezvousHash([*"abc"]))
        0.25
        """
        if not isinstance(other, RendezvousHash) or other._function is not self._function:
            raise ConfigurationError("other", other, f"one with the {self._function!r}")
        both = sorted({*self._nodes, *other._nodes})
        if not both:
            return 0.0
        before, after = [
            np.array([weights.get(node, 0.0) for node in both], dtype=float)
            for weights in (self._weights, other._weights)
        ]
        kept = 0.0
        for place in np.flatnonzero((before > 0.0) & (after > 0.0)):
            kept += 1.0 / float(np.maximum(before / before[place], after / after[place]).sum())
        return max(0.0, 1.0 - kept)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes, sorted."""
        return self._nodes

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node."""
        return dict(self._weights)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._weights

    def __repr__(self) -> str:
        return f"<RendezvousHash of {len(self)} nodes>"

    def _scores(self, bids: NDArray[np.uint64]) -> NDArray[Any]:
        if self._inverse is None:
            return bids
        found: NDArray[np.float64] = np.log((bids + 0.5) * 2.0**-64) * self._inverse
        return found

    def _owners_of(self, places: NDArray[np.uint64]) -> NDArray[Any]:
        rows = max(1, CELLS // len(self._nodes))
        found = [
            self._scores(places[begin : begin + rows, None] * self._seeds).argmax(axis=1)
            for begin in range(0, len(places), rows)
        ]
        return np.concatenate(found)
