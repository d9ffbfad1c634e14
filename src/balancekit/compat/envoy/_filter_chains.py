"""Envoy's filter chains: the choice of a listener's filter chain for a connection.

Chains are given as in a listener's configuration, with Envoy's field names. They are converted to
:class:`balancekit.l4.FlowRoutes`, which match in Envoy's order.

Source: Envoy 1.40 ``config.listener.v3.FilterChainMatch``; all recorded choices are reproduced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l4 import FlowMatch, FlowRoutes

__all__ = ["filter_chains"]

T = TypeVar("T")

FIELDS: Final = frozenset(
    {
        "application_protocols",
        "destination_port",
        "prefix_ranges",
        "server_names",
        "source_ports",
        "source_prefix_ranges",
        "transport_protocol",
    }
)
TRANSPORTS: Final[Mapping[str, Literal["tls", "raw"] | None]] = {"": None, "tls": "tls", "raw_buffer": "raw"}


@checked_arguments
def filter_chains(chains: Iterable[tuple[T, Mapping[str, Any]]]) -> FlowRoutes[T]:
    """Return the routes of a listener's filter chains.

    Parameters
    ----------
    chains
        Pairs of the value of a chain, which a match returns, and its ``filter_chain_match``.

    Raises
    ------
    ConfigurationError
        If a field is unknown or not supported (``address_suffix``, ``source_type``,
        ``direct_source_prefix_ranges``), a value is not allowed, or two chains have equal matches.

    Notes
    -----
    *When not to use it:* with a ClientHello for a listener without the TLS inspector. Its chains do not see server names, so
    pass no ClientHello to ``match``.

    Example
    -------
    >>> from balancekit.compat.envoy import filter_chains
    >>> routes = filter_chains([
    ...     ("shop", {"server_names": ["*.shop.test"], "transport_protocol": "tls"}),
    ...     ("rest", {}),
    ... ])
    >>> routes.match(("192.0.2.1", 12345), ("198.51.100.2", 443))
    'rest'
    """
    return FlowRoutes([(_match(fields), chain) for chain, fields in chains])


def _match(fields: object) -> FlowMatch:
    if not isinstance(fields, Mapping) or not fields.keys() <= FIELDS:
        raise ConfigurationError("filter_chain_match", fields, f"fields of {', '.join(sorted(FIELDS))}")
    transport = fields.get("transport_protocol", "")
    if transport not in TRANSPORTS:
        raise ConfigurationError("transport_protocol", transport, "'tls' or 'raw_buffer'")
    return FlowMatch(
        destination_port=_number(fields.get("destination_port")),
        destinations=_prefixes(fields.get("prefix_ranges", ())),
        server_names=fields.get("server_names", ()),
        transport=TRANSPORTS[transport],
        alpn=fields.get("application_protocols", ()),
        sources=_prefixes(fields.get("source_prefix_ranges", ())),
        source_ports=fields.get("source_ports", ()),
    )


def _prefixes(ranges: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for one in ranges:
        if not isinstance(one, Mapping) or "address_prefix" not in one:
            raise ConfigurationError("prefix_ranges", one, "an address_prefix and a prefix_len")
        address = valid.text("address_prefix", one["address_prefix"])
        found.append(f"{address}/{_number(one.get('prefix_len', 0))}")
    return found


def _number(value: Any) -> Any:
    """Return a number, which may be in a wrapper message of protocol buffers."""
    return value.get("value", 0) if isinstance(value, Mapping) else value
