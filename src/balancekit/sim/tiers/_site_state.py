"""State of a run in tiers: sites, nodes and servers at one moment, and the decision objects in them.

=========  ================================================================================================
resolver   :class:`~balancekit.gslb.ResolverCache`
GSLB       a policy of :mod:`balancekit.gslb`
router     :class:`~balancekit.l4.Ecmp` over the L4 nodes that are announced
L4 node    :class:`~balancekit.l4.FlowTable` over :class:`~balancekit.hashing.MaglevTable` of the L7 nodes it sees up
L7 node    :class:`~balancekit.l7.RouteTable` over :class:`~balancekit.LoadBalancer`, both its own
server     a queue of :mod:`balancekit.sim`
=========  ================================================================================================

L4 nodes share nothing: two of them agree about a flow because their tables are equal, as long as they see the same L7
nodes up.
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
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.sim._context import Clock, MakeBalancer
from balancekit.sim._queues import FifoQueue
from balancekit.sim._services import draws
from balancekit.sim.tiers._sites import Site

__all__ = ["Flow", "L4Node", "L7Node", "MakeRoutes", "Request", "ServerState", "SiteState"]

T = TypeVar("T")

MakeRoutes: TypeAlias = Callable[[ObservableBalancer[str]], RouteTable[ObservableBalancer[str]]]
"""Makes the route table of an L7 node from the balancer over its site's servers."""

MAGLEV_SIZE = 65_537
"""Slots of the tables of L4 nodes, as in the paper's small setting."""


@final
class Flow:
    """A client's connection: where it goes is decided when its first request comes."""

    __slots__ = ("group", "hash31", "incarnation", "key", "l4", "l7", "left", "resolver", "site", "slot")

    def __init__(self, slot: int, resolver: int, key: bytes, hash31: int, left: int) -> None:
        self.slot: int = slot
        """The client's place in the list of those that are open."""
        self.resolver: int = resolver
        self.key: bytes = key
        self.hash31: int = hash31
        self.left: int = left
        """Requests until the client closes it."""
        self.site: SiteState | None = None
        self.group: Ecmp | None = None
        """The router's next hops when ``l4`` was chosen."""
        self.l4: L4Node | None = None
        self.l7: str | None = None
        """The L7 node that has the connection."""
        self.incarnation: int | None = None
        """Which start of that node has it: once started again, the node has it no more."""


@final
class Request:
    """One request on its way."""

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
        """When the last attempt of the client began."""
        self.reached: float = arrived
        """When it came to an L7 node."""
        self.chosen: float = arrived
        """When it was sent to a server."""
        self.length: float = 0.0
        """Seconds of work."""
        self.incarnation: int = 0
        """Which start of the L4 node it was sent to."""
        self.tries: int = 1
        self.turn: int = 0
        """What was scheduled for an earlier turn is void."""
        self.node: L7Node | None = None
        self.server: ServerState | None = None
        self.lease: Lease[str] | None = None
        self.tried: tuple[str, ...] = ()


class Node:
    """A node that takes one request after another."""

    __slots__ = ("busy", "cost", "down", "free", "incarnation", "name")

    def __init__(self, name: str, requests_per_second: float) -> None:
        self.name: str = name
        self.cost: float = 1.0 / requests_per_second
        self.busy: float = 0.0
        """Seconds of work that it has taken on and not lost."""
        self.free: float = 0.0
        """When it is done with all of it."""
        self.down: bool = False
        self.incarnation: int = 0
        """How often it has been started."""

    def take(self, now: float) -> float:
        """Take on a request; return when it is done with it."""
        self.busy += self.cost
        self.free = end = max(now, self.free) + self.cost
        return end

    def stop(self, now: float) -> None:
        """Lose what has not been done."""
        self.busy = self.worked(now)
        self.free = 0.0

    def worked(self, now: float) -> float:
        """Return how many seconds it has worked."""
        return self.busy - max(0.0, self.free - now)


@final
class L4Node(Node):
    """A node that steers flows to L7 nodes."""

    __slots__ = ("alive", "owner", "table")

    def __init__(self, name: str, site: Site) -> None:
        super().__init__(name, site.l4.requests_per_second)
        self.restart()
        self.alive: frozenset[str] = frozenset()
        """The L7 nodes that its checks see up."""
        self.owner: Callable[[bytes], str] = _no_owner

    def restart(self) -> None:
        """Begin with an empty table."""
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
        """Whether a check finds the node up."""
        return not self.down

    def restart(self) -> None:
        """Begin with a balancer that knows nothing."""
        make, routes = self._make
        self.incarnation += 1
        self.pool: ObservableBalancer[str] = make(self.name)
        require_balancer(self.pool)
        self.routes: RouteTable[ObservableBalancer[str]] = _made("routes", routes(self.pool), RouteTable)
        self.present: set[Request] = set()


@final
class ServerState:
    """A server."""

    __slots__ = ("busy", "down", "lengths", "present", "queue")

    def __init__(self, site: Site, lengths: Iterator[float]) -> None:
        self.queue: FifoQueue[Request] = FifoQueue(site.server, _never)
        self.lengths: Iterator[float] = lengths
        self.busy: float = 0.0
        self.down: bool = False
        self.present: set[Request] = set()

    def stop(self, now: float) -> None:
        """Lose what has not been done."""
        self.busy = self.worked(now)
        self.queue.clear(now)

    def worked(self, now: float) -> float:
        """Return how many seconds its workers have worked, added up."""
        return self.busy - sum([max(0.0, free - now) for free in self.queue.free])


@final
class SiteState:
    """A site and all that is in it."""

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
        """Those that the router sends flows to."""
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
        """Have the router send flows to the L4 nodes that it knows to be there."""
        self.group: Ecmp | None = Ecmp(list(self.announced)) if self.announced else None

    def see(self, node: L4Node, alive: frozenset[str]) -> None:
        """Have an L4 node steer new flows to these L7 nodes; to all, if it sees none up."""
        known = alive or frozenset(self.l7)
        table = self._tables.get(known)
        if table is None:
            table = self._tables[known] = MaglevTable(sorted(known), size=MAGLEV_SIZE)
        node.alive = known
        node.owner = table.lookup

    def serves(self) -> bool:
        """Whether a check from outside finds the site up: something in each tier is."""
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
    raise AssertionError("an L4 node steers to the L7 nodes that it sees")


def _never(_request: Request, _end: float) -> None:
    """Schedule nothing: the end of a request is known when it comes, and its breaking is the run's affair."""
