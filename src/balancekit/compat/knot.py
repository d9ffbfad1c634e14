"""Knot's ``geoip`` module and answer rotation, with the same answers and scopes.

In subnet mode, the scope is the prefix that matched, even if it contains a longer configured prefix. So a resolver may use the
answer for clients that should get another one. In geodb mode, a client without a row in the database gets NXDOMAIN, even if there
is an entry ``*;*``. :class:`balancekit.gslb.GeoMap` has neither peculiarity.

Source: Knot DNS 3.2.6; 8 recorded traces, all reproduced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from random import Random
from typing import Final, NamedTuple, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit._support.ip import IpNetwork
from balancekit.compat._answers import row_of
from balancekit.compat._canonical import canonical_order
from balancekit.compat._client import chosen_by
from balancekit.compat._entries import check_entries, total_weight
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Location, SubnetError, decode_subnet

__all__ = ["GeoDb", "KnotReply", "LocationOf", "Subnets", "read_subnet", "rotated", "weighted"]

LocationOf: TypeAlias = Callable[[str], tuple[Location, int] | None]
"""Function that returns the database's row for an address: location and prefix length; ``None`` if there is no row."""


class KnotReply(NamedTuple):
    """Result of a look-up in the module: response code, records and scope."""

    rcode: str
    records: tuple[str, ...]
    scope: int


@final
class Subnets(ConstructorRepr):
    """The subnet mode. It uses the longest configured network that holds the client.

    Parameters
    ----------
    networks
        Records by network.

    Raises
    ------
    ConfigurationError
        If a network is malformed.

    Example
    -------
    >>> from balancekit.compat.knot import Subnets
    >>> from balancekit.gslb import Client
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
        """Return the records for a client; NXDOMAIN if no network holds it."""
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
    """The geodb mode. It uses the most specific entry of country and city that matches the client's location.

    Parameters
    ----------
    entries
        Records by entry, such as ``"US;Dallas"``, ``"US;*"`` or ``"*;*"``. A ``*`` matches any name, but only at the end:
        ``"*;Dallas"`` never matches.
    location_of
        The database.

    Raises
    ------
    ConfigurationError
        If ``location_of`` is no function; when a client is looked up, if it returns something other than a row.

    Example
    -------
    >>> from balancekit.compat.knot import GeoDb
    >>> from balancekit.gslb import Client, Location
    >>> row = (Location("NA", "US", (), "Dallas"), 25)
    >>> module = GeoDb({"US;*": ["192.0.2.1"], "*;*": ["192.0.2.9"]}, {"198.51.100.1": row}.get)
    >>> module.look_up(Client(address="198.51.100.1")).records, module.look_up(Client(address="192.0.2.1")).rcode
    (('192.0.2.1',), 'NXDOMAIN')
    """

    @checked_arguments
    def __init__(self, entries: Mapping[str, Sequence[str]], location_of: LocationOf) -> None:
        self._entries: Final = {_names(text): tuple(records) for text, records in entries.items()}
        self._location_of: Final = plain_function("location_of", location_of, "a function of an address")

    @checked_arguments
    def look_up(self, client: Client) -> KnotReply:
        """Return the records for a client; NXDOMAIN if it has no row or no entry matches."""
        row = row_of(self._location_of(str(chosen_by(client))))
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
        return ip_network(valid.text("networks", text))
    except ValueError:
        raise ConfigurationError("networks", text, "a network such as 198.51.100.0/24") from None


def _names(entry: str) -> tuple[str, ...]:
    """Return the names of an entry without stars at its end. A star before a name is kept, and never matches."""
    names = entry.split(";")
    while names and names[-1] in {"*", ""}:
        names.pop()
    return tuple(names)


@checked_arguments
def rotated(records: Sequence[str], rng: Random) -> tuple[str, ...]:
    """Return records in canonical order, rotated by a random number: ``answer-rotation: on``.

    Raises
    ------
    ConfigurationError
        If ``records`` is empty, or a label of a name is longer than 63 bytes.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.knot import rotated
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

    Parameters
    ----------
    entries
        Weights by record, whole numbers >= 0.
    rng
        Random generator.

    Raises
    ------
    ConfigurationError
        If a weight is not a whole number >= 0, or no weight is above 0.

    Example
    -------
    >>> from random import Random
    >>> from balancekit.compat.knot import weighted
    >>> weighted({"192.0.2.1": 0, "192.0.2.2": 3}, Random(1))
    '192.0.2.2'
    """
    total_weight("entries", entries.values())
    return rng.choices(list(entries), list(entries.values()))[0]


@checked_arguments
def read_subnet(data: bytes) -> tuple[IpNetwork, bool]:
    """Return the network of a client subnet option as Knot reads it, and whether the reply has such an option.

    Bits after the prefix are cleared. A scope is ignored, if it is not longer than an address. Extra bytes are cut off, and then
    the reply has no option.

    Raises
    ------
    SubnetError
        If the option is malformed in another way. Knot then answers FORMERR.

    Example
    -------
    >>> from balancekit.compat.knot import read_subnet
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
