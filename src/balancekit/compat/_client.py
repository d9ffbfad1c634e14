"""The address that PowerDNS and Knot use for a client: the network address of the client subnet, even if its prefix is 0."""

from __future__ import annotations

from balancekit._support.ip import IpAddress
from balancekit.gslb import Client

__all__ = ["chosen_by"]


def chosen_by(client: Client) -> IpAddress:
    """Return the network address of the client subnet; the resolver's address if there is no subnet.

    With a prefix of 0, a client asks the server not to use its address (RFC 7871). These servers then choose as for the
    address ``0.0.0.0`` or ``::``, not as for the resolver.

    Example
    -------
    >>> chosen_by(Client(address="192.0.2.53", subnet="0.0.0.0/0")), chosen_by(Client(address="192.0.2.53"))
    (IPv4Address('0.0.0.0'), IPv4Address('192.0.2.53'))
    """
    return client.seen() if client.subnet is None else client.subnet.network_address
