"""Anycast: one address announced from many sites, and the network decides which site a client reaches.

A *catchment* is the set of clients that reach a site. The model is the shortest path, ties by the site's name;
withdrawing a site moves exactly its own catchment. :class:`Site` decides when a site announces. It withdraws
when too little of it is up, and returns only after damping, because each change of a route moves clients'
connections.

Source: BGP best-path selection reduced to path length; RFC 2439 for damping.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.record import Record
from balancekit._support.whole import whole
from balancekit.errors import ConfigurationError
from balancekit.health import Damping, FlapDamping

__all__ = ["Site", "SiteMachine", "Topology", "catchments", "moved"]


class Topology(Record):
    """Nodes and the cost of the links between them; a link works both ways.

    Parameters
    ----------
    links
        By node: cost (a whole number >= 1, for example AS hops) by neighbour. If a link is given from both ends,
        the lower cost counts.

    Raises
    ------
    ConfigurationError
        For a cost below 1.

    Example
    -------
    >>> from balancekit.gslb import Topology
    >>> sorted(Topology(links={"isp": {"eu": 1, "us": 2}}).neighbours("eu").items())
    [('isp', 1)]
    """

    links: Mapping[str, Mapping[str, int]]

    def _check(self) -> None:
        both: dict[str, dict[str, int]] = {}
        for node, neighbours in self.links.items():
            both.setdefault(node, {})
            for other, given in neighbours.items():
                cost = valid.integer("cost", given, minimum=1)
                for here, there in ((node, other), (other, node)):
                    known = both.setdefault(here, {})
                    known[there] = min(cost, known.get(there, cost))
        self.__dict__["_both"] = both

    @checked_arguments
    def neighbours(self, node: str) -> Mapping[str, int]:
        """Return the cost of the link to each neighbour."""
        found: Mapping[str, int] = self.__dict__["_both"].get(node, {})
        return found


@checked_arguments
def catchments(topology: Topology, announcing: Iterable[str]) -> dict[str, str]:
    """Return the site that each node reaches; nodes that reach none are not in it.

    Parameters
    ----------
    topology
        The network.
    announcing
        The sites that announce the address; they are nodes of the topology.

    Raises
    ------
    ConfigurationError
        For a site that is no node.

    Cost: O(links * log nodes).

    Example
    -------
    >>> from balancekit.gslb import Topology, catchments
    >>> world = Topology(links={"isp-1": {"eu": 1, "us": 3}, "isp-2": {"us": 1, "isp-1": 1}})
    >>> catchments(world, ["eu", "us"])
    {'eu': 'eu', 'us': 'us', 'isp-1': 'eu', 'isp-2': 'us'}
    >>> catchments(world, ["eu"])["isp-2"]
    'eu'
    """
    reached: dict[str, str] = {}
    queue: list[tuple[int, str, str]] = []
    for site in announcing:
        if site not in topology.__dict__["_both"]:
            raise ConfigurationError("announcing", site, "sites that are nodes of the topology")
        heapq.heappush(queue, (0, site, site))
    while queue:
        distance, site, node = heapq.heappop(queue)
        if node in reached:
            continue
        reached[node] = site
        for other, cost in topology.neighbours(node).items():
            if other not in reached:
                heapq.heappush(queue, (distance + cost, site, other))
    return reached


@checked_arguments
def moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return old and new site of each node that reaches another one, or none any more.

    Example
    -------
    >>> from balancekit.gslb import moved
    >>> moved({"isp-1": "eu", "isp-2": "us"}, {"isp-1": "us", "isp-2": "us"})
    {'isp-1': ('eu', 'us')}
    """
    nodes = dict.fromkeys((*before, *after))
    return {
        node: (before.get(node), after.get(node)) for node in nodes if before.get(node) != after.get(node)
    }


class Site(Record):
    """Announce while enough of a site is up; after a withdrawal wait, longer if it flaps.

    Parameters
    ----------
    threshold
        The share of the site that must be up, in (0, 1].
    hold_down
        Seconds for which this share must have been up before the site announces again, >= 0.
    damping
        The penalty of a withdrawal; ``None`` for none.

    Raises
    ------
    ConfigurationError
        If ``threshold`` is outside (0, 1], or ``hold_down`` is negative.

    *Guarantee.* At most one announcement per ``hold_down`` seconds; and with damping none while the penalty is
    above ``reuse``.

    *When not to use it:* to drain a site for maintenance: withdraw it by hand.

    Example
    -------
    >>> from balancekit.gslb import Site
    >>> site = Site(hold_down=30.0)()
    >>> [site.observe(share=share, now=now) for now, share in ((0.0, 1.0), (5.0, 0.2), (10.0, 1.0), (40.0, 1.0))]
    [True, False, False, True]
    """

    threshold: float = 0.5
    hold_down: float = 60.0
    damping: FlapDamping | None = FlapDamping()

    def _check(self) -> None:
        valid.number("threshold", self.threshold, above=0.0, maximum=1.0)
        valid.number("hold_down", self.hold_down, minimum=0.0)

    def __call__(self) -> SiteMachine:
        """Make the machine of one site."""
        return SiteMachine(self)


@final
class SiteMachine(StateRepr):
    """Whether one site announces. Made by :class:`Site`; knows no clock."""

    __slots__ = ("_config", "_damper", "_up_since", "announcing")

    @checked_arguments
    def __init__(self, config: Site) -> None:
        self._config: Final = config
        self._damper = None if config.damping is None else config.damping()
        self._up_since: float | None = None
        self.announcing: bool | None = None
        """Whether the site announces; ``None`` before the first observation."""

    @property
    def deadline(self) -> float | None:
        """When :meth:`advance` would announce; ``None`` if nothing but an observation changes anything."""
        if self.announcing is not False or self._up_since is None:
            return None
        at = self._up_since + self._config.hold_down
        if self._damper is not None and self._damper.state is Damping.SUPPRESSED:
            return max(at, self._damper.reuse_at)
        return at

    @whole
    @checked_arguments
    def observe(self, *, share: float, now: float) -> bool:
        """Record which share of the site is up, in [0, 1]; return whether it announces."""
        up = valid.number("share", share, minimum=0.0, maximum=1.0) >= self._config.threshold
        if self.announcing is None:
            self.announcing = up
        if not up:
            if self.announcing and self._damper is not None:
                self._damper.flap(now=now)
            self.announcing = False
            self._up_since = None
        elif self._up_since is None:
            self._up_since = now
        return self.advance(now=now)

    @checked_arguments
    def advance(self, *, now: float) -> bool:
        """Let time pass; return whether the site announces."""
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            self.announcing = True
        return bool(self.announcing)

    def _saved(self) -> tuple[Any, ...]:
        return self.announcing, self._up_since, copy(self._damper)

    def _restore(self, saved: tuple[Any, ...]) -> None:
        self.announcing, self._up_since, self._damper = saved
