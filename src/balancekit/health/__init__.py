"""Is it healthy? Sans-IO machines: each is told how requests ended and what time it is."""

from __future__ import annotations

from balancekit.health._ejection import Ejection
from balancekit.health._failures import ConsecutiveFailures
from balancekit.health._lifecycle import Lifecycle, LifecycleMachine
from balancekit.health._states import ELIGIBLE, TRANSITIONS, Health, Trigger, after

__all__ = [
    "ELIGIBLE",
    "TRANSITIONS",
    "ConsecutiveFailures",
    "Ejection",
    "Health",
    "Lifecycle",
    "LifecycleMachine",
    "Trigger",
    "after",
]
