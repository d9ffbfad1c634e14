"""Weighted answers: one endpoint or a subset, flat or by group.

One address per answer is the only weight that clients follow exactly, and even that holds only between
caches: a resolver that caches one answer gives all its clients the same endpoint until the TTL ends.

A weight of 0 means *last resort*: such an endpoint is answered when none with a weight is up.

Source: gdnsd ``weighted`` (3.8.1), its four modes; Route 53 for the weight 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Final, NamedTuple, final

from balancekit.errors import ConfigurationError
from balancekit.gslb._query import Answer, Exhausted, Query, Step
from balancekit.gslb._standing import Standings, read_standing
from balancekit.gslb._threshold import endpoint_weights, exhausted_answer, exhausted_word, share
from balancekit.gslb._tree import TreePolicy

__all__ = ["GroupedOne", "GroupedSubset", "WeightedOne", "WeightedSubset"]


class _Live(NamedTuple):
    """The weights that count now."""

    weights: Sequence[int]
    """Per endpoint, 0 if it is not to be answered."""
    total: int
    ttl: float
    word: Exhausted | None


class _Weights:
    """Whole weights with a threshold on their sum: what all four policies share."""

    __slots__ = ("_den", "_full", "_num", "_pairs", "_word", "ids", "total")

    def __init__(
        self, weights: Mapping[str, int], threshold: float | Fraction, exhausted: Exhausted | str
    ) -> None:
        self.ids: Final = tuple(weights)
        self._full: Final = tuple(weights.values())
        self._pairs: Final = tuple(weights.items())
        self.total: Final = sum(self._full)
        least: Fraction = share("threshold", threshold)
        self._num: Final = least.numerator * self.total
        self._den: Final = least.denominator
        self._word: Final = exhausted_word(exhausted)

    def live(self, standings: Standings, now: float) -> _Live:
        """Return the weights of what is up; of all if that is too little; of the last resorts if nothing is."""
        until = math.inf
        total = 0
        live: list[int] = []
        add = live.append
        for id, weight in self._pairs:
            up, bound = read_standing(standings, id)
            if bound < until:  # noqa: PLR1730 - min() would be a twentieth of the cost of an answer
                until = bound
            if up:
                total += weight
                add(weight)
            else:
                add(0)
        ttl = until - now if until > now else 0.0
        if total * self._den >= self._num:
            return _Live(live, total, ttl, None)
        if not total and 0 in self._full:
            last = [int(not weight and read_standing(standings, id).up) for id, weight in self._pairs]
            if any(last):
                return _Live(last, sum(last), ttl, None)
        return _Live(self._full, self.total, ttl, self._word)


def _one(ids: Sequence[str], weights: Sequence[int], total: int, rng: Random) -> str:
    """Draw one by weight."""
    point = int(rng.random() * total)
    for id, weight in zip(ids, weights, strict=True):
        point -= weight
        if point < 0:
            return id
    raise AssertionError("weights that do not add up to their total")


def _some(ids: Sequence[str], weights: Sequence[int], rng: Random) -> list[str]:
    """Draw each by its weight over the largest weight; the ones with the largest weight are always in it."""
    largest = max(weights)
    return [id for id, weight in zip(ids, weights, strict=True) if weight and rng.randrange(largest) < weight]


def _steps(name: str, weights: _Weights, live: _Live) -> tuple[Step, ...]:
    text = f"weight {live.total} of {weights.total} answered"
    return (Step(name, text if live.word is None else f"{text}: exhausted ({live.word})"),)


class _Weighted(TreePolicy):
    """A policy that draws by weights."""

    _weights: _Weights

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Draw from what is up."""
        weights = self._weights
        live = weights.live(standings, now)
        chosen = self._draw(live, rng)
        steps = _steps(type(self).__name__, weights, live) if explain else ()
        if live.word is None:
            return Answer(chosen, live.ttl, 0, None, steps)
        return exhausted_answer(live.word, chosen, live.ttl, 0, steps)

    def members(self) -> frozenset[str]:
        """Return the ids that have weights."""
        return frozenset(self._weights.ids)

    @abstractmethod
    def _draw(self, live: _Live, rng: Random) -> tuple[str, ...]:
        """Return the ids that are answered."""


class _Flat(_Weighted):
    """Weights by endpoint."""

    def __init__(
        self,
        weights: Mapping[str, int],
        *,
        threshold: float | Fraction = 0.5,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        self._weights = _Weights(endpoint_weights("weights", weights), threshold, exhausted)


@final
class WeightedOne(_Flat):
    """One endpoint, drawn by weight from those that are up.

    Parameters
    ----------
    weights
        Whole weights by endpoint id; 0 means last resort; at least one above 0.
    threshold
        The share of the sum of weights that must be up, in (0, 1].
    exhausted
        What happens below it. ``"open"`` draws from all.

    Raises
    ------
    ConfigurationError
        If a weight is not a whole number from 0 to 1e100, none is above 0, ``threshold`` is outside (0, 1], or
        ``exhausted`` is another word.

    *Guarantee.* An endpoint that is up is drawn with probability ``weight / sum of the weights up``.

    *When not to use it:* to keep clients at one endpoint (``HashedOne``), or where a few resolvers
    stand for most clients: their caches make the shares coarse.

    Cost: O(n).

    Example
    -------
    >>> from balancekit.gslb import Client, Query, WeightedOne, fixed_standings
    >>> from random import Random
    >>> canary = WeightedOne({"us-1": 90, "us-canary": 10})
    >>> query, rng = Query(name="www", client=Client(address="192.0.2.53")), Random(1)
    >>> drawn = [canary.answer(query, fixed_standings({}), now=0.0, rng=rng).chosen[0] for _ in range(1000)]
    >>> drawn.count("us-canary")
    103
    """

    def _draw(self, live: _Live, rng: Random) -> tuple[str, ...]:
        return (_one(self._weights.ids, live.weights, live.total, rng),)


@final
class WeightedSubset(_Flat):
    """A subset: each endpoint that is up, independently, with its weight over the largest weight up.

    Parameters
    ----------
    weights, threshold, exhausted
        As of :class:`WeightedOne`.

    *Guarantee.* Never empty: the endpoints with the largest weight are in every answer. The order is random.

    *When not to use it:* for exact shares. Clients choose among the addresses of an answer, so an endpoint
    of half the largest weight gets less than half of its traffic.

    Example
    -------
    >>> from balancekit.gslb import Client, Query, WeightedSubset, fixed_standings
    >>> from random import Random
    >>> pool = WeightedSubset({"a": 2, "b": 2, "c": 1})
    >>> query, rng = Query(name="www", client=Client(address="192.0.2.53")), Random(1)
    >>> {len(pool.answer(query, fixed_standings({}), now=0.0, rng=rng).chosen) for _ in range(50)}
    {2, 3}
    """

    def _draw(self, live: _Live, rng: Random) -> tuple[str, ...]:
        chosen = _some(self._weights.ids, live.weights, rng)
        rng.shuffle(chosen)
        return tuple(chosen)


class _Grouped(_Weighted):
    """Weights by group and endpoint."""

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, int]],
        *,
        threshold: float | Fraction = 0.5,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        if not isinstance(groups, Mapping) or not groups:
            raise ConfigurationError("groups", groups, "a mapping from group names to weights by endpoint id")
        weights: dict[str, int] = {}
        slices: list[slice] = []
        for group in groups.values():
            checked = endpoint_weights("groups", group)
            if not checked.keys().isdisjoint(weights):
                raise ConfigurationError("groups", groups, "each endpoint in one group")
            slices.append(slice(len(weights), len(weights) + len(checked)))
            weights |= checked
        self._slices: Final = tuple(slices)
        self._weights = _Weights(weights, threshold, exhausted)


@final
class GroupedOne(_Grouped):
    """One group, drawn by the sum of its weights; of it a subset, as :class:`WeightedSubset` draws.

    Parameters
    ----------
    groups
        By group name: whole weights by endpoint id. An endpoint is in one group.
    threshold, exhausted
        As of :class:`WeightedOne`, over the sum of all weights.

    *When not to use it:* to prefer one group while it is up: :class:`Failover`.

    Source: gdnsd ``weighted``, grouped addresses with ``multi = false``.

    Example
    -------
    >>> from balancekit.gslb import Client, GroupedOne, Query, fixed_standings
    >>> from random import Random
    >>> racks = GroupedOne({"rack-a": {"a-1": 1, "a-2": 1}, "rack-b": {"b-1": 1, "b-2": 1}})
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> sorted(racks.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).chosen)
    ['a-1', 'a-2']
    """

    def _draw(self, live: _Live, rng: Random) -> tuple[str, ...]:
        sums = [sum(live.weights[part]) for part in self._slices]
        point = rng.randrange(sum(sums))
        for part, total in zip(self._slices, sums, strict=True):
            point -= total
            if point < 0:
                chosen = _some(self._weights.ids[part], live.weights[part], rng)
                rng.shuffle(chosen)
                return tuple(chosen)
        raise AssertionError("weights that do not add up to their total")


@final
class GroupedSubset(_Grouped):
    """A subset of the groups, each by its sum over the largest sum; of each of them one endpoint by weight.

    Parameters
    ----------
    groups, threshold, exhausted
        As of :class:`GroupedOne`.

    *Guarantee.* Never empty; at most one endpoint of a group.

    *When not to use it:* for exact shares: clients choose among the addresses of an answer.

    Source: gdnsd ``weighted``, grouped addresses with ``multi = true``.

    Example
    -------
    >>> from balancekit.gslb import Client, GroupedSubset, Query, fixed_standings
    >>> from random import Random
    >>> racks = GroupedSubset({"rack-a": {"a-1": 1, "a-2": 1}, "rack-b": {"b-1": 1, "b-2": 1}})
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> chosen = racks.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).chosen
    >>> sorted(id[0] for id in chosen)
    ['a', 'b']
    """

    def _draw(self, live: _Live, rng: Random) -> tuple[str, ...]:
        sums = [sum(live.weights[part]) for part in self._slices]
        largest = max(sums)
        chosen = [
            _one(self._weights.ids[part], live.weights[part], total, rng)
            for part, total in zip(self._slices, sums, strict=True)
            if total and rng.randrange(largest) < total
        ]
        rng.shuffle(chosen)
        return tuple(chosen)
