"""One Envoy cluster: the choice of the host for a request.

The steps are: hash policies compute a hash of the request; its metadata choose a subset (``_subsets.py``); priorities and panic
mode choose a level and a set of its hosts (``_levels.py``); a locality is chosen (``_localities.py``); the policy picks a host.
Statuses of responses are the input of outlier detection. A change of health reaches the policies at once or at the end of the
merge window.

The cluster does no I/O and reads no clock: each call has an argument ``now`` in seconds, which must not go back.

Cost: that of the policy; a change of health costs O(hosts) and the building of the policy's tables.
Source: Envoy 1.40.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Final, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import has_methods
from balancekit._support.whole import whole_graph
from balancekit.compat.envoy._balancer import Balancer, BalancerOptions, Level
from balancekit.compat.envoy._health import Health
from balancekit.compat.envoy._host import Host, distinct
from balancekit.compat.envoy._levels import Distribution
from balancekit.compat.envoy._localities import ZoneAware
from balancekit.compat.envoy._outlier import OutlierDetector
from balancekit.compat.envoy._outlier_settings import OutlierDetection
from balancekit.compat.envoy._request import HashPolicy, Request, request_hash
from balancekit.compat.envoy._slow_start import SlowStart
from balancekit.compat.envoy._subsets import Criteria, SubsetIndex, Subsets
from balancekit.errors import ConfigurationError, LeaseError, UnknownEndpointError
from balancekit.events import Ejected, Event, EventSink, Restored
from balancekit.loads import InFlight
from balancekit.protocols import Selector
from balancekit.snapshot import Node, PickContext

__all__ = ["Cluster"]

T = TypeVar("T")

NOT_SERVING: Final = frozenset({Health.UNHEALTHY, Health.DRAINING})
"""States of health after which a host that becomes healthy warms up."""


@final
class Cluster(ConstructorRepr):
    """The choices of one Envoy cluster.

    Parameters
    ----------
    hosts
        The hosts, with distinct names, in the order of the configuration. All are healthy at first.
    policy
        Function that makes the policy: ``envoy.RoundRobin``, or ``lambda: envoy.RingHash(minimum_ring_size=64)``.
    hash_policy
        The parts of a request that a policy with keys hashes.
    overprovisioning_factor
        Percent, >= 100. With 140, a level can lose 28 % of its hosts before traffic goes to the next level.
    healthy_panic_threshold
        Percent of healthy hosts below which panic mode begins, 0 to 100; 0 turns it off.
    update_merge_window
        Seconds, >= 0. A change of health that follows another one within this time is delayed by it.
    slow_start
        Slow start of hosts that become healthy; none if left out.
    outlier_detection
        Settings of outlier detection; none if left out.
    locality_weights
        Weights by zone, whole numbers: shares of the localities. Not allowed together with ``zone_aware``.
    zone_aware
        Settings of zone-aware routing, which prefers the zone of this proxy. Policies that hash ignore it.
    subsets
        Settings of subsets; none if left out.
    listeners
        Called with each event of outlier detection, in the calling thread.
    rng
        Random generator; a new one if left out.
    now
        Time at which the cluster starts.

    Raises
    ------
    ConfigurationError
        If a value has another type or is outside its bounds.

    Example
    -------
    >>> from balancekit.compat.envoy import Cluster, Host, Request
    >>> hosts = [Host(name="a", address="127.0.0.1:18081"), Host(name="b", address="127.0.0.1:18082")]
    >>> from balancekit.compat import envoy
    >>> cluster = Cluster(hosts, envoy.RingHash, hash_policy=[envoy.Header(name="x-key")])
    >>> cluster.acquire(Request(headers={"x-key": "user-80509"}), now=0.0)
    'b'
    >>> cluster.release("b", status=200, now=0.1)
    """

    @checked_arguments
    def __init__(
        self,
        hosts: Iterable[Host],
        policy: Callable[[], Selector],
        *,
        hash_policy: Sequence[HashPolicy] = (),
        overprovisioning_factor: int = 140,
        healthy_panic_threshold: int = 50,
        update_merge_window: float = 1.0,
        slow_start: SlowStart | None = None,
        outlier_detection: OutlierDetection | None = None,
        locality_weights: Mapping[str, int] | None = None,
        zone_aware: ZoneAware | None = None,
        subsets: Subsets | None = None,
        listeners: Iterable[EventSink] = (),
        rng: Random | None = None,
        now: float = 0.0,
    ) -> None:
        configured = distinct(hosts)
        if not all(has_methods(one, "value") for one in hash_policy):
            raise ConfigurationError(
                "hash_policy", hash_policy, "Header, QueryParameter, SourceAddress and the like"
            )
        weights = _zone_weights(locality_weights)
        self._keyed = _hashes(policy)
        self._options = BalancerOptions(
            policy,
            valid.integer("overprovisioning_factor", overprovisioning_factor, minimum=100),
            valid.integer("healthy_panic_threshold", healthy_panic_threshold, minimum=0, maximum=100),
            weights,
            _zone_aware(zone_aware, weights),
            self._keyed,
        )
        self._now = valid.number("now", now)
        self._rng = Random() if rng is None else rng
        self._hash_policy = tuple(hash_policy)
        self._window = valid.number("update_merge_window", update_merge_window, minimum=0.0)
        self._slow_start = _optional("slow_start", slow_start, SlowStart)
        self._listeners = tuple(listeners)
        self._nodes = {host.name: Node(host.endpoint(), InFlight()) for host in configured}
        self._health: dict[str, Health] = {}
        """The health of the hosts that are not healthy, by name."""
        self._ejected: set[str] = set()
        """Hosts that outlier detection has out, after the events delivered so far: those of one tick are delivered one by one."""
        self._warming: dict[str, float] = {}
        detection = _optional("outlier_detection", outlier_detection, OutlierDetection)
        self._detector: OutlierDetector | None = None
        if detection is not None:
            self._detector = OutlierDetector(self._nodes, detection, now=self._now, rng=self._rng)
        chosen = _optional("subsets", subsets, Subsets)
        self._subsets: SubsetIndex | None = None
        if chosen is not None:
            self._subsets = SubsetIndex(chosen, {host.name: host.metadata for host in configured})
        self._all = self._balancer(self._nodes)
        self._by_subset: dict[Criteria, Balancer] = {
            criteria: self._balancer(names)
            for criteria, names in (self._subsets.hosts.items() if self._subsets is not None else ())
        }
        self._balancers: list[Balancer] = [self._all, *self._by_subset.values()]

    # ------------------------------------------------------------------ requests

    @checked_arguments
    def acquire(
        self,
        request: Request | None = None,
        /,
        *,
        now: float,
        hash_policy: Sequence[HashPolicy] | None = None,
    ) -> str | None:
        """Return the host for a request; ``None`` if no host is available, for which Envoy answers 503.

        The request counts as in progress until :meth:`release`.

        Parameters
        ----------
        request
            The request; left out, it has no headers, no metadata and no address.
        now
            Time of its arrival.
        hash_policy
            Hash policies of its route; those of the cluster if left out.
        """
        self._advance(now)
        self._warm()
        policies = self._hash_policy if hash_policy is None else hash_policy
        position = request_hash(policies, request) if self._keyed and request else None
        if position is None:
            position = self._rng.getrandbits(64)
        ctx = PickContext(rng=self._rng, now=self._now, key=position if self._keyed else None)
        for balancer in self._chosen(request):
            node = balancer.pick(position, ctx)
            if node is not None:
                node.inflight += 1
                return node.id
        return None

    @checked_arguments
    def claim(self, host: str, *, now: float) -> None:
        """Count a request as in progress on a host that was chosen in another way, whatever its health."""
        node = self._node(host)
        self._advance(now)
        node.inflight += 1

    @checked_arguments
    def release(self, host: str, *, now: float, status: int | None = 200) -> None:
        """Record that a request has ended with a status; ``None`` for no response."""
        node = self._node(host)
        if not node.inflight:
            raise LeaseError(f"{host!r} has no request in progress")
        self._advance(now)
        node.inflight -= 1
        if self._detector is not None:
            self._apply(self._detector.observe(host, status, now=self._now))

    @checked_arguments
    def active(self, host: str) -> int:
        """Return the number of requests in progress on a host."""
        return self._node(host).inflight

    # ------------------------------------------------------------------ health and time

    @checked_arguments
    @whole_graph
    def set_health(self, host: str, health: Health, *, now: float) -> None:
        """Set the health of a host, as active health checks or the control plane report it."""
        node = self._node(host)
        if not isinstance(health, Health):
            raise ConfigurationError("health", health, valid.members(Health))
        self._advance(now)
        before = self._health.get(host, Health.HEALTHY)
        if health is before:
            return
        if health is Health.HEALTHY:
            del self._health[host]
        else:
            self._health[host] = health
        if before in NOT_SERVING and self._slow_start is not None:
            self._warming[host] = self._now
        self._changed(node)

    @checked_arguments
    @whole_graph
    def check_passed(self, host: str, *, now: float) -> None:
        """Record that an active health check of a host passed. It ends an ejection, unless the host is ``UNHEALTHY``."""
        self._node(host)
        self._advance(now)
        if self._detector is not None and self._health.get(host) is not Health.UNHEALTHY:
            self._apply(self._detector.check_passed(host, now=self._now))

    @checked_arguments
    def healthy(self, host: str) -> bool:
        """Return whether a host is healthy and not ejected. Policies may be updated later, at the end of the merge window."""
        self._node(host)
        return host not in self._health and not self._out(host)

    @property
    def distribution(self) -> Distribution:
        """The load of each priority level, and whether it is in panic mode, for all hosts without subsets."""
        return self._all.distribution

    @property
    def deadline(self) -> float | None:
        """Time of the next call of :meth:`advance`; ``None`` if none is needed."""
        soonest = self._soonest()
        return None if soonest == math.inf else soonest

    @checked_arguments
    def advance(self, *, now: float) -> None:
        """Process what is due until ``now``: ends of merge windows, and returns of ejected hosts."""
        self._advance(now)

    # ------------------------------------------------------------------ inside

    def _soonest(self) -> float:
        due = math.inf
        if self._detector is not None and (tick := self._detector.deadline) is not None:
            due = tick
        for balancer in self._balancers:
            for level in balancer.levels:
                due = min(due, level.due)
        return due

    def _advance(self, now: float) -> None:
        now = valid.number("now", now)
        while (due := self._soonest()) <= now:
            self._now = max(self._now, due)
            for balancer in self._balancers:
                for level in balancer.levels:
                    if level.due <= due:
                        self._publish(balancer, level)
            if self._detector is not None:
                self._apply(self._detector.advance(now=due))
        self._now = max(self._now, now)

    def _balancer(self, hosts: Iterable[str]) -> Balancer:
        return Balancer(
            [self._nodes[host] for host in hosts],
            self._options,
            healthy=self.healthy,
            degraded=self._degraded,
            draining=self._draining,
        )

    def _chosen(self, request: Request | None) -> Iterable[Balancer]:
        """Return the balancers for a request, in the order in which they are tried until one has a host."""
        if self._subsets is None:
            return (self._all,)
        return [self._by_subset[one] for one in self._subsets.tried(request.metadata if request else {})]

    def _degraded(self, host: str) -> bool:
        return self._health.get(host) is Health.DEGRADED and not self._out(host)

    def _draining(self, host: str) -> bool:
        return self._health.get(host) is Health.DRAINING

    def _out(self, host: str) -> bool:
        return host in self._ejected

    def _node(self, host: str) -> Node:
        try:
            return self._nodes[host]
        except KeyError:
            raise UnknownEndpointError(host, tuple(self._nodes)) from None

    def _apply(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Ejected):
                self._ejected.add(event.endpoint)
                self._changed(self._nodes[event.endpoint])
            elif isinstance(event, Restored):
                self._ejected.discard(event.endpoint)
                self._changed(self._nodes[event.endpoint])
            for listener in self._listeners:
                listener(event)

    def _changed(self, node: Node) -> None:
        """Update the policies of a host's level, now or at the end of the merge window.

        The window begins at this change, not at the previous one, as recordings of Envoy show.
        """
        for balancer in self._balancers:
            if node.id not in balancer.nodes:
                continue
            level = balancer.levels[node.priority]
            if self._now - level.published > self._window or self._window == 0:
                self._publish(balancer, level)
            else:
                level.due = min(level.due, self._now + self._window)

    def _publish(self, balancer: Balancer, level: Level) -> None:
        self._warm()
        balancer.publish(level, now=self._now)

    def _warm(self) -> None:
        """Update the shares of weight of hosts that are warming up."""
        if self._slow_start is None:
            return
        for host, since in list(self._warming.items()):
            share = self._slow_start.share(self._now - since)
            self._nodes[host].ramp = share
            if share == 1.0:
                del self._warming[host]


def _hashes(policy: Callable[[], Selector]) -> bool:
    """Return whether the policies that this makes hash."""
    sample = policy() if callable(policy) else None
    if not has_methods(sample, "select"):
        raise ConfigurationError("policy", policy, "a function that makes a selector")
    return bool(getattr(sample, "keyed", False))


def _optional(parameter: str, value: T | None, kind: type[T]) -> T | None:
    """Return an object of a kind, or ``None``."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(parameter, value, f"{kind.__name__}(...) or None")
    return value


def _zone_aware(zones: ZoneAware | None, weights: Mapping[str, int] | None) -> ZoneAware | None:
    """Return zone-aware routing, which goes without locality weights."""
    if zones is not None and (weights is not None or not isinstance(zones, ZoneAware)):
        raise ConfigurationError("zone_aware", zones, "a ZoneAware or None, not with locality_weights")
    return zones


def _zone_weights(weights: Mapping[str, int] | None) -> Mapping[str, int] | None:
    """Return locality weights, checked."""
    if weights is None:
        return None
    if not isinstance(weights, Mapping):
        raise ConfigurationError("locality_weights", weights, "whole numbers by zone")
    return {
        valid.text("locality_weights", zone, empty=True): valid.integer("locality_weights", weight, minimum=0)
        for zone, weight in weights.items()
    }
