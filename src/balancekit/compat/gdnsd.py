"""Plugins and monitor of gdnsd, with the same answers, TTLs and scopes.

The plugins are policies of :mod:`balancekit.gslb`, with these differences: thresholds are multiplied in binary floating point;
while both addresses are down, the TTL of ``simplefo`` is that of the secondary; TTLs of the monitor are multiples of its interval.

Source: gdnsd 3.8.1; 83 recorded traces, all reproduced.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr, StateRepr
from balancekit._support.record import Record
from balancekit.compat._gdnsd_map import geo_map
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
    Policy,
    Query,
    Standings,
    Ttl,
    WeightedOne,
    WeightedSubset,
)
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
    """Return ``ceil(threshold * total) / total``, where the product is computed in binary floating point.

    Example
    -------
    >>> from balancekit.compat.gdnsd import up_threshold
    >>> up_threshold(0.07, 100), up_threshold(0.5, 3)
    (Fraction(2, 25), Fraction(2, 3))
    """
    share = valid.number("up_thresh", threshold, above=0.0, maximum=1.0)
    return Fraction(math.ceil(share * valid.integer("total", total, minimum=1)), total)


TTL: Final = re.compile("([0-9]{1,10})(?:/([0-9]{1,10}))?")
"""Bounds of a TTL in a zone file."""


@checked_arguments
def ttl_limits(text: str) -> Ttl:
    """Return the bounds that a TTL ``MAX/MIN`` in a zone file sets. If MIN is left out, it is half of MAX.

    gdnsd also raises both to its option ``min_ttl``, 5 by default. This function does not.

    Raises
    ------
    ConfigurationError
        If ``text`` is not ``MAX`` or ``MAX/MIN`` in whole seconds, or MIN is above MAX.

    Example
    -------
    >>> from balancekit.compat.gdnsd import ttl_limits
    >>> ttl_limits("300/30"), ttl_limits("90")
    (Ttl(minimum=30, maximum=300), Ttl(minimum=45, maximum=90))
    """
    found = TTL.fullmatch(text)
    if found is None:
        raise ConfigurationError("text", text, "whole seconds as MAX or MAX/MIN")
    maximum = int(found[1])
    return Ttl(minimum=int(found[2]) if found[2] else maximum // 2, maximum=maximum)


class ServiceType(Record):
    """A ``service_types`` entry: the interval and the thresholds of the checks of an address.

    Parameters
    ----------
    up_thresh
        Number of passed checks in a row after which an address is up, >= 1.
    ok_thresh
        Number of passed checks in a row after which the count of failures is set to 0, >= 1.
    down_thresh
        Number of failed checks after which an address is down, >= 1.
    interval
        Whole seconds between checks, >= 2.

    Raises
    ------
    ConfigurationError
        If a threshold is not a whole number >= 1, or ``interval`` not one >= 2.

    Example
    -------
    >>> from balancekit.compat.gdnsd import ServiceType
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
        """Return a new monitor for one address."""
        return Monitor(self)


@final
class Monitor(StateRepr, prints=("state", "ttl")):
    """State and TTL of one address. Made by calling a :class:`ServiceType`."""

    __slots__ = ("_interval", "_machine")

    @checked_arguments
    def __init__(self, service: ServiceType) -> None:
        self._interval: Final = service.interval
        self._machine: Final = AccruedFailures(
            fall=service.down_thresh, reset=service.ok_thresh, rise=service.up_thresh
        )()

    @checked_arguments
    def observe(self, *, passed: bool) -> None:
        """Record the result of a check."""
        self._machine.observe(passed=passed, now=0.0)

    @property
    def state(self) -> str:
        """``"UP"``, ``"DOWN"``, or ``"UNKNOWN"`` before the first check."""
        return {None: "UNKNOWN", True: "UP", False: "DOWN"}[self._machine.up]

    @property
    def ttl(self) -> int:
        """TTL in whole seconds: the minimum number of checks until the state can change, times the interval."""
        return self._machine.checks_left * self._interval


@final
class _IgnoringHealth:
    """A policy that answers with all addresses whatever their state. Result and TTL are those of ``multifo``."""

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
    """Return the ``multifo`` plugin. It answers with all addresses that are up, or with all if too few are up.

    Parameters
    ----------
    ids
        Ids of the addresses.
    up_thresh
        Share of the addresses that must be up, above 0, at most 1.
    ignore_health
        Whether to answer with all addresses whatever their state.

    Raises
    ------
    ConfigurationError
        If ``ids`` is empty, or ``up_thresh`` is outside (0, 1].

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.gdnsd import multifo
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
        Either weights by group and address, or weights by address.
    multi
        Whether answers have several addresses. ``None`` is the same as ``False``, gdnsd's default.
    up_thresh
        Share of the sum of weights that must be up, above 0, at most 1.

    Raises
    ------
    ConfigurationError
        If both or neither of ``groups`` and ``addresses`` are given, or ``up_thresh`` is outside (0, 1].

    Example
    -------
    >>> from balancekit.compat.gdnsd import weighted
    >>> type(weighted(addresses={"lb01": 45, "lb02": 60})).__name__
    'WeightedOne'
    """
    if bool(groups) == bool(addresses):
        raise ConfigurationError("groups", groups, "weights by group and address, or addresses instead")
    if groups:
        total = sum(weight for group in groups.values() for weight in group.values())
        grouped = GroupedSubset if multi else GroupedOne
        return grouped(groups, threshold=up_threshold(up_thresh, total))
    weights = dict(addresses or {})
    flat = WeightedSubset if multi else WeightedOne
    return flat(weights, threshold=up_threshold(up_thresh, sum(weights.values()) or 1))


@final
class Simplefo(ConstructorRepr):
    """The ``simplefo`` plugin. It answers with the primary if up, else with the secondary if up, else with the primary.

    The TTL is that of the primary while the primary is up, the smaller of both while only the secondary is up, and that of the
    secondary while both are down.

    Parameters
    ----------
    primary, secondary
        Ids of the addresses.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.gdnsd import Simplefo
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
    """Return the ``metafo`` plugin. It uses the first datacenter that has not failed, or the first if all have failed.

    Parameters
    ----------
    datacenters
        Names of the datacenters, in the order of preference.
    policies
        Policies by datacenter.
    skip_first
        Whether to skip the first datacenter, unless it is the only one.

    Raises
    ------
    ConfigurationError
        If a datacenter has no policy, or there is no datacenter.

    Example
    -------
    >>> from balancekit.compat.gdnsd import metafo, multifo
    >>> sorted(metafo(["a", "b"], {"a": multifo(["lb01"]), "b": multifo(["lb02"])}).members())
    ['lb01', 'lb02']
    """
    order = datacenters[1:] if skip_first and len(datacenters) > 1 else datacenters
    missing = [name for name in order if name not in policies]
    if missing:
        raise ConfigurationError("policies", policies, f"a policy for {missing[0]!r}")
    return Failover([(name, policies[name]) for name in order], fail_back=None)


@checked_arguments
def geoip(
    geo: GeoMap, policies: Mapping[str, Policy], *, skip_first: bool = False, ignore_ecs: bool = False
) -> Policy:
    """Return the ``geoip`` plugin with a map.

    Parameters
    ----------
    geo
        The map, from :func:`geo_map`.
    policies
        Policies by datacenter.
    skip_first, ignore_ecs
        Whether to skip the first datacenter of each client, and whether to ignore client subnets.

    Example
    -------
    >>> from balancekit.compat.gdnsd import geo_map, geoip, multifo
    >>> policy = geoip(geo_map({"datacenters": ["a"]}), {"a": multifo(["lb01"])})
    >>> type(policy).__name__
    'Geo'
    """
    return Geo(geo, policies, use_subnet=not ignore_ecs, skip=int(skip_first))
