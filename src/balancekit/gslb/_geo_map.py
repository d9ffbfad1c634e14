"""Maps from client addresses to ordered sites, with the scope in which an answer holds.

Three sources, the first that names a site list wins:

1. ``networks``: the longest prefix that holds the address;
2. ``locations``: the nested map, walked continent, country, subdivisions, city by the database's row for the
   address; a ``"default"`` at the deepest level reached counts;
3. ``coordinates``: the nearest sites by great circle, if the row has a position;

and else ``default``. All are merged into one interval map when the map is built, so a look-up is one bisect. The scope is the
widest block in which all clients get the same list: no client inside gets another one, but some in the block one bit wider do.
(A scope that is too short poisons caches: a resolver gives a client the answer meant for another.)

An IPv6 address that carries an IPv4 address (mapped, compatible, SIIT, NAT64, Teredo, 6to4) is looked up as that.

Source: RFC 7871 section 7; gdnsd 3.8.1 ``geoip`` maps, from which this differs in names only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.ip import IpAddress
from balancekit.errors import ConfigurationError
from balancekit.gslb._change import ChangePlan, change_plan
from balancekit.gslb._embedded import EMBEDDINGS, refuse_embedded
from balancekit.gslb._intervals import Block, IntervalMap, flatten, overlay
from balancekit.gslb._locations import Locations, parse_network
from balancekit.gslb._site_orders import Order, SiteOrders, location_orders, nearest
from balancekit.gslb._threshold import PREFIX4, PREFIX6

__all__ = ["GeoMap", "build_map", "nearest"]

_HOLE: Final = 0xFFFFFFFF


@final
class GeoMap(StateRepr, prints=("sites",)):
    """Ordered sites by client address. Immutable; made by :meth:`build`.

    *When not to use it:* to steer by load or by measured latency; a location is only an estimate of latency.

    Cost: a look-up is one bisect, a scope four integer operations more; 8 bytes an IPv4 interval.

    Example
    -------
    >>> from balancekit.gslb import GeoMap
    >>> from ipaddress import ip_address
    >>> world = GeoMap.build(networks={"198.51.100.0/24": ["us", "eu"]}, default=["eu", "us"])
    >>> world.look_up(ip_address("198.51.100.7"))
    (('us', 'eu'), 24)
    >>> world.look_up(ip_address("198.51.101.7"))
    (('eu', 'us'), 24)
    >>> world.look_up(ip_address("8.8.8.8"))
    (('eu', 'us'), 1)
    """

    __slots__ = ("_map4", "_map6", "_orders")

    @checked_arguments
    def __init__(self, orders: tuple[Order, ...], map4: IntervalMap, map6: IntervalMap) -> None:
        self._orders: Final = orders
        self._map4: Final = map4
        self._map6: Final = map6

    @classmethod
    @checked_arguments
    def build(
        cls,
        *,
        default: Sequence[str],
        networks: Mapping[Any, Sequence[str]] | None = None,
        locations: Mapping[str, Any] | None = None,
        database: Locations | None = None,
        coordinates: Mapping[str, tuple[float, float]] | None = None,
        limit: int = 3,
        warn_long: bool = True,
    ) -> GeoMap:
        """Merge networks, locations and coordinates into one map.

        Parameters
        ----------
        default
            Sites, best first, for clients that nothing else names. May be empty: no answer.
        networks
            Sites by network (``"198.51.100.0/24"``). The longest prefix wins.
        locations
            Nested: by continent, in it by country, subdivision and city; at each level sites, or a further
            mapping, which may have a ``"default"``. What the map does not name below the country is skipped.
        database
            Where networks are; see :func:`read_mmdb`. Needed for ``locations`` and ``coordinates``.
        coordinates
            Latitude and longitude by site.
        limit
            How many of the nearest sites are in a list, >= 1.
        warn_long
            Whether to warn of networks that public resolvers never send.

        Raises
        ------
        ConfigurationError
            For a network that cannot be parsed or that lies in a range of embedded IPv4 addresses, for
            ``locations`` or ``coordinates`` without a database, and for anything else that cannot be used.

        Warns
        -----
        UserWarning
            For networks longer than /24 or /56: public resolvers send no more than that (RFC 7871), so such
            an entry is never reached through them.

        Cost: O(n log n) in networks, O(n) in intervals of the database.
        """
        return build_map(
            default=default,
            networks=networks,
            locations=locations,
            database=database,
            coordinates=coordinates,
            limit=limit,
            warn_long=warn_long,
            join=True,
        )

    @checked_arguments
    def look_up(self, address: IpAddress, /) -> tuple[Order, int]:
        """Return the sites for an address, best first, and the scope in which they hold."""
        return self._find(address)

    def _find(self, address: IpAddress, /) -> tuple[Order, int]:
        """Return the same as :meth:`look_up`. The address is not checked, because every query comes here."""
        key = int(address)
        if address.version == 4:
            value, scope = self._map4._find(key)
            return self._orders[value], scope
        value, scope = self._map6._find(key)
        if value >= len(self._orders):
            _, shift, flip = EMBEDDINGS[value - len(self._orders)]
            value, scope = self._map4._find((key >> shift & 0xFFFFFFFF) ^ flip)
            scope += 96 - shift
        return self._orders[value], scope

    @checked_arguments
    def order(self, address: IpAddress, /) -> Order:
        """Return the sites for an address, best first."""
        return self._find(address)[0]

    @checked_arguments
    def scope(self, address: IpAddress, /) -> int:
        """Return the length of the shortest prefix around an address in which all get the same list."""
        return self._find(address)[1]

    @property
    def sites(self) -> frozenset[str]:
        """All sites that the map names."""
        return frozenset(site for order in self._orders for site in order)

    @checked_arguments
    def change(self, other: GeoMap, /, *, observed: Mapping[Any, float] | None = None) -> ChangePlan:
        """Return which clients would get another first site with another map.

        Parameters
        ----------
        other
            The map that is to replace this one.
        observed
            Queries by client address or subnet, for a change weighted by queries.

        Cost: O(intervals of both), and a look-up per observed client.

        Example
        -------
        >>> from balancekit.gslb import GeoMap
        >>> old = GeoMap.build(networks={"10.0.0.0/8": ["eu"]}, default=["us"])
        >>> new = GeoMap.build(networks={"10.0.0.0/9": ["eu"]}, default=["us"])
        >>> plan = old.change(new, observed={"10.200.0.0/24": 30, "10.1.0.0/24": 70})
        >>> plan.addresses[4], plan.observed_share
        (8388608, 0.3)
        """
        return change_plan(self, other, observed or {})

    @checked_arguments
    def intervals(self, version: int, /) -> Iterable[tuple[int, int, Order | None]]:
        """Yield start, end and sites per interval of IP version 4 or 6; ``None`` where IPv4 addresses decide."""
        chosen = self._map4 if valid.integer("version", version, minimum=4, maximum=6) == 4 else self._map6
        orders = self._orders
        return ((start, end, orders[value] if value < len(orders) else None) for start, end, value in chosen)

    def __len__(self) -> int:
        return len(self._map4) + len(self._map6)


def build_map(
    *,
    default: Sequence[str],
    networks: Mapping[Any, Sequence[str]] | None,
    locations: Mapping[str, Any] | None,
    database: Locations | None,
    coordinates: Mapping[str, tuple[float, float]] | None,
    limit: int,
    warn_long: bool,
    join: bool,
) -> GeoMap:
    """Return the map of :meth:`GeoMap.build`.

    If all of IPv4 has one list, blocks of embedded addresses have it, too. Without ``join``, only the first one has, ``::/96``.
    """
    if database is None and (locations or coordinates):
        raise ConfigurationError("database", None, "a database, for locations and coordinates need one")
    valid.integer("limit", limit, minimum=1)
    builder = SiteOrders(default)
    places = location_orders(builder, database, locations, coordinates, limit)
    explicit = _explicit(builder, networks or {}, warn_long=warn_long)
    map4 = IntervalMap(32, *_merged(4, builder.default, places, database, explicit[4]))
    starts, values = _merged(6, builder.default, places, database, explicit[6])
    carried = []
    for number, embedding in enumerate(EMBEDDINGS):
        start = int(embedding.network.network_address)
        one = len(map4) == 1 and (join or not number)
        value = map4.value(0) if one else len(builder.orders) + number
        carried.append(Block(start, start + embedding.network.num_addresses, value))
    starts, values = overlay((starts, values), flatten(carried, 128, _HOLE), _HOLE)
    return GeoMap(tuple(builder.orders), map4, IntervalMap(128, starts, values))


def _explicit(
    builder: SiteOrders, networks: Mapping[Any, Sequence[str]], *, warn_long: bool
) -> dict[int, tuple[list[int], list[int]]]:
    if not isinstance(networks, Mapping):
        raise ConfigurationError("networks", networks, "a mapping from networks to sites")
    blocks: dict[int, list[Block]] = {4: [], 6: []}
    long: list[str] = []
    for text, sites in networks.items():
        network = parse_network("networks", text)
        refuse_embedded(network)
        if network.prefixlen > (PREFIX4 if network.version == 4 else PREFIX6):
            long.append(str(network))
        start = int(network.network_address)
        number = builder.number("networks", sites)
        blocks[network.version].append(Block(start, start + network.num_addresses, number))
    if long and warn_long:
        shown = ", ".join(long[:3]) + (", ..." if len(long) > 3 else "")
        text = (
            f"networks longer than /{PREFIX4} or /{PREFIX6} are not reached through public resolvers: {shown}"
        )
        warnings.warn(text, UserWarning, stacklevel=3)
    for found in blocks.values():
        found.sort(key=lambda block: (block.start, -block.end))
    return {4: flatten(blocks[4], 32, _HOLE), 6: flatten(blocks[6], 128, _HOLE)}


def _merged(
    version: int,
    default: int,
    places: list[int],
    database: Locations | None,
    explicit: tuple[list[int], list[int]],
) -> tuple[list[int], list[int]]:
    """Return the database's intervals as site lists, with the explicit networks over them."""
    starts: list[int] = []
    values: list[int] = []
    if database is None:
        starts, values = [0], [default]
    else:
        last = _HOLE
        for start, _, location in database.intervals(version):
            number = places[location]
            if number != last:
                starts.append(start)
                values.append(number)
                last = number
    return (starts, values) if explicit[1] == [_HOLE] else overlay((starts, values), explicit, _HOLE)
