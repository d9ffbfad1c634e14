"""The entry of one endpoint in a state of the pool: its node, its membership and its health.

A member is immutable. A change creates a new member in a new :class:`~balancekit.engine.state.PoolState`. The node and
the health machine are mutable; the old and the new member share them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from balancekit.endpoint import Endpoint
from balancekit.engine.hooks import HealthHooks, Reading
from balancekit.errors import Reason
from balancekit.health import MEMBERSHIP, Health, Membership, Move, following, shown
from balancekit.node import Node

__all__ = ["Member"]

_REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {Health.SUPPRESSED.value: Reason.SUPPRESSED, Health.UNKNOWN.value: Reason.UNKNOWN},
)


class Member(NamedTuple):
    """The entry of one endpoint in one state of the pool."""

    node: Node
    endpoint: Endpoint[object]
    """The endpoint as it is configured in this state."""
    health: HealthHooks | None = None
    membership: Membership = Membership.SERVING
    drain_deadline: float = math.inf
    drained_emitted: bool = False
    """Whether a ``Drained`` event was emitted. No second one follows until the endpoint serves again."""
    cooling: float | None = None
    """The time until which the endpoint cools down; ``None`` if no answer had a ``Retry-After``."""
    healthy: bool = True
    """Whether health allows the endpoint to be picked."""
    ramping: bool = False
    """Whether the endpoint receives less than its usual share."""
    health_deadline: float = math.inf
    """The time at which the health machine is due; infinity if it is not."""

    def moved(self, move: Move) -> Member:
        """Return the member after a transition of the membership table; the same member if nothing changes."""
        membership = following(MEMBERSHIP, self.membership, move)
        return self if membership is self.membership else self._replace(membership=membership)

    def read(self) -> Reading:
        """Return the present values of the health machine."""
        return Reading() if self.health is None else self.health.read()

    def with_health(self, reading: Reading) -> Member:
        """Return the member with the values of a reading; the same member if nothing changes."""
        healthy, ramping, deadline = reading
        if healthy == self.healthy and ramping == self.ramping and deadline == self.health_deadline:
            return self
        return self._replace(healthy=healthy, ramping=ramping, health_deadline=deadline)

    def watch(self) -> None:
        """Make the node report successes if the health machine needs them, and set its ramp and trial."""
        health = self.health
        self.node.set_watch(health_watching=health is not None and health.watching)
        if health is not None:
            self.node.ramp = health.ramp
            self.node.trial = health.places(self.node.inflight)

    @property
    def due(self) -> float:
        """The time at which something is due for this member; infinity if nothing is."""
        if self.membership is not Membership.SERVING:
            return self.drain_deadline
        return self.health_deadline if self.cooling is None else min(self.cooling, self.health_deadline)

    @property
    def serving(self) -> bool:
        """Whether the endpoint is neither draining nor drained."""
        return self.membership is Membership.SERVING

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked: it serves, it is healthy and it does not cool down."""
        return self.healthy and self.cooling is None and self.membership is Membership.SERVING

    @property
    def visible(self) -> tuple[bool, ...]:
        """The values on which a snapshot depends. If they change, the snapshot is rebuilt."""
        return self.serving, self.healthy, self.cooling is None, self.ramping

    @property
    def state(self) -> str:
        """The name of the present state."""
        if self.serving and self.cooling is not None and self.healthy:
            return "cooling"
        return shown(Health.HEALTHY.value if self.health is None else self.health.state, self.membership)

    @property
    def back_at(self) -> float:
        """The later of the ends of ejection and cooling; infinity if neither has an end."""
        ejected_until = -math.inf if self.healthy or self.health is None else self.health.deadline
        latest = ejected_until if self.cooling is None else max(ejected_until, self.cooling)
        return latest if latest > -math.inf else math.inf

    @property
    def reason(self) -> Reason | None:
        """The reason for which the endpoint may not be picked; ``None`` if it may."""
        if not self.serving:
            return Reason.DRAINING
        if not self.healthy and self.health is not None:
            return _REASONS.get(self.health.state, Reason.EJECTED)
        if self.cooling is not None:
            return Reason.COOLING
        return None if self.endpoint.weight else Reason.ZERO_WEIGHT
