"""Queries and answers: a resolver's query, the addresses it gets, for how long, and for which clients.

``Client`` is a resolver and, if the query carried one, the subnet of the client behind it (EDNS Client
Subnet). ``Answer`` names endpoints, never addresses: a zone turns ids into records, a client-side selector
connects to them.

Source: RFC 7871 (client subnet: use the network address; a source prefix of 0 means "do not use mine").
"""

from __future__ import annotations

import enum
import math
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from random import Random
from typing import NamedTuple, Protocol

from balancekit._support.arguments import checked_arguments
from balancekit._support.dns_kinds import kind_of
from balancekit._support.ip import IpAddress, IpNetwork
from balancekit._support.record import Record
from balancekit._support.validation import text
from balancekit.errors import ConfigurationError
from balancekit.gslb._standing import Standings

__all__ = ["Answer", "Client", "Exhausted", "Policy", "Query", "Step"]


class Exhausted(enum.StrEnum):
    """What a policy answers when too few of its endpoints are up."""

    OPEN = "open"
    """As if all were up. A parent tries its next child first."""
    NEXT = "next"
    """Nothing. A parent tries its next child."""
    CLOSED = "closed"
    """Nothing, and a parent does not try any other child."""


class Client(Record):
    """A resolver, and the client subnet in its query.

    Parameters
    ----------
    address
        The address that sent the query: the resolver's. A text is parsed; an IPv4-mapped IPv6 address, as
        dual-stack sockets report it, becomes the IPv4 address.
    subnet
        The client subnet that the query carried; ``None`` if it carried none.

    Raises
    ------
    ConfigurationError
        For an address or a network that cannot be parsed; for a network with bits after its prefix.

    Example
    -------
    >>> from balancekit.gslb import Client
    >>> Client(address="192.0.2.53", subnet="198.51.100.0/24").seen()
    IPv4Address('198.51.100.0')
    >>> Client(address="::ffff:192.0.2.53").seen()
    IPv4Address('192.0.2.53')
    """

    address: IpAddress
    subnet: IpNetwork | None = None

    def __init__(self, *, address: IpAddress | str, subnet: IpNetwork | str | None = None) -> None:
        super().__init__(address=_address(address), subnet=None if subnet is None else _network(subnet))

    @checked_arguments
    def seen(self, *, use_subnet: bool = True) -> IpAddress:
        """Return the address that decides: the network address of the subnet, or else the resolver's.

        A subnet with prefix 0 is no subnet: the client requests that it not be used (RFC 7871).
        """
        if use_subnet and self.subnet is not None and self.subnet.prefixlen:
            return self.subnet.network_address
        return self.address

    @property
    def has_subnet(self) -> bool:
        """Whether there is a subnet that may be used."""
        return self.subnet is not None and self.subnet.prefixlen > 0


class Query(Record):
    """One question.

    Parameters
    ----------
    name
        The queried name, with or without the final dot.
    client
        The resolver, and the client's subnet.
    kind
        The record type: ``"A"``, ``"AAAA"``, or ``"TYPE"`` and a number. Kept in upper case, and by name if there is one.

    Raises
    ------
    ConfigurationError
        If ``name`` or ``kind`` is no string, ``kind`` is empty, or ``client`` is no ``Client``.

    Example
    -------
    >>> from balancekit.gslb import Client, Query
    >>> Query(name="www.example.com", client=Client(address="192.0.2.53")).kind
    'A'
    """

    name: str
    client: Client
    kind: str = "A"

    def _check(self) -> None:
        text("name", self.name, empty=True)
        if not isinstance(self.client, Client):
            raise ConfigurationError("client", self.client, "a Client(address=...)")
        self.__dict__["kind"] = kind_of(text("kind", self.kind))


class Step(NamedTuple):
    """One decision on the way to an answer."""

    policy: str
    """The policy that decided, with its place in the tree: ``"Geo/eu/AllUp"``."""
    text: str
    """What it decided, and from which facts."""


class Answer(NamedTuple):
    """Endpoints in the order they are to be written, for how long, and for which clients."""

    chosen: tuple[str, ...]
    """Endpoint ids."""
    ttl: float = math.inf
    """Seconds until what the answer rests on could change; infinity if nothing bounds it."""
    scope: int = 0
    """Length of the prefix of the address seen for which this answer holds; 0: for all clients."""
    exhausted: Exhausted | None = None
    """The word that applied because too little was up; ``None`` if enough was."""
    steps: tuple[Step, ...] = ()
    """How the answer came about, outermost decision first; filled with ``explain=True``."""

    @property
    def failed(self) -> bool:
        """Whether too little was up."""
        return self.exhausted is not None

    @property
    def passes(self) -> bool:
        """Whether a parent is to try its next child."""
        return self.exhausted is not None and self.exhausted is not Exhausted.CLOSED


class Policy(Protocol):
    """A policy: it answers queries. A tree of policies is a policy.

    A policy decides from its arguments alone: two equal calls with generators in the same state give equal
    answers. :class:`Rotation` (a cursor) and :class:`Failover` with a fail-back (one machine per child) are
    the exceptions. The calls come from any thread, under no lock.
    """

    def answer(
        self,
        query: Query,
        standings: Standings,
        /,
        *,
        now: float,
        rng: Random,
        explain: bool = False,
    ) -> Answer:
        """Return the answer for one query.

        Parameters
        ----------
        query
            The question.
        standings
            Returns the standing of each endpoint: whether it is up.
        now
            Seconds on the clock of ``Standing.until``.
        rng
            The generator for random choices.
        explain
            Fill :attr:`Answer.steps`.
        """
        ...

    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""
        ...


def _address(value: IpAddress | str) -> IpAddress:
    """Return an address that is not an IPv4-mapped one."""
    try:
        found = value if isinstance(value, IPv4Address | IPv6Address) else ip_address(value)
    except ValueError:
        raise ConfigurationError("address", value, "an IP address") from None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _network(value: IpNetwork | str) -> IpNetwork:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(value)
    except (TypeError, ValueError) as error:
        allowed = f"a network without bits after its prefix ({error})"
        raise ConfigurationError("subnet", value, allowed) from None
