"""One endpoint's place in the pool: its node, its membership and what health says of it.

A member is a value. A change of any of these makes a new member in a new :class:`~balancekit.engine.state.PoolState`;
the node and the health machine it refers to are live and outlive it.
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
    """One endpoint's place in the pool, as of one state."""

    node: Node
    endpoint: Endpoint[object]
    """The configured facts that belong to this state."""
    health: HealthHooks | None = None
    membership: Membership = Membership.SERVING
    drain_deadline: float = math.inf
    told_drained: bool = False
    """Whether a ``Drained`` event has said that the endpoint is drained: none follows until it serves again."""
    cooling: float | None = None
    """Until when the endpoint cools down, if its answer named a time."""
    well: bool = True
    """Whether health lets the endpoint be picked."""
    ramping: bool = False
    """Whether the endpoint takes less than its share."""
    health_deadline: float = math.inf
    """When something is due for the health machine, infinity if nothing is."""

    def moved(self, move: Move) -> Member:
        """Return the member after a move by the table of memberships; itself if nothing changes."""
        membership = following(MEMBERSHIP, self.membership, move)
        return self if membership is self.membership else self._replace(membership=membership)

    def read(self) -> Reading:
        """Return what the health machine says now."""
        return Reading() if self.health is None else self.health.read()

    def with_health(self, reading: Reading) -> Member:
        """Return the member with what its health machine said; itself if nothing changes."""
        well, ramping, deadline = reading
        if well == self.well and ramping == self.ramping and deadline == self.health_deadline:
            return self
        return self._replace(well=well, ramping=ramping, health_deadline=deadline)

    def watch(self) -> None:
        """Have the node report successes if health needs them, and hold it back as far as it should."""
        health = self.health
        self.node.set_watch(health_watching=health is not None and health.watching)
        if health is not None:
            self.node.ramp = health.ramp
            self.node.trial = _places(self.node, health.trial)

    @property
    def due(self) -> float:
        """When something is due for this member, infinity if nothing is."""
        if self.membership is not Membership.SERVING:
            return self.drain_deadline
        return self.health_deadline if self.cooling is None else min(self.cooling, self.health_deadline)

    @property
    def serving(self) -> bool:
        """Whether the endpoint takes new requests, as far as its health allows."""
        return self.membership is Membership.SERVING

    @property
    def eligible(self) -> bool:
        """Whether neither health nor membership keeps the endpoint from being picked."""
        return self.well and self.cooling is None and self.membership is Membership.SERVING

    @property
    def visible(self) -> tuple[bool, ...]:
        """What a snapshot shows of the member."""
        return self.serving, self.well, self.cooling is None, self.ramping

    @property
    def state(self) -> str:
        """The name of the present state."""
        if self.serving and self.cooling is not None and self.well:
            return "cooling"
        return shown(Health.HEALTHY.value if self.health is None else self.health.state, self.membership)

    @property
    def back_at(self) -> float:
        """When nothing that has an end keeps the endpoint out any more, infinity if nothing has one."""
        ill = -math.inf if self.well or self.health is None else self.health.deadline
        latest = ill if self.cooling is None else max(ill, self.cooling)
        return latest if latest > -math.inf else math.inf

    @property
    def reason(self) -> Reason | None:
        """Why the endpoint may not be picked; ``None`` if it may."""
        if not self.serving:
            return Reason.DRAINING
        if not self.well and self.health is not None:
            return _REASONS.get(self.health.state, Reason.EJECTED)
        if self.cooling is not None:
            return Reason.COOLING
        return None if self.endpoint.weight else Reason.ZERO_WEIGHT


def _places(node: Node, trial: int) -> int:
    """Return how many requests may be on a node on trial: those of the trial, beside those that were open when it began.

    A stream that was opened before the ejection may stay for hours, and says nothing of the endpoint's health.
    """
    if not trial:
        return 0
    before = node.inflight if not node.trial else min(node.trial - trial, node.inflight)
    return trial + max(0, before)
