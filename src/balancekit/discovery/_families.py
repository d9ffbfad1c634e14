"""Address families that this machine can reach; without IPv6, half of a dual-stack list is of no use.

"Connecting" a UDP socket sends nothing; the system only checks whether there is a route. If a name has addresses of both
families, the first address of each is checked. ``getaddrinfo`` with ``AI_ADDRCONFIG`` checks something else: whether an
interface has an address, and a link-local one suffices for that.

A link-local IPv6 address without a zone is unreachable, and does not show whether its family has a route.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["has_route", "reachable"]

_LINK_LOCAL: Final = frozenset(("fe8", "fe9", "fea", "feb"))


def has_route(address: str) -> bool:
    """Return whether the system has a route to an address; ``True`` if that is unknown."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def reachable(addresses: Sequence[str], *, has_route: Callable[[str], bool] = has_route) -> list[str]:
    """Return the addresses of the reachable families; all if there is one family only, or none is reachable.

    Link-local addresses without a zone are left out if there are others.

    Example
    -------
    >>> reachable(["10.0.0.1", "2001:db8::1"], has_route=lambda address: ":" not in address)
    ['10.0.0.1']
    """
    addresses = [address for address in addresses if not _lacks_zone(address)] or addresses
    by_family = {six: [address for address in addresses if (":" in address) is six] for six in (False, True)}
    if not all(by_family.values()):
        return list(addresses)
    found = {six for six, members in by_family.items() if has_route(members[0])}
    return [address for address in addresses if (":" in address) in found] or list(addresses)


def _lacks_zone(address: str) -> bool:
    """Return whether an address is in fe80::/10 and has no zone."""
    return address[:3].lower() in _LINK_LOCAL and ":" in address and "%" not in address
