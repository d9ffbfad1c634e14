"""Trace of a run: columns that the loops append to and the report is computed from.

A request has one row, and an attempt has one. Columns of plain numbers cost 30 ns an entry to write, and everything that
is computed afterwards (averages over time, what arrivals saw, lengths of queues) is array arithmetic outside the loop.
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
    """The rows of one run."""

    __slots__ = ("arrived", "ended", "entered", "keys", "kind", "left", "request", "served", "where")

    def __init__(self) -> None:
        # Requests, in the order of their arrival.
        self.arrived = array("d")
        self.ended = array("d")
        self.served = array("b")
        """1 if some attempt succeeded, else 0."""
        self.keys: list[Key | None] = []
        """Empty if no request has one."""
        # Attempts, in the order of their beginning.
        self.request = array("q")
        """The row of the request."""
        self.kind = array("b")
        self.where = array("q")
        """The number of the endpoint."""
        self.entered = array("d")
        self.left = array("d")
        """When the server was done with it; infinite if it was not when the run ended."""

    def arrive(self, now: float) -> int:
        """Open the row of a request; return its number."""
        number = len(self.arrived)
        self.arrived.append(now)
        self.ended.append(inf)
        self.served.append(0)
        return number

    def send(self, request: int, kind: int, where: int, now: float) -> int:
        """Open the row of an attempt; return its number."""
        number = len(self.where)
        self.request.append(request)
        self.kind.append(kind)
        self.where.append(where)
        self.entered.append(now)
        self.left.append(inf)
        return number
