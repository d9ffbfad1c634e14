"""The address by which PowerDNS and Knot choose: a client subnet's own, even if its prefix is 0."""

from __future__ import annotations

from balancekit._support.ip import IpAddress
from balancekit.gslb import Client

__all__ = ["chosen_by"]


def chosen_by(client: Client) -> IpAddress:
    """Return the network address of a client's subnet, or else the resolver's.

    A prefix of 0 requests that the client's address not be used; these servers then choose as for ``0.0.0.0`` or ``::``,
    not as for the resolver.

    Example
    -------
    >>> chosen_by(Client(address="192.0.2.53", subnet="0.0.0.0/0")), chosen_by(Client(address="192.0.2.53"))
    (IPv4Address('0.0.0.0'), IPv4Address('192.0.2.53'))
    """
    return client.seen() if client.subnet is None else client.subnet.network_address
