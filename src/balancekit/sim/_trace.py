"""Trace of a run: columns to which the loops append, and from which the report is computed.

There is one row per request and one row per attempt. Appending a number costs about 30 ns. Averages over time and queue
lengths are computed after the run with array arithmetic.
"""

from __future__ import annotations

from array import array
from math import inf
from typing import Final, final

from balancekit.snapshot import Key

__all__ = ["FIRST", "HEDGE", "RETRY", "Trace"]

FIRST: Final = 0
RETRY: Final = 1
HEDGE: Final = 2


@final
class Trace:
    """The columns of one run. Times in seconds."""

    __slots__ = ("arrived", "ended", "entered", "keys", "kind", "left", "request", "served", "where")

    def __init__(self) -> None:
        # Requests, in the order of their arrival.
        self.arrived = array("d")
        self.ended = array("d")
        self.served = array("b")
        """1 if an attempt succeeded, else 0."""
        self.keys: list[Key | None] = []
        """The key of each request; empty if the run has no keys."""
        # Attempts, in the order of their beginning.
        self.request = array("q")
        """The row of the request."""
        self.kind = array("b")
        self.where = array("q")
        """The number of the endpoint."""
        self.entered = array("d")
        self.left = array("d")
        """When the attempt left its server; infinity if it had not left when the run ended."""

    def arrive(self, now: float) -> int:
        """Append the row of a request; return its number."""
        number = len(self.arrived)
        self.arrived.append(now)
        self.ended.append(inf)
        self.served.append(0)
        return number

    def send(self, request: int, kind: int, where: int, now: float) -> int:
        """Append the row of an attempt; return its number."""
        number = len(self.where)
        self.request.append(request)
        self.kind.append(kind)
        self.where.append(where)
        self.entered.append(now)
        self.left.append(inf)
        return number
