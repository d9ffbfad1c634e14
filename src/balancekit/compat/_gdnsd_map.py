"""The ``maps`` section of gdnsd's ``geoip`` plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.ip import IpNetwork
from balancekit.errors import ConfigurationError
from balancekit.gslb import GeoMap, Locations
from balancekit.gslb._embedded import EMBEDDINGS
from balancekit.gslb._geo_map import build_map
from balancekit.gslb._site_orders import NEAREST

__all__ = ["geo_map"]

KEYS: Final = ("datacenters", "map", "nets", "auto_dc_coords", "auto_dc_limit", "geoip2_db")
TABLES: Final = ("map", "nets", "auto_dc_coords")
AUTO: Final = "auto"
"""In place of datacenters: distances decide."""
COMPATIBLE: Final = EMBEDDINGS[0].network
"""The block whose networks are the same as the IPv4 networks that they carry."""
EVERY_IPV4: Final = IPv4Network("0.0.0.0/0")


@checked_arguments
def geo_map(configuration: Mapping[str, Any], database: Locations | None = None) -> GeoMap:
    """Return a ``maps`` entry of the ``geoip`` plugin.

    Parameters
    ----------
    configuration
        The entry, as in gdnsd's configuration: ``datacenters``, and any of ``map``, ``nets``, ``auto_dc_coords`` and
        ``auto_dc_limit``. A single datacenter needs no list. In ``map``, ``"auto"`` stands for the nearest
        ones if there are ``auto_dc_coords``. It stands for none if the map's own ``default`` leaves a datacenter out.
        ``geoip2_db`` is not opened.
    database
        The city database, in place of ``geoip2_db``.

    Raises
    ------
    ConfigurationError
        If a key, a network, a location or a datacenter is none that gdnsd takes, or there are no ``datacenters``.

    Example
    -------
    >>> from ipaddress import ip_address
    >>> from balancekit.compat.gdnsd import geo_map
    >>> geo_map({"datacenters": ["a", "b"], "nets": {"198.51.100.0/24": "b"}}).look_up(ip_address("198.51.100.1"))
    (('b',), 24)
    """
    datacenters = _checked(configuration)
    nested = configuration.get("map") or {}
    coordinates = configuration.get("auto_dc_coords") or {}
    top = nested.get("default", datacenters)
    default = datacenters if coordinates and top == AUTO else _listed(top)
    nearest = NEAREST if set(datacenters) <= set(default) else ()
    limit = configuration.get("auto_dc_limit", 3)
    return build_map(
        networks=_networks(configuration.get("nets") or {}),
        locations=_nested(nested, {AUTO: nearest} if coordinates else {}),
        coordinates={site: tuple(coordinates[site]) for site in default if site in coordinates},
        database=database,
        default=default,
        limit=limit or len(datacenters),
        warn_long=False,
        join=False,
    )


def _checked(configuration: Mapping[str, Any]) -> list[str]:
    """Return the datacenters. Refuse other keys, values that are no tables, and names of other datacenters."""
    for key in configuration:
        if key not in KEYS:
            raise ConfigurationError("configuration", key, f"keys of {', '.join(KEYS)}")
    datacenters = _listed(configuration.get("datacenters"))
    if not isinstance(datacenters, Sequence) or not datacenters:
        raise ConfigurationError("datacenters", datacenters, "one or more names")
    for key in TABLES:
        table = configuration.get(key) or {}
        if not isinstance(table, Mapping):
            raise ConfigurationError(key, table, "a table; a file is not opened here")
        for name in table if key == "auto_dc_coords" else _names(table):
            if name not in datacenters and (key, name) != ("map", AUTO):
                raise ConfigurationError(
                    key, name, f"names of datacenters: {', '.join(map(str, datacenters))}"
                )
    return list(datacenters)


def _names(value: Any) -> Iterator[Any]:
    """Iterate over the names of datacenters in a table and in the tables below it."""
    if isinstance(value, Mapping):
        for below in value.values():
            yield from _names(below)
    elif isinstance(value, list | tuple):
        yield from value
    else:
        yield value


def _listed(datacenters: Any) -> Any:
    """Return datacenters as a list; a single one may be given as a text."""
    return [datacenters] if isinstance(datacenters, str) else datacenters


def _nested(value: Any, words: Mapping[str, Any]) -> Any:
    """Return what a nested map has at one place, and below it. ``words`` are not names of datacenters."""
    if isinstance(value, Mapping):
        return {name: _nested(below, words) for name, below in value.items()}
    return words.get(value, [value]) if isinstance(value, str) else value


def _networks(nets: Mapping[str, Any]) -> dict[IpNetwork, Any]:
    """Return datacenters by network, as IPv4 networks where IPv4-compatible addresses are meant."""
    found: dict[IpNetwork, Any] = {}
    around: list[IpNetwork] = []
    for text, sites in nets.items():
        network = _network(text)
        found[network] = _listed(sites)
        if network.version == 6 and COMPATIBLE.subnet_of(network):
            around.append(network)
    if around:
        found.setdefault(EVERY_IPV4, found[max(around, key=lambda network: network.prefixlen)])
    return found


def _network(text: str) -> IpNetwork:
    """Return a network without the bits after its prefix: the IPv4 network in an IPv4-compatible one."""
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigurationError("nets", text, f"networks ({error})") from None
    if network.version == 4 or not network.subnet_of(COMPATIBLE):
        return network
    return IPv4Network((int(network.network_address), network.prefixlen - COMPATIBLE.prefixlen))
