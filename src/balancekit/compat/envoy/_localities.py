"""Envoy's localities: weighted among each other, or with the proxy's own zone preferred.

*Weights.* Policies that hash share their table out by them; with others, localities are taken by earliest deadline. The
weight of one is what the configuration says times its availability, ``min(1, factor * healthy / all)``; one without a
weight is never used.

*Zones.* Let ``up`` be a zone's share of the cluster's hosts and ``my`` its share of the proxies, both of the
healthy ones and in parts of 10,000. The proxy's own zone takes ``min(1, up / my)`` of the requests. The rest goes
to zones in proportion to their residual capacity, ``max(0, up - my)``.

Cost: O(zones) a pick at most; O(hosts) when health changes.
Source: Envoy 1.40, ``ZoneAwareLoadBalancerBase``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.compat.envoy._deadlines import Deadlines
from balancekit.errors import ConfigurationError
from balancekit.snapshot import Node

__all__ = ["LocalityOrder", "ZoneAware", "ZoneOrder", "by_locality", "zone_of"]

PARTS: Final = 10_000
"""Envoy counts shares of zones in parts of this."""


class ZoneAware(Record):
    """The settings of zone-aware routing, and what is known of the other proxies.

    Parameters
    ----------
    local_zone
        The zone of this proxy.
    local_zones
        The zone of each healthy proxy of the local cluster, this one included.
    routing_enabled
        Percent of the requests that it concerns.
    min_cluster_size
        Healthy hosts below which it is off.
    fail_traffic_on_panic
        Whether a level in panic has no host for its requests, rather than all of its hosts.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.
    """

    local_zone: str
    local_zones: Sequence[str]
    routing_enabled: int = 100
    min_cluster_size: int = 6
    fail_traffic_on_panic: bool = False

    def _check(self) -> None:
        valid.text("local_zone", self.local_zone)
        if not self.local_zones or not all(isinstance(zone, str) for zone in self.local_zones):
            raise ConfigurationError("local_zones", self.local_zones, "the zone of at least one proxy")
        valid.integer("routing_enabled", self.routing_enabled, minimum=0, maximum=100)
        valid.integer("min_cluster_size", self.min_cluster_size, minimum=0)
        valid.flag("fail_traffic_on_panic", self.fail_traffic_on_panic)


def zone_of(node: Node) -> str:
    """Return a host's zone."""
    return node.metadata.get("zone", "")


def by_locality(nodes: Sequence[Node], weights: Mapping[str, int]) -> tuple[tuple[Node, ...], list[float]]:
    """Return the hosts of localities with a weight, locality by locality, and each one's share of all.

    A locality's share of the weights is shared by those of its hosts that are there; nothing makes up for one without.
    """
    total = sum(weights.values())
    found: list[Node] = []
    shares: list[float] = []
    for zone in sorted(zone for zone, weight in weights.items() if weight):
        there = [node for node in nodes if zone_of(node) == zone]
        together = sum(node.weight for node in there)
        found += there
        shares += [weights[zone] / total * node.weight / together for node in there]
    return tuple(found), shares


@final
class LocalityOrder:
    """Which locality comes next, by earliest deadline.

    Parameters
    ----------
    weights
        By zone; a zone that is not named has none.
    hosts, usable
        The hosts of a level that are not draining, and those that take requests now.
    factor
        Overprovisioning in percent.
    """

    __slots__ = ("_deadlines", "_zones")

    def __init__(
        self, weights: Mapping[str, int], hosts: Sequence[Node], usable: Sequence[Node], *, factor: int
    ) -> None:
        whole, some = Counter(map(zone_of, hosts)), Counter(map(zone_of, usable))
        effective = {
            zone: weights.get(zone, 0) * min(1.0, factor / 100.0 * (some[zone] / total))
            for zone, total in whole.items()
        }
        self._zones = [zone for zone, weight in effective.items() if weight > 0]
        self._deadlines: Deadlines | None = None
        if self._zones:
            self._deadlines = Deadlines([effective[zone] for zone in self._zones], stretch=lambda _: 1.0)

    def next(self) -> str | None:
        """Return the zone that is due, ``None`` if no zone has a weight and a host."""
        return None if self._deadlines is None else self._zones[self._deadlines.pick()]


@final
class ZoneOrder:
    """Which zone takes a request of a proxy that prefers its own.

    Parameters
    ----------
    settings
        The proxy's zone and its fellows'.
    usable
        The healthy hosts of the first level.

    Example
    -------
    >>> from balancekit.compat.envoy import Host
    >>> from balancekit.loads import InFlight
    >>> hosts = [Node(Host(name, zone=name).endpoint(), InFlight()) for name in "ab"]
    >>> order, rng = ZoneOrder(ZoneAware(local_zone="a", local_zones=["a", "a", "b"], min_cluster_size=2), hosts), Random(2)
    >>> round(sum([order.next(rng) == "a" for _ in range(10_000)]) / 10_000, 2)
    0.75
    """

    __slots__ = ("_enabled", "_local", "_residual", "_zone")

    @checked_arguments
    def __init__(self, settings: ZoneAware, usable: Sequence[Node]) -> None:
        up, mine = Counter(map(zone_of, usable)), Counter(settings.local_zones)
        hosts, proxies = len(usable), len(settings.local_zones)
        self._zone = settings.local_zone
        self._enabled = settings.routing_enabled
        self._local: int | None = None
        """Of 10,000 requests, those for the own zone; ``None`` if zones do not matter."""
        self._residual: list[tuple[str, int]] = []
        if hosts < max(1, settings.min_cluster_size) or not mine[self._zone] or not up[self._zone]:
            return
        offered = {zone: PARTS * count // hosts for zone, count in up.items()}
        needed = {zone: PARTS * mine[zone] // proxies for zone in up}
        if offered[self._zone] >= needed[self._zone]:
            self._local = PARTS
            return
        self._local = PARTS * offered[self._zone] // needed[self._zone]
        total = 0
        for zone, share in offered.items():
            if zone != self._zone and share > needed[zone]:
                total += share - needed[zone]
                self._residual.append((zone, total))

    def next(self, rng: Random) -> str | None:
        """Return the zone of a request, ``None`` if any host may take it."""
        if self._local is None or rng.randrange(100) >= self._enabled:
            return None
        if rng.randrange(PARTS) < self._local:
            return self._zone
        if not self._residual:
            return None
        threshold = rng.randrange(self._residual[-1][1])
        return next(zone for zone, end in self._residual if threshold < end)
