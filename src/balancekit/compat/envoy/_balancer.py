"""The balancer over a set of hosts of an Envoy cluster, with priority levels, panic mode, localities and a policy.

A cluster has one balancer over all of its hosts, and one for each subset. Each priority level has several sets of hosts: the
healthy hosts, the degraded hosts, all hosts (for panic mode), and each of these by locality. Each set has its own instance of
the policy.

Cost: that of the policy; O(hosts) when health changes.
Source: Envoy 1.40, ``LoadBalancerBase``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, final

from balancekit.compat.envoy._hashed import Hashed
from balancekit.compat.envoy._levels import Distribution, distribute
from balancekit.compat.envoy._localities import LocalityOrder, ZoneAware, ZoneOrder, zone_of
from balancekit.protocols import Selector
from balancekit.snapshot import Members, Node, PickContext, Snapshot

__all__ = ["Balancer", "BalancerOptions"]


class BalancerOptions(NamedTuple):
    """Options that all balancers of a cluster have in common."""

    policy: Callable[[], Selector]
    factor: int
    threshold: int
    locality_weights: Mapping[str, int] | None = None
    zone_aware: ZoneAware | None = None
    keyed: bool = False
    """Whether the policy hashes keys. Such a policy has one table for all localities, and ignores zones and degraded hosts."""


@final
class Balancer:
    """A balancer over a set of hosts with priority levels.

    Parameters
    ----------
    nodes
        The hosts, at least one, in the order of the configuration.
    options
        Policy and settings of the cluster.
    healthy, degraded, draining
        Functions that return the current state of a host.
    """

    __slots__ = (
        "_degraded",
        "_draining",
        "_fails_on_panic",
        "_healthy",
        "_options",
        "distribution",
        "levels",
        "nodes",
    )

    def __init__(
        self,
        nodes: Sequence[Node],
        options: BalancerOptions,
        *,
        healthy: Callable[[str], bool],
        degraded: Callable[[str], bool],
        draining: Callable[[str], bool],
    ) -> None:
        self.nodes: frozenset[str] = frozenset(node.id for node in nodes)
        self._options = options
        self._healthy = healthy
        self._degraded = degraded
        self._draining = draining
        zones = options.zone_aware
        self._fails_on_panic = zones is not None and zones.fail_traffic_on_panic and not options.keyed
        members = Members(tuple(nodes))
        self.levels: list[Level] = [
            Level(members, [node for node in nodes if node.priority == level], options, first=level == 0)
            for level in range(max(node.priority for node in nodes) + 1)
        ]
        for level in self.levels:
            self._show(level)
        self._spread()

    def publish(self, level: Level, *, now: float) -> None:
        """Update the policies of a level with the current states of its hosts."""
        self._show(level)
        level.published, level.due = now, math.inf
        self._spread()

    def pick(self, position: int, ctx: PickContext) -> Node | None:
        """Return the host for a request whose hash or random number is ``position``; ``None`` if there is none."""
        number, degraded = self.distribution.place(position)
        if self.distribution.panic[number] and self._fails_on_panic:
            return None
        return self.levels[number].pick(ctx, panic=self.distribution.panic[number], degraded=degraded)

    def _show(self, level: Level) -> None:
        level.show(
            [node for node in level.nodes if self._healthy(node.id)],
            [node for node in level.nodes if self._degraded(node.id)],
            [node for node in level.nodes if not self._draining(node.id)],
        )

    def _spread(self) -> None:
        self.distribution: Distribution = distribute(
            [len(level.nodes) for level in self.levels],
            [len(level.healthy.nodes) for level in self.levels],
            degraded=[len(level.degraded.nodes) for level in self.levels],
            draining=[len(level.nodes) - level.counted for level in self.levels],
            factor=self._options.factor,
            threshold=self._options.threshold,
        )


@final
class Level:
    """One priority level with its sets of hosts."""

    __slots__ = (
        "_members",
        "_options",
        "_zones",
        "all_hosts",
        "counted",
        "degraded",
        "due",
        "first",
        "healthy",
        "nodes",
        "published",
    )

    def __init__(
        self, members: Members, nodes: Sequence[Node], options: BalancerOptions, *, first: bool
    ) -> None:
        self.nodes: tuple[Node, ...] = tuple(nodes)
        self.first: bool = first
        self.counted: int = len(self.nodes)
        """Number of hosts that are not draining."""
        self.published: float = -math.inf
        """Time of the last update of the policies."""
        self.due: float = math.inf
        """Time of the next update, if a change waits for it; otherwise infinity."""
        self._members = members
        self._options = options
        self._zones: ZoneOrder | None = None
        policy = options.policy
        if options.keyed and options.locality_weights is not None:
            policy = _by_locality(policy, options.locality_weights, self.nodes)
        self.healthy: _HostSet = _HostSet(members, policy)
        self.degraded: _HostSet = _HostSet(members, policy)
        self.all_hosts: _HostSet = _HostSet(members, policy, panic=True)

    def show(self, healthy: Sequence[Node], degraded: Sequence[Node], counted: Sequence[Node]) -> None:
        """Update the sets of hosts. ``counted`` are the hosts that are not draining."""
        self.counted = len(counted)
        for side, nodes in ((self.healthy, healthy), (self.degraded, degraded), (self.all_hosts, self.nodes)):
            side.show(nodes)
        weights = self._options.locality_weights
        if self._options.keyed:
            return
        if weights is not None:
            for side in (self.healthy, self.degraded):
                side.order = LocalityOrder(weights, counted, side.nodes, factor=self._options.factor)
        elif self._options.zone_aware is not None and self.first:
            self._zones = ZoneOrder(self._options.zone_aware, healthy)

    def pick(self, ctx: PickContext, *, panic: bool, degraded: bool) -> Node | None:
        """Return the choice of the policy for a set of hosts."""
        if panic:
            return self.all_hosts.pick(ctx, None)
        side = self.degraded if degraded and not self._options.keyed else self.healthy
        if side.order is not None:
            return side.pick(ctx, side.order.next())
        zone = self._zones.next(ctx.rng) if self._zones is not None and not degraded else None
        return side.pick(ctx, zone)


@final
class _HostSet:
    """A set of hosts of a level, with a policy for the whole set and for each zone."""

    __slots__ = ("_members", "_panic", "_parts", "_policies", "_policy", "nodes", "order")

    def __init__(self, members: Members, policy: Callable[[], Selector], *, panic: bool = False) -> None:
        self.nodes: tuple[Node, ...] = ()
        self.order: LocalityOrder | None = None
        self._members = members
        self._policy = policy
        self._panic = panic
        self._policies: dict[str | None, Selector] = {}
        self._parts: dict[str | None, Snapshot] = {}

    def show(self, nodes: Sequence[Node]) -> None:
        """Replace the hosts. Policies keep their state."""
        self.nodes = tuple(nodes)
        self._parts.clear()

    def pick(self, ctx: PickContext, zone: str | None) -> Node | None:
        """Return the choice of the policy in a zone, or among all hosts if ``zone`` is ``None``."""
        part = self._parts.get(zone)
        if part is None:
            nodes = self.nodes if zone is None else tuple([n for n in self.nodes if zone_of(n) == zone])
            part = self._parts[zone] = Snapshot(self._members, nodes, panic=self._panic)
        policy = self._policies.get(zone)
        if policy is None:
            policy = self._policies[zone] = self._policy()
        return policy.select(part, ctx)


def _by_locality(
    policy: Callable[[], Selector], weights: Mapping[str, int], nodes: Sequence[Node]
) -> Callable[[], Selector]:
    """Return a function that makes the policy with the weights of the localities of a level."""
    present = {zone: weights.get(zone, 0) for zone in {zone_of(node) for node in nodes}}

    def made() -> Selector:
        found = policy()
        if isinstance(found, Hashed):
            found.locality_weights = present
        return found

    return made
