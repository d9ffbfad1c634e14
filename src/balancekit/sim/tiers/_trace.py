"""Trace of a simulation of tiers: one row per request, failed attempts, and detected changes."""

from __future__ import annotations

from array import array
from typing import final

__all__ = ["TierTrace"]


@final
class TierTrace:
    """Columns of a run, with one row per request. Times in seconds.

    For a request with several attempts, all columns except ``arrived`` and ``tries`` are those of its last attempt.
    """

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
        """Time of each failed attempt of a client, and the tier that failed it."""
        self.broken: int = 0
        """Number of connections that were sent to another L7 node although their own was up."""
        self.detected: list[tuple[float, str, str, bool]] = []
        """Detected changes of state: time, checker, target, and whether it is up."""
