"""Recent results of one endpoint, as the rules of a sweep receive them.

A plain class, not a record: a sweep makes one for each endpoint and window, and a record costs eight times
as much. Latencies are looked up when a rule reads them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

from balancekit.stats import quantile

__all__ = ["EndpointReport"]


@final
class EndpointReport:
    """What one endpoint did within a rule's window.

    Parameters
    ----------
    endpoint
        Its id.
    successes, failures
        How many requests ended so. Cancelled and ignored ones are neither.
    latencies
        Of the successes, in seconds, as far as they were kept, or a function that returns them; empty if the
        balancer measures no time.

    Example
    -------
    >>> EndpointReport("a", successes=3, failures=1).success_rate
    0.75
    """

    __slots__ = ("_latencies", "endpoint", "failures", "successes")

    def __init__(
        self,
        endpoint: str,
        *,
        successes: int,
        failures: int,
        latencies: Sequence[float] | Callable[[], Sequence[float]] = (),
    ) -> None:
        self.endpoint: str = endpoint
        self.successes: int = successes
        self.failures: int = failures
        self._latencies: list[float] | Callable[[], Sequence[float]] = (
            latencies if callable(latencies) else sorted(latencies)
        )

    @property
    def latencies(self) -> list[float]:
        """Of the successes, in seconds, in ascending order."""
        if callable(self._latencies):
            self._latencies = sorted(self._latencies())
        return self._latencies

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

    def latency(self, q: float) -> float:
        """Return a quantile of the latencies, NaN if there are none."""
        return quantile(self.latencies, q) if self.latencies else math.nan

    def __repr__(self) -> str:
        return f"EndpointReport({self.endpoint!r}, successes={self.successes}, failures={self.failures})"
