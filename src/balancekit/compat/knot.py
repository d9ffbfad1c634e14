"""Knot's ``geoip`` module and answer rotation: the same answers and scopes.

In subnet mode the scope is the prefix that matched, **even if a longer one lies inside**: such an answer may be
cached for clients that would get another. In geodb mode a client without a row gets NXDOMAIN, even with ``*;*``.
:class:`balancekit.gslb.GeoMap` does neither.

Source: Knot DNS 3.2.6, recorded: 8 traces, each reproduced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from random import Random
from typing import Final, NamedTuple, TypeAlias, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.ip import IpNetwork
from balancekit.compat._canonical import canonical_order
from balancekit.compat._client import chosen_by
from balancekit.compat._entries import check_entries, total_weight
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Location, SubnetError, decode_subnet

__all__ = ["GeoDb", "KnotReply", "LocationOf", "Subnets", "read_subnet", "rotated", "weighted"]

LocationOf: TypeAlias = Callable[[str], tuple[Location, int] | None]
"""The database's row for an address: where it is and the length of the row's prefix; ``None`` without a row."""


class KnotReply(NamedTuple):
    """What the module says."""

    rcode: str
    records: tuple[str, ...]
    scope: int


@final
class Subnets(ConstructorRepr):
    """The subnet mode: the longest configured network that holds the client.

    Parameters
    ----------
    networks
        Addresses by network.

    Example
    -------
    >>> module = Subnets({"198.51.100.0/24": ["192.0.2.1"], "0.0.0.0/0": ["192.0.2.9"]})
    >>> module.look_up(Client(address="192.0.2.53", subnet="198.51.100.0/24"))
    KnotReply(rcode='NOERROR', records=('192.0.2.1',), scope=24)
    """

    @checked_arguments
    def __init__(self, networks: Mapping[str, Sequence[str]]) -> None:
        self._networks: Final[dict[IpNetwork, tuple[str, ...]]] = {
            _network(text): tuple(records) for text, records in networks.items()
        }

    @checked_arguments
    def look_up(self, client: Client) -> KnotReply:
        """Return the records for a client."""
        address = chosen_by(client)
        holding = [network for network in self._networks if address in network]
        if not holding:
            return KnotReply("NXDOMAIN", (), 0)
        network = max(holding, key=lambda network: network.prefixlen)
        return KnotReply(
            "NOERROR", self._networks[network], 0 if client.subnet is None else network.prefixlen
        )


@final
class GeoDb(ConstructorRepr):
    """The geodb mode: entries of country and city, matched from the left.

    Parameters
    ----------
    entries
        Records by entry: ``"US;Dallas"``, ``"US;*"``, ``"*;*"``; ``*`` stands for any name, only at the end:
        ``"*;Dallas"`` never matches.
    location_of
        The database's row for an address: where it is, and the length of the row's prefix.

    Example
    -------
    >>> row = (Location("NA", "US", (), "Dallas"), 25)
    >>> module = GeoDb({"US;*": ["192.0.2.1"], "*;*": ["192.0.2.9"]}, {"198.51.100.1": row}.get)
    >>> module.look_up(Client(address="198.51.100.1")).records, module.look_up(Client(address="192.0.2.1")).rcode
    (('192.0.2.1',), 'NXDOMAIN')
    """

    @checked_arguments
    def __init__(self, entries: Mapping[str, Sequence[str]], location_of: LocationOf) -> None:
        self._entries: Final = {_names(text): tuple(records) for text, records in entries.items()}
        self._location_of: Final = location_of

    @checked_arguments
    def look_up(self, client: Client) -> KnotReply:
        """Return the records for a client."""
        row = self._location_of(str(chosen_by(client)))
        if row is None:
            return KnotReply("NXDOMAIN", (), 0)
        location, prefix = row
        path = (location.country, location.city)
        best = next((path[:depth] for depth in (2, 1, 0) if path[:depth] in self._entries), None)
        if best is None:
            return KnotReply("NXDOMAIN", (), 0)
        return KnotReply("NOERROR", self._entries[best], 0 if client.subnet is None else prefix)


def _network(text: str) -> IpNetwork:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigurationError("networks", text, "a network such as 198.51.100.0/24") from None


def _names(entry: str) -> tuple[str, ...]:
    """Return the names of an entry. Only stars behind the last one stand for any name; another never matches."""
    names = entry.split(";")
    while names and names[-1] in {"*", ""}:
        names.pop()
    return tuple(names)


@checked_arguments
def rotated(records: Sequence[str], rng: Random) -> tuple[str, ...]:
    """Return records from a random place on, in the cyclic order of their data: ``answer-rotation: on``.

    Raises
    ------
    ConfigurationError
        If ``records`` is empty.

    Example
    -------
    >>> rotated(["a", "b", "c"], Random(3))
    ('a', 'b', 'c')
    """
    check_entries("records", records)
    kept = canonical_order(records)
    place = rng.randrange(len(kept))
    return (*kept[place:], *kept[:place])


@checked_arguments
def weighted(entries: Mapping[str, int], rng: Random) -> str:
    """Return one record at random, by weight: the weighted mode.

    Example
    -------
    >>> weighted({"192.0.2.1": 0, "192.0.2.2": 3}, Random(1))
    '192.0.2.2'
    """
    total_weight("entries", entries.values())
    return rng.choices(list(entries), list(entries.values()))[0]


@checked_arguments
def read_subnet(data: bytes) -> tuple[IpNetwork, bool]:
    """Return the network of a client subnet option as Knot reads it, and whether the reply carries one.

    Bits after the prefix are cleared and a scope is ignored, unless it is longer than an address; extra bytes
    are cut, and then the reply has no option.

    Raises
    ------
    SubnetError
        For anything else that is malformed: the answer is FORMERR.

    Example
    -------
    >>> read_subnet(bytes.fromhex("00011800c6336407"))
    (IPv4Network('198.51.100.0/24'), False)
    """
    if len(data) < 4:
        raise SubnetError(f"{len(data)} bytes, at least 4 needed")
    source = data[2]
    length = (source + 7) // 8
    address = bytearray(data[4 : 4 + length])
    if address and source % 8 and len(address) == length:
        address[-1] &= 0xFF << (8 - source % 8) & 0xFF
    network = decode_subnet(data[:3] + b"\0" + bytes(address))
    if data[3] > network.max_prefixlen:
        raise SubnetError(f"scope prefix {data[3]}, at most {network.max_prefixlen}")
    return network, len(data) <= 4 + length
