"""Weighted splits of one route's requests over several pools.

Each pool has a weighted score for a key; the highest wins (weighted rendezvous). So a key stays on its side, shares are
exactly the weights' shares, and when one weight grows, keys move only to that pool: from 5 % to 10 % only adds keys.

Cost: O(pools), about ten empty calls for two. Source: Schindelhauer and Schomaker (2005), as
:class:`~balancekit.hashing.RendezvousHash`; for requests without a key the Weyl sequence of the golden ratio, whose
counts stay within O(log n) of the shares. Envoy takes the hash modulo the sum of weights instead:
``compat.envoy.route_config``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, Generic, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit.errors import ConfigurationError
from balancekit.hashing import hash32, hash64
from balancekit.l7._request import Request
from balancekit.l7._values import Value, cookie, header, query

__all__ = ["Split"]

P = TypeVar("P")
Key = str | bytes | int

GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
"""2**64 over the golden ratio, odd."""
MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
SOURCES: Final[dict[str, Callable[[str], Value]]] = {"header": header, "cookie": cookie, "query": query}


@final
class Split(Generic[P]):
    """Pools with weights. Immutable but for the position of keyless requests.

    Parameters
    ----------
    weights
        Weights by pool, or by name if ``pools`` is given: finite, >= 0, at least one > 0. Without ``pools`` and with
        pools that are not text, a pool's name is its position, so keep the order and append.
    pools
        Pools by name, for the names in ``weights``.
    by
        The value by which a request is assigned: ``"header:x"``, ``"cookie:u"`` or ``"query:q"``. A request without it
        is assigned by the key given to :meth:`pool`, and without a key in proportion.
    salt
        Makes the assignment independent of that of other splits.

    Raises
    ------
    ConfigurationError
        If ``weights`` is no mapping or is empty, a weight is no number from 0 to 1e100, all weights are 0, or a name is not in
        ``pools``; ``pools`` is no mapping; ``salt`` is no string; or ``by`` has not the form ``"header:x"``,
        ``"cookie:u"`` or ``"query:q"``.

    *Guarantee.* The pool of a key depends on the key, names, weights and salt alone, in every process. When a weight
    grows, keys move only to its pool; when a pool is added or removed, only its keys move.

    *When not to use it:* for shares of traffic among endpoints of one pool; give them weights.

    Example
    -------
    >>> from balancekit.l7 import Split
    >>> split = Split({"stable": 95, "canary": 5}, by="cookie:uid")
    >>> sum(split.pool(key=f"user-{number}") == "canary" for number in range(2000))
    117
    >>> split.shares()
    {'stable': 0.95, 'canary': 0.05}
    """

    __slots__ = ("_by", "_positions", "_salt", "_sides", "by", "names", "pools", "weights")

    @checked_arguments
    def __init__(
        self,
        weights: Mapping[P, float],
        *,
        pools: Mapping[Any, P] | None = None,
        by: str | None = None,
        salt: str = "",
    ) -> None:
        if not isinstance(weights, Mapping) or not weights:
            raise ConfigurationError(
                "weights", weights, "a mapping from pools or names to weights, not empty"
            )
        if pools is not None and not isinstance(pools, Mapping):
            raise ConfigurationError("pools", pools, "a mapping from names to pools")
        named: list[tuple[str, P, float]] = []
        for place, (pool, weight) in enumerate(weights.items()):
            number = valid.weight("weights", weight)
            if pools is None:
                named.append((pool if isinstance(pool, str) else str(place), pool, number))
            elif isinstance(pool, str) and pool in pools:
                named.append((pool, pools[pool], number))
            else:
                raise ConfigurationError("weights", pool, f"names of pools: {', '.join(map(str, pools))}")
        if not any(number for _, _, number in named):
            raise ConfigurationError(
                "weights", dict.fromkeys([name for name, _, _ in named], 0), "one > 0 at least"
            )
        self._salt = valid.text("salt", salt, empty=True)
        self.names: tuple[str, ...] = tuple([name for name, _, _ in named])
        self.pools: tuple[P, ...] = tuple([pool for _, pool, _ in named])
        self.weights: tuple[float, ...] = tuple([number for _, _, number in named])
        self.by: str | None = by
        self._by = _source(by)
        self._sides = tuple(
            [(hash64(f"{salt}\0{name}") | 1, pool, number) for name, pool, number in named if number]
        )
        self._positions = count(1)

    def pool(self, request: Request | None = None, key: Key | None = None) -> P:
        """Return the pool of a request: by what ``by`` names, else by the key, else in proportion."""
        try:
            value: Key | None = None if request is None or self._by is None else self._by(request)
            if value is None:
                value = key
            return self._in_proportion() if value is None else self._owner(value)
        except Exception as error:
            refuse(error, Split.pool, self, request, key)

    @checked_arguments
    def owner(self, request: Request) -> P | None:
        """Return the pool of every request with the value of this one that ``by`` names; ``None`` without a value.

        Example
        -------
        >>> from balancekit.l7 import Request, Split
        >>> split = Split({"stable": 95, "canary": 5}, by="query:uid")
        >>> split.owner(Request("/", query="uid=7")), split.owner(Request("/"))
        ('stable', None)
        """
        value = None if self._by is None else self._by(request)
        return None if value is None else self._owner(value)

    def shares(self) -> dict[str, float]:
        """Return the exact share of each name."""
        whole = math.fsum(self.weights)
        return {name: weight / whole for name, weight in zip(self.names, self.weights, strict=True)}

    def _owner(self, key: Key) -> P:
        position = hash32(key)
        best, owner = math.inf, self._sides[0][1]
        for seed, pool, weight in self._sides:
            score = -math.log(((seed * position & MASK) + 1) * 2.0**-64) / weight
            if score < best:
                best, owner = score, pool
        return owner

    def _in_proportion(self) -> P:
        place = (next(self._positions) * GOLDEN & MASK) * 2.0**-64 * math.fsum(self.weights)
        for _, pool, weight in self._sides:
            place -= weight
            if place < 0.0:
                return pool
        return self._sides[-1][1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.names, self.weights, self.by, self._salt))

    def _identity(self) -> tuple[object, ...]:
        return (self.names, self.pools, self.weights, self.by, self._salt)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "_positions"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._positions = count(1)  # a copy restarts its turns: from 3.14 on, none of itertools can be copied

    def __repr__(self) -> str:
        parts = ", ".join(
            f"{name}: {weight:g}" for name, weight in zip(self.names, self.weights, strict=True)
        )
        return f"Split({{{parts}}}" + ("" if self.by is None else f", by={self.by!r}") + ")"


def _source(by: object) -> Callable[[Request], str | None] | None:
    if by is None:
        return None
    kind, colon, name = by.partition(":") if isinstance(by, str) else ("", "", "")
    if not colon or kind not in SOURCES:
        raise ConfigurationError("by", by, "'header:NAME', 'cookie:NAME', 'query:NAME' or None")
    value = SOURCES[kind](name)
    return value.present().read
