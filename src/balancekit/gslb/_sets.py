"""Sets of addresses: all that are up, the primary or its backup, and DNS round robin.

The order of an answer has no effect to rely on. Resolvers shuffle it, and clients sort it by RFC 6724; only an
answer with one address is a real choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.gslb._query import Answer, Exhausted, Query, Step
from balancekit.gslb._standing import Standings, read_standing
from balancekit.gslb._threshold import endpoint_ids, exhausted_answer, exhausted_word, needed, share
from balancekit.gslb._tree import TreePolicy

__all__ = ["AllUp", "PrimaryBackup", "Rotation"]


@final
class AllUp(TreePolicy):
    """All endpoints that are up, in random order.

    Parameters
    ----------
    ids
        Endpoint ids, distinct, at least one.
    threshold
        The share of them that must be up, in (0, 1]. With fewer up the policy is exhausted: the ones left
        would get the traffic of all.
    limit
        At most so many in an answer, drawn at random; ``None`` for all. Eight is what Route 53 answers.
    exhausted
        What happens below the threshold. ``"open"`` answers all endpoints, dead ones included.

    Raises
    ------
    ConfigurationError
        If ``ids`` is empty or has an id twice, ``threshold`` is outside (0, 1], ``limit`` is below 1, or
        ``exhausted`` is another word.

    *Guarantee.* At least ``ceil(threshold * n)`` of the answer are up, counted exactly, or
    :attr:`Answer.failed` says that they are not. The TTL ends when the first of the n could change.

    *When not to use it:* for weights, or where clients must stay at one endpoint: clients pick any address
    of the answer.

    Cost: O(n).

    Source: gdnsd ``multifo`` (3.8.1), which counts in binary and always answers all when exhausted.

    Example
    -------
    >>> from balancekit.gslb import AllUp, Client, Query, fixed_standings
    >>> from random import Random
    >>> site = AllUp(["eu-1", "eu-2", "eu-3"], threshold=0.5)
    >>> standings = fixed_standings({"eu-3": False})
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> sorted(site.answer(query, standings, now=0.0, rng=Random(1)).chosen)
    ['eu-1', 'eu-2']
    """

    @checked_arguments
    def __init__(
        self,
        ids: Iterable[str],
        *,
        threshold: float | Fraction = 0.5,
        limit: int | None = None,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        self._ids: Final = endpoint_ids("ids", ids)
        self._threshold: Final[Fraction] = share("threshold", threshold)
        self._needed: Final = needed(self._threshold, len(self._ids))
        self._limit: Final = None if limit is None else valid.integer("limit", limit, minimum=1)
        self._exhausted: Final = exhausted_word(exhausted)

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return all that are up."""
        up: list[str] = []
        until = math.inf
        for id in self._ids:
            standing = read_standing(standings, id)
            if standing.up:
                up.append(id)
            until = min(until, standing.until)
        enough = len(up) >= self._needed
        chosen = up if enough else list(self._ids)
        if len(chosen) > 1:
            rng.shuffle(chosen)
        if self._limit is not None:
            del chosen[self._limit :]
        ttl = max(0.0, until - now)
        steps = self._steps(len(up), enough=enough) if explain else ()
        if enough:
            return Answer(tuple(chosen), ttl, 0, None, steps)
        return exhausted_answer(self._exhausted, chosen, ttl, 0, steps)

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids."""
        return frozenset(self._ids)

    def _steps(self, up: int, *, enough: bool) -> tuple[Step, ...]:
        text = f"{up} of {len(self._ids)} up, {self._needed} needed"
        return (Step("AllUp", text if enough else f"{text}: exhausted ({self._exhausted})"),)


@final
class PrimaryBackup(TreePolicy):
    """The primary while it is up, else the backup.

    Parameters
    ----------
    primary, backup
        Two endpoint ids.
    exhausted
        What happens when both are down. ``"open"`` answers the primary.

    Raises
    ------
    ConfigurationError
        For equal or empty ids.

    *Guarantee.* One endpoint an answer. The TTL ends when one of the standings it rests on could change.

    *When not to use it:* for sites of several endpoints, or to move traffic back gradually: :class:`Failover`.

    Source: gdnsd ``simplefo`` (3.8.1); Route 53 failover routing.

    Example
    -------
    >>> from balancekit.gslb import Client, PrimaryBackup, Query, fixed_standings
    >>> from random import Random
    >>> pair = PrimaryBackup("db-1", "db-2")
    >>> query = Query(name="db", client=Client(address="192.0.2.53"))
    >>> pair.answer(query, fixed_standings({"db-1": False}), now=0.0, rng=Random(1)).chosen
    ('db-2',)
    """

    @checked_arguments
    def __init__(self, primary: str, backup: str, *, exhausted: Exhausted | str = Exhausted.OPEN) -> None:
        self._primary: Final = valid.text("primary", primary)
        self._backup: Final = valid.text("backup", backup)
        if primary == backup:
            raise ConfigurationError("backup", backup, "another endpoint than the primary")
        self._exhausted: Final = exhausted_word(exhausted)

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the primary or the backup."""
        first = read_standing(standings, self._primary)
        if first.up:
            steps = (Step("PrimaryBackup", f"primary {self._primary} up"),) if explain else ()
            return Answer((self._primary,), max(0.0, first.until - now), 0, None, steps)
        second = read_standing(standings, self._backup)
        ttl = max(0.0, min(first.until, second.until) - now)
        if second.up:
            text = f"primary {self._primary} down, backup {self._backup} up"
            steps = (Step("PrimaryBackup", text),) if explain else ()
            return Answer((self._backup,), ttl, 0, None, steps)
        text = f"primary {self._primary} and backup {self._backup} down: exhausted ({self._exhausted})"
        steps = (Step("PrimaryBackup", text),) if explain else ()
        return exhausted_answer(self._exhausted, (self._primary,), ttl, 0, steps)

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the two ids."""
        return frozenset((self._primary, self._backup))


@final
class Rotation(TreePolicy):
    """All endpoints that are up, rotated by one from answer to answer: DNS round robin.

    Parameters
    ----------
    ids
        Endpoint ids, distinct, at least one.
    start
        Which of them stands first in the first answer, 0 to n - 1.
    exhausted
        What happens when none is up.

    Raises
    ------
    ConfigurationError
        If ``ids`` is empty or has an id twice, ``start`` is outside its bounds, or ``exhausted`` is another
        word.

    *Guarantee.* Over any n answers with equal standings each endpoint stands first once, if one thread at a
    time calls; threads that call at once may see the same rotation twice.

    *When not to use it:* as a load balancer. A resolver with many clients caches one order for all of them.

    Cost: O(n); one cursor of state.

    Source: BIND ``rrset-order cyclic`` (9.18.49), NSD ``round-robin: yes`` (4.6.1).

    Example
    -------
    >>> from balancekit.gslb import Client, Query, Rotation, fixed_standings
    >>> from random import Random
    >>> pool = Rotation(["a", "b", "c"])
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> [pool.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).chosen for _ in range(2)]
    [('a', 'b', 'c'), ('b', 'c', 'a')]
    """

    @checked_arguments
    def __init__(
        self, ids: Iterable[str], *, start: int = 0, exhausted: Exhausted | str = Exhausted.OPEN
    ) -> None:
        self._ids: Final = endpoint_ids("ids", ids)
        self._cursor: int = valid.integer("start", start, minimum=0, maximum=len(self._ids) - 1)
        self._exhausted: Final = exhausted_word(exhausted)

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return all that are up, from the cursor on, and advance the cursor."""
        seen = [read_standing(standings, id) for id in self._ids]
        up = [id for id, standing in zip(self._ids, seen, strict=True) if standing.up]
        ttl = max(0.0, min(standing.until for standing in seen) - now)
        chosen = up or self._ids
        first = self._cursor % len(chosen)
        self._cursor += 1
        rotated = (*chosen[first:], *chosen[:first])
        steps = (
            (Step("Rotation", f"{len(up)} of {len(self._ids)} up, from place {first}"),) if explain else ()
        )
        if up:
            return Answer(rotated, ttl, 0, None, steps)
        return exhausted_answer(self._exhausted, rotated, ttl, 0, steps)

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids."""
        return frozenset(self._ids)
