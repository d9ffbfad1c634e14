"""Spill-over by capacity: each site takes demand up to its capacity, the rest goes to the next nearest.

:func:`waterfall` is the arithmetic, in whole numbers; :class:`Spill` is the policy. Demand is the requests of clients
in a site's own region; capacity is that of the site's endpoints that are up.

Source: Google ``WATERFALL_BY_REGION``; the largest remainder method for shares in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.gslb._fail_back import FailBackMachine
from balancekit.gslb._failover import child_policies
from balancekit.gslb._geo_map import GeoMap
from balancekit.gslb._hashed import subnet_point
from balancekit.gslb._query import Answer, Exhausted, Policy, Query, Step
from balancekit.gslb._standing import Standings, read_standing
from balancekit.gslb._threshold import exhausted_word
from balancekit.gslb._tree import TreePolicy, read_answer

__all__ = ["Spill", "waterfall"]


@checked_arguments
def waterfall(
    demand: Mapping[str, int], capacity: Mapping[str, int], order: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, int]]:
    """Return how much of each source's demand each target takes.

    In round r every source offers what is left of its demand to the r-th target of its order. A target that is
    offered more than it has left takes from each source in proportion to the offers, in whole numbers by the
    largest remainder, ties by the source's name.

    Parameters
    ----------
    demand
        Whole numbers >= 0 by source.
    capacity
        Whole numbers >= 0 by target.
    order
        Targets by source, best first.

    Raises
    ------
    ConfigurationError
        For numbers that are not whole, and for a target without a capacity.

    *Guarantee.* No target takes more than its capacity; no source is served more than its demand; a source that
    is not served in full has no target with capacity left in its order. Deterministic.

    Example
    -------
    >>> from balancekit.gslb import waterfall
    >>> plan = waterfall({"eu": 100, "us": 50}, {"eu": 60, "us": 70}, {"eu": ["eu", "us"], "us": ["us", "eu"]})
    >>> plan["eu"], plan["us"]
    ({'eu': 60, 'us': 20}, {'us': 50})
    """
    left = {target: valid.integer("capacity", value, minimum=0) for target, value in capacity.items()}
    unmet = {source: valid.integer("demand", value, minimum=0) for source, value in demand.items()}
    for source in unmet:
        unknown = [target for target in order.get(source, ()) if target not in left]
        if unknown:
            raise ConfigurationError(
                "order", unknown[0], f"targets with a capacity: {', '.join(sorted(left))}"
            )
    taken: dict[str, dict[str, int]] = {source: {} for source in unmet}
    for rank in range(max((len(order.get(source, ())) for source in unmet), default=0)):
        offers: dict[str, dict[str, int]] = {}
        for source, amount in unmet.items():
            targets = order.get(source, ())
            if amount and rank < len(targets):
                offers.setdefault(targets[rank], {})[source] = amount
        for target, offered in offers.items():
            for source, amount in _apportioned(offered, left[target]).items():
                if amount:
                    taken[source][target] = taken[source].get(target, 0) + amount
                    unmet[source] -= amount
                    left[target] -= amount
    return taken


def _apportioned(offers: Mapping[str, int], capacity: int) -> dict[str, int]:
    """Return what of each offer fits: all of it, or shares by the largest remainder."""
    total = sum(offers.values())
    if total <= capacity:
        return dict(offers)
    exact = {source: Fraction(amount * capacity, total) for source, amount in offers.items()}
    shares = {source: math.floor(share) for source, share in exact.items()}
    rest = capacity - sum(shares.values())
    for source in sorted(exact, key=lambda source: (shares[source] - exact[source], source))[:rest]:
        shares[source] += 1
    return shares


@final
class Spill(TreePolicy):
    """The nearest site with capacity; what it cannot take spills to the next.

    Parameters
    ----------
    sites
        A policy by site. Without a map, their order is every client's order.
    capacity
        What a site can take when all its endpoints are up, in the unit of ``demand``, whole or not. It is counted in
        whole units, one at least while an endpoint is up: choose a unit of which a site has hundreds.
    demand
        Returns the present demand of the clients whose nearest site this is. Called for every answer: read a
        number that something else keeps.
    geo_map
        Orders of sites by client; ``None``: one order for all, and ``demand`` is called with its first site.
    exhausted
        What happens when all sites have failed. ``"open"``: the answer of the client's nearest site.

    Raises
    ------
    ConfigurationError
        For a site without a policy or a capacity.

    *Guarantee.* No site that is up gets more than its capacity unless all of an order are full; then the
    excess is spread over them in proportion to what they take. A subnet keeps its site while shares move
    away from it only if it is not among those that move.

    *When not to use it:* without a measure of demand; by health alone, ``Failover`` with
    ``overprovisioning``.

    Cost: O(sites squared) when a demand or a standing has changed, else O(endpoints).

    Example
    -------
    >>> from balancekit.gslb import AllUp, Client, Query, Spill, fixed_standings
    >>> from random import Random
    >>> sites = {"eu": AllUp(["eu-1"]), "us": AllUp(["us-1"])}
    >>> www = Spill(sites, {"eu": 60, "us": 70}, demand={"eu": 100.0}.__getitem__)
    >>> standings, rng = fixed_standings({}), Random(1)
    >>> clients = [Client(address="192.0.2.53", subnet=f"10.{k}.0.0/24") for k in range(250)]
    >>> chosen = [www.answer(Query(name="www", client=one), standings, now=0.0, rng=rng).chosen for one in clients]
    >>> chosen.count(("eu-1",)) / 250
    0.62
    """

    @checked_arguments
    def __init__(
        self,
        sites: Mapping[str, Policy],
        capacity: Mapping[str, float],
        demand: Callable[[str], float],
        *,
        geo_map: GeoMap | None = None,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        self._sites: Final = child_policies("sites", sites)
        self._capacity: Final = {
            site: valid.number("capacity", capacity.get(site), minimum=0.0) for site in self._sites
        }
        self._demand: Final = demand
        self._map: Final = geo_map
        self._word: Final = exhausted_word(exhausted)
        self._salt: Final = "\0".join(self._sites)
        names = tuple(self._sites)
        orders = (
            {names}
            if geo_map is None
            else {order for v in (4, 6) for _, _, order in geo_map.intervals(v) if order}
        )
        missing = sorted({site for order in orders for site in order} - self._sites.keys())
        if missing:
            raise ConfigurationError("sites", sorted(self._sites), f"a policy for {', '.join(missing)} too")
        self._orders: Final = _home_orders(orders)
        self._members: Final = {site: tuple(sorted(policy.members())) for site, policy in self._sites.items()}
        self._last: tuple[object, dict[str, dict[str, int]]] = (None, {})

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the answer of the site that takes this client."""
        order, scope = tuple(self._sites), 0
        if self._map is not None:
            order, scope = self._map._find(query.client.seen())
            scope = scope if query.client.has_subnet else 0
        able, ttl = self._able(standings, now)
        shares = self._plan(able).get(order[0], {}) if order else {}
        loads = [(site, shares.get(site, 0)) for site in order if able[site]]
        if not any(load for _, load in loads):
            loads = [(site, 1) for site in order if able[site]][:1]
        noted = ", ".join(f"{site} {load}" for site, load in loads) or "no site up"
        if not loads:
            return self._failed(order, query, standings, now, rng, ttl, scope, explain=explain)
        taken, prefix = self._taken(loads, query)
        scope = max(scope, prefix)
        answer = read_answer(self._sites[taken], query, standings, now=now, rng=rng, explain=explain)
        if answer.passes:  # up in part, and too little by its own threshold
            for site, _ in loads:
                other = read_answer(self._sites[site], query, standings, now=now, rng=rng, explain=explain)
                if not other.passes:
                    taken, answer = site, other
                    break
        steps = (Step("Spill", f"loads {noted}: {taken}"), *answer.steps) if explain else ()
        return answer._replace(ttl=min(ttl, answer.ttl), scope=max(scope, answer.scope), steps=steps)

    def _taken(self, loads: Sequence[tuple[str, int]], query: Query) -> tuple[str, int]:
        """Return the site at the client's point among the loads, and the prefix of the network that has the point."""
        loaded = [(site, load) for site, load in loads if load]
        if len(loaded) == 1:
            return loaded[0][0], 0
        point, prefix = subnet_point(query.client, self._salt)
        left = point * sum(load for _, load in loads)
        for site, load in loads:
            left -= load
            if left < 0.0:
                return site, prefix
        return loads[-1][0], prefix

    def _below(self) -> tuple[Mapping[str, Policy], Mapping[str, FailBackMachine]]:
        return self._sites, {}

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""
        return frozenset(id for ids in self._members.values() for id in ids)

    @checked_arguments
    def shares(self, standings: Standings, /, *, now: float) -> Mapping[str, Mapping[str, int]]:
        """Return how much of each site's own demand each site takes now."""
        return self._plan(self._able(standings, now)[0])

    def _able(self, standings: Standings, now: float) -> tuple[dict[str, int], float]:
        """Return what each site can take now, and for how many seconds that holds."""
        able: dict[str, int] = {}
        until = math.inf
        for site, ids in self._members.items():
            seen = [read_standing(standings, id) for id in ids]
            up = sum(standing.up for standing in seen)
            until = min(until, *[standing.until for standing in seen])
            share = self._capacity[site] * up / len(ids)
            able[site] = max(1, math.floor(share)) if share else 0
        return able, max(0.0, until - now)

    def _demanded(self, site: str) -> int:
        return math.ceil(max(0.0, valid.number("demand", self._demand(site))))

    def _plan(self, able: Mapping[str, int]) -> dict[str, dict[str, int]]:
        demand = {site: self._demanded(site) for site in self._orders}
        facts = (tuple(demand.items()), tuple(able.items()))
        known, plan = self._last
        if known != facts:
            plan = waterfall(demand, able, self._orders)
            self._last = (facts, plan)
        return plan

    def _failed(
        self,
        order: Sequence[str],
        query: Query,
        standings: Standings,
        now: float,
        rng: Random,
        ttl: float,
        scope: int,
        *,
        explain: bool,
    ) -> Answer:
        chosen: tuple[str, ...] = ()
        if order and self._word is Exhausted.OPEN:
            chosen = read_answer(self._sites[order[0]], query, standings, now=now, rng=rng).chosen
        steps = (Step("Spill", f"no site up: exhausted ({self._word})"),) if explain else ()
        return Answer(chosen, ttl, scope, self._word, steps)


def _home_orders(orders: set[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return one order per nearest site: the longest that starts with it."""
    homes: dict[str, tuple[str, ...]] = {}
    for order in sorted(orders, key=lambda order: (-len(order), order)):
        if order:
            homes.setdefault(order[0], order)
    return homes
