"""Ids and weights of nodes, read the same way for every structure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.splitmix import splitmix64
from balancekit._support.text import plain
from balancekit.errors import ConfigurationError, PoolEmptyError, brief

__all__ = ["WALKED", "Nodes", "first_of_each", "keyed_order", "no_owner", "node_weights", "unweighted"]

Nodes: TypeAlias = Iterable[str] | Mapping[str, float]
"""Ids, each of weight 1, or a mapping from id to weight."""
WALKED: Final = 1024
"""Places of a structure that are looked at one by one for the order of nodes, before arrays of them are."""


def node_weights(nodes: Nodes) -> dict[str, float]:
    """Return the weight of each node, in the order of ids, which makes every structure independent of order.

    Raises
    ------
    ConfigurationError
        For a bare string, ids that are no non-empty strings, an id that comes twice, a weight that is not
        > 0 and at most 1e100.
    """
    if isinstance(nodes, Mapping):
        pairs = [(valid.text("nodes", id), weight) for id, weight in valid.items("nodes", nodes.items())]
        return {id: valid.weight("weight", weight, above=0.0) for id, weight in sorted(pairs, key=_id_of)}
    if isinstance(nodes, str | bytes) or not isinstance(nodes, Iterable):
        raise ConfigurationError("nodes", nodes, "an iterable of ids, or a mapping from id to weight")
    found: dict[str, float] = {}
    for id in _sorted(nodes):
        if id in found:
            raise ConfigurationError("nodes", id, "each id once")
        found[id] = 1.0
    return found


def unweighted(nodes: Iterable[str]) -> list[str]:
    """Return ids in the order given, for structures that know no weights.

    Raises
    ------
    ConfigurationError
        For a mapping, whose weights would be lost; else as :func:`node_weights`.
    """
    if isinstance(nodes, Mapping):
        raise ConfigurationError("nodes", nodes, "an iterable of ids; this structure knows no weights")
    kept = (
        valid.items("nodes", nodes)
        if isinstance(nodes, Iterable) and not isinstance(nodes, str | bytes)
        else nodes
    )
    node_weights(kept)
    return list(map(plain, kept))


def _id_of(pair: tuple[str, Any]) -> str:
    return pair[0]


def _sorted(ids: Iterable[str]) -> list[str]:
    return sorted([valid.text("nodes", id) for id in valid.items("nodes", ids)])


def first_of_each(singles: Iterable[int], arrays: Iterable[NDArray[Any]], size: int) -> Iterator[int]:
    """Yield each number below ``size`` when it comes first: of single ones, then of arrays, until all have come.

    Single ones are cheap if the next number is near. Arrays are cheap if it is behind a million others.
    """
    seen: set[int] = set()
    for number in singles:
        if number not in seen:
            seen.add(number)
            yield number
            if len(seen) == size:
                return
    known = np.zeros(size, bool)
    known[list(seen)] = True
    for numbers in arrays:
        for number in dict.fromkeys(numbers[~known[numbers]].tolist()):
            known[number] = True
            seen.add(number)
            yield number
        if len(seen) == size:
            return


def no_owner(key: object, *_: object) -> NoReturn:
    """Stand for the hash function of a structure without nodes.

    Raises
    ------
    PoolEmptyError
        Always.
    """
    raise PoolEmptyError(f"no nodes: none can own {brief(key)}; add one")


def keyed_order(seed: int, nodes: Sequence[str], first: int) -> Iterator[str]:
    """Yield one node, then the others in an order drawn from a number: each order as likely as any other.

    For structures whose own order after the first is costly to find. O(n) for the second, O(1) for each
    further one (Fisher and Yates).
    """
    yield nodes[first]
    left = [*nodes[:first], *nodes[first + 1 :]]
    while left:
        seed = splitmix64(seed)
        place = seed * len(left) >> 64
        left[place], left[-1] = left[-1], left[place]
        yield left.pop()
