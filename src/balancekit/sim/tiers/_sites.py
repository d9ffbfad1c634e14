"""Sites of a simulation of tiers, and losses in them.

A site has L4 nodes, L7 nodes and servers. An L4 or L7 node serves one request after another, in the order of their
arrival. A server serves requests as its :class:`~balancekit.sim.Server` describes.
"""

from __future__ import annotations

import math
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.sim._queues import Server

__all__ = ["TIERS", "Loss", "Nodes", "Site"]

TIERS: Final = ("site", "l4", "l7", "server")
"""Names of the tiers that can be lost, in the order in which a request passes them."""


@final
class Nodes(Record):
    """The nodes of one tier in one site.

    Parameters
    ----------
    count
        Number of nodes, 1 to 10,000.
    requests_per_second
        Capacity of one node, > 0, or infinite. A request occupies a node for the inverse of it.

    Raises
    ------
    ConfigurationError
        If ``count`` is outside 1 to 10,000, or ``requests_per_second`` is not > 0.
    """

    count: int
    requests_per_second: float

    def _check(self) -> None:
        valid.integer("count", self.count, minimum=1, maximum=10_000)
        valid.number("requests_per_second", self.requests_per_second, above=0.0, infinite=True)


@final
class Site(Record):
    """One site of a simulation of tiers.

    Parameters
    ----------
    l4, l7
        The L4 nodes and the L7 nodes of the site.
    servers
        Number of servers, 1 to 10,000.
    server
        Description of each server. Its discipline must be ``"fifo"``.
    weight
        Weight of the site in DNS answers, >= 1.

    Raises
    ------
    ConfigurationError
        If ``l4`` or ``l7`` is no ``Nodes``, ``server`` is no ``Server`` with ``fifo``, or a number is outside
        its bounds.
    """

    l4: Nodes
    l7: Nodes
    servers: int
    server: Server
    weight: int = 1

    def _check(self) -> None:
        for name in ("l4", "l7"):
            if not isinstance(getattr(self, name), Nodes):
                raise ConfigurationError(name, getattr(self, name), "Nodes")
        if not isinstance(self.server, Server):
            raise ConfigurationError("server", self.server, "a Server")
        if self.server.discipline != "fifo":
            raise ConfigurationError("server", self.server, "a Server with discipline='fifo'")
        valid.integer("servers", self.servers, minimum=1, maximum=10_000)
        valid.integer("weight", self.weight, minimum=1)

    def count(self, tier: str) -> int:
        """Return the number of nodes of a tier. The tier ``"site"`` has one.

        Raises
        ------
        KeyError
            If ``tier`` is not one of ``"site"``, ``"l4"``, ``"l7"`` and ``"server"``.
        """
        return {"site": 1, "l4": self.l4.count, "l7": self.l7.count, "server": self.servers}[tier]


@final
class Loss(Record):
    """The loss of a node or a whole site for some time.

    A lost site or L4 node is silent, like a machine without power: requests to it are never answered. A lost L7 node or
    server refuses, like a machine whose process was killed: requests in progress and new requests fail at once. A node or
    server that returns has lost its state: its tables, its balancer and its queue are empty. A site returns with its
    state.

    Parameters
    ----------
    tier
        ``"site"``, ``"l4"``, ``"l7"`` or ``"server"``.
    site
        Id of the site.
    node
        Number of the node in its tier, from 0. For a site it must be 0.
    at
        Begin of the loss in seconds, >= 0.
    seconds
        Length of the loss, > 0; infinite if left out.

    Raises
    ------
    ConfigurationError
        If ``tier`` is unknown, ``site`` is empty, or a number is outside its bounds.
    """

    tier: str
    site: str
    at: float
    node: int = 0
    seconds: float = math.inf

    def _check(self) -> None:
        if self.tier not in TIERS:
            raise ConfigurationError("tier", self.tier, f"one of {', '.join(TIERS)}")
        valid.text("site", self.site)
        valid.number("at", self.at, minimum=0.0)
        valid.integer("node", self.node, minimum=0)
        if self.seconds != math.inf:
            valid.number("seconds", self.seconds, above=0.0)
