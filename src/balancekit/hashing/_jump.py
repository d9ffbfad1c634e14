"""Jump consistent hash over numbered nodes: no table, perfect balance; only the last node may change.

Source: Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014), figure 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.splitmix import splitmix64
from balancekit._support.splitmix_batch import mix64
from balancekit.errors import ConfigurationError
from balancekit.hashing._batch import Keys, owners
from balancekit.hashing._keys import HashFunction, hash_function
from balancekit.hashing._nodes import keyed_order, no_owner, unweighted

__all__ = ["JumpHash", "jump"]


MAX_BUCKETS: Final = 1 << 53
"""Whole numbers that a float can hold."""


def jump(key: int, buckets: int) -> int:
    """Return the bucket of a 64-bit number, 0 to ``buckets - 1``: the published algorithm itself.

    Parameters
    ----------
    key
        Its low 64 bits are used.
    buckets
        How many there are, >= 1.

    Raises
    ------
    ConfigurationError
        If ``buckets`` is not a whole number from 1 to 2**53, or ``key`` is no integer >= -2**63.

    Example
    -------
    >>> from balancekit.hashing import jump
    >>> jump(256, 1024)
    520
    """
    buckets = valid.integer("buckets", buckets, minimum=1, maximum=MAX_BUCKETS)
    return _jump(valid.integer("key", key, minimum=-(1 << 63)) & 0xFFFF_FFFF_FFFF_FFFF, buckets)


def _jump(key: int, buckets: int) -> int:
    bucket = 0
    while True:
        key = (key * 2862933555777941757 + 1) & 0xFFFF_FFFF_FFFF_FFFF
        place = int((bucket + 1) * (2147483648.0 / ((key >> 33) + 1)))
        if place >= buckets:
            return bucket
        bucket = place


@final
class JumpHash:
    """Keys to a list of nodes that only ever changes at its end. Immutable.

    *Guarantee.* From n to n + 1 nodes exactly ``1 / (n + 1)`` of all keys move, all to the new one. Shares are as
    even as random assignment. *The order matters*: a node is its position in the list. Removing any node but the
    last moves the keys of every node behind it.

    *When to use it:* numbered shards that only grow. *When not:* nodes that fail or are removed;
    use :class:`AnchorHash`, which is as even and as small. Weights are not supported.

    Parameters
    ----------
    nodes
        Ids, in the order that counts.
    hash
        The name of a hash function, or one made by :func:`keyed`.

    Raises
    ------
    ConfigurationError
        If ``nodes`` is a mapping or holds a node twice, or ``hash`` is unknown.

    Notes
    -----
    Cost: ``ln n`` steps of about ten empty method calls each; no memory.

    Example
    -------
    >>> from balancekit.hashing import JumpHash
    >>> before, after = JumpHash(["a", "b"]), JumpHash(["a", "b", "c"])
    >>> {after.lookup(key) for key in range(100) if after.lookup(key) != before.lookup(key)}
    {'c'}
    """

    __slots__ = ("_function", "_nodes")

    @checked_call
    def __init__(self, nodes: Iterable[str], *, hash: str | HashFunction = "murmur3") -> None:
        self._function: HashFunction = hash_function(hash)
        self._nodes: tuple[str, ...] = tuple(unweighted(nodes))

    def lookup(self, key: str | bytes | int, /) -> str:
        """Return the node that owns a key.

        Raises
        ------
        PoolEmptyError
            If there are no nodes.
        ConfigurationError
            If the key is no str, bytes or int.
        """
        nodes = self._nodes
        if not nodes:
            no_owner(key)
        return nodes[_jump(splitmix64(self._function.hash32(key)), len(nodes))]

    def lookup_many(self, keys: Keys, /) -> NDArray[np.int32]:
        """Return the owner of each key, as an index into :attr:`nodes`. No Python loop per key."""
        if not self._nodes:
            no_owner(keys)
        return owners(self._function, keys, self._owners_of)

    def candidates(self, key: str | bytes | int, /) -> Iterator[str]:
        """Yield every node once: the owner, then the others in an order of the key's own."""
        seed = splitmix64(self._function.hash32(key))
        return keyed_order(seed, self._nodes, _jump(seed, len(self._nodes))) if self._nodes else iter(())

    def shares(self) -> dict[str, float]:
        """Return the exact expected part of the key space of each node: all alike."""
        return {node: 1.0 / len(self._nodes) for node in self._nodes}

    def moved(self, other: JumpHash, /) -> float:
        """Return the exact expected part of the key space that has another owner, the end of the list changed.

        Raises
        ------
        ConfigurationError
            If neither list begins with the other, or the other one hashes keys by another function.

        Example
        -------
        >>> from balancekit.hashing import JumpHash
        >>> JumpHash([*"abc"]).moved(JumpHash([*"abcd"]))
        0.25
        """
        if not isinstance(other, JumpHash):
            raise ConfigurationError("other", other, "a JumpHash")
        fewer, more = sorted((self._nodes, other._nodes), key=len)
        if more[: len(fewer)] != fewer or other._function is not self._function:
            raise ConfigurationError("other", other, "the same list, longer or shorter at its end")
        return 1.0 - len(fewer) / len(more) if more else 0.0

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes, in their order."""
        return self._nodes

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node: 1."""
        return dict.fromkeys(self._nodes, 1.0)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def __repr__(self) -> str:
        return f"<JumpHash of {len(self)} nodes>"

    def _owners_of(self, places: NDArray[np.uint64]) -> NDArray[Any]:
        """Let all keys jump at once; those that have landed leave."""
        state = mix64(places)
        landed_at, jumping = np.zeros(len(places), np.int64), np.arange(len(places))
        while len(jumping):
            state *= np.uint64(2862933555777941757)
            state += np.uint64(1)
            lengths = 2147483648.0 / ((state >> np.uint64(33)) + np.uint64(1)).astype(np.float64)
            landed = ((landed_at[jumping] + 1) * lengths).astype(np.int64)
            on = landed < len(self._nodes)
            jumping, state = jumping[on], state[on]
            landed_at[jumping] = landed[on]
        return landed_at
