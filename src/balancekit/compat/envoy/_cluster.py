"""One Envoy cluster, from the headers of a request to the host that takes it.

In order: the hash policies make a position of the request; priorities and panic choose a level and whether
its unhealthy hosts count (``_levels.py``); the level's own policy picks a host. What the answers were feeds
outlier detection, and changed health reaches the policies at once, or when the merge window ends.

It does no I/O and reads no clock: ``now`` is given with every call, and never goes back.

Cost: that of the policy; a change of health costs O(hosts) and the policy's tables.
Source: Envoy 1.40.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.compat.envoy._health import Health
from balancekit.compat.envoy._host import Host, distinct
from balancekit.compat.envoy._levels import Distribution, distribute
from balancekit.compat.envoy._outlier import OutlierDetection, OutlierDetector
from balancekit.compat.envoy._request import HashPolicy, Request, request_hash
from balancekit.compat.envoy._slow_start import SlowStart
from balancekit.errors import ConfigurationError, LeaseError, UnknownEndpointError
from balancekit.events import Ejected, Event, EventSink, Restored
from balancekit.loads import InFlight
from balancekit.protocols import Selector
from balancekit.snapshot import Members, Node, PickContext, Snapshot

__all__ = ["Cluster"]


@final
class Cluster:
    """The choices of one Envoy cluster.

    Parameters
    ----------
    hosts
        In the order of the configuration, names each once. All of them are healthy at first.
    policy
        Makes the policy: ``envoy.RoundRobin``, or ``lambda: envoy.RingHash(minimum_ring_size=64)``.
    hash_policy
        What of a request policies with keys hash.
    overprovisioning_factor
        Percent, >= 100: 140 lets a level lose 28 % of its hosts before traffic spills over.
    healthy_panic_threshold
        Percent, 0 to 100; 0 turns panic off.
    update_merge_window
        Seconds, >= 0: a change of health within that time of the one before waits as long.
    slow_start
        How hosts that become healthy warm up; at once if left out.
    outlier_detection
        What ejects hosts; nothing if left out.
    listeners
        Called with every event of outlier detection.
    rng
        The source of randomness; a fresh one if left out.
    now
        When the cluster starts.

    Raises
    ------
    ConfigurationError
        For any value outside those bounds.

    Example
    -------
    >>> from balancekit.compat.envoy import Host
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
        listeners: Iterable[EventSink] = (),
        rng: Random | None = None,
        now: float = 0.0,
    ) -> None:
        nodes = [Node(host.endpoint(), InFlight()) for host in distinct(hosts)]
        sample = policy() if callable(policy) else None
        if not callable(getattr(sample, "select", None)):
            raise ConfigurationError("policy", policy, "a function that makes a selector")
        if not all(callable(getattr(one, "value", None)) for one in hash_policy):
            raise ConfigurationError(
                "hash_policy", hash_policy, "Header, QueryParameter, SourceAddress and the like"
            )
        if not isinstance(slow_start, SlowStart | None):
            raise ConfigurationError("slow_start", slow_start, "a SlowStart or None")
        if not isinstance(outlier_detection, OutlierDetection | None):
            raise ConfigurationError("outlier_detection", outlier_detection, "an OutlierDetection or None")
        self._now = valid.number("now", now)
        self._rng = Random() if rng is None else rng
        self._hash_policy = tuple(hash_policy)
        self._keyed = bool(getattr(sample, "keyed", False))
        self._factor = valid.integer("overprovisioning_factor", overprovisioning_factor, minimum=100)
        self._threshold = valid.integer(
            "healthy_panic_threshold", healthy_panic_threshold, minimum=0, maximum=100
        )
        self._window = valid.number("update_merge_window", update_merge_window, minimum=0.0)
        self._slow_start = slow_start
        self._listeners = tuple(listeners)
        self._nodes = {node.id: node for node in nodes}
        self._unhealthy: set[str] = set()
        self._warming: dict[str, float] = {}
        self._detector: OutlierDetector | None = None
        if outlier_detection is not None:
            self._detector = OutlierDetector(self._nodes, outlier_detection, now=self._now, rng=self._rng)
        members = Members(tuple(nodes))
        self._levels = [
            _Level(members, [node for node in nodes if node.priority == level], policy)
            for level in range(max(node.priority for node in nodes) + 1)
        ]
        self._spread()

    # ------------------------------------------------------------------ requests

    @checked_arguments
    def acquire(self, request: Request | None = None, /, *, now: float) -> str | None:
        """Return the host that takes a request; ``None`` means 503, none is healthy.

        The request counts as in progress until :meth:`release`.
        """
        self.advance(now=now)
        self._warm()
        position = request_hash(self._hash_policy, request) if self._keyed and request else None
        if position is None:
            position = self._rng.getrandbits(64)
        number = self._distribution.level(position)
        level = self._levels[number]
        ctx = PickContext(rng=self._rng, now=self._now, key=position if self._keyed else None)
        node = level.pick(ctx, panic=self._distribution.panic[number])
        if node is None:
            return None
        node.inflight += 1
        return node.id

    @checked_arguments
    def release(self, host: str, *, now: float, status: int = 200) -> None:
        """Record that a request ended, and with which status."""
        node = self._node(host)
        if not node.inflight:
            raise LeaseError(f"{host!r} has no request in progress")
        self.advance(now=now)
        node.inflight -= 1
        if self._detector is not None:
            self._tell(self._detector.observe(host, status, now=self._now))

    @checked_arguments
    def active(self, host: str) -> int:
        """Return how many requests are in progress on a host."""
        return self._node(host).inflight

    # ------------------------------------------------------------------ health and time

    @checked_arguments
    def set_health(self, host: str, health: Health, *, now: float) -> None:
        """Set what active health checks, or the control plane, know of a host."""
        node = self._node(host)
        if not isinstance(health, Health):
            raise ConfigurationError("health", health, "Health.HEALTHY or Health.UNHEALTHY")
        self.advance(now=now)
        if (health is Health.UNHEALTHY) == (host in self._unhealthy):
            return
        if health is Health.UNHEALTHY:
            self._unhealthy.add(host)
        else:
            self._unhealthy.discard(host)
            if self._slow_start is not None:
                self._warming[host] = self._now
        self._changed(node)

    @checked_arguments
    def healthy(self, host: str) -> bool:
        """Whether a host is healthy: neither failed nor ejected. Policies may learn of it later."""
        self._node(host)
        return host not in self._unhealthy and not (self._detector is not None and self._detector.out(host))

    @property
    def distribution(self) -> Distribution:
        """What each priority level takes, and whether it ignores health."""
        return self._distribution

    @property
    def deadline(self) -> float | None:
        """When :meth:`advance` is due, ``None`` if nothing is."""
        due = [level.due for level in self._levels]
        if self._detector is not None and (tick := self._detector.deadline) is not None:
            due.append(tick)
        soonest = min(due)
        return None if soonest == math.inf else soonest

    @checked_arguments
    def advance(self, *, now: float) -> None:
        """Let time pass up to ``now``: merge windows end, ejected hosts return."""
        now = valid.number("now", now)
        while (due := self.deadline) is not None and due <= now:
            self._now = max(self._now, due)
            for level in self._levels:
                if level.due <= due:
                    self._publish(level)
            if self._detector is not None:
                self._tell(self._detector.advance(now=due))
        self._now = max(self._now, now)

    # ------------------------------------------------------------------ inside

    def _node(self, host: str) -> Node:
        try:
            return self._nodes[host]
        except KeyError:
            raise UnknownEndpointError(host, tuple(self._nodes)) from None

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Ejected | Restored):
                self._changed(self._nodes[event.endpoint])
            for listener in self._listeners:
                listener(event)

    def _changed(self, node: Node) -> None:
        """Let a level's policies hear of a change, now or when the merge window ends.

        The window is counted from this change, not from the one before: that is what the traces show.
        """
        level = self._levels[node.priority]
        if self._now - level.published > self._window or self._window == 0:
            self._publish(level)
        else:
            level.due = min(level.due, self._now + self._window)

    def _publish(self, level: _Level) -> None:
        self._warm()
        level.publish([node for node in level.nodes if self.healthy(node.id)], now=self._now)
        self._spread()

    def _spread(self) -> None:
        self._distribution = distribute(
            [len(level.nodes) for level in self._levels],
            [len(level.healthy.eligible) for level in self._levels],
            factor=self._factor,
            threshold=self._threshold,
        )

    def _warm(self) -> None:
        """Set what warming hosts take now."""
        if self._slow_start is None:
            return
        for host, since in list(self._warming.items()):
            share = self._slow_start.share(self._now - since)
            self._nodes[host].ramp = share
            if share == 1.0:
                del self._warming[host]


@final
class _Level:
    """One priority level: its hosts, healthy and all, each side with its own order of turns."""

    def __init__(self, members: Members, nodes: Sequence[Node], policy: Callable[[], Selector]) -> None:
        self.nodes: tuple[Node, ...] = tuple(nodes)
        self.published: float = -math.inf
        """When the policies last heard of a change."""
        self.due: float = math.inf
        """When they hear of the next one that waits."""
        self.healthy: Snapshot = Snapshot(members, self.nodes)
        self.all_hosts: Snapshot = Snapshot(members, self.nodes, panic=True)
        self._members = members
        self._among_healthy = policy()
        self._among_all_hosts = policy()

    def publish(self, healthy: Sequence[Node], *, now: float) -> None:
        """Show both policies which hosts are healthy."""
        self.healthy = Snapshot(self._members, tuple(healthy))
        self.all_hosts = Snapshot(self._members, self.nodes, panic=True)
        self.published, self.due = now, math.inf

    def pick(self, ctx: PickContext, *, panic: bool) -> Node | None:
        """Return the policy's choice."""
        if panic:
            return self._among_all_hosts.select(self.all_hosts, ctx)
        return self._among_healthy.select(self.healthy, ctx)
