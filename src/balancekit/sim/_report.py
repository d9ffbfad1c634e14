"""What came of a run? Shares, latencies, failures, and how evenly it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from balancekit._record import Record
from balancekit.events import Event

__all__ = ["Report", "jain"]

Times: TypeAlias = NDArray[np.float64]


class Report(Record):
    """The outcome of one simulation. Times in seconds; latencies of requests that succeeded.

    Parameters
    ----------
    requests, failures, retries
        Counted after the warm-up: those that came, those that no attempt served, attempts after the first.
    seconds
        How long was counted.
    latency
        Shape (n,), float64: from arrival to answer, retries included.
    picks
        Attempts per endpoint.
    busy
        Share of the time each endpoint's workers worked.
    in_system
        Requests in the system on average over time.
    seen
        Requests in the system on average as arrivals found it.
    events
        What the balancers said.
    """

    requests: int
    failures: int
    retries: int
    seconds: float
    latency: Times
    picks: Mapping[str, int]
    busy: Mapping[str, float]
    in_system: float
    seen: float
    events: Sequence[Event]

    @property
    def mean(self) -> float:
        """Mean latency."""
        return float(self.latency.mean())

    def quantile(self, share: float) -> float:
        """Return a quantile of latency, ``share`` from 0 to 1."""
        return float(np.quantile(self.latency, share))

    @property
    def shares(self) -> dict[str, float]:
        """Each endpoint's share of the attempts."""
        total = sum(self.picks.values()) or 1
        return {id: count / total for id, count in self.picks.items()}

    @property
    def evenness(self) -> float:
        """Jain's index of the attempts."""
        return jain(list(self.picks.values()))


def jain(values: Sequence[float]) -> float:
    """Return Jain's fairness index: 1 if all are equal, 1/n if one has everything.

    Example
    -------
    >>> jain([1, 1, 1, 1]), jain([4, 0, 0, 0])
    (1.0, 0.25)
    """
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
