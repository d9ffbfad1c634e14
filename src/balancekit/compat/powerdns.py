"""PowerDNS's Lua records and GeoIP backend: the same picks, in the same quirks.

``pickwhashed`` walks its list backwards, ``pickclosest`` measures in degrees on a plane and puts what it cannot find
at (0, 0), a service of the GeoIP backend stops at a name that exists only because there is something below it, and
Lua records copy the source prefix into the scope whatever they used. For anything new use :mod:`balancekit.gslb`.

Source: PowerDNS Authoritative 4.7.3, recorded: 28 traces, each reproduced. The hash is Bob Jenkins' lookup2
(1996, public domain).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from random import Random
from typing import Final, Literal, NamedTuple, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.compat._entries import check_entries, total_weight
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Location

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

Network: TypeAlias = IPv4Network | IPv6Network
LocationOf: TypeAlias = Callable[[str], tuple[Location, int] | None]
"""The database's row for an address: where it is and the length of the row's prefix; ``None`` without a row."""
Selector: TypeAlias = Literal["all", "random", "hashed", "pickclosest"]

_MASK: Final = 0xFFFF_FFFF


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for first, second, third in ((13, 8, 13), (12, 16, 5), (3, 10, 15)):
        a = ((a - b - c) & _MASK) ^ (c >> first)
        b = ((b - c - a) & _MASK) ^ (a << second & _MASK)
        c = ((c - a - b) & _MASK) ^ (b >> third)
    return a, b, c


@checked_arguments
def lookup2(data: bytes, start: int = 0) -> int:
    """Return Bob Jenkins' lookup2 hash, 32 bits.

    Example
    -------
    >>> lookup2(bytes([192, 0, 2, 1])) == lookup2(bytes([192, 0, 2, 1]), 0) != lookup2(bytes([192, 0, 2, 2]))
    True
    """
    a = b = 0x9E37_79B9
    c = start
    place = 0
    while len(data) - place >= 12:
        words = [int.from_bytes(data[place + k : place + k + 4], "little") for k in (0, 4, 8)]
        a, b, c = _mix((a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK)
        place += 12
    rest = data[place:]
    a = (a + int.from_bytes(rest[:4], "little")) & _MASK
    b = (b + int.from_bytes(rest[4:8], "little")) & _MASK
    c = (c + len(data) + (int.from_bytes(rest[8:], "little") << 8)) & _MASK
    return _mix(a, b, c)[2]


def _client_hash(client: Client) -> int:
    return lookup2(client.seen().packed)


@checked_arguments
def pickhashed(client: Client, entries: Sequence[str]) -> str:
    """Return the entry that the client's address hashes to, by the remainder.

    Example
    -------
    >>> pickhashed(Client(address="192.0.2.53"), ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    '192.0.2.1'
    """
    check_entries("entries", entries)
    return entries[_client_hash(client) % len(entries)]


@checked_arguments
def pickwhashed(client: Client, entries: Sequence[tuple[int, str]]) -> str:
    """Return the entry that the client's address hashes to, by weight; running sums start at the last entry.

    Example
    -------
    >>> pickwhashed(Client(address="192.0.2.53"), [(10, "192.0.2.1"), (20, "192.0.2.2"), (70, "192.0.2.3")])
    '192.0.2.3'
    """
    point = _client_hash(client) % total_weight("entries", [weight for weight, _ in entries])
    for weight, entry in reversed(entries):
        point -= weight
        if point < 0:
            return entry
    raise AssertionError("weights that do not add up to their sum")


@checked_arguments
def pickwrandom(entries: Sequence[tuple[int, str]], rng: Random) -> str:
    """Return an entry at random, by weight.

    Example
    -------
    >>> pickwrandom([(0, "192.0.2.1"), (5, "192.0.2.2")], Random(1))
    '192.0.2.2'
    """
    weights = [weight for weight, _ in entries]
    total_weight("entries", weights)
    return rng.choices([entry for _, entry in entries], weights)[0]


@checked_arguments
def pickrandomsample(count: int, entries: Sequence[str], rng: Random) -> tuple[str, ...]:
    """Return distinct entries at random, all of them if there are no more; ``all`` is the same with all.

    Example
    -------
    >>> sorted(pickrandomsample(5, ["192.0.2.1", "192.0.2.2"], Random(1)))
    ['192.0.2.1', '192.0.2.2']
    """
    return tuple(rng.sample(entries, min(valid.integer("count", count, minimum=0), len(entries))))


@checked_arguments
def closest(client: str, entries: Sequence[str], location_of: LocationOf) -> list[str]:
    """Return the entries at the least plane distance, in degrees, from a client.

    Example
    -------
    >>> rows = {"192.0.2.1": (50.0, 8.0), "192.0.2.2": (33.0, -97.0), "198.51.100.7": (30.0, -90.0)}
    >>> closest("198.51.100.7", ["192.0.2.1", "192.0.2.2"], lambda a: (Location("", "", (), "", *rows[a]), 24))
    ['192.0.2.2']
    """
    check_entries("entries", entries)
    here = _degrees(client, location_of)
    distances = []
    for entry in entries:
        there = _degrees(entry, location_of)
        east = abs(here[1] - there[1])
        distances.append((here[0] - there[0]) ** 2 + min(east, 360.0 - east) ** 2)
    least = min(distances)
    return [entry for entry, distance in zip(entries, distances, strict=True) if distance == least]


@checked_arguments
def pickclosest(client: Client, entries: Sequence[str], location_of: LocationOf, rng: Random) -> str:
    """Return the nearest entry, any of them if several are.

    Example
    -------
    >>> pickclosest(Client(address="192.0.2.53"), ["192.0.2.1"], lambda _: None, Random(1))
    '192.0.2.1'
    """
    return rng.choice(closest(str(client.seen()), entries, location_of))


def _degrees(address: str, location_of: LocationOf) -> tuple[float, float]:
    row = location_of(address)
    return (0.0, 0.0) if row is None else (row[0].latitude or 0.0, row[0].longitude or 0.0)


@checked_arguments
def view(client: Client, views: Sequence[tuple[Sequence[str], Sequence[str]]], rng: Random) -> str | None:
    """Return an entry of the first view with a network that holds the client; ``None`` without one.

    Example
    -------
    >>> inside = (["192.0.2.0/24"], ["10.0.0.1"])
    >>> view(Client(address="192.0.2.53"), [inside], Random(1)), view(Client(address="203.0.113.1"), [inside], Random(1))
    ('10.0.0.1', None)
    """
    address = client.seen()
    for networks, entries in views:
        if any(address in _network(network) for network in networks):
            check_entries("views", entries)
            return rng.sample(list(entries), 1)[0]
    return None


@checked_arguments
def lua_scope(client: Client) -> int:
    """Return the scope in the reply of a Lua record: the source prefix, whatever the record used.

    Example
    -------
    >>> lua_scope(Client(address="192.0.2.53", subnet="198.51.100.0/24"))
    24
    """
    return 0 if client.subnet is None else client.subnet.prefixlen  # type: ignore[union-attr]  # a text was parsed


@final
class IfUp:
    """``ifportup`` and ``ifurlup``: the first group with an address that is up, by a selector.

    Parameters
    ----------
    groups
        Addresses by group, best first.
    selector
        What picks among those up in the group.
    backup_selector
        What picks among all addresses if none is up. Before the first check none is.
    location_of
        For ``"pickclosest"``.

    Example
    -------
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
        location_of: LocationOf = lambda _: None,
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
        """Return the answer while these addresses are up."""
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


class GeoReply(NamedTuple):
    """What the GeoIP backend says."""

    name: str | None
    """The name whose records are answered; ``None``: no records."""
    scope: int


@final
class GeoIpBackend:
    """The GeoIP backend: a service's names are made from where the client is, and tried in order.

    Parameters
    ----------
    names
        All names that have records.
    services
        By service name: name templates (``%co`` country, ``%cn`` continent, ``%re`` region, ``%ci`` city,
        ``%af`` ``v4`` or ``v6``), or templates by network with a ``"default"``.
    location_of
        The database.

    Example
    -------
    >>> row = (Location("EU", "DE"), 24)
    >>> backend = GeoIpBackend(["de.www.example"], {"www.example": ["%co.www.example"]}, lambda _: row)
    >>> backend.look_up("www.example", Client(address="192.0.2.1"))
    GeoReply(name='de.www.example', scope=24)
    """

    @checked_arguments
    def __init__(
        self,
        names: Iterable[str],
        services: Mapping[str, Sequence[str] | Mapping[str, Sequence[str] | str]],
        location_of: LocationOf = lambda _: None,
    ) -> None:
        self._names: Final = frozenset(names)
        self._above: Final = {
            name[place + 1 :] for name in self._names for place, char in enumerate(name) if char == "."
        }
        self._services: Final = services
        self._location_of: Final = location_of

    @checked_arguments
    def look_up(self, service: str, client: Client) -> GeoReply:
        """Return the name that answers for a client, and the scope."""
        address = client.seen()
        if service not in self._services:
            known = ", ".join(self._services)
            raise ConfigurationError(
                "service", service, f"one of {known}" if known else "none: there is none"
            )
        configured = self._services[service]
        row = self._location_of(str(address))
        if isinstance(configured, Mapping):
            templates, scope = _by_network(configured, str(address))
        else:
            templates, scope = configured, address.max_prefixlen if row is None else row[1]
        for template in [templates] if isinstance(templates, str) else templates:
            name = _expanded(template, address.version, None if row is None else row[0])
            if name in self._names:
                return GeoReply(name, scope)
            if name in self._above:
                return GeoReply(None, 0)
        return GeoReply(None, 0)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigurationError("network", text, "a network such as 192.0.2.0/24") from None


def _by_network(
    configured: Mapping[str, Sequence[str] | str], client: str
) -> tuple[Sequence[str] | str, int]:
    """Return the templates of the longest network, and the longest prefix that the family has."""
    address = ip_address(client)
    networks: dict[Network, Sequence[str] | str] = {
        _network(text): templates for text, templates in configured.items() if text != "default"
    }
    family = [network for network in networks if network.version == address.version]
    holding = [network for network in family if address in network]
    scope = max((network.prefixlen for network in family), default=0)
    if holding:
        return networks[max(holding, key=lambda network: network.prefixlen)], scope
    return configured.get("default", ()), scope


def _expanded(template: str, version: int, location: Location | None) -> str:
    found = location or Location()
    region = found.subdivisions[0] if found.subdivisions else ""
    for code, value in (
        ("%co", found.country),
        ("%cn", found.continent),
        ("%re", region),
        ("%ci", found.city),
        ("%af", f"v{version}"),
    ):
        template = template.replace(code, value.lower() or "unknown")
    return template


@checked_arguments
def read_subnet(data: bytes) -> Network | None:
    """Return the network of a client subnet option as PowerDNS reads it; ``None`` where it ignores the option.

    A scope is ignored and bits after the prefix are cleared; nothing is FORMERR.

    Example
    -------
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
