"""Envoy's localities: weighted localities, and zone-aware routing, which prefers the proxy's own zone.

*Locality weights.* Policies that hash divide their table by them. For other policies, localities are chosen by earliest deadline.
The effective weight of a locality is its configured weight times its availability, ``min(1, factor * healthy / all)``. A locality
without a weight is never used.

*Zone-aware routing.* Let ``up`` be a zone's share of the cluster's healthy hosts, and ``my`` its share of the healthy proxies, both
in parts of 10,000. The proxy's own zone gets ``min(1, up / my)`` of the requests. The rest goes to other zones in proportion to
their residual capacity, ``max(0, up - my)``.

Cost: O(zones) per pick; O(hosts) when health changes.
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
"""Envoy computes shares of zones as fractions of this number."""


class ZoneAware(Record):
    """Settings of zone-aware routing, and the zones of the proxies.

    Parameters
    ----------
    local_zone
        Zone of this proxy.
    local_zones
        Zone of each healthy proxy of the local cluster, including this one.
    routing_enabled
        Percent of the requests for which zone-aware routing is used, 0 to 100.
    min_cluster_size
        Number of healthy hosts below which it is not used, >= 0.
    fail_traffic_on_panic
        Whether requests to a level in panic mode fail. Otherwise they go to all hosts of the level.

    Raises
    ------
    ConfigurationError
        If ``local_zone`` is empty; ``local_zones`` is empty or has a key that is no string; ``routing_enabled`` is no
        integer from 0 to 100; ``min_cluster_size`` is no integer >= 0; or ``fail_traffic_on_panic`` is no bool.
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
    """Return the zone of a host; empty if it has none."""
    return node.metadata.get("zone", "")


def by_locality(nodes: Sequence[Node], weights: Mapping[str, int]) -> tuple[tuple[Node, ...], list[float]]:
    """Return the hosts of all localities that have a weight, sorted by locality, and the share of each host.

    The hosts of a locality divide its share. The share of a locality without hosts is not given to others.
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
    """The order of localities by earliest deadline.

    Parameters
    ----------
    weights
        Weights by zone. A zone that is left out has weight 0.
    hosts
        Hosts of a level that are not draining.
    usable
        Hosts of them that may get requests.
    factor
        Overprovisioning factor in percent.
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
        """Return the next zone; ``None`` if no zone has a weight and a host."""
        return None if self._deadlines is None else self._zones[self._deadlines.pick()]


@final
class ZoneOrder:
    """The random choice of a zone in zone-aware routing.

    Parameters
    ----------
    settings
        Settings and zones of the proxies.
    usable
        Healthy hosts of the first priority level.

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
        up, local = Counter(map(zone_of, usable)), Counter(settings.local_zones)
        hosts, proxies = len(usable), len(settings.local_zones)
        self._zone = settings.local_zone
        self._enabled = settings.routing_enabled
        self._local: int | None = None
        """Share of the requests for the proxy's own zone, in parts of 10,000; ``None`` if zones are not used."""
        self._residual: list[tuple[str, int]] = []
        if hosts < max(1, settings.min_cluster_size) or not local[self._zone] or not up[self._zone]:
            return
        offered = {zone: PARTS * count // hosts for zone, count in up.items()}
        needed = {zone: PARTS * local[zone] // proxies for zone in up}
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
        """Return the zone of a request; ``None`` if all hosts may get it."""
        if self._local is None or rng.randrange(100) >= self._enabled:
            return None
        if rng.randrange(PARTS) < self._local:
            return self._zone
        if not self._residual:
            return None
        threshold = rng.randrange(self._residual[-1][1])
        return next(zone for zone, end in self._residual if threshold < end)
