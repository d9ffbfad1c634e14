"""In which order do weighted things take turns? Pure schedules over positions and items."""

from __future__ import annotations

from balancekit.scheduling._alias import AliasTable
from balancekit.scheduling._integers import whole_weights
from balancekit.scheduling._ladder import Ladder
from balancekit.scheduling._smooth import SmoothTurns, smooth_cycle
from balancekit.scheduling._stagger import StaggeredTurns, staggered_cycle

__all__ = [
    "AliasTable",
    "Ladder",
    "SmoothTurns",
    "StaggeredTurns",
    "smooth_cycle",
    "staggered_cycle",
    "whole_weights",
]
