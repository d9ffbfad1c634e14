"""The recent results of one endpoint, as the rules of a sweep receive them.

This is a plain class and no record, because a sweep creates one for each endpoint and window, and a record costs eight
times as much. Latencies are read when a rule uses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

from balancekit.stats import quantile

__all__ = ["EndpointReport"]


@final
class EndpointReport:
    """The results of one endpoint within the window of a rule.

    Parameters
    ----------
    endpoint
        The id of the endpoint.
    successes, failures
        The numbers of successful and failed requests. Cancelled and ignored requests are neither.
    latencies
        The recorded latencies of successes in seconds, or a function that returns them. Empty if the balancer measures no
        time.

    Example
    -------
    >>> from balancekit.health import EndpointReport
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
        """The recorded latencies of successes in seconds, in ascending order."""
        if callable(self._latencies):
            self._latencies = sorted(self._latencies())
        return self._latencies

    @property
    def volume(self) -> int:
        """The number of successful and failed requests."""
        return self.successes + self.failures

    @property
    def success_rate(self) -> float:
        """The share of successes; NaN without requests."""
        return self.successes / self.volume if self.volume else math.nan

    @property
    def failure_rate(self) -> float:
        """The share of failures; NaN without requests."""
        return self.failures / self.volume if self.volume else math.nan

    def latency(self, q: float) -> float:
        """Return a quantile of the latencies in seconds; NaN if there are none."""
        return quantile(self.latencies, q) if self.latencies else math.nan

    def __repr__(self) -> str:
        return f"EndpointReport({self.endpoint!r}, successes={self.successes}, failures={self.failures})"
