"""Blocks of IPv6 addresses that carry an IPv4 address: mapped, compatible, SIIT, NAT64, Teredo, 6to4.

Source: RFC 4291 section 2.5.5, RFC 7915, RFC 6052, RFC 4380, RFC 3056.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

from balancekit._support.ip import IpNetwork
from balancekit.errors import ConfigurationError

__all__ = ["EMBEDDINGS", "Embedding", "refuse_embedded"]


class Embedding(NamedTuple):
    """A block of IPv6 addresses that carry IPv4 addresses."""

    network: IPv6Network
    shift: int
    """Bits to the right of the IPv4 address."""
    flip: int
    """What its bits are inverted with."""


EMBEDDINGS: Final = (
    Embedding(IPv6Network("::/96"), 0, 0),
    Embedding(IPv6Network("::ffff:0:0/96"), 0, 0),
    Embedding(IPv6Network("::ffff:0:0:0/96"), 0, 0),
    Embedding(IPv6Network("64:ff9b::/96"), 0, 0),
    Embedding(IPv6Network("2001::/32"), 0, 0xFFFFFFFF),
    Embedding(IPv6Network("2002::/16"), 80, 0),
)


def refuse_embedded(network: IpNetwork) -> None:
    """Refuse a network of addresses that are looked up as what they carry."""
    if isinstance(network, IPv4Network):
        return
    for embedding in EMBEDDINGS:
        if network.subnet_of(embedding.network):
            raise ConfigurationError("networks", str(network), "the IPv4 network that it carries")
