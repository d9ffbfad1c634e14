"""Tiers and the limits of a node in each: the given limits, and the load that a demand puts on them.

A limit that is left out does not bind. Rates are per node, at full load; the planned load of a node is its rate times
the utilisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import ceil, fsum
from types import MappingProxyType
from typing import ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.capacity._demand import Demand
from balancekit.errors import ConfigurationError

__all__ = ["L4", "L7", "Backends", "Gslb", "Load", "Tier"]

MIN_LIMIT: Final = 1e-6
"""A node that can do less is none: a demand would need more of them than a float can count."""
SEGMENT_BYTES: Final = 1_460
"""Payload of a TCP segment in an Ethernet frame without options."""
CONNECTION_PACKETS_IN: Final = 4
"""SYN, its acknowledgement, FIN and its acknowledgement, from the client."""
CONNECTION_PACKETS_OUT: Final = 3
"""SYN-ACK, FIN and an acknowledgement, from the server."""
SEGMENTS_PER_ACK: Final = 2
"""Delayed acknowledgements (RFC 9293 section 3.8.6.3)."""


@final
class Load(Record):
    """The load that a demand puts on a tier in one respect, and the limit of one node.

    Parameters
    ----------
    name
        The limited quantity: ``"connections"``, ``"gbps"``, ``"packets"``, ``"requests"``, ``"open connections"``,
        ``"handshakes"`` or ``"in flight"``.
    load
        The load on the tier.
    per_node
        The rate of a node at full load.
    unit
        Of both.
    """

    name: str
    load: float
    per_node: float
    unit: str


class Tier(Record, ABC):
    """The common option of all tiers of a site: the planned utilisation of nodes.

    Parameters
    ----------
    utilisation
        The share of its rates that a node is planned to carry, above 0, at most 1; that of the plan if left out.
    """

    _limits: ClassVar[Mapping[str, tuple[str, str]]]
    """The name and the unit of each limit, by its field."""

    utilisation: float | None = None

    def _check(self) -> None:
        if self.utilisation is not None:
            full = valid.number("utilisation", self.utilisation, above=0.0, maximum=1.0)
            vars(self)["utilisation"] = full
        given = [name for name in self._limits if getattr(self, name) is not None]
        if not given:
            raise ConfigurationError(type(self).__name__, self, f"at least one of {', '.join(self._limits)}")
        vars(self).update(
            {name: valid.number(name, getattr(self, name), minimum=MIN_LIMIT) for name in given}
        )

    def loads(self, demand: Demand, /) -> Iterator[Load]:
        """Yield what a demand requires of this tier, for each limit that is given."""
        required = self._required(demand)
        for limit, (name, unit) in self._limits.items():
            per_node = getattr(self, limit)
            if per_node is not None:
                yield Load(name=name, load=required[limit], per_node=per_node, unit=unit)

    @abstractmethod
    def _required(self, demand: Demand) -> Mapping[str, float]:
        """Return what a demand requires of the whole tier, by the field of its limit."""


@final
class Gslb(Record):
    """Sites, and how demand is shared between them.

    Parameters
    ----------
    sites
        How many, >= 1.
    shares
        The share of the demand that each site has, > 0, in sum 1; equal if left out. When sites are lost, the others
        share the demand in the same proportion.

    Raises
    ------
    ConfigurationError
        If ``sites`` is outside 1 to 10,000, or ``shares`` is not one share > 0 for each, in sum 1.

    Example
    -------
    >>> from balancekit.capacity import Gslb
    >>> Gslb(sites=2, shares=[0.75, 0.25]).worst_shares(1)
    (1.0, 1.0)
    """

    sites: int
    shares: Sequence[float] | None = None

    def _check(self) -> None:
        valid.integer("sites", self.sites, minimum=1, maximum=10_000)
        if self.shares is not None:
            shares = tuple([valid.number("shares", share, above=0.0) for share in _listed(self.shares)])
            if len(shares) != self.sites or abs(sum(shares) - 1.0) > 1e-9:
                raise ConfigurationError("shares", self.shares, f"{self.sites} shares, in sum 1")
            self.__dict__["shares"] = shares

    @checked_arguments
    def share_of(self, site: int) -> float:
        """Return the share of the demand that a site has when none is lost."""
        place = valid.integer("site", site, minimum=0, maximum=self.sites - 1)
        return 1.0 / self.sites if self.shares is None else self.shares[place]

    @checked_arguments
    def worst_share_of(self, site: int, lost: int) -> float:
        """Return the share that a site has when the ``lost`` largest of the others are lost."""
        return self.worst_shares(lost)[valid.integer("site", site, minimum=0, maximum=self.sites - 1)]

    @checked_arguments
    def worst_shares(self, lost: int) -> tuple[float, ...]:
        """Return for each site the share that it has when the ``lost`` largest of the others are lost. O(sites)."""
        if valid.integer("lost", lost, minimum=0) >= self.sites:
            raise ConfigurationError("sites", lost, f"fewer than all {self.sites} sites to lose")
        if self.shares is None:
            share = 1.0 / self.sites
            return (share / (1.0 - fsum([share] * lost)),) * self.sites
        ranked = sorted(range(self.sites), key=self.shares.__getitem__, reverse=True)
        shares, taken = self.shares, ranked[: lost + 1]
        without = 1.0 - fsum([shares[other] for other in taken[:lost]])
        found = [share / without for share in shares]
        total = sum(map(Fraction, [shares[other] for other in taken]), start=Fraction(0))
        for site in taken:  # of these, the lost ones go one further down, exactly
            found[site] = shares[site] / (1.0 - float(total - Fraction(shares[site])))
        return tuple(found)


@final
class L4(Tier):
    """Balancers of connections and packets.

    Parameters
    ----------
    connections_per_second
        New connections a second that a node can take.
    gbps
        Gigabits per second of a node's link, in either direction. Traffic enters and leaves on it: requests, and
        responses unless they return directly.
    packets_per_second
        Packets a second that a node can forward, both directions together.
    open_connections
        Connections that a node can remember.
    direct_return
        Whether servers answer clients directly, so that responses do not pass.
    utilisation
        The share of its rates that a node is planned to carry, above 0, at most 1; that of the plan if left out.

    Raises
    ------
    ConfigurationError
        If a limit is below 1e-6, none is given, or ``direct_return`` is no bool.

    Example
    -------
    >>> from balancekit.capacity import L4, Demand
    >>> [load.load for load in L4(gbps=10.0).loads(Demand(requests=100_000.0))]
    [9.6]
    """

    _limits = MappingProxyType(
        {
            "connections_per_second": ("connections", "connections/s"),
            "gbps": ("gbps", "Gbps"),
            "packets_per_second": ("packets", "packets/s"),
            "open_connections": ("open connections", "connections"),
        }
    )

    connections_per_second: float | None = None
    gbps: float | None = None
    packets_per_second: float | None = None
    open_connections: float | None = None
    direct_return: bool = False

    def _check(self) -> None:
        super()._check()
        valid.flag("direct_return", self.direct_return)

    def _required(self, demand: Demand) -> Mapping[str, float]:
        return {
            "connections_per_second": demand.connections_per_second,
            "gbps": demand.gbps_in if self.direct_return else demand.total_gbps,
            "packets_per_second": _packets(demand, direct_return=self.direct_return),
            "open_connections": demand.open_connections,
        }


@final
class L7(Tier):
    """Balancers of requests, where TLS ends.

    Parameters
    ----------
    requests_per_second
        Requests a second that a node can take.
    handshakes_per_second
        TLS handshakes a second that a node can do; one per connection.
    gbps
        Gigabits per second of a node's link, in either direction; requests and responses come in and go out on it.
    open_connections
        Client connections that a node can hold.
    utilisation
        The share of its rates that a node is planned to carry, above 0, at most 1; that of the plan if left out.

    Raises
    ------
    ConfigurationError
        If a limit is below 1e-6, or none is given.

    Example
    -------
    >>> from balancekit.capacity import L7, Demand
    >>> [load.load for load in L7(handshakes_per_second=500.0).loads(Demand(requests=100_000.0, per_connection=50.0))]
    [2000.0]
    """

    _limits = MappingProxyType(
        {
            "requests_per_second": ("requests", "requests/s"),
            "handshakes_per_second": ("handshakes", "handshakes/s"),
            "gbps": ("gbps", "Gbps"),
            "open_connections": ("open connections", "connections"),
        }
    )

    requests_per_second: float | None = None
    handshakes_per_second: float | None = None
    gbps: float | None = None
    open_connections: float | None = None

    def _required(self, demand: Demand) -> Mapping[str, float]:
        return {
            "requests_per_second": demand.requests,
            "handshakes_per_second": demand.connections_per_second,
            "gbps": demand.total_gbps,
            "open_connections": demand.open_connections,
        }


@final
class Backends(Tier):
    """Servers that do the work.

    Parameters
    ----------
    workers
        Requests that a server works on at a time.
    requests_per_second
        Requests a second that a server can do, if something else than its workers limits them.
    gbps
        Gigabits per second of a server's link, in either direction.
    utilisation
        The share of its rates that a node is planned to carry, above 0, at most 1; that of the plan if left out.

    Raises
    ------
    ConfigurationError
        If a limit is below 1e-6, or none is given.

    Example
    -------
    >>> from balancekit.capacity import Backends, Demand
    >>> [load.load for load in Backends(workers=32).loads(Demand(requests=100_000.0, service=0.2))]
    [20000.0]
    """

    _limits = MappingProxyType(
        {
            "workers": ("in flight", "in flight"),
            "requests_per_second": ("requests", "requests/s"),
            "gbps": ("gbps", "Gbps"),
        }
    )

    workers: float | None = None
    requests_per_second: float | None = None
    gbps: float | None = None

    def _required(self, demand: Demand) -> Mapping[str, float]:
        return {
            "workers": demand.in_flight,
            "requests_per_second": demand.requests,
            "gbps": max(demand.gbps_in, demand.gbps_out),
        }


def _listed(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError("shares", value, "a list of shares")
    return value


def _packets(demand: Demand, *, direct_return: bool) -> float:
    """Return packets a second: segments with data, one acknowledgement for two of them, and those of a connection."""
    request = ceil(demand.request_bytes / SEGMENT_BYTES)
    response = ceil(demand.response_bytes / SEGMENT_BYTES)
    inbound = request + response / SEGMENTS_PER_ACK + CONNECTION_PACKETS_IN / demand.per_connection
    outbound = response + request / SEGMENTS_PER_ACK + CONNECTION_PACKETS_OUT / demand.per_connection
    return demand.requests * (inbound if direct_return else inbound + outbound)
