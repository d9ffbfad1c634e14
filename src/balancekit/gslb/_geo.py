"""Steering by location: the map gives an order of sites, and the first that has not failed answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.gslb._fail_back import FailBack, FailBackMachine
from balancekit.gslb._failover import Walk, child_policies
from balancekit.gslb._geo_map import GeoMap
from balancekit.gslb._query import Answer, Exhausted, Policy, Query, Step
from balancekit.gslb._standing import Standings
from balancekit.gslb._tree import TreePolicy, read_answer

__all__ = ["Geo", "Regional"]


@final
class Geo(TreePolicy):
    """The first site in the client's order that has not failed.

    Parameters
    ----------
    geo_map
        Orders of sites by client address.
    sites
        A policy by site, one at least for each site that the map names.
    use_subnet
        Whether the client subnet decides if there is one; ``False``: always the resolver's address.
    skip
        How many sites to drop from the start of an order, if it has more.
    fail_back, overprovisioning, exhausted
        As of :class:`Failover`, per site. Here a site gets its traffic back at once by default.

    Raises
    ------
    ConfigurationError
        For a site of the map without a policy, and for an invalid parameter value.

    *Guarantee.* Clients inside the scope of an answer have the same order of sites; one bit wider some have
    not, unless a policy below needed a longer scope. Health changes answers, never scopes, except while
    shares move (``fail_back``, ``overprovisioning``).

    *When not to use it:* with one site. Without client subnets, the location is that of the resolver, not that
    of its clients.

    Source: gdnsd ``geoip`` (3.8.1).

    Example
    -------
    >>> from balancekit.gslb import AllUp, Client, Geo, GeoMap, Query, WeightedOne, fixed_standings
    >>> from random import Random
    >>> world = GeoMap.build(networks={"198.51.100.0/24": ["us", "eu"]}, default=["eu", "us"])
    >>> www = Geo(world, {"eu": AllUp(["eu-1", "eu-2"]), "us": WeightedOne({"us-1": 90, "us-canary": 10})})
    >>> query = Query(name="www", client=Client(address="192.0.2.53", subnet="198.51.100.0/24"))
    >>> answer = www.answer(query, fixed_standings({}), now=0.0, rng=Random(1))
    >>> answer.chosen, answer.scope
    (('us-1',), 24)
    """

    @checked_arguments
    def __init__(
        self,
        geo_map: GeoMap,
        sites: Mapping[str, Policy],
        *,
        use_subnet: bool = True,
        skip: int = 0,
        fail_back: FailBack | None = None,
        overprovisioning: float | None = None,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        self._map: Final = geo_map
        children = child_policies("sites", sites)
        missing = sorted(geo_map.sites - children.keys())
        if missing:
            raise ConfigurationError("sites", sorted(children), f"a policy for {', '.join(missing)} too")
        self._walk: Final = Walk(
            children, fail_back=fail_back, overprovisioning=overprovisioning, exhausted=exhausted
        )
        self._plain: Final = fail_back is None and overprovisioning is None
        self._use_subnet: Final = valid.flag("use_subnet", use_subnet)
        self._skip: Final = valid.integer("skip", skip, minimum=0)

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the answer of the site that gets this client."""
        client = query.client
        subnet = client.subnet if self._use_subnet else None
        if subnet is not None and subnet.prefixlen:
            order, scope = self._map._find(subnet.network_address)
        else:
            order, scope = self._map._find(client.address)[0], 0
        if self._skip and len(order) > self._skip:
            order = order[self._skip :]
        if self._plain and order and not explain:
            answer = read_answer(self._walk.children[order[0]], query, standings, now=now, rng=rng)
            chosen, ttl, below, word, steps = answer
            if word is None or word is Exhausted.CLOSED:  # it does not pass
                return answer if below >= scope else Answer(chosen, ttl, scope, word, steps)
        answer, noted = self._walk.answer(order, query, standings, now, rng, explain)
        if explain:
            seen = client.seen(use_subnet=self._use_subnet)
            where = f"{seen} gets {', '.join(order) or 'no site'} (scope {scope})"
            answer = answer._replace(steps=(Step("Geo", f"{where}: {noted}"), *answer.steps))
        return answer._replace(scope=max(scope, answer.scope))

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""
        return self._walk.members()

    def _below(self) -> tuple[Mapping[str, Policy], Mapping[str, FailBackMachine]]:
        return self._walk.below()

    @property
    def machines(self) -> Mapping[str, FailBackMachine]:
        """The fail-back machine of each site; empty without ``fail_back``."""
        return self._walk.machines


@final
class Regional(TreePolicy):
    """A policy that sees endpoints as the observers in the client's region see them.

    A region that cannot reach a site steers around it, without an effect on other regions.

    Parameters
    ----------
    policy
        The policy that answers.
    geo_map
        Orders of regions by client address; the first counts.
    views
        Standings by region, for example ``observers.standings`` of :class:`RegionalHealth`.
    use_subnet
        As of :class:`Geo`.

    Raises
    ------
    ConfigurationError
        If ``policy`` has no ``answer`` method, or ``use_subnet`` is no bool.

    *Guarantee.* The scope covers the region as well as what the policy below decided.

    *When not to use it:* with few observers per region: one broken observer then moves a region.

    Example
    -------
    >>> from balancekit.gslb import Client, GeoMap, PrimaryBackup, Query, Regional, fixed_standings
    >>> from random import Random
    >>> views = {"eu": fixed_standings({"eu-1": False}), "us": fixed_standings({})}
    >>> regions = GeoMap.build(networks={"198.51.100.0/24": ["us"]}, default=["eu"])
    >>> www = Regional(PrimaryBackup("eu-1", "us-1"), regions, views.__getitem__)
    >>> clients = [Client(address=text) for text in ("198.51.100.1", "192.0.2.1")]
    >>> standings = fixed_standings({})
    >>> [www.answer(Query(name="www", client=one), standings, now=0.0, rng=Random(1)).chosen for one in clients]
    [('eu-1',), ('us-1',)]
    """

    @checked_arguments
    def __init__(
        self,
        policy: Policy,
        geo_map: GeoMap,
        views: Callable[[str], Standings],
        *,
        use_subnet: bool = True,
    ) -> None:
        self._policy: Final = child_policies("policy", [("policy", policy)])["policy"]
        self._map: Final = geo_map
        self._views: Final = views
        self._use_subnet: Final = valid.flag("use_subnet", use_subnet)

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the policy's answer by the standings of the client's region; by ``standings`` if it has none."""
        client = query.client
        order, scope = self._map._find(client.seen(use_subnet=self._use_subnet))
        if not (self._use_subnet and client.has_subnet):
            scope = 0
        seen = self._views(order[0]) if order else standings
        answer = read_answer(self._policy, query, seen, now=now, rng=rng, explain=explain)
        if explain:
            step = Step("Regional", f"as seen from {order[0]}" if order else "no region")
            answer = answer._replace(steps=(step, *answer.steps))
        return answer._replace(scope=max(scope, answer.scope))

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""
        return self._policy.members()

    def _below(self) -> tuple[Mapping[str, Policy], Mapping[str, FailBackMachine]]:
        return {"": self._policy}, {}
