"""Sites of a simulation in tiers, and what is lost in them.

A site has L4 nodes, L7 nodes and servers. A node of L4 or L7 takes one request after another, in order; a server as its
:class:`~balancekit.sim.Server` says.
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
"""What can be lost, from the client on."""


@final
class Nodes(Record):
    """The nodes of one tier in one site.

    Parameters
    ----------
    count
        How many, 1 to 10,000.
    requests_per_second
        What a node can take at full load, > 0; a request keeps it for the inverse of that.

    Raises
    ------
    ConfigurationError
        If ``count`` is outside 1 to 10,000, or ``requests_per_second`` is not > 0.
    """

    count: int
    requests_per_second: float

    def _check(self) -> None:
        valid.integer("count", self.count, minimum=1, maximum=10_000)
        valid.number("requests_per_second", self.requests_per_second, above=0.0)


@final
class Site(Record):
    """One site.

    Parameters
    ----------
    l4, l7
        Its nodes in front of the servers.
    servers
        How many servers, 1 to 10,000.
    server
        What each of them is like, with the discipline ``fifo``.
    weight
        Of the site in DNS answers, >= 1.

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
        """Return how many nodes a tier has; one site is one."""
        return {"site": 1, "l4": self.l4.count, "l7": self.l7.count, "server": self.servers}[tier]


@final
class Loss(Record):
    """A node of a tier, or a whole site, that is lost for a while.

    A site and an L4 node fall silent, as a cut wire or a dead machine does: what is sent to them is never answered. An L7
    node and a server refuse, as a killed process does: what is in them breaks at once, and so does what comes. A node or
    server that returns is new: its tables, its balancer and its queue are empty. A site returns as it was.

    Parameters
    ----------
    tier
        ``"site"``, ``"l4"``, ``"l7"`` or ``"server"``.
    site
        Its id.
    node
        Its number in the tier, from 0.
    at
        Seconds, >= 0.
    seconds
        For how long, > 0; for good if left out.

    Raises
    ------
    ConfigurationError
        If ``tier`` is another word, ``site`` is empty, or a number is outside its bounds.
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
