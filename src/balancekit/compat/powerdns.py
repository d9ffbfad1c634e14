"""PowerDNS's Lua records and GeoIP backend, with the same picks and the same peculiarities.

Peculiarities of the server:

- ``pickwhashed`` uses its list in reverse order (up to 13 entries; see :func:`pickwhashed`).
- ``pickclosest`` measures distances in degrees on a plane. It crosses the date line in one direction only, and assumes (0, 0) as
  the location of an unknown address.
- A service of the GeoIP backend stops at a name that has no records but has names below it.
- Lua records copy the source prefix into the scope, even if they did not use it.

*When not to use it:* for new systems. Use :mod:`balancekit.gslb`.

Source: PowerDNS Authoritative 4.7.3; 34 recorded traces, all reproduced. The hash is Bob Jenkins' lookup2 (1996, public domain).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from random import Random
from typing import Final, Literal, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.ip import IpNetwork
from balancekit.compat._answers import row_of
from balancekit.compat._client import chosen_by
from balancekit.compat._entries import check_entries, total_weight
from balancekit.compat._geoip_backend import GeoIpBackend, GeoReply, LocationOf, no_location, parse_network
from balancekit.compat._lookup2 import lookup2
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client

__all__ = [
    "GeoIpBackend",
    "GeoReply",
    "IfUp",
    "LocationOf",
    "closest",
    "lookup2",
    "lua_scope",
    "pickclosest",
    "pickhashed",
    "pickrandomsample",
    "pickwhashed",
    "pickwrandom",
    "read_subnet",
    "view",
]

Selector: TypeAlias = Literal["all", "random", "hashed", "pickclosest"]

_GROWTHS: Final = (13, 29, 59, 127, 257, 541, 1109, 2357, 5087)
"""Sizes at which the server's hash table of weights grows. Growing reverses the order of its entries."""


def _client_hash(client: Client) -> int:
    return lookup2(chosen_by(client).packed)


@checked_arguments
def pickhashed(client: Client, entries: Sequence[str]) -> str:
    """Return the entry at the hash of the client's address modulo the number of entries.

    Raises
    ------
    ConfigurationError
        If ``entries`` is empty.

    Example
    -------
    >>> from balancekit.compat.powerdns import pickhashed
    >>> from balancekit.gslb import Client
    >>> pickhashed(Client(address="192.0.2.53"), ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    '192.0.2.1'
    """
    check_entries("entries", entries)
    return entries[_client_hash(client) % len(entries)]


@checked_arguments
def pickwhashed(client: Client, entries: Sequence[tuple[int, str]]) -> str:
    """Return an entry by the hash of the client's address and by weight.

    The hash modulo the sum of weights is compared with cumulative weights. With up to 13 entries, weights are added from the last
    entry to the first. The reason is that the server keeps its list in a hash table: a new entry is inserted at the front, and the
    order is reversed whenever the table grows, at the 14th, 30th, 60th, 128th entry and so on.

    Raises
    ------
    ConfigurationError
        If a weight is not a whole number >= 0, or none is above 0.

    Example
    -------
    >>> from balancekit.compat.powerdns import pickwhashed
    >>> from balancekit.gslb import Client
    >>> pickwhashed(Client(address="192.0.2.53"), [(10, "192.0.2.1"), (20, "192.0.2.2"), (70, "192.0.2.3")])
    '192.0.2.3'
    """
    point = _client_hash(client) % total_weight("entries", [weight for weight, _ in entries])
    for weight, entry in _table_order(entries):
        point -= weight
        if point < 0:
            return entry
    raise AssertionError("the point is below the sum of weights")


def _table_order(entries: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return entries in the order of the server's hash table."""
    found: list[tuple[int, str]] = []
    begin = 0
    for end in (*_GROWTHS, len(entries)):
        found = [*reversed(entries[begin:end]), *reversed(found)]
        begin = end
        if end >= len(entries):
            return found
    return found


@checked_arguments
def pickwrandom(entries: Sequence[tuple[int, str]], rng: Random) -> str:
    """Return a random entry, by weight.

    Raises
    ------
    ConfigurationError
        If a weight is not a whole number >= 0, or no weight is above 0.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.powerdns import pickwrandom
    >>> pickwrandom([(0, "192.0.2.1"), (5, "192.0.2.2")], Random(1))
    '192.0.2.2'
    """
    weights = [weight for weight, _ in entries]
    total_weight("entries", weights)
    return rng.choices([entry for _, entry in entries], weights)[0]


@checked_arguments
def pickrandomsample(count: int, entries: Sequence[str], rng: Random) -> tuple[str, ...]:
    """Return ``count`` distinct random entries, or all in random order if there are fewer.

    PowerDNS's ``all`` is the same with the number of all entries.

    Raises
    ------
    ConfigurationError
        If ``count`` is not a whole number >= 0.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.powerdns import pickrandomsample
    >>> sorted(pickrandomsample(5, ["192.0.2.1", "192.0.2.2"], Random(1)))
    ['192.0.2.1', '192.0.2.2']
    """
    return tuple(rng.sample(entries, min(valid.integer("count", count, minimum=0), len(entries))))


@checked_arguments
def closest(client: str, entries: Sequence[str], location_of: LocationOf) -> list[str]:
    """Return the entries with the smallest distance from a client, measured in degrees on a plane.

    For entries west of the client, the difference of longitudes is taken the shorter way around the globe. For entries east of the
    client it is not.

    Parameters
    ----------
    client
        The client's address.
    entries
        Addresses of the entries.
    location_of
        The database.

    Raises
    ------
    ConfigurationError
        If ``entries`` is empty.

    Example
    -------
    >>> from balancekit.compat.powerdns import closest
    >>> from balancekit.gslb import Location
    >>> rows = {"192.0.2.1": (50.0, 8.0), "192.0.2.2": (33.0, -97.0), "198.51.100.7": (30.0, -90.0)}
    >>> closest("198.51.100.7", ["192.0.2.1", "192.0.2.2"], lambda a: (Location("", "", (), "", *rows[a]), 24))
    ['192.0.2.2']
    """
    check_entries("entries", entries)
    here = _degrees(client, location_of)
    distances = []
    for entry in entries:
        there = _degrees(entry, location_of)
        west = here[1] - there[1]
        distances.append((here[0] - there[0]) ** 2 + (360.0 - west if west > 180.0 else west) ** 2)
    least = min(distances)
    return [entry for entry, distance in zip(entries, distances, strict=True) if distance == least]


@checked_arguments
def pickclosest(client: Client, entries: Sequence[str], location_of: LocationOf, rng: Random) -> str:
    """Return the nearest entry; a random one if several have the same distance.

    Raises
    ------
    ConfigurationError
        If ``entries`` is empty.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.powerdns import pickclosest
    >>> from balancekit.gslb import Client
    >>> pickclosest(Client(address="192.0.2.53"), ["192.0.2.1"], lambda _: None, Random(1))
    '192.0.2.1'
    """
    return rng.choice(closest(str(chosen_by(client)), entries, location_of))


def _degrees(address: str, location_of: LocationOf) -> tuple[float, float]:
    row = row_of(location_of(address))
    return (0.0, 0.0) if row is None else (row[0].latitude or 0.0, row[0].longitude or 0.0)


@checked_arguments
def view(client: Client, views: Sequence[tuple[Sequence[str], Sequence[str]]], rng: Random) -> str | None:
    """Return a random entry of the first view with a network that holds the client; ``None`` if there is no such view.

    If there is none, the server answers SERVFAIL with scope 0.

    Parameters
    ----------
    client
        The client.
    views
        Networks and entries of each view, in order.
    rng
        Random generator.

    Raises
    ------
    ConfigurationError
        If a network is malformed, or the view that is used has no entries.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.powerdns import view
    >>> from balancekit.gslb import Client
    >>> inside = (["192.0.2.0/24"], ["10.0.0.1"])
    >>> view(Client(address="192.0.2.53"), [inside], Random(1)), view(Client(address="203.0.113.1"), [inside], Random(1))
    ('10.0.0.1', None)
    """
    address = chosen_by(client)
    for networks, entries in views:
        if any(address in parse_network(network) for network in networks):
            check_entries("views", entries)
            return rng.sample(list(entries), 1)[0]
    return None


@checked_arguments
def lua_scope(client: Client) -> int:
    """Return the scope in the reply of a Lua record: the source prefix of the query, whether or not the record used it.

    Example
    -------
    >>> from balancekit.compat.powerdns import lua_scope
    >>> from balancekit.gslb import Client
    >>> lua_scope(Client(address="192.0.2.53", subnet="198.51.100.0/24"))
    24
    """
    return 0 if client.subnet is None else client.subnet.prefixlen


@final
class IfUp(ConstructorRepr):
    """``ifportup`` and ``ifurlup``: addresses of the first group that has one that is up.

    Parameters
    ----------
    groups
        Addresses of each group, the best group first.
    selector
        ``"all"``, ``"random"``, ``"hashed"`` or ``"pickclosest"``: how to pick among the addresses of the group that are up.
    backup_selector
        How to pick among all addresses if none is up. Before the first check, none is up.
    location_of
        The database, for ``"pickclosest"``.

    Raises
    ------
    ConfigurationError
        If a selector is unknown, or ``groups`` has no address.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.powerdns import IfUp
    >>> from balancekit.gslb import Client
    >>> pool = IfUp([["192.0.2.1", "192.0.2.2"], ["192.0.2.3"]])
    >>> pool.pick(Client(address="192.0.2.53"), {"192.0.2.3"}, Random(1))
    ('192.0.2.3',)
    """

    @checked_arguments
    def __init__(
        self,
        groups: Sequence[Sequence[str]],
        *,
        selector: str = "random",
        backup_selector: str = "random",
        location_of: LocationOf = no_location,
    ) -> None:
        for name, value in (("selector", selector), ("backup_selector", backup_selector)):
            if value not in {"all", "random", "hashed", "pickclosest"}:
                raise ConfigurationError(name, value, "'all', 'random', 'hashed' or 'pickclosest'")
        self._groups: Final = tuple(tuple(group) for group in groups)
        check_entries("groups", [address for group in self._groups for address in group])
        self._selector: Final = selector
        self._backup_selector: Final = backup_selector
        self._location_of: Final = location_of

    @checked_arguments
    def pick(self, client: Client, up: Iterable[str], rng: Random) -> tuple[str, ...]:
        """Return the addresses of the answer, if the addresses in ``up`` are up."""
        alive = set(up)
        for group in self._groups:
            found = [address for address in group if address in alive]
            if found:
                return self._select(self._selector, client, found, rng)
        everything = [address for group in self._groups for address in group]
        return self._select(self._backup_selector, client, everything, rng)

    def _select(self, selector: str, client: Client, found: Sequence[str], rng: Random) -> tuple[str, ...]:
        if selector == "all":
            return pickrandomsample(len(found), found, rng)
        if selector == "hashed":
            return (pickhashed(client, found),)
        if selector == "pickclosest":
            return (pickclosest(client, found, self._location_of, rng),)
        return pickrandomsample(1, found, rng)


@checked_arguments
def read_subnet(data: bytes) -> IpNetwork | None:
    """Return the network of a client subnet option as PowerDNS reads it; ``None`` if PowerDNS ignores the option.

    A scope is ignored, and bits after the prefix are cleared. PowerDNS never answers FORMERR.

    Example
    -------
    >>> from balancekit.compat.powerdns import read_subnet
    >>> read_subnet(bytes.fromhex("00011400c63364")), read_subnet(bytes.fromhex("00012100c6336407"))
    (IPv4Network('198.51.96.0/20'), None)
    """
    if len(data) < 4:
        return None
    family, source, address = int.from_bytes(data[:2], "big"), data[2], data[4:]
    bits = {1: 32, 2: 128}.get(family)
    if bits is None or source > bits or len(address) != (source + 7) // 8:
        return None
    value = int.from_bytes(address.ljust(bits // 8, b"\0"), "big") >> (bits - source) << (bits - source)
    return IPv4Network((value, source)) if family == 1 else IPv6Network((value, source))
