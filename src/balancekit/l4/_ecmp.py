"""Equal-cost multi-path: a hash of 31 bits to one of several next hops, without a table.

Three ways to divide the hash space, and what each moves when the set of next hops changes:

=============  ==========================================================  =================================
``threshold``  ranges in order of declaration; a comparison per next hop   1/4 to 1/2, whatever the number
``modulo``     hash mod total weight                                       nearly all
``rendezvous`` the highest score per next hop, O(n) hashes                 the unavoidable part
=============  ==========================================================  =================================

A router does this in hardware in front of several load balancers, and so decides which of them receives a flow. A moved
flow reaches another balancer, which must know the flow or hash it to the same endpoint.

Source: RFC 2992 (hash-threshold and its disruption), RFC 2991 section 3; Linux ``net/ipv4/nexthop.c`` for the bounds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import accumulate, pairwise
from math import gcd, lcm
from typing import Final, Literal, TypeAlias, final, get_args

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.hashing import RendezvousHash

__all__ = ["Ecmp", "NextHops", "next_hop_weights", "rounded_quotient"]

Method: TypeAlias = Literal["threshold", "modulo", "rendezvous"]
NextHops: TypeAlias = Iterable[str] | Mapping[str, int]
"""Next hops in order of declaration, alone or with weights."""

HASH_SPACE: Final = 1 << 31
MAX_WEIGHT: Final = 65_536
"""What a Linux next-hop group holds since 6.12; 256 before."""


@final
class Ecmp:
    """A group of next hops that a hash selects from. Immutable: other next hops take another group.

    Parameters
    ----------
    members
        Ids in order of declaration, or a mapping from id to weight (whole, 1 to 65,536); at least one. The order
        decides for ``threshold`` and ``modulo``.
    method
        ``"threshold"`` (RFC 2992, and Linux), ``"modulo"`` or ``"rendezvous"``.

    Raises
    ------
    ConfigurationError
        For no members, members twice, or a wrong weight or method.

    *Guarantee.* ``threshold`` chooses as a Linux next-hop group does: next hop i has the hashes up to
    ``round(2**31 * cumulated weight / total) - 1``.

    *When not to use it:* where a moved flow is a broken flow. Use :class:`ResilientGroup`, or a
    :class:`FlowTable` behind this.

    Notes
    -----
    Cost: a pick O(log n) for ``threshold`` and ``modulo``, O(n) for ``rendezvous``.

    Example
    -------
    >>> from balancekit.l4 import Ecmp
    >>> group = Ecmp(["a", "b", "c", "d", "e"])
    >>> group.pick(0), group.pick(2**31 - 1)
    ('a', 'e')
    >>> group.disruption(Ecmp(["b", "c", "d", "e"]))
    Fraction(1, 2)
    """

    __slots__ = ("_bounds", "_ids", "_method", "_ranking", "_weights")

    @checked_arguments
    def __init__(self, members: NextHops, method: Method = "threshold") -> None:
        if method not in get_args(Method):
            raise ConfigurationError("method", method, " or ".join(map(repr, get_args(Method))))
        self._method: Method = method
        self._weights: dict[str, int] = next_hop_weights(members)
        self._ids: tuple[str, ...] = tuple(self._weights)
        sums = list(accumulate(self._weights.values()))
        if method == "threshold":
            sums = [rounded_quotient(HASH_SPACE * upto, sums[-1]) for upto in sums]
        self._bounds: list[int] = [upto - 1 for upto in sums]
        self._ranking = RendezvousHash(self._weights) if method == "rendezvous" else None

    def pick(self, hash31: int) -> str:
        """Return the next hop of a flow.

        Parameters
        ----------
        hash31
            The flow's hash, 0 to ``2**31 - 1``: ``balancekit.hashing.hash32(flow) >> 1``.
        """
        value = valid.integer("hash31", hash31, minimum=0, maximum=HASH_SPACE - 1)
        if self._ranking is not None:
            return self._ranking.lookup(value)
        if self._method == "modulo":
            value %= self._bounds[-1] + 1
        return self._ids[bisect_left(self._bounds, value)]

    def disruption(self, other: Ecmp, /) -> Fraction:
        """Return the exact share of all hashes that has another next hop in another group.

        Hashes are taken as uniform, and the bounds of ``threshold`` before they are rounded to whole numbers; so the
        result is RFC 2992's formula where that applies, and correct for any change of members and weights.

        Raises
        ------
        ConfigurationError
            If the other group has another method.

        Example
        -------
        >>> from balancekit.l4 import Ecmp
        >>> Ecmp(["a", "b"], "modulo").disruption(Ecmp(["a", "b", "c"], "modulo"))
        Fraction(2, 3)
        >>> Ecmp(["a", "b"], "rendezvous").disruption(Ecmp(["a", "b", "c"], "rendezvous"))
        Fraction(1, 3)
        """
        if not isinstance(other, Ecmp) or other.method != self._method:
            raise ConfigurationError("other", other, f"an Ecmp with method={self._method!r}")
        kept = {"threshold": _kept_ranges, "modulo": _kept_residues, "rendezvous": _kept_scores}
        return 1 - kept[self._method](self._weights, other.members)

    @property
    def members(self) -> dict[str, int]:
        """The weight of each next hop, in order of declaration."""
        return dict(self._weights)

    @property
    def method(self) -> Method:
        """How the hash space is divided."""
        return self._method

    def shares(self) -> dict[str, Fraction]:
        """Return the share of all hashes that each next hop has, before rounding."""
        total = sum(self._weights.values())
        return {id: Fraction(weight, total) for id, weight in self._weights.items()}

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"<Ecmp {self._method} of {len(self)} next hops>"


def next_hop_weights(members: NextHops) -> dict[str, int]:
    """Return weights by id, in order of declaration, or refuse what is not a group of next hops."""
    if isinstance(members, str | bytes) or not isinstance(members, Iterable):
        raise ConfigurationError("members", members, "ids of next hops, or weights by id, at least one")
    pairs = list(members.items()) if isinstance(members, Mapping) else [(id, 1) for id in members]
    weights = {
        valid.text("members", id): valid.integer("weight", weight, minimum=1, maximum=MAX_WEIGHT)
        for id, weight in pairs
    }
    if not weights or len(weights) != len(pairs):
        raise ConfigurationError("members", [id for id, _ in pairs], "at least one next hop, and each once")
    return weights


def rounded_quotient(dividend: int, divisor: int) -> int:
    """Return the quotient rounded to the nearest whole number, halves up: ``DIV_ROUND_CLOSEST`` of Linux."""
    return (dividend + divisor // 2) // divisor


def _kept_ranges(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Fraction:
    """Return how much the ranges of the same next hop overlap."""
    mine, other = _ranges(ours), _ranges(theirs)
    overlaps = [
        min(high, other[id][1]) - max(low, other[id][0]) for id, (low, high) in mine.items() if id in other
    ]
    return sum((part for part in overlaps if part > 0), Fraction(0))


def _ranges(weights: Mapping[str, int]) -> dict[str, tuple[Fraction, Fraction]]:
    total = sum(weights.values())
    bounds = [Fraction(upto, total) for upto in accumulate(weights.values(), initial=0)]
    return dict(zip(weights, pairwise(bounds), strict=True))


def _kept_residues(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Fraction:
    """Return how often both residues belong to the same next hop.

    Two residues occur together once in ``lcm`` hashes if they agree modulo the ``gcd`` (Chinese remainders), and
    otherwise never.
    """
    sizes = sum(ours.values()), sum(theirs.values())
    common = gcd(*sizes)
    mine, other = _residues(ours, common), _residues(theirs, common)
    return Fraction(sum(count * other[at] for at, count in mine.items()), lcm(*sizes))


def _residues(weights: Mapping[str, int], common: int) -> Counter[tuple[str, int]]:
    slots = [id for id, weight in weights.items() for _ in range(weight)]
    return Counter((id, slot % common) for slot, id in enumerate(slots))


def _kept_scores(ours: Mapping[str, int], theirs: Mapping[str, int]) -> Fraction:
    """Return how often the same next hop has the best score in both groups.

    A score is an exponential variable over the weight, and the least wins. Next hop i wins in both if
    ``E_j > E_i * max(w_j / w_i, v_j / v_i)`` for all others: 1 over the sum of these factors.
    """
    kept = Fraction(0)
    for id, weight in ours.items():
        if id in theirs:
            factors = [
                max(Fraction(ours.get(j, 0), weight), Fraction(theirs.get(j, 0), theirs[id]))
                for j in ours.keys() | theirs.keys()
            ]
            kept += 1 / sum(factors, Fraction(0))
    return kept
