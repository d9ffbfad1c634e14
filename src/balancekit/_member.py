"""What is one endpoint's place in the pool? Its node, its health and its membership, joined.

The two last have a table each (``health/_states.py``, ``health/_membership.py``); a member only looks things
up in the second and asks a policy about the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, final

from balancekit.errors import Reason
from balancekit.health import MEMBERSHIP, Health, Membership, Move, following, shown
from balancekit.protocols import HealthPolicy
from balancekit.snapshot import Node

__all__ = ["Member"]

_REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {Health.SUPPRESSED.value: Reason.SUPPRESSED, Health.UNKNOWN.value: Reason.UNKNOWN},
)


@final
class Member:
    """One endpoint's place in the pool."""

    __slots__ = ("_before", "cooling", "drain_deadline", "health", "membership", "node")

    def __init__(self, node: Node, health: HealthPolicy | None) -> None:
        self.node: Node = node
        self.health: HealthPolicy | None = health
        self.membership: Membership = Membership.SERVING
        self.drain_deadline: float = math.inf
        self.cooling: float | None = None
        """Until when the endpoint asked to be left alone, if it did."""
        self._before = self.membership
        self.rewatch()

    def move(self, move: Move) -> bool:
        """Follow the table of memberships; answer whether that changed anything."""
        before = self.membership
        self.membership = following(MEMBERSHIP, before, move)
        if move is Move.REMOVE:
            self._before = before
        self.rewatch()
        return self.membership is not before

    def unremove(self) -> None:
        """Take a removal back: it has not happened."""
        self.membership = self._before
        self.rewatch()

    @property
    def serving(self) -> bool:
        """Whether the endpoint takes new requests, as far as its health allows."""
        return self.membership is Membership.SERVING

    @property
    def eligible(self) -> bool:
        """Whether neither health nor membership keeps the endpoint from being picked."""
        return self.serving and self.cooling is None and self._well

    @property
    def _well(self) -> bool:
        return self.health is None or self.health.eligible

    @property
    def _health_deadline(self) -> float:
        due = None if self.health is None else self.health.deadline
        return math.inf if due is None else due

    @property
    def state(self) -> str:
        """The name of the present state."""
        if self.serving and self.cooling is not None and self._well:
            return "cooling"
        return shown(Health.HEALTHY.value if self.health is None else self.health.state, self.membership)

    @property
    def deadline(self) -> float:
        """When something is due for this member, infinity if nothing is."""
        if not self.serving:
            return self.drain_deadline
        cooled = math.inf if self.cooling is None else self.cooling
        return min(cooled, self._health_deadline)

    @property
    def back_at(self) -> float:
        """When nothing of what has an end keeps the endpoint out any more, infinity if nothing has one."""
        ill = -math.inf if self._well else self._health_deadline
        latest = ill if self.cooling is None else max(ill, self.cooling)
        return latest if latest > -math.inf else math.inf

    @property
    def reason(self) -> Reason | None:
        """Why the endpoint may not be picked; ``None`` if it may."""
        if not self.serving:
            return Reason.DRAINING
        if self.health is not None and not self.health.eligible:
            return _REASONS.get(self.health.state, Reason.EJECTED)
        if self.cooling is not None:
            return Reason.COOLING
        return None if self.node.weight else Reason.ZERO_WEIGHT

    @property
    def standing(self) -> tuple[bool, bool]:
        """What a snapshot shows of the member: whether it may be picked, and whether it is held back."""
        return self.eligible, self.node.ramp < 1.0

    def rewatch(self) -> None:
        """Have the node report successes iff somebody listens for them, and hold it back as far as it should."""
        watching = self.health is not None and self.health.watching
        self.node.attend(alert=not self.serving or watching)
        self.node.ramp = getattr(self.health, "ramp", 1.0)
        self.node.trial = getattr(self.health, "trial", 0)
