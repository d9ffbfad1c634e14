"""How did each endpoint do lately? What the rules of a survey look at."""

from __future__ import annotations

import math

from balancekit._record import Record
from balancekit.stats import quantile

__all__ = ["Report"]


class Report(Record):
    """What one endpoint did within a rule's window.

    Parameters
    ----------
    endpoint
        Its id.
    successes, failures
        How many requests ended so. Cancelled and ignored ones are neither.
    latencies
        Of the successes, in seconds, as far as they were kept; empty if the balancer measures no time.

    Example
    -------
    >>> Report(endpoint="a", successes=3, failures=1).success_rate
    0.75
    """

    endpoint: str
    successes: int
    failures: int
    latencies: tuple[float, ...] = ()

    @property
    def volume(self) -> int:
        """How many requests ended."""
        return self.successes + self.failures

    @property
    def success_rate(self) -> float:
        """The share that succeeded, NaN if there were no requests."""
        return self.successes / self.volume if self.volume else math.nan

    @property
    def failure_rate(self) -> float:
        """The share that failed, NaN if there were no requests."""
        return self.failures / self.volume if self.volume else math.nan

    def latency(self, share: float) -> float:
        """Return a quantile of the latencies, NaN if there are none."""
        return quantile(sorted(self.latencies), share) if self.latencies else math.nan
