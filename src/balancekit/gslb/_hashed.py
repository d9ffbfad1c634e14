"""Hashed answers: each client subnet keeps its endpoint, and a lost endpoint moves only its own subnets.

A hash per client must hash the subnet that caches share, never the full address. The scope of the answer
is that subnet, so the answer can be cached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final, Literal, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.ip import IpAddress
from balancekit.errors import ConfigurationError
from balancekit.gslb._query import Answer, Client, Exhausted, Query, Step
from balancekit.gslb._standing import Standings, read_standing
from balancekit.gslb._threshold import (
    PREFIX4,
    PREFIX6,
    endpoint_ids,
    endpoint_weights,
    exhausted_answer,
    exhausted_word,
)
from balancekit.gslb._tree import TreePolicy
from balancekit.hashing import HashRing, MaglevTable, RendezvousHash, hash64

__all__ = ["HashedOne", "Scheme", "subnet_key", "subnet_point"]

Scheme: TypeAlias = Literal["rendezvous", "ring", "maglev"]
"""How keys are spread over endpoints."""

_SCHEMES: Final = {"rendezvous": RendezvousHash, "ring": HashRing, "maglev": MaglevTable}
_POINTS: Final = 2.0**-64


def subnet_key(client: Client, prefix4: int = PREFIX4, prefix6: int = PREFIX6) -> tuple[bytes, int]:
    r"""Return the bytes of the client's subnet, and the scope for which they hold (0 without a subnet).

    Example
    -------
    >>> from balancekit.gslb import Client
    >>> subnet_key(Client(address="192.0.2.53", subnet="198.51.100.77/32"))
    (b'\xc63d\x00', 24)
    """
    address: IpAddress = client.seen()
    bits, prefix = (32, prefix4) if address.version == 4 else (128, prefix6)
    kept = int(address) >> (bits - prefix) << (bits - prefix)
    return kept.to_bytes(bits // 8, "big"), prefix if client.has_subnet else 0


def subnet_point(
    client: Client, salt: str, prefix4: int = PREFIX4, prefix6: int = PREFIX6
) -> tuple[float, int]:
    """Return a point in [0, 1) that is the client subnet's for ever, and the scope for which it holds."""
    key, scope = subnet_key(client, prefix4, prefix6)
    return hash64(salt.encode() + b"\0" + key) * _POINTS, scope


@final
class HashedOne(TreePolicy):
    """One endpoint per client subnet, the same as long as it is up.

    Parameters
    ----------
    endpoints
        Endpoint ids, or whole weights (> 0) by id.
    scheme
        ``"rendezvous"`` (exact weights, O(n)), ``"ring"`` or ``"maglev"``.
    prefix4, prefix6
        Bits of an address that are hashed, and the scope of the answer. More than 24 and 56 do not get
        through public resolvers.
    exhausted
        What happens when none is up. ``"open"`` answers the subnet's own endpoint.

    Raises
    ------
    ConfigurationError
        If ``endpoints`` is empty, a weight is not a whole number from 1 to 1e100, or a prefix is longer than an address.
        If ``scheme`` or ``exhausted`` is another word.

    *Guarantee.* When an endpoint goes down, only its subnets move, and they come back when it does.

    *When not to use it:* where most clients use one resolver without client subnets: they all hash to one
    endpoint.

    Source: Thaler and Ravishankar (1998) for the default scheme.

    Example
    -------
    >>> from balancekit.gslb import Client, HashedOne, Query, fixed_standings
    >>> from random import Random
    >>> shards = HashedOne(["s1", "s2", "s3"])
    >>> query = Query(name="www", client=Client(address="192.0.2.53", subnet="198.51.100.0/24"))
    >>> answer = shards.answer(query, fixed_standings({}), now=0.0, rng=Random(1))
    >>> answer.chosen == shards.answer(query, fixed_standings({}), now=9.0, rng=Random(2)).chosen, answer.scope
    (True, 24)
    """

    @checked_arguments
    def __init__(
        self,
        endpoints: Iterable[str] | Mapping[str, int],
        *,
        scheme: Scheme = "rendezvous",
        prefix4: int = PREFIX4,
        prefix6: int = PREFIX6,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        if scheme not in _SCHEMES:
            raise ConfigurationError("scheme", scheme, f"one of {', '.join(map(repr, _SCHEMES))}")
        if isinstance(endpoints, Mapping):
            weights = endpoint_weights("endpoints", endpoints)
            for weight in weights.values():
                valid.integer("weight", weight, minimum=1)
        else:
            weights = dict.fromkeys(endpoint_ids("endpoints", endpoints), 1)
        self._ids: Final = frozenset(weights)
        self._structure: Final = _SCHEMES[scheme](weights)
        self._prefix4: Final = valid.integer("prefix4", prefix4, minimum=0, maximum=32)
        self._prefix6: Final = valid.integer("prefix6", prefix6, minimum=0, maximum=128)
        self._exhausted: Final = exhausted_word(exhausted)

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the first endpoint that is up in the subnet's ranking."""
        key, scope = subnet_key(query.client, self._prefix4, self._prefix6)
        until = math.inf
        chosen: tuple[str, ...] = ()
        for skipped, id in enumerate(self._structure.candidates(key)):
            chosen = chosen or (id,)
            standing = read_standing(standings, id)
            until = min(until, standing.until)
            if standing.up:
                text = f"rank {skipped + 1} of the subnet's ranking is the first up"
                steps = (Step("HashedOne", text),) if explain else ()
                return Answer((id,), max(0.0, until - now), scope, None, steps)
        steps = (Step("HashedOne", f"none up: exhausted ({self._exhausted})"),) if explain else ()
        return exhausted_answer(self._exhausted, chosen, max(0.0, until - now), scope, steps)

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids."""
        return self._ids
