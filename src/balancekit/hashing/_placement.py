"""Consistent hashing with bounded loads.

With m keys placed, no node of n holds more than ``ceil(factor * m / n)`` of them; by weight, ``ceil(factor * m * w /
W)``. A key whose owner is full goes to the next candidate that is not. The m counts the key being placed, so that
there always is one.

Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, Protocol, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.calls import checked_call
from balancekit.errors import PoolEmptyError, UnknownEndpointError, brief

__all__ = ["BoundedPlacement", "HashStructure", "load_bound"]

FACTOR: Final = 1.25
"""HAProxy recommends 1.25 to 2 for `hash-balance-factor`; Vimeo reported on 1.25."""


class HashStructure(Protocol):
    """What all structures of this package can do for one key."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The ids of the nodes."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each node."""
        ...

    def lookup(self, key: str | bytes | int, /) -> str:
        """Return the node that owns a key."""
        ...

    def candidates(self, key: str | bytes | int, /) -> Iterator[str]:
        """Yield every node once, the owner first, always in the same order for the same key."""
        ...

    def shares(self) -> Mapping[str, float]:
        """Return the exact part of the key space of each node."""
        ...


def load_bound(total: int, share: float, factor: float = FACTOR) -> int:
    """Return how many of ``total`` keys a node may hold.

    Parameters
    ----------
    total
        How many keys there are, the one being placed included.
    share
        The node's part of all weights, 0 to 1.
    factor
        How much more than its part a node may hold, >= 1.

    Example
    -------
    >>> from balancekit.hashing import load_bound
    >>> load_bound(8, 0.1), load_bound(9, 0.1)
    (1, 2)
    """
    return math.ceil(factor * total * share - 1e-9)  # a whole number but for rounding is a whole number


@final
class BoundedPlacement:
    """Keys placed on nodes, none of which ever holds more than its bound. Over any structure.

    *Guarantee.* Whenever :meth:`place` returns, the node it names holds at most ``ceil(factor * m * w / W)`` keys.
    With an infinite bound every key is with its owner.

    Cost: O(n), two passes over the weights at the speed of C, and the nodes looked at.

    *When to use it:* jobs, sessions or shards that last. *When not:* requests through a balancer; use the
    selector :class:`balancekit.selectors.BoundedLoad`, which looks at open leases. Not thread-safe.

    Parameters
    ----------
    structure
        A ring, a table or any other structure of this package.
    factor
        How much more than its part a node may hold, >= 1. Near 1, keys are moved far: at 1.05 and one point
        per node, placing a key looks at 4.7 nodes on average, at 2 at 1.2.

    Raises
    ------
    ConfigurationError
        If the factor is not finite and >= 1, or the structure has no candidates.

    Example
    -------
    >>> from balancekit.hashing import BoundedPlacement, HashRing
    >>> jobs = BoundedPlacement(HashRing(["a", "b"]), factor=1.25)
    >>> homes = [jobs.place("always the same key") for _ in range(8)]
    >>> sorted([homes.count("a"), homes.count("b")])
    [3, 5]
    """

    __slots__ = ("_factor", "_loads", "_shares", "_structure", "_total", "_weights")

    @checked_call
    def __init__(self, structure: HashStructure, *, factor: float = FACTOR) -> None:
        self._structure: HashStructure = valid.instance(
            "structure", structure, "candidates", allowed="a structure with candidates(key)"
        )
        self._factor: float = valid.number("factor", factor, minimum=1.0)
        self._loads: dict[str, int] = {}
        self._total: int = 0
        self._weights: Mapping[str, float] = {}
        self._shares: dict[str, float] = {}

    def place(self, key: str | bytes | int, /) -> str:
        """Place a key; return its node.

        Raises
        ------
        PoolEmptyError
            If there are no nodes.
        ConfigurationError
            If the key is no str, bytes or int.
        """
        weights, shares = self._parts()
        total = self._total + 1
        for node in self._structure.candidates(key):
            load = self._loads.get(node, 0)
            if load < load_bound(total, shares[node], self._factor):
                self._loads[node] = load + 1
                self._total = total
                self._shares = shares
                self._weights = weights  # last: until then, all is computed again
                return node
        raise PoolEmptyError(f"no nodes: {brief(key)} cannot be placed; add one")

    @checked_arguments
    def release(self, node: str, /) -> None:
        """Take one key away from a node.

        Raises
        ------
        UnknownEndpointError
            If it holds none.
        """
        load = self._loads.get(node, 0)
        if not load:
            raise UnknownEndpointError(node, tuple(self._loads))
        if load == 1:
            del self._loads[node]
        else:
            self._loads[node] = load - 1
        self._total -= 1

    @property
    def loads(self) -> dict[str, int]:
        """How many keys each node holds that holds any."""
        return dict(self._loads)

    @property
    def total(self) -> int:
        """How many keys are placed."""
        return self._total

    def __repr__(self) -> str:
        return f"<BoundedPlacement of {self._total} keys on {self._structure!r}>"

    def _parts(self) -> tuple[Mapping[str, float], dict[str, float]]:
        """Return the weights, and each node's part of all of them; computed when nodes or weights have changed."""
        weights = self._structure.weights
        if weights == self._weights:
            return self._weights, self._shares
        whole = math.fsum(weights.values())
        return dict(weights), {node: weight / whole for node, weight in weights.items()}
