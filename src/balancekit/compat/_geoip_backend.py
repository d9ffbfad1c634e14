"""GeoIP backend of PowerDNS: names made from the location of a client, and the scope of the answer.

Source: PowerDNS Authoritative 4.7.3, recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Final, NamedTuple, TypeAlias, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.ip import IpAddress, IpNetwork
from balancekit.compat._answers import row_of
from balancekit.compat._client import chosen_by
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Location

__all__ = ["GeoIpBackend", "GeoReply", "LocationOf", "parse_network"]

LocationOf: TypeAlias = Callable[[str], tuple[Location, int] | None]
"""Function that returns the database's row for an address: location and prefix length; ``None`` if there is no row."""

_PLAIN: Final = frozenset(range(0x21, 0x7F)) - frozenset(b'"$();@\\')
"""Bytes that stand for themselves in a name, and dots between labels."""
_PLACEHOLDER: Final = re.compile("%%|%(?:cn|co|cc|re|ci|af|as|na|ip4|ip6|ip)")


def parse_network(text: str) -> IpNetwork:
    """Return the network of a text. Bits after the prefix are cleared.

    Raises
    ------
    ConfigurationError
        If the text is no network.
    """
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ConfigurationError("network", text, "a network such as 192.0.2.0/24") from None


def no_location(_address: str) -> None:
    """Return ``None``: no address has a row."""


class GeoReply(NamedTuple):
    """Result of a look-up in the GeoIP backend."""

    name: str | None
    """The name whose records are the answer; ``None`` for no records."""
    scope: int
    """Scope of the answer. A reply has scope 0 if the name has no records of the queried type."""
    rcode: str = "NOERROR"
    alias: str | None = None
    """Target of a CNAME in the answer, if no name exists: the last name that was tried, in presentation form."""


@final
class GeoIpBackend(ConstructorRepr):
    """The GeoIP backend of PowerDNS. It makes names for a service from the client's location, and tries them in order.

    The scope of the answer is the longest of

    - the prefix of the database's row, for each location code whose value is known;
    - the length of the whole address, for each code whose value is not known or is the address;
    - the longest configured network of the address family.

    If no name exists, the answer is a CNAME with the last name. If no network holds the client and there is no default, the
    answer is NXDOMAIN.

    Parameters
    ----------
    names
        All names that have records.
    services
        Name templates by service name, or templates by network with a ``"default"``. Codes in templates: ``%co`` and ``%cc``
        (country), ``%cn`` (continent), ``%re`` (region), ``%ci`` (city), ``%af`` (``v4`` or ``v6``), ``%ip``, ``%ip4`` and
        ``%ip6`` (the address). ``%as`` and ``%na`` are ``unknown``, because city databases do not have them. Other codes of
        the server are not replaced.
    location_of
        The database. Without it, no location is known.

    Example
    -------
    >>> from balancekit.compat.powerdns import GeoIpBackend
    >>> from balancekit.gslb import Client, Location
    >>> row = (Location("EU", "DE"), 24)
    >>> backend = GeoIpBackend(["de.www.example"], {"www.example": ["%co.www.example"]}, lambda _: row)
    >>> backend.look_up("www.example", Client(address="192.0.2.1"))
    GeoReply(name='de.www.example', scope=24, rcode='NOERROR', alias=None)
    """

    @checked_arguments
    def __init__(
        self,
        names: Iterable[str],
        services: Mapping[str, Sequence[str] | Mapping[str, Sequence[str] | str]],
        location_of: LocationOf = no_location,
    ) -> None:
        self._names: Final = {name.lower(): name for name in names}
        self._above: Final = {
            name[place + 1 :] for name in self._names for place, char in enumerate(name) if char == "."
        }
        self._services: Final = services
        self._location_of: Final = location_of

    @checked_arguments
    def look_up(self, service: str, client: Client) -> GeoReply:
        """Return the name for a client, and the scope.

        Raises
        ------
        ConfigurationError
            If the service is unknown, or one of its networks is malformed.
        """
        address = chosen_by(client)
        if service not in self._services:
            known = ", ".join(self._services)
            raise ConfigurationError(
                "service", service, f"one of {known}" if known else "a service, but there is none"
            )
        templates, scope = _templates(self._services[service], client)
        row = row_of(self._location_of(str(address)))
        name = ""
        for template in templates:
            name, used = _expanded(template.lower(), address, row)
            scope = max(scope, used)
            if name in self._names:
                return GeoReply(self._names[name], scope)
            if name in self._above:
                return GeoReply(None, 0)
        return (
            GeoReply(None, scope, "NXDOMAIN", _presentation(name))
            if templates
            else GeoReply(None, 0, "NXDOMAIN")
        )


def _presentation(name: str) -> str:
    r"""Return a name with bytes that are no letters, digits or usual signs as ``\DDD``; names of cities have spaces.

    Source: RFC 1035 section 5.1.
    """
    return "".join([chr(byte) if byte in _PLAIN else f"\\{byte:03}" for byte in name.encode()])


def _templates(
    configured: Sequence[str] | Mapping[str, Sequence[str] | str], client: Client
) -> tuple[Sequence[str], int]:
    """Return a service's templates for a client, and the longest prefix of its networks of the client's family.

    The templates are those of the longest network that holds the client's whole subnet.
    """
    if not isinstance(configured, Mapping):
        return configured, 0
    address = chosen_by(client)
    bits = address.max_prefixlen if client.subnet is None else client.subnet.prefixlen
    networks = {parse_network(text): found for text, found in configured.items() if text != "default"}
    family = [network for network in networks if network.version == address.version]
    around = [network for network in family if address in network and network.prefixlen <= bits]
    holding = max(around, key=lambda network: network.prefixlen, default=None)
    found = configured.get("default", ()) if holding is None else networks[holding]
    return [found] if isinstance(found, str) else found, max((one.prefixlen for one in family), default=0)


def _expanded(template: str, address: IpAddress, row: tuple[Location, int] | None) -> tuple[str, int]:
    """Return the name that a template makes for a client, and the scope of that."""
    where, prefix = row or (Location(), 0)
    whole, version = address.max_prefixlen, address.version
    fixed = {"%%": "%%", "%af": f"v{version}"}
    own = {"%ip": str(address), "%ip4": "", "%ip6": ""} | {f"%ip{version}": str(address)}
    places = {
        "%cn": where.continent,
        "%co": where.country,
        "%cc": where.country,
        "%re": where.subdivisions[0] if where.subdivisions else "",
        "%ci": where.city,
    }
    scope = 0

    def value(code: re.Match[str]) -> str:
        nonlocal scope
        if code[0] in fixed:
            return fixed[code[0]]
        text = places.get(code[0], "").lower()
        scope = max(scope, prefix if text else whole)
        return own.get(code[0], text or "unknown")

    return _PLACEHOLDER.sub(value, template), scope
