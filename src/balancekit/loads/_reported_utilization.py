"""Utilization that an endpoint reports, relative to what it usually reports.

.. code-block:: text

    factor = sqrt((1 + utilization) / (average of 1 + utilization over 200 s)), between 1/2 and 2

An endpoint that always reports the same says nothing that its latency does not say: its factor is 1, whatever it reports, so
reports of different servers need not mean the same, and a constant error changes nothing. What a report adds is
that an endpoint is busier than usual, *now*, for reasons that its caller does not see. The square root is what has been
measured to be best, with 1 to 100 clients and neighbours that come and go (``benchmarks/probing.py``).

Cost: one square root when a price is stated.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, final

from balancekit.outcome import LoadReport

__all__ = ["ReportedUtilization"]

MAX_FACTOR: Final = 2.0
"""A report changes a price by this factor at most."""
MAX_UTILIZATION: Final = 10.0
"""A greater one is taken for this."""
EXPIRY_S: Final = 5.0
"""Seconds for which a report counts."""


@final
class ReportedUtilization:
    """What one endpoint reports, and what it usually reports."""

    __slots__ = ("_at", "_average", "_count", "_last", "_rate")

    def __init__(self, memory: float) -> None:
        self._rate = 1.0 / memory
        self._average = 1.0
        self._count = 0.0
        self._last = 1.0
        self._at = 0.0

    def record(self, report: LoadReport, now: float) -> bool:
        """Take a report; return whether it says how busy the endpoint is."""
        used = report.application_utilization or report.cpu_utilization
        if used <= 0.0:
            return False
        self._last = 1.0 + min(used, MAX_UTILIZATION)
        self._count = self._count / (1.0 + max(0.0, now - self._at) * self._rate) + 1.0
        self._average += (self._last - self._average) / self._count
        self._at = now
        return True

    def factor(self, now: float) -> float:
        """Return by how much a request takes longer than usual: 1 once the last report is too old."""
        if abs(now - self._at) > EXPIRY_S:
            return 1.0
        return min(MAX_FACTOR, max(1.0 / MAX_FACTOR, sqrt(self._last / self._average)))
