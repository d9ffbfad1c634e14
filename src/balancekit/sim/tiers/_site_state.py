"""State of a simulation of tiers: sites, nodes and servers, and the decision objects in them.

=========  ================================================================================================
resolver   :class:`~balancekit.gslb.ResolverCache`
GSLB       a policy of :mod:`balancekit.gslb`
router     :class:`~balancekit.l4.Ecmp` over the L4 nodes that are announced
L4 node    :class:`~balancekit.l4.FlowTable` over :class:`~balancekit.hashing.MaglevTable` of its live L7 nodes
L7 node    :class:`~balancekit.l7.RouteTable` over :class:`~balancekit.LoadBalancer`, one of each per node
server     a queue of :mod:`balancekit.sim`
=========  ================================================================================================

L4 nodes share no state. Two of them send a flow to the same L7 node as long as their checks find the same L7 nodes up,
because then their Maglev tables are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeAlias, TypeVar, final

from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.hashing import MaglevTable
from balancekit.l4 import Ecmp, FlowTable
from balancekit.l7 import RouteTable
from balancekit.lease import Lease
from balancekit.protocols import ObservableBalancer
from balancekit.sim._context import Clock, MakeBalancer
from balancekit.sim._queues import FifoQueue
from balancekit.sim._services import draws
from balancekit.sim.tiers._sites import Site

__all__ = ["Flow", "L4Node", "L7Node", "MakeRoutes", "Request", "ServerState", "SiteState"]

T = TypeVar("T")

MakeRoutes: TypeAlias = Callable[[ObservableBalancer[str]], RouteTable[ObservableBalancer[str]]]
"""Function that makes the route table of an L7 node from the balancer over its site's servers."""

MAGLEV_SIZE = 65_537
"""Number of slots of the Maglev tables of L4 nodes: the small table size of the Maglev paper (Eisenbud et al., 2016)."""


@final
class Flow:
    """A connection of a client. Site, L4 node and L7 node are chosen when its first request is sent."""

    __slots__ = ("group", "hash31", "incarnation", "key", "l4", "l7", "left", "resolver", "site", "slot")

    def __init__(self, slot: int, resolver: int, key: bytes, hash31: int, left: int) -> None:
        self.slot: int = slot
        """Number of the client, which is its index in the list of connections."""
        self.resolver: int = resolver
        self.key: bytes = key
        self.hash31: int = hash31
        self.left: int = left
        """Number of requests until the client closes the connection."""
        self.site: SiteState | None = None
        self.group: Ecmp | None = None
        """The router's next hops when ``l4`` was chosen; ``l4`` is chosen again when they change."""
        self.l4: L4Node | None = None
        self.l7: str | None = None
        """Name of the L7 node that has the connection."""
        self.incarnation: int | None = None
        """Incarnation of that node. When the node restarts, it loses the connection."""


@final
class Request:
    """One request in progress."""

    __slots__ = (
        "arrived",
        "chosen",
        "flow",
        "incarnation",
        "lease",
        "length",
        "node",
        "path",
        "reached",
        "sent",
        "server",
        "tried",
        "tries",
        "turn",
    )  # fmt: skip

    def __init__(self, flow: Flow, path: int, arrived: float) -> None:
        self.flow: Flow = flow
        self.path: int = path
        self.arrived: float = arrived
        self.sent: float = arrived
        """When the client's last attempt began."""
        self.reached: float = arrived
        """When the last attempt reached an L7 node."""
        self.chosen: float = arrived
        """When the last attempt was sent to a server."""
        self.length: float = 0.0
        """Service time in seconds."""
        self.incarnation: int = 0
        """Incarnation of the L4 node when the request was sent to it."""
        self.tries: int = 1
        """Number of attempts of the client."""
        self.turn: int = 0
        """Version number. Actions that were scheduled for an earlier one are ignored."""
        self.node: L7Node | None = None
        self.server: ServerState | None = None
        self.lease: Lease[str] | None = None
        self.tried: tuple[str, ...] = ()


class Node:
    """A node that serves one request after another, each in the same time."""

    __slots__ = ("busy", "cost", "down", "free", "incarnation", "name")

    def __init__(self, name: str, requests_per_second: float) -> None:
        self.name: str = name
        self.cost: float = 1.0 / requests_per_second
        self.busy: float = 0.0
        """Seconds of work that the node has accepted, without the work that it lost when it failed."""
        self.free: float = 0.0
        """Time at which the node will have completed all of it."""
        self.down: bool = False
        self.incarnation: int = 0
        """Number of starts of the node."""

    def take(self, now: float) -> float:
        """Accept a request; return the time at which it is completed."""
        self.busy += self.cost
        self.free = end = max(now, self.free) + self.cost
        return end

    def stop(self, now: float) -> None:
        """Discard the work that has not been completed."""
        self.busy = self.worked(now)
        self.free = 0.0

    def worked(self, now: float) -> float:
        """Return the seconds of work completed until ``now``."""
        return self.busy - max(0.0, self.free - now)


@final
class L4Node(Node):
    """A node that steers flows to L7 nodes."""

    __slots__ = ("alive", "owner", "table")

    def __init__(self, name: str, site: Site) -> None:
        super().__init__(name, site.l4.requests_per_second)
        self.restart()
        self.alive: frozenset[str] = frozenset()
        """Names of the L7 nodes that its checks find up."""
        self.owner: Callable[[bytes], str] = _no_owner

    def restart(self) -> None:
        """Start with an empty flow table."""
        self.incarnation += 1
        self.table: FlowTable = FlowTable(capacity=8_000_000)


@final
class L7Node(Node):
    """A node that sends requests to servers."""

    __slots__ = ("_make", "pool", "present", "routes", "site")

    def __init__(
        self, name: str, site: SiteState, make: Callable[[str], ObservableBalancer[str]], routes: MakeRoutes
    ) -> None:
        super().__init__(name, site.site.l7.requests_per_second)
        self.site: SiteState = site
        self._make = (make, routes)
        self.restart()

    def answers(self) -> bool:
        """Return whether a check finds the node up."""
        return not self.down

    def restart(self) -> None:
        """Start with a new balancer and a new route table."""
        make, routes = self._make
        self.incarnation += 1
        self.pool: ObservableBalancer[str] = make(self.name)
        self.routes: RouteTable[ObservableBalancer[str]] = _made("routes", routes(self.pool), RouteTable)
        self.present: set[Request] = set()


@final
class ServerState:
    """The state of one server."""

    __slots__ = ("busy", "down", "lengths", "present", "queue")

    def __init__(self, site: Site, lengths: Iterator[float]) -> None:
        self.queue: FifoQueue[Request] = FifoQueue(site.server, _never)
        self.lengths: Iterator[float] = lengths
        self.busy: float = 0.0
        self.down: bool = False
        self.present: set[Request] = set()

    def stop(self, now: float) -> None:
        """Discard the work that has not been completed."""
        self.busy = self.worked(now)
        self.queue.clear(now)

    def worked(self, now: float) -> float:
        """Return the seconds of work completed until ``now``, summed over the workers."""
        return self.busy - sum([max(0.0, free - now) for free in self.queue.free])


@final
class SiteState:
    """The state of one site: its nodes, its servers and its router."""

    def __init__(
        self,
        id: str,
        site: Site,
        *,
        make: MakeBalancer,
        routes: MakeRoutes,
        clock: Clock,
        generator: Callable[[str], Random],
    ) -> None:
        self.id: str = id
        self.site: Site = site
        self.down: bool = False
        self.l4: dict[str, L4Node] = {
            f"{id}/l4-{n}": L4Node(f"{id}/l4-{n}", site) for n in range(site.l4.count)
        }
        self.announced: dict[str, L4Node] = dict(self.l4)
        """The L4 nodes to which the router sends flows."""
        self.servers: dict[str, ServerState] = {}
        for number in range(site.servers):
            name = f"{id}/server-{number}"
            lengths = draws(site.server.service, generator(f"service {name}"))
            self.servers[name] = ServerState(site, lengths)
        endpoints = [Endpoint(name) for name in self.servers]

        def balancer(name: str) -> ObservableBalancer[str]:
            return make(list(endpoints), clock, generator(f"balancer {name}"))

        self.l7: dict[str, L7Node] = {
            f"{id}/l7-{n}": L7Node(f"{id}/l7-{n}", self, balancer, routes) for n in range(site.l7.count)
        }
        self._tables: dict[frozenset[str], MaglevTable] = {}
        for node in self.l4.values():
            self.see(node, frozenset(self.l7))
        self.announce()

    def announce(self) -> None:
        """Update the router's next hops to the announced L4 nodes."""
        self.group: Ecmp | None = Ecmp(list(self.announced)) if self.announced else None

    def see(self, node: L4Node, alive: frozenset[str]) -> None:
        """Make an L4 node send new flows to the L7 nodes that it finds up, or to all if it finds none up."""
        known = alive or frozenset(self.l7)
        table = self._tables.get(known)
        if table is None:
            table = self._tables[known] = MaglevTable(sorted(known), size=MAGLEV_SIZE)
        node.alive = known
        node.owner = table.lookup

    def serves(self) -> bool:
        """Return whether a check from outside finds the site up: it is connected, and an L4 and an L7 node are up."""
        return (
            not self.down
            and any(not node.down for node in self.announced.values())
            and any(not node.down for node in self.l7.values())
        )


def _made(parameter: str, value: T, kind: type[object]) -> T:
    if not isinstance(value, kind):
        raise ConfigurationError(parameter, value, f"a function that returns a {kind.__name__}")
    return value


def _no_owner(_flow: bytes) -> str:
    raise AssertionError("the L4 node has no Maglev table yet")


def _never(_request: Request, _end: float) -> None:
    """Schedule nothing: the event loop computes the end of a request when it arrives, and handles failures itself."""
