"""Utilization that an endpoint reports, relative to its usual one.

.. code-block:: text

    factor = sqrt((1 + utilization) / (average of 1 + utilization over 200 s)), between 1/2 and 2

A constant report contains no information beyond the latency: its factor is 1, whatever its value. So reports of different
servers need not be comparable, and a constant error has no effect. A report adds the information that an endpoint is busier
than usual, *now*, for reasons outside its caller's view. The square root was measured to be best, with 1 to 100 clients and
neighbours that come and go (``benchmarks/probing.py``).

Cost: one square root per computed price.
"""

from __future__ import annotations

from math import sqrt
from typing import Final, final

from balancekit.outcome import LoadReport

__all__ = ["ReportedUtilization"]

MAX_FACTOR: Final = 2.0
"""The largest factor by which a report changes a price."""
MAX_UTILIZATION: Final = 10.0
"""A greater one is taken for this."""
EXPIRY_S: Final = 5.0
"""Seconds for which a report is valid."""


@final
class ReportedUtilization:
    """The reported and the usual utilization of one endpoint."""

    __slots__ = ("_at", "_average", "_count", "_last", "_rate")

    def __init__(self, memory: float) -> None:
        self._rate = 1.0 / memory
        self._average = 1.0
        self._count = 0.0
        self._last = 1.0
        self._at = 0.0

    def record(self, report: LoadReport, now: float) -> bool:
        """Record a report; return whether it contains a utilization."""
        used = report.application_utilization or report.cpu_utilization
        if used <= 0.0:
            return False
        self._last = 1.0 + min(used, MAX_UTILIZATION)
        self._count = self._count / (1.0 + max(0.0, now - self._at) * self._rate) + 1.0
        self._average += (self._last - self._average) / self._count
        self._at = now
        return True

    def factor(self, now: float) -> float:
        """Return the factor by which a request takes longer than usual; 1 once the last report is too old."""
        if abs(now - self._at) > EXPIRY_S:
            return 1.0
        return min(MAX_FACTOR, max(1.0 / MAX_FACTOR, sqrt(self._last / self._average)))
