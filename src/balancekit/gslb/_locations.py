"""Locations of networks: a geographic database, iterated once into sorted arrays.

A database is read when a map is built, never per query: a look-up in a finished map costs a bisect, one in
a database file some ten times that.

Source: MaxMind DB format 2.0 (read by ``maxminddb``); the fields of GeoIP2 and GeoLite2 City and Country,
DB-IP and IP-Location-DB.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network, summarize_address_range
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, checked_stream
from balancekit._support.display import StateRepr
from balancekit._support.extras import extra
from balancekit._support.ip import IpAddress, IpNetwork
from balancekit.errors import ConfigurationError, brief
from balancekit.gslb._intervals import Block, IntervalMap, flatten

__all__ = ["Location", "Locations", "read_csv", "read_mmdb"]


class _Location(NamedTuple):
    """The fields of a location."""

    continent: str = ""
    """Two letters: AF, AN, AS, EU, NA, OC, SA."""
    country: str = ""
    """ISO 3166-1, two letters."""
    subdivisions: tuple[str, ...] = ()
    """ISO 3166-2 without the country, the largest first."""
    city: str = ""
    latitude: float | None = None
    """Degrees north."""
    longitude: float | None = None
    """Degrees east."""


class Location(_Location):
    """Where a network is, as far as known. Empty texts and ``None`` mean unknown.

    Parameters
    ----------
    continent
        Two letters: AF, AN, AS, EU, NA, OC, SA.
    country
        ISO 3166-1, two letters.
    subdivisions
        ISO 3166-2 without the country, the largest first.
    city
        Its name.
    latitude, longitude
        Degrees north, -90 to 90, and degrees east, -360 to 360.

    Raises
    ------
    ConfigurationError
        If ``subdivisions`` is a text, which would be read letter by letter, or a degree is no such number.

    Example
    -------
    >>> from balancekit.gslb import Location
    >>> Location("NA", "US", ("TX",)).path
    ('NA', 'US', 'TX', '')
    """

    __slots__ = ()

    def __new__(
        cls,
        continent: str = "",
        country: str = "",
        subdivisions: tuple[str, ...] = (),
        city: str = "",
        latitude: float | None = None,
        longitude: float | None = None,
    ) -> Self:
        """Make one; the fields are those of a named tuple."""
        given: object = subdivisions
        if isinstance(given, str | bytes):
            raise ConfigurationError(
                "subdivisions", subdivisions, f"a tuple, such as ({brief(subdivisions)},)"
            )
        north = None if latitude is None else valid.number("latitude", latitude, minimum=-90.0, maximum=90.0)
        east = (
            None if longitude is None else valid.number("longitude", longitude, minimum=-360.0, maximum=360.0)
        )
        return super().__new__(cls, continent, country, subdivisions, city, north, east)

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the continent down to the city, as nested maps are walked."""
        return (self.continent, self.country, *self.subdivisions, self.city)


NO_LOCATION: Final = Location()


@final
class Locations(StateRepr, prints=()):
    """Networks and where they are. Immutable.

    Parameters
    ----------
    rows
        Networks with their locations. Networks may be nested: the longest prefix wins.

    Cost: O(n log n) to make; 8 bytes an IPv4 interval and 56 an IPv6 one, plus the distinct locations.

    Example
    -------
    >>> from balancekit.gslb import Location, Locations
    >>> from ipaddress import ip_address, ip_network
    >>> where = Locations([(ip_network("198.51.100.0/24"), Location(continent="NA", country="US"))])
    >>> where.at(ip_address("198.51.100.7")).country, where.at(ip_address("192.0.2.1")).country
    ('US', '')
    """

    __slots__ = ("_maps", "table")

    @checked_stream
    def __init__(self, rows: Iterable[tuple[IpNetwork, Location]]) -> None:
        numbers: dict[Location, int] = {NO_LOCATION: 0}
        blocks: dict[int, list[Block]] = {4: [], 6: []}
        for network, location in rows:
            start = int(network.network_address)
            number = numbers.setdefault(location, len(numbers))
            blocks[network.version].append(Block(start, start + network.num_addresses, number))
        for found in blocks.values():
            found.sort(key=_outer_first)
        self._maps: Final = {
            4: IntervalMap(32, *flatten(blocks[4], 32, 0)),
            6: IntervalMap(128, *flatten(blocks[6], 128, 0)),
        }
        self.table: Final[tuple[Location, ...]] = tuple(numbers)
        """The distinct locations; the first is the unknown one."""

    @checked_arguments
    def at(self, address: IpAddress, /) -> Location:
        """Return where an address is; an empty :class:`Location` if that is unknown."""
        return self.table[self._maps[address.version].value(int(address))]

    @checked_arguments
    def intervals(self, version: int, /) -> IntervalMap:
        """Return the intervals of IP version 4 or 6; their values are places in :attr:`table`."""
        if version.__class__ is not int or version not in self._maps:
            raise ConfigurationError("version", version, "4 or 6")
        return self._maps[version]

    def __len__(self) -> int:
        return len(self._maps[4]) + len(self._maps[6])


def _outer_first(block: Block) -> tuple[int, int]:
    return block.start, -block.end


@checked_arguments
def read_mmdb(path: str | Path, *, continents: Mapping[str, str] | None = None) -> Locations:
    """Read a MaxMind DB file: GeoIP2 or GeoLite2 City or Country, DB-IP, IP-Location-DB.

    Parameters
    ----------
    path
        The file.
    continents
        Continent codes by country code, for databases that name no continent.

    Raises
    ------
    ModuleNotFoundError
        If ``maxminddb`` is not installed: ``pip install balancekit[geoip]``.
    OSError, maxminddb.InvalidDatabaseError
        If the file cannot be read.

    Cost: one pass through the file, about 15 us a network.
    """
    with extra("geoip"):
        maxminddb = import_module("maxminddb")
    with maxminddb.open_database(path) as reader:
        return Locations((network, _location(record, continents or {})) for network, record in reader)


@checked_stream
def read_csv(lines: Iterable[str], *, continents: Mapping[str, str] | None = None) -> Locations:
    """Read a table of networks with a header line.

    Parameters
    ----------
    lines
        An open file, or lines. Columns: ``network``, or ``start`` and ``end``; and any of ``continent``,
        ``country``, ``subdivision``, ``city``, ``latitude``, ``longitude``. Other columns are ignored.
    continents
        As of :func:`read_mmdb`.

    Raises
    ------
    ConfigurationError
        For a missing column or a line that cannot be read; the error names the line.

    Example
    -------
    >>> from ipaddress import ip_address
    >>> from balancekit.gslb import read_csv
    >>> where = read_csv(["network,country,continent", "198.51.100.0/24,US,NA"])
    >>> where.at(ip_address("198.51.100.1"))[:2]
    ('NA', 'US')
    """
    rows = csv.DictReader(lines)
    try:
        columns = set(rows.fieldnames or ())
    except csv.Error as error:
        raise ConfigurationError("lines", "line 1", f"a header ({error})") from None
    if "network" not in columns and not {"start", "end"} <= columns:
        raise ConfigurationError("lines", sorted(columns), "a header with 'network', or 'start' and 'end'")
    return Locations(_csv_rows(rows, continents or {}))


def _csv_rows(
    rows: csv.DictReader[str], continents: Mapping[str, str]
) -> Iterator[tuple[IpNetwork, Location]]:
    while True:
        try:
            row = next(rows, None)
            if row is None:
                return
            subdivision = row.get("subdivision") or ""
            country = row.get("country") or ""
            location = Location(
                row.get("continent") or continents.get(country, ""),
                country,
                (subdivision,) if subdivision else (),
                row.get("city") or "",
                _degrees(row.get("latitude"), 90.0),
                _degrees(row.get("longitude"), 180.0),
            )
            networks: Iterable[IpNetwork]
            if row.get("network"):
                networks = [ip_network(row["network"])]
            else:
                first, last = ip_address(row.get("start", "")), ip_address(row.get("end", ""))
                networks = summarize_address_range(first, last)
            yield from ((network, location) for network in networks)
        except (TypeError, ValueError, csv.Error) as error:
            raise ConfigurationError(
                "lines", f"line {rows.line_num}", f"a network and its location ({error})"
            ) from None


def _location(record: Any, continents: Mapping[str, str]) -> Location:
    """Return the location in a record of any of the usual databases."""
    if not isinstance(record, Mapping):
        return NO_LOCATION
    country = _code(record.get("country")) or str(record.get("country_code") or "")
    continent = _code(record.get("continent")) or continents.get(country, "")
    found = record.get("subdivisions")
    subdivisions = tuple(code for part in found if (code := _code(part))) if isinstance(found, list) else ()
    where = record.get("location")
    point = where if isinstance(where, Mapping) else {}
    return Location(
        continent,
        country,
        subdivisions,
        _city(record.get("city")),
        _degrees(point.get("latitude"), 90.0),
        _degrees(point.get("longitude"), 180.0),
    )


def _code(part: Any) -> str:
    if isinstance(part, Mapping):
        return str(part.get("iso_code") or part.get("code") or "")
    return ""


def _city(part: Any) -> str:
    if isinstance(part, Mapping):
        names = part.get("names")
        return str(names.get("en") or "") if isinstance(names, Mapping) else ""
    return part if isinstance(part, str) else ""


def _degrees(value: Any, maximum: float) -> float | None:
    if value is None or value == "":
        return None
    degrees = float(value)
    if not math.isfinite(degrees) or abs(degrees) > maximum:
        raise ValueError(f"{value} is no number of degrees up to {maximum:g}")
    return degrees


def parse_network(parameter: str, value: object) -> IpNetwork:
    """Return the network that a text names."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ConfigurationError(
            parameter, value, f"networks without bits after the prefix ({error})"
        ) from None
