"""The routing policies of Amazon Route 53, by its documented rules.

All policies have one rule in common: a record is chosen by the policy; if it is unhealthy, it is left out, and another one is
chosen. If all records are unhealthy, all count as healthy. A record without a health check is always healthy: leave it out of
the standings.

Source: Amazon Route 53 developer guide, "How Amazon Route 53 chooses records when health checking is configured" and the pages of
the policies. No server could be recorded; the policies are tested against a table of these rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from ipaddress import ip_network
from random import Random
from typing import Final, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.compat._answers import by_latency, located, ranked
from balancekit.compat._great_circle import distance_km
from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    AllUp,
    Answer,
    Client,
    Exhausted,
    Location,
    Policy,
    PrimaryBackup,
    Query,
    Standings,
    WeightedOne,
)
from balancekit.gslb._standing import read_standing

__all__ = [
    "LocationOf",
    "RecordOrder",
    "calculated",
    "failover",
    "geolocation",
    "geoproximity",
    "healthy",
    "ip_based",
    "latency",
    "multivalue",
    "simple",
    "weighted",
]

LocationOf: TypeAlias = Callable[[Client], Location]
"""Function that returns the location of a client."""

CHECKERS: Final = Fraction(18, 100)
"""An endpoint is healthy if more than this share of the checkers find it healthy."""


@final
class RecordOrder(ConstructorRepr):
    """A policy that answers with the first healthy record in an order that depends on the client.

    If no record is healthy, it answers with the first one.

    Parameters
    ----------
    order
        Function that returns the records for a client, the best first; empty for no answer.
    records
        All records.

    Raises
    ------
    ConfigurationError
        If ``order`` is no function; when a query is answered, if it returns something other than a list of records.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.route53 import RecordOrder
    >>> from balancekit.gslb import Client, Query, fixed_standings
    >>> policy = RecordOrder(lambda client: ["a", "b"], ["a", "b"])
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> policy.answer(query, fixed_standings({"a": False}), now=0.0, rng=Random(1)).chosen
    ('b',)
    """

    @checked_arguments
    def __init__(self, order: Callable[[Client], Sequence[str]], records: Sequence[str]) -> None:
        self._order: Final = plain_function("order", order, "a function of a client")
        self._records: Final = frozenset(records)

    @checked_arguments
    def answer(
        self, query: Query, standings: Standings, /, *, now: float, rng: Random, explain: bool = False
    ) -> Answer:
        """Return one record."""
        order = ranked(self._order(query.client), self._records)
        until = math.inf
        for record in order:
            standing = read_standing(standings, record)
            until = min(until, standing.until)
            if standing.up:
                return Answer((record,), max(0.0, until - now))
        if not order:
            return Answer((), exhausted=Exhausted.CLOSED)
        return Answer((order[0],), max(0.0, until - now), 0, Exhausted.OPEN)

    def members(self) -> frozenset[str]:
        """Return all records."""
        return self._records


@final
class AllValues(ConstructorRepr):
    """The policy of :func:`simple`."""

    def __init__(self, values: Sequence[str]) -> None:
        self._values: Final = tuple(values)

    def answer(
        self, query: Query, standings: Standings, /, *, now: float, rng: Random, explain: bool = False
    ) -> Answer:
        return Answer(tuple(rng.sample(self._values, len(self._values))))

    def members(self) -> frozenset[str]:
        return frozenset(self._values)


@checked_arguments
def simple(values: Sequence[str]) -> Policy:
    """Return simple routing: it answers with all values in random order, whatever their health.

    Example
    -------
    >>> from balancekit.compat.route53 import simple
    >>> sorted(simple(["192.0.2.1", "192.0.2.2"]).members())
    ['192.0.2.1', '192.0.2.2']
    """
    return AllValues(values)


@checked_arguments
def weighted(weights: Mapping[str, int]) -> Policy:
    """Return weighted routing.

    A record of weight 0 is used only if all records of other weights are unhealthy, or all weights are 0.

    Parameters
    ----------
    weights
        Weights by record, whole numbers from 0 to 255.

    Raises
    ------
    ConfigurationError
        If ``weights`` is empty, or a weight is not a whole number from 0 to 255.

    Example
    -------
    >>> from balancekit.compat.route53 import weighted
    >>> sorted(weighted({"a": 0, "b": 0}).members())
    ['a', 'b']
    """
    for weight in weights.values():
        valid.integer("weight", weight, minimum=0, maximum=255)
    counted = dict(weights) if any(weights.values()) else dict.fromkeys(weights, 1)
    return WeightedOne(counted, threshold=Fraction(1, max(1, sum(counted.values()))))


@checked_arguments
def latency(measured: Callable[[Client], Mapping[str, float]], records: Sequence[str]) -> Policy:
    """Return latency routing: the healthy record of the region with the lowest latency.

    Parameters
    ----------
    measured
        Function that returns the latency of each record for a client.
    records
        All records.

    Example
    -------
    >>> from balancekit.compat.route53 import latency
    >>> policy = latency(lambda client: {"eu": 20.0, "us": 90.0}, ["eu", "us"])
    >>> sorted(policy.members())
    ['eu', 'us']
    """

    def order(client: Client) -> list[str]:
        return by_latency(measured(client))

    return RecordOrder(order, records)


@checked_arguments
def failover(primary: str, secondary: str) -> Policy:
    """Return failover routing: the primary if healthy, else the secondary if healthy, else the primary.

    Example
    -------
    >>> from balancekit.compat.route53 import failover
    >>> sorted(failover("a", "b").members())
    ['a', 'b']
    """
    return PrimaryBackup(primary, secondary)


@checked_arguments
def multivalue(records: Sequence[str]) -> Policy:
    """Return multivalue routing: up to eight random healthy records, or up to eight of all if none is healthy.

    Example
    -------
    >>> from balancekit.compat.route53 import multivalue
    >>> sorted(multivalue(["a", "b"]).members())
    ['a', 'b']
    """
    return AllUp(records, threshold=Fraction(1, max(1, len(records))), limit=8)


@checked_arguments
def geolocation(
    location_of: LocationOf,
    *,
    subdivisions: Mapping[str, str] | None = None,
    countries: Mapping[str, str] | None = None,
    continents: Mapping[str, str] | None = None,
    default: str | None = None,
) -> Policy:
    """Return geolocation routing: the healthy record of the smallest region that contains the client, else the default.

    Parameters
    ----------
    location_of
        Function that returns the location of a client.
    subdivisions
        Records by subdivision, such as ``"US-TX"``.
    countries
        Records by country, such as ``"US"``.
    continents
        Records by continent, such as ``"NA"``.
    default
        Record for all other clients. Without it, they get no answer.

    Example
    -------
    >>> from balancekit.compat.route53 import geolocation
    >>> from balancekit.gslb import Location
    >>> policy = geolocation(lambda client: Location("NA", "US", ("TX",)), countries={"US": "us"}, default="any")
    >>> sorted(policy.members())
    ['any', 'us']
    """

    def order(client: Client) -> list[str]:
        where = located(location_of(client))
        found = [(subdivisions or {}).get(f"{where.country}-{part}") for part in where.subdivisions[:1]]
        found += [(countries or {}).get(where.country), (continents or {}).get(where.continent), default]
        return [record for record in found if record is not None]

    named = [record for table in (subdivisions, countries, continents) for record in (table or {}).values()]
    return RecordOrder(order, named if default is None else [*named, default])


@checked_arguments
def geoproximity(location_of: LocationOf, records: Mapping[str, tuple[float, float, int]]) -> Policy:
    """Return geoproximity routing: the healthy record with the smallest ``distance * (1 - bias / 100)``.

    Parameters
    ----------
    location_of
        Function that returns the location of a client. For a client without coordinates, records are used in their order.
    records
        Latitude, longitude and bias (-99 to 99) by record. A bias of 50 halves the distance.

    Raises
    ------
    ConfigurationError
        If a latitude is outside -90 to 90, a longitude outside -180 to 180, or a bias no whole number from -99 to 99.

    Example
    -------
    >>> from balancekit.compat.route53 import geoproximity
    >>> from balancekit.gslb import Location
    >>> here = Location("EU", "DE", (), "", 50.0, 8.0)
    >>> policy = geoproximity(lambda client: here, {"near": (51.0, 8.0, 0), "far": (40.0, 8.0, 50)})
    >>> sorted(policy.members())
    ['far', 'near']
    """
    for latitude, longitude, bias in records.values():
        valid.number("latitude", latitude, minimum=-90.0, maximum=90.0)
        valid.number("longitude", longitude, minimum=-180.0, maximum=180.0)
        valid.integer("bias", bias, minimum=-99, maximum=99)

    def order(client: Client) -> list[str]:
        where = located(location_of(client))
        if where.latitude is None or where.longitude is None:
            return list(records)
        here = (where.latitude, where.longitude)
        return sorted(records, key=lambda record: _biased(here, records[record]))

    return RecordOrder(order, list(records))


def _biased(here: tuple[float, float], record: tuple[float, float, int]) -> float:
    latitude, longitude, bias = record
    return distance_km(here, (latitude, longitude)) * (1.0 - bias / 100.0)


@checked_arguments
def ip_based(networks: Mapping[str, str], *, default: str | None = None) -> Policy:
    """Return IP-based routing: the record of the longest network that holds the client, else the default.

    Parameters
    ----------
    networks
        Records by network.
    default
        Record for all other clients. Without it, they get no answer.

    Raises
    ------
    ConfigurationError
        If a key of ``networks`` is no network.

    Example
    -------
    >>> from balancekit.compat.route53 import ip_based
    >>> sorted(ip_based({"10.0.0.0/8": "a"}, default="b").members())
    ['a', 'b']
    """
    try:
        known = {ip_network(text): record for text, record in networks.items()}
    except ValueError:
        raise ConfigurationError("networks", networks, "records by network") from None

    def order(client: Client) -> list[str]:
        address = client.seen()
        holding = [network for network in known if network.version == address.version and address in network]
        found = [known[max(holding, key=lambda network: network.prefixlen)]] if holding else []
        return found if default is None else [*found, default]

    return RecordOrder(order, [*networks.values(), *([] if default is None else [default])])


@checked_arguments
def healthy(passing: int, checkers: int) -> bool:
    """Return whether an endpoint is healthy: more than 18 % of the checkers find it healthy.

    Parameters
    ----------
    passing
        Number of checkers that find it healthy, 0 to ``checkers``.
    checkers
        Number of checkers, >= 1.

    Raises
    ------
    ConfigurationError
        If ``checkers`` is not a whole number >= 1, or ``passing`` is outside 0 to ``checkers``.

    Example
    -------
    >>> from balancekit.compat.route53 import healthy
    >>> healthy(2, 10), healthy(18, 100), healthy(19, 100)
    (True, False, True)
    """
    every = valid.integer("checkers", checkers, minimum=1)
    return Fraction(valid.integer("passing", passing, minimum=0, maximum=every), every) > CHECKERS


@checked_arguments
def calculated(children: Sequence[bool], least: int) -> bool:
    """Return whether a calculated health check is healthy: at least ``least`` of its children are.

    Parameters
    ----------
    children
        Whether each child health check is healthy.
    least
        Minimum number of healthy children, 0 to 256.

    Raises
    ------
    ConfigurationError
        If ``least`` is not a whole number from 0 to 256.

    Example
    -------
    >>> from balancekit.compat.route53 import calculated
    >>> calculated([True, False, True], 2), calculated([False], 0)
    (True, True)
    """
    return sum(children) >= valid.integer("least", least, minimum=0, maximum=256)
