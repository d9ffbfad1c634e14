"""The Maglev table: look-ups in one step, nearly perfect balance.

A table of prime size, filled so that every node of equal weight has the same number of slots up to one. A key's
slot is the high part of ``position * size / 2**32``.

*The price:* when nodes change, a few more keys move than necessary. With 65 537 slots, one of 1 000 nodes
leaving changes 0.68 % of all slots instead of 0.10 %, one of 10 changes 10.2 % instead of 10 %; more slots
reduce this. A ring moves no other keys, but is less even.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016), section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.splitmix import splitmix64
from balancekit.errors import ConfigurationError
from balancekit.hashing._batch import Keys, owners
from balancekit.hashing._keys import HashFunction, Narrow, hash_function
from balancekit.hashing._maglev_fill import populate, turns
from balancekit.hashing._nodes import WALKED, Nodes, first_of_each, no_owner, node_weights
from balancekit.hashing._partition import POSITIONS, Partition

__all__ = ["MaglevTable", "next_prime"]

SIZE: Final = 65_537
"""The paper's small table; its large one is 655 373."""
MAX_SLOTS: Final = 1 << 26


@final
class MaglevTable:
    """Keys to nodes in one step, evenly. Immutable: other nodes take another table.

    *Guarantee.* Nodes of equal weight have the same number of slots up to one; with weights, counts differ from
    the exact shares by less than two. Owners depend on ids, weights, size and hash function only, not on the
    order of nodes. When nodes change, a few keys of *unchanged* nodes move too (see the module).

    *When to use it:* even load matters most and nodes change rarely. *When not:* moving a key is expensive; use
    :class:`HashRing`, which moves no key unnecessarily. With more than ``size / 100`` nodes, use a larger table.

    Parameters
    ----------
    nodes
        Ids, or a mapping from id to weight (finite, > 0). No more than slots.
    size
        How many slots, a prime number. At 100 slots per node shares differ by at most 1 %.
    hash
        The name of a hash function, or one made by :func:`keyed`.

    Raises
    ------
    ConfigurationError
        If a node is no string or a weight not > 0, ``size`` is no prime number or less than the nodes, or
        ``hash`` is unknown. The error names the next prime number.

    Notes
    -----
    Cost: ``lookup`` about 7 empty method calls, 12 bytes a slot. Building takes as long as
    filling the slots, whatever the number of nodes.

    Example
    -------
    >>> from balancekit.hashing import MaglevTable
    >>> table = MaglevTable(["a", "b", "c"], size=251)
    >>> sorted(round(share * 251) for share in table.shares().values())
    [83, 84, 84]
    """

    __slots__ = ("_function", "_lookup", "_nodes", "_owners", "_weights")

    if not TYPE_CHECKING:  # type checkers know that a table does not change
        add = remove = update = Elsewhere("a table does not change; make another: MaglevTable(nodes)")

    @checked_call
    def __init__(self, nodes: Nodes, *, size: int = SIZE, hash: str | HashFunction = "murmur3") -> None:
        slots = valid.integer("size", size, minimum=2, maximum=MAX_SLOTS)
        if next_prime(slots) != slots:
            raise ConfigurationError("size", size, f"a prime number, such as {next_prime(slots)}")
        self._function: HashFunction = hash_function(hash)
        self._weights: dict[str, float] = node_weights(nodes)
        self._nodes: tuple[str, ...] = tuple(self._weights)
        if len(self._nodes) > slots:
            raise ConfigurationError("size", size, f"at least one slot for each of {len(self._nodes)} nodes")
        order = turns(list(self._weights.values()), slots) if self._nodes else []
        hashes = [self._function.hash64(node) for node in self._nodes]
        table = populate(
            [hash % slots for hash in hashes],
            [splitmix64(hash) % (slots - 1) + 1 for hash in hashes],
            order,
        )
        self._owners: NDArray[np.int32] = np.array(table, np.int32)
        narrow: Narrow = self._function.narrow if self._nodes else no_owner
        self._lookup: tuple[list[str], int, Narrow] = ([self._nodes[owner] for owner in table], slots, narrow)

    def lookup(self, key: str | bytes | int, /) -> str:
        """Return the node that owns a key.

        Raises
        ------
        PoolEmptyError
            If there are no nodes.
        ConfigurationError
            If the key is no str, bytes or int.
        """
        table, size, narrow = self._lookup
        plain = key.__class__ is bytes
        if key.__class__ is str:
            plain = key.isascii()  # pyright: ignore[reportAttributeAccessIssue]  # a str
        place = narrow(key, 0, False) if plain else self._place(key)
        return table[place * size >> 32]

    def lookup_many(self, keys: Keys, /) -> NDArray[np.int32]:
        """Return the owner of each key, as an index into :attr:`nodes`.

        An array of integers is looked up without a Python loop.

        Example
        -------
        >>> from balancekit.hashing import MaglevTable
        >>> table = MaglevTable(["a", "b", "c"], size=251)
        >>> [table.nodes[owner] for owner in table.lookup_many(range(3))] == [*map(table.lookup, range(3))]
        True
        """
        if not self._nodes:
            no_owner(keys)
        return owners(self._function, keys, self._owners_of)

    def candidates(self, key: str | bytes | int, /) -> Iterator[str]:
        """Yield every node once: the owner, then others in proportion to their slots.

        They are found by walking the table from the key's slot with a step of the key's own, so that the
        keys of a node that may not be used spread over all others. Lazy; the first k cost O(k) on average.
        """
        place = self._function.hash32(key)
        if not self._nodes:
            return iter(())
        order = first_of_each(islice(self._walk(place), WALKED), self._ahead(place), len(self._nodes))
        return map(self._nodes.__getitem__, order)

    def shares(self) -> dict[str, float]:
        """Return the exact part of the key space that each node owns; they sum to 1."""
        return self._partition().shares()

    def moved(self, other: MaglevTable, /) -> float:
        """Return the exact part of the key space that has another owner in another table.

        Raises
        ------
        ConfigurationError
            If the other one hashes keys by another function.

        Example
        -------
        >>> from balancekit.hashing import MaglevTable
        >>> before, after = MaglevTable([*"abcd"], size=251), MaglevTable([*"abc"], size=251)
        >>> 0.25 <= before.moved(after) <= 0.3
        True
        """
        if not isinstance(other, MaglevTable) or other._function is not self._function:
            raise ConfigurationError("other", other, f"a table with the {self._function!r}")
        return self._partition().moved(other._partition())

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes, sorted."""
        return self._nodes

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each node."""
        return dict(self._weights)

    @property
    def size(self) -> int:
        """How many slots there are."""
        return len(self._owners)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._weights

    def __repr__(self) -> str:
        return f"<MaglevTable of {len(self)} nodes, {self.size} slots>"

    def _place(self, key: str | bytes | int) -> int:
        return self._function.hash32(key) if self._nodes else no_owner(key)

    def _owners_of(self, places: NDArray[np.uint64]) -> NDArray[np.int32]:
        places *= np.uint64(self.size)
        places >>= np.uint64(32)
        found: NDArray[np.int32] = self._owners.take(places.view(np.int64))
        return found

    def _walk(self, place: int) -> Iterator[int]:
        size, table = self.size, self._owners
        slot, step = place * size >> 32, splitmix64(place) % (size - 1) + 1
        for _ in range(size):
            yield int(table[slot])
            slot = (slot + step) % size

    def _ahead(self, place: int) -> Iterator[NDArray[Any]]:
        """Yield the owners of the slots behind these in growing parts, and then all nodes: some may not be worth a slot."""
        size, begin, part = self.size, WALKED, WALKED
        slot, step = place * size >> 32, splitmix64(place) % (size - 1) + 1
        while begin < size:
            slots = (slot + np.arange(begin, min(begin + part, size), dtype=np.int64) * step) % size
            yield self._owners[slots]
            begin, part = begin + part, 2 * part
        yield np.arange(len(self._nodes))

    def _partition(self) -> Partition:
        # Slot i holds the positions with `position * size >> 32 == i`; the last is before the next slot's first.
        slots = np.arange(1, self.size + 1, dtype=np.int64)
        return Partition(-(-slots * POSITIONS // self.size) - 1, self._owners, self._nodes)


def next_prime(number: int) -> int:
    """Return the least prime that is at least ``number``.

    Example
    -------
    >>> next_prime(65_536)
    65537
    """
    candidate = max(2, number)
    while any(candidate % divisor == 0 for divisor in range(2, int(candidate**0.5) + 1)):
        candidate += 1
    return candidate
