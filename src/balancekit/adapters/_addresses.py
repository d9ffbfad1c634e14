"""Cache of the parsed addresses of a balancer's endpoints.

For adapters that need not know when an endpoint leaves. Cost: a dictionary; now and then a walk over it.
"""

from __future__ import annotations

from typing import Any, Final, final

from balancekit.adapters._target import Address, address_of
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import ObservableBalancer

__all__ = ["AddressCache", "reachable"]

MIN_SPARE_ENTRIES: Final = 64
"""How many endpoints that have left are remembered at least before any is forgotten."""


def reachable(target: object) -> Address:
    """Take a target apart that is no socket.

    Raises
    ------
    ConfigurationError
        If it is no address, or a socket.
    """
    where = address_of(target)
    if where.socket is not None:
        raise ConfigurationError("target", target, "an address: this client knows no Unix sockets")
    return where


@final
class AddressCache:
    """The addresses of a balancer's endpoints, for a client that knows no Unix sockets.

    Raises
    ------
    ConfigurationError
        For an endpoint whose target is no address, or a socket.
    """

    __slots__ = ("_balancer", "_known", "_max_entries")

    def __init__(self, balancer: ObservableBalancer[Any]) -> None:
        self._balancer = balancer
        self._known: dict[str, tuple[object, Address]] = {}
        self._max_entries = 0

    def of(self, endpoint: Endpoint[Any]) -> Address:
        """Return where an endpoint is. A new target is a new address."""
        known = self._known.get(endpoint.id)
        if known is not None and known[0] is endpoint.target:
            return known[1]
        where = reachable(endpoint.target)
        if len(self._known) > self._max_entries:
            self._forget()
        self._known[endpoint.id] = endpoint.target, where
        return where

    def _forget(self) -> None:
        there = {endpoint.id for endpoint in self._balancer.endpoints}
        self._known = {id: entry for id, entry in self._known.copy().items() if id in there}
        self._max_entries = 2 * len(there) + MIN_SPARE_ENTRIES
