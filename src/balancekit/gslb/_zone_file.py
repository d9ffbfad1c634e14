"""Zone files: a zone, its endpoints, maps and policies as one document (TOML, JSON), read into objects.

.. code-block:: toml

    [zone]
    origin = "example.com"
    primary = "ns1.example.com"
    contact = "admin.example.com"
    ttl = { minimum = 5, maximum = 60 }

    [endpoints]
    eu-1 = ["192.0.2.1", "2001:db8::1"]
    us-1 = "198.51.100.1"

    [maps.world]
    default = ["eu", "us"]
    networks = { "10.0.0.0/8" = ["us", "eu"] }

    [names.www]
    policy = "geo"
    map = "world"
    [names.www.sites]
    eu = { policy = "all-up", endpoints = ["eu-1"] }
    us = { policy = "weighted-one", weights = { us-1 = 90, us-2 = 10 } }

    [names."@"]
    records = { NS = ["ns1.example.com."] }

A name with a policy may have ``records`` of other types beside it. ``[names."*"]`` and ``[names."*.eu"]`` stand for all names
below that are not there. Errors name the place of a value, such as ``names.www.sites.eu.endpoints``; a key that is not known is
an error that names the ones that are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.gslb._fail_back import FailBack
from balancekit.gslb._failover import Failover
from balancekit.gslb._geo import Geo
from balancekit.gslb._geo_map import GeoMap
from balancekit.gslb._hashed import HashedOne
from balancekit.gslb._locations import Locations
from balancekit.gslb._query import Policy
from balancekit.gslb._records import Soa, StaticRecords
from balancekit.gslb._sets import AllUp, PrimaryBackup, Rotation
from balancekit.gslb._spill import Spill
from balancekit.gslb._ttl import Ttl
from balancekit.gslb._weighted import GroupedOne, GroupedSubset, WeightedOne, WeightedSubset
from balancekit.gslb._zone import Zone
from balancekit.health import FlapDamping

__all__ = ["ZoneFile", "zone_file"]

Table = Mapping[str, Any]
ReadDatabase = Callable[[str], Locations]


class ZoneFile(Record):
    """What a zone file says.

    Parameters
    ----------
    zone
        The zone.
    maps
        The maps by name.
    addresses
        Addresses by endpoint.
    check
        The table ``[check]`` as it stands: how endpoints are checked by what serves the zone.
    """

    zone: Zone
    maps: Mapping[str, GeoMap]
    addresses: Mapping[str, tuple[str, ...]]
    check: Mapping[str, Any] | None = None


@checked_arguments
def zone_file(document: Table, /, *, read_database: ReadDatabase | None = None) -> ZoneFile:
    """Return the zone that a document describes.

    Parameters
    ----------
    document
        The parsed file.
    read_database
        Reads the file that a map's ``database`` names; ``None``: no map may name one.

    Raises
    ------
    ConfigurationError
        For anything that is missing, unknown or wrong; the error names its place, such as ``names.www.policy``.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.gslb import Client, Query, fixed_standings, zone_file
    >>> read = zone_file(
    ...     {
    ...         "zone": {"origin": "example.com", "primary": "ns1.example.com", "contact": "admin.example.com"},
    ...         "endpoints": {"eu-1": "192.0.2.1", "eu-2": "192.0.2.2"},
    ...         "names": {"www": {"policy": "primary-backup", "primary": "eu-1", "backup": "eu-2"}},
    ...     }
    ... )
    >>> query = Query(name="www.example.com", client=Client(address="192.0.2.53"))
    >>> read.zone.answer(query, fixed_standings({}), now=0.0, rng=Random(1)).records[0].data
    '192.0.2.1'
    """
    _known("the file", document, _TOP)
    zone = _table("", document, "zone", required=True)
    _known("zone", zone, ("origin", "ttl", *Soa._fields))
    addresses: dict[str, tuple[str, ...]] = {}
    for id, value in _table("", document, "endpoints").items():
        with _shape(f"endpoints.{id}", value, "an address, or a list of addresses"):
            addresses[id] = (value,) if isinstance(value, str) else tuple(value)
    maps: dict[str, GeoMap] = {}
    for name, table in _table("", document, "maps").items():
        with _shape(f"maps.{name}", table):
            maps[name] = _map(f"maps.{name}", table, read_database)
    records: dict[str, Policy | StaticRecords] = {}
    ttls: dict[str, Ttl] = {}
    beside: dict[str, StaticRecords] = {}
    for name, table in _table("", document, "names", required=True).items():
        place = f"names.{name}"
        with _shape(place, table):
            if "records" in table and "policy" not in table:
                _known(place, table, ("records", "ttl"))
                records[name] = _records(place, table, "ttl")
                continue
            if "ttl" in table:
                ttls[name] = _ttl(place, table)
            if "records" in table:
                beside[name] = _records(place, table)
            policy = {key: value for key, value in table.items() if key not in {"ttl", "records"}}
            records[name] = _policy(place, policy, maps)
    with _shape("zone", zone):
        facts = {key: value for key, value in zone.items() if key not in {"origin", "ttl"}}
        soa = tables.call("zone", Soa, facts, Soa._fields)
        limits = {"ttl": _ttl("zone", zone)} if "ttl" in zone else {}
        with _at("", _ZONE_PLACES):
            made = Zone(
                zone.get("origin", ""), soa, records, addresses=addresses, ttls=ttls, beside=beside, **limits
            )
    check = _table("", document, "check") if "check" in document else None
    return ZoneFile(zone=made, maps=maps, addresses=addresses, check=check)


def _ttl(place: str, table: Table) -> Ttl:
    limits: Ttl = tables.call(f"{place}.ttl", Ttl, _table(place, table, "ttl"), Ttl._fields)
    return limits


def _records(place: str, table: Table, *options: str) -> StaticRecords:
    with _at(place, {"data": "records"}):
        return StaticRecords(data=table["records"], **{key: table[key] for key in options if key in table})


def _map(place: str, table: Table, read_database: ReadDatabase | None) -> GeoMap:
    _known(place, table, _MAP)
    options = {key: value for key, value in table.items() if key != "database"}
    if "default" not in options:
        raise ConfigurationError(place, None, "a list of sites as 'default'")
    if "coordinates" in options:
        points = _table(place, options, "coordinates")
        options["coordinates"] = {site: tuple(point) for site, point in points.items()}
    if "database" in table:
        if read_database is None:
            raise ConfigurationError(
                f"{place}.database", table["database"], "no database: there is nothing to read it"
            )
        with _at(place):
            options["database"] = read_database(table["database"])
    with _at(place):
        return GeoMap.build(**options)


def _policy(place: str, table: Table, maps: Mapping[str, GeoMap]) -> Policy:
    """Return the policy that a table describes, with all below it."""
    if not isinstance(table, Mapping):
        raise ConfigurationError(place, table, "a table with a 'policy'")
    kind = table.get("policy")
    make = _KINDS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ConfigurationError(f"{place}.policy", kind, tables.one_of(kind, _KINDS))
    return make(place, {key: value for key, value in table.items() if key != "policy"}, maps)


def _leaf(make: Callable[..., Policy], *first: str, options: tuple[str, ...] = ()) -> Callable[..., Policy]:
    """Return a reader of a policy without children: some keys are its positional arguments, others its options."""

    def read(place: str, table: Table, maps: Mapping[str, GeoMap]) -> Policy:
        _known(place, table, (*first, *options))
        missing = [key for key in first if key not in table]
        if missing:
            raise ConfigurationError(place, sorted(table), f"{missing[0]!r} too")
        with _at(place, {"ids": "endpoints"}):
            return make(
                *[table[key] for key in first], **{key: table[key] for key in options if key in table}
            )

    return read


def _children(place: str, table: Table, key: str, maps: Mapping[str, GeoMap]) -> dict[str, Policy]:
    below = _table(place, table, key, required=True)
    return {name: _policy(f"{place}.{key}.{name}", child, maps) for name, child in below.items()}


def _walk_options(place: str, table: Table) -> dict[str, Any]:
    options: dict[str, Any] = {key: table[key] for key in ("overprovisioning", "exhausted") if key in table}
    if "fail_back" in table:
        at = f"{place}.fail_back"
        fields = dict(_table(place, table, "fail_back"))
        if "damping" in fields:
            rules = tables.table(f"{at}.damping", fields["damping"])
            fields["damping"] = tables.call(f"{at}.damping", FlapDamping, rules, FlapDamping._fields)
        options["fail_back"] = tables.call(at, FailBack, fields, FailBack._fields)
    return options


def _failover(place: str, table: Table, maps: Mapping[str, GeoMap]) -> Policy:
    _known(place, table, ("sites", *_WALK))
    sites = _children(place, table, "sites", maps)
    options = {"fail_back": None, **_walk_options(place, table)}
    with _at(place):
        return Failover(sites, **options)


def _geo(place: str, table: Table, maps: Mapping[str, GeoMap]) -> Policy:
    _known(place, table, ("map", "sites", "use_subnet", "skip", *_WALK))
    geo_map, sites = _named_map(place, table, maps), _children(place, table, "sites", maps)
    options = {key: table[key] for key in ("use_subnet", "skip") if key in table}
    options |= _walk_options(place, table)
    with _at(place):
        return Geo(geo_map, sites, **options)


def _spill(place: str, table: Table, maps: Mapping[str, GeoMap]) -> Policy:
    _known(place, table, ("map", "sites", "capacity", "demand", "exhausted"))
    options = {key: table[key] for key in ("exhausted",) if key in table}
    if "map" in table:
        options["geo_map"] = _named_map(place, table, maps)
    sites = _children(place, table, "sites", maps)
    capacity = _table(place, table, "capacity", required=True)
    demanded = _table(place, table, "demand", required=True)
    for key, by_site in (("capacity", capacity), ("demand", demanded)):
        _known(f"{place}.{key}", by_site, sites)
    demand = {
        site: valid.number(f"{place}.demand.{site}", rate, minimum=0.0, unit="requests a second")
        for site, rate in demanded.items()
    }
    with _at(place):
        return Spill(sites, capacity, lambda site: demand.get(site, 0.0), **options)


def _named_map(place: str, table: Table, maps: Mapping[str, GeoMap]) -> GeoMap:
    name = table.get("map")
    if not isinstance(name, str) or name not in maps:
        allowed = tables.one_of(name, maps) if maps else "no map: there is none"
        raise ConfigurationError(f"{place}.map", name, allowed)
    return maps[name]


_TOP: Final = ("zone", "endpoints", "maps", "names", "check")
_MAP: Final = ("default", "networks", "locations", "coordinates", "limit", "database")
_WALK: Final = ("fail_back", "overprovisioning", "exhausted")
_ZONE_PLACES: Final = {
    "origin": "zone.origin",
    "addresses": "endpoints",
    "records": "names",
    "ttls": "names",
    "beside": "names",
}
"""Places in the file of what ``Zone`` refuses, by parameter."""
_THRESHOLD: Final = ("threshold", "exhausted")
_KINDS: Final[dict[str, Callable[..., Policy]]] = {
    "all-up": _leaf(AllUp, "endpoints", options=("threshold", "limit", "exhausted")),
    "primary-backup": _leaf(PrimaryBackup, "primary", "backup", options=("exhausted",)),
    "rotation": _leaf(Rotation, "endpoints", options=("exhausted",)),
    "weighted-one": _leaf(WeightedOne, "weights", options=_THRESHOLD),
    "weighted-subset": _leaf(WeightedSubset, "weights", options=_THRESHOLD),
    "grouped-one": _leaf(GroupedOne, "groups", options=_THRESHOLD),
    "grouped-subset": _leaf(GroupedSubset, "groups", options=_THRESHOLD),
    "hashed-one": _leaf(HashedOne, "endpoints", options=("scheme", "prefix4", "prefix6", "exhausted")),
    "failover": _failover,
    "geo": _geo,
    "spill": _spill,
}


_TABLES: Final = {"ttl": "a table of seconds: { minimum = 5, maximum = 60 }"}
"""What to write where a table may be mistaken for a value."""


def _table(place: str, table: Table, key: str, *, required: bool = False) -> Table:
    value = table.get(key, None if required else {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{place}.{key}" if place else key, value, _TABLES.get(key, "a table"))
    return value


@contextmanager
def _shape(place: str, table: object, allowed: str = "a table as zone_file() takes it") -> Iterator[None]:
    """Name the table of which a part has another shape than it should have."""
    try:
        yield
    except ConfigurationError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise ConfigurationError(place, table, f"{allowed} ({error})") from error


@contextmanager
def _at(place: str, keys: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Name the place of what a constructor refuses; ``keys`` are the keys of the file that its parameters do not have."""
    try:
        yield
    except ConfigurationError as error:
        key = keys.get(error.parameter, error.parameter)
        raise ConfigurationError(f"{place}.{key}" if place else key, error.value, error.allowed) from None


def _known(place: str, table: Table, keys: Collection[str]) -> None:
    """Refuse keys that a table does not have."""
    tables.reject_unknown(place, [key for key in tables.table(place, table) if key not in keys], keys)
