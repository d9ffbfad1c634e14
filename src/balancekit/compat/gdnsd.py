"""gdnsd's plugins and monitor: the same answers, TTLs and scopes.

The plugins are presets of :mod:`balancekit.gslb`. What differs from its own defaults is kept here: thresholds are
multiplied in binary floating point, the TTL of ``simplefo`` follows the address that is down longest, and the
monitor reports whole intervals.

Source: gdnsd 3.8.1, recorded: 78 traces, each reproduced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr, StateRepr
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    AllUp,
    Answer,
    Exhausted,
    Failover,
    Geo,
    GeoMap,
    GroupedOne,
    GroupedSubset,
    Locations,
    Policy,
    Query,
    Standings,
    Ttl,
    WeightedOne,
    WeightedSubset,
)
from balancekit.gslb._geo_map import build_map
from balancekit.gslb._standing import read_standing
from balancekit.health import AccruedFailures

__all__ = [
    "Monitor",
    "ServiceType",
    "Simplefo",
    "geo_map",
    "geoip",
    "metafo",
    "multifo",
    "ttl_limits",
    "weighted",
]


def up_threshold(threshold: float, total: int) -> Fraction:
    """Return the share that ``ceil(threshold * total)``, computed in binary, is of the total.

    Example
    -------
    >>> up_threshold(0.07, 100), up_threshold(0.5, 3)
    (Fraction(2, 25), Fraction(2, 3))
    """
    share = valid.number("up_thresh", threshold, above=0.0, maximum=1.0)
    return Fraction(math.ceil(share * valid.integer("total", total, minimum=1)), total)


@checked_arguments
def ttl_limits(text: str) -> Ttl:
    """Return the limits that a zone's ``MAX/MIN`` TTL sets; MIN is half of MAX if it is left out.

    gdnsd then raises both to its option ``min_ttl``, which is 5 where it is not set.

    Raises
    ------
    ConfigurationError
        If ``text`` is not ``MAX`` or ``MAX/MIN`` in whole seconds, or MIN is above MAX.

    Example
    -------
    >>> ttl_limits("300/30"), ttl_limits("90")
    (Ttl(minimum=30, maximum=300), Ttl(minimum=45, maximum=90))
    """
    largest, _, least = text.partition("/")
    try:
        maximum = int(largest)
        return Ttl(minimum=int(least) if least else maximum // 2, maximum=maximum)
    except ValueError:
        raise ConfigurationError("text", text, "whole seconds as MAX or MAX/MIN") from None


class ServiceType(Record):
    """A ``service_types`` entry: how often an address is checked, and what changes its state.

    Parameters
    ----------
    up_thresh, ok_thresh, down_thresh
        Passes in a row that make up; that set the count of failures to 0; failures that make down.
    interval
        Whole seconds between checks, >= 2.

    Raises
    ------
    ConfigurationError
        If a threshold is not a whole number >= 1, or ``interval`` not one >= 2.

    Example
    -------
    >>> monitor = ServiceType(up_thresh=3, ok_thresh=2, down_thresh=2, interval=2)()
    >>> for passed in (True, False, False):
    ...     monitor.observe(passed=passed)
    >>> monitor.state, monitor.ttl
    ('DOWN', 6)
    """

    up_thresh: int = 20
    ok_thresh: int = 10
    down_thresh: int = 10
    interval: int = 10

    def _check(self) -> None:
        for name in ("up_thresh", "ok_thresh", "down_thresh"):
            valid.integer(name, getattr(self, name), minimum=1)
        valid.integer("interval", self.interval, minimum=2)

    def __call__(self) -> Monitor:
        """Make the monitor of one address."""
        return Monitor(self)


@final
class Monitor(StateRepr, prints=("state", "ttl")):
    """State and TTL of one address. Made by :class:`ServiceType`."""

    __slots__ = ("_interval", "_machine")

    @checked_arguments
    def __init__(self, service: ServiceType) -> None:
        self._interval: Final = service.interval
        self._machine: Final = AccruedFailures(
            fall=service.down_thresh, reset=service.ok_thresh, rise=service.up_thresh
        )()

    @checked_arguments
    def observe(self, *, passed: bool) -> None:
        """Record how a check ended."""
        self._machine.observe(passed=passed, now=0.0)

    @property
    def state(self) -> str:
        """``"UP"``, ``"DOWN"``, or ``"UNKNOWN"`` before the first check."""
        return {None: "UNKNOWN", True: "UP", False: "DOWN"}[self._machine.up]

    @property
    def ttl(self) -> int:
        """Whole seconds: the checks that are needed at least for another state, times the interval."""
        return self._machine.checks_left * self._interval


@final
class _IgnoringHealth:
    """All addresses whatever their state, with the verdict and the TTL of ``multifo``."""

    def __init__(self, policy: AllUp, ids: Sequence[str]) -> None:
        self._policy: Final = policy
        self._ids: Final = tuple(ids)

    def answer(
        self, query: Query, standings: Standings, /, *, now: float, rng: Random, explain: bool = False
    ) -> Answer:
        """Return all addresses."""
        answer = self._policy.answer(query, standings, now=now, rng=rng, explain=explain)
        return answer._replace(chosen=tuple(rng.sample(self._ids, len(self._ids))))

    def members(self) -> frozenset[str]:
        """Return the ids."""
        return self._policy.members()


@checked_arguments
def multifo(ids: Sequence[str], *, up_thresh: float = 0.5, ignore_health: bool = False) -> Policy:
    """Return the ``multifo`` plugin: all that are up, or all if too few are.

    Raises
    ------
    ConfigurationError
        If ``ids`` is empty, or ``up_thresh`` is outside (0, 1].

    Example
    -------
    >>> from random import Random
    >>> from balancekit.gslb import Client, Query, fixed_standings
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> standings = fixed_standings({"lb02": False, "lb03": False})
    >>> answer = multifo(["lb01", "lb02", "lb03"]).answer(query, standings, now=0.0, rng=Random(1))
    >>> sorted(answer.chosen), answer.failed
    (['lb01', 'lb02', 'lb03'], True)
    """
    if not ids:
        raise ConfigurationError("ids", ids, "at least one id")
    policy = AllUp(ids, threshold=up_threshold(up_thresh, len(ids)))
    return _IgnoringHealth(policy, ids) if ignore_health else policy


@checked_arguments
def weighted(
    groups: Mapping[str, Mapping[str, int]] | None = None,
    addresses: Mapping[str, int] | None = None,
    *,
    multi: bool | None = None,
    up_thresh: float = 0.5,
) -> Policy:
    """Return the ``weighted`` plugin: weights by group and address, or by address.

    Parameters
    ----------
    groups, addresses
        One of them.
    multi
        As configured; left out, it is ``False``, as in gdnsd.
    up_thresh
        The share of the sum of weights that must be up.

    Raises
    ------
    ConfigurationError
        If both or neither of ``groups`` and ``addresses`` are given, or ``up_thresh`` is outside (0, 1].

    Example
    -------
    >>> type(weighted(addresses={"lb01": 45, "lb02": 60})).__name__
    'WeightedOne'
    """
    if bool(groups) == bool(addresses):
        raise ConfigurationError(
            "groups", groups, "weights by group and address, or addresses in their place"
        )
    if groups:
        total = sum(weight for group in groups.values() for weight in group.values())
        grouped = GroupedSubset if multi else GroupedOne
        return grouped(groups, threshold=up_threshold(up_thresh, total))
    weights = dict(addresses or {})
    flat = WeightedSubset if multi else WeightedOne
    return flat(weights, threshold=up_threshold(up_thresh, sum(weights.values()) or 1))


@final
class Simplefo(ConstructorRepr):
    """The ``simplefo`` plugin: the primary if up, else the secondary if up, else the primary.

    The TTL is the primary's while it is up, the lesser of the two while the secondary serves, and the secondary's while both
    are down.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.gslb import Client, Query, Standing, fixed_standings
    >>> standings = fixed_standings({"a": Standing(up=False, until=40.0), "b": Standing(up=False, until=90.0)})
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> Simplefo("a", "b").answer(query, standings, now=0.0, rng=Random(1))[:2]
    (('a',), 90.0)
    """

    @checked_arguments
    def __init__(self, primary: str, secondary: str) -> None:
        self._primary: Final = primary
        self._secondary: Final = secondary

    @checked_arguments
    def answer(
        self, query: Query, standings: Standings, /, *, now: float, rng: Random, explain: bool = False
    ) -> Answer:
        """Return the primary or the secondary."""
        first, second = read_standing(standings, self._primary), read_standing(standings, self._secondary)
        if first.up:
            return Answer((self._primary,), max(0.0, first.until - now))
        if second.up:
            return Answer((self._secondary,), max(0.0, min(first.until, second.until) - now))
        return Answer((self._primary,), max(0.0, second.until - now), 0, Exhausted.OPEN)

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the two ids."""
        return frozenset((self._primary, self._secondary))


@checked_arguments
def metafo(datacenters: Sequence[str], policies: Mapping[str, Policy], *, skip_first: bool = False) -> Policy:
    """Return the ``metafo`` plugin: the first datacenter that has not failed; the first if all have.

    Raises
    ------
    ConfigurationError
        If a datacenter has no policy, or there is no datacenter.

    Example
    -------
    >>> sorted(metafo(["a", "b"], {"a": multifo(["lb01"]), "b": multifo(["lb02"])}).members())
    ['lb01', 'lb02']
    """
    order = datacenters[1:] if skip_first and len(datacenters) > 1 else datacenters
    missing = [name for name in order if name not in policies]
    if missing:
        raise ConfigurationError("policies", policies, f"a policy for {missing[0]!r}")
    return Failover([(name, policies[name]) for name in order], fail_back=None)


@checked_arguments
def geo_map(configuration: Mapping[str, Any], database: Locations | None = None) -> GeoMap:
    """Return a ``maps`` entry of the ``geoip`` plugin.

    Parameters
    ----------
    configuration
        ``datacenters``, and any of ``map``, ``nets``, ``auto_dc_coords``, ``auto_dc_limit``, as in gdnsd's
        configuration.
    database
        The city database.

    Example
    -------
    >>> from ipaddress import ip_address
    >>> geo_map({"datacenters": ["a", "b"], "nets": {"198.51.100.0/24": "b"}}).look_up(ip_address("198.51.100.1"))
    (('b',), 24)
    """
    datacenters = configuration["datacenters"]
    nested = configuration.get("map") or {}
    nets = {
        net: [sites] if isinstance(sites, str) else sites
        for net, sites in (configuration.get("nets") or {}).items()
    }
    limit = configuration.get("auto_dc_limit", 3)
    return build_map(
        networks=nets,
        locations=nested,
        coordinates={
            site: tuple(point) for site, point in (configuration.get("auto_dc_coords") or {}).items()
        },
        database=database,
        default=nested.get("default", datacenters),
        limit=limit or len(datacenters),
        warn_long=False,
        join=False,
    )


@checked_arguments
def geoip(
    geo: GeoMap, policies: Mapping[str, Policy], *, skip_first: bool = False, ignore_ecs: bool = False
) -> Policy:
    """Return the ``geoip`` plugin over a map.

    Example
    -------
    >>> policy = geoip(geo_map({"datacenters": ["a"]}), {"a": multifo(["lb01"])})
    >>> type(policy).__name__
    'Geo'
    """
    return Geo(geo, policies, use_subnet=not ignore_ecs, skip=int(skip_first))
