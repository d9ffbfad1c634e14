"""Trace of a run in tiers: one row per request, and the events."""

from __future__ import annotations

from array import array
from typing import final

__all__ = ["TierTrace"]


@final
class TierTrace:
    """Columns of a run. Times in seconds; of requests that failed all but the first column are of the last attempt."""

    __slots__ = (
        "arrived",
        "broken",
        "chosen",
        "detected",
        "ended",
        "length",
        "lost",
        "reached",
        "sent",
        "served",
        "tries",
    )

    def __init__(self) -> None:
        self.arrived: array[float] = array("d")
        self.sent: array[float] = array("d")
        self.reached: array[float] = array("d")
        self.chosen: array[float] = array("d")
        self.length: array[float] = array("d")
        self.ended: array[float] = array("d")
        self.served: array[int] = array("b")
        self.tries: array[int] = array("b")
        self.lost: list[tuple[float, str]] = []
        """When an attempt of a client failed, and in which tier."""
        self.broken: int = 0
        """Connections that a router or an L4 node sent to an L7 node that does not have them."""
        self.detected: list[tuple[float, str, str, bool]] = []
        """Changes of what checks say: when, of which checker, about what, and whether it is up."""
