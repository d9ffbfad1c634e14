"""Report of a simulation: shares, latencies, failures, overload, and evenness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.html import bar, html_table
from balancekit._support.record import Record
from balancekit.events import Event
from balancekit.sim._timeline import Timeline

__all__ = ["QUANTILES", "SimulationReport", "jain_index"]

Times: TypeAlias = NDArray[np.float64]

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
"""Quantiles of latency that reports contain, by name."""


class SimulationReport(Record):
    """The result of one simulation. Times are in seconds. Latencies are of requests that succeeded.

    Only requests after the warm-up are counted. Averages over time are from the arrival of the first of them to the arrival
    of the last. Equal runs have equal reports, and their pickles are equal byte for byte.

    Parameters
    ----------
    requests
        Number of requests.
    failures
        Number of requests that no attempt served.
    retries
        Number of attempts that followed a failed attempt.
    hedges
        Number of attempts that ran in parallel with a slow attempt.
    seconds
        Length of the time over which averages are taken.
    latency
        Latency of each served request from arrival to response, retries included. Shape (n,), float64, in the order of
        arrival.
    picks
        Number of attempts per endpoint.
    busy
        Utilization of each endpoint: the share of time in which its workers worked, 0 to 1.
    overload
        Seconds in which an endpoint had more requests than workers, summed over endpoints. Two endpoints that are
        overloaded in the same second count as 2 s.
    in_system
        Mean number of requests in the system over time.
    seen
        Mean number of requests in the system that an arriving request found.
    disruption
        The share of keys whose first attempts went to more than one endpoint, among keys that occurred more than once.
        ``None`` if no request has a key.
    events
        Events of the balancers, in the order of their occurrence.
    timeline
        Requests, failures, retries and latencies in equal intervals of time.
    """

    requests: int
    failures: int
    retries: int
    hedges: int
    seconds: float
    latency: Times
    picks: Mapping[str, int]
    busy: Mapping[str, float]
    overload: float
    in_system: float
    seen: float
    disruption: float | None
    events: Sequence[Event]
    timeline: Timeline

    @property
    def mean(self) -> float:
        """Mean latency; NaN if no request was served."""
        return float(self.latency.mean()) if len(self.latency) else math.nan

    def quantile(self, share: float) -> float:
        """Return a quantile of latency; NaN if no request was served.

        Parameters
        ----------
        share
            The quantile, 0 to 1: 0.5 is the median.

        Raises
        ------
        ConfigurationError
            If ``share`` is outside [0, 1].
        """
        share = valid.number("share", share, minimum=0.0, maximum=1.0)
        return float(np.quantile(self.latency, share)) if len(self.latency) else math.nan

    @property
    def errors(self) -> float:
        """The share of requests that no attempt served."""
        return self.failures / self.requests if self.requests else 0.0

    @property
    def attempts(self) -> float:
        """Mean number of attempts per request, hedges included."""
        return sum(self.picks.values()) / self.requests if self.requests else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Each endpoint's share of the attempts."""
        total = sum(self.picks.values()) or 1
        return {id: count / total for id, count in self.picks.items()}

    @property
    def evenness(self) -> float:
        """Jain's fairness index of the attempts per endpoint; see :func:`jain_index`."""
        return jain_index(list(self.picks.values()))

    def _repr_html_(self) -> str:
        rows = [(id, bar(share), bar(self.busy[id])) for id, share in self.shares.items()]
        tail = f"p50 {self.quantile(0.5) * 1e3:.1f} ms, p99 {self.quantile(0.99) * 1e3:.1f} ms"
        caption = f"{self.requests:,} requests, {self.errors:.2%} failed, {tail}"
        return html_table(caption, ("endpoint", "share", "busy"), rows)

    def data(self) -> dict[str, Any]:
        """Return the report as plain values for JSON, without the single latencies and events and without the timeline.

        Example
        -------
        >>> from balancekit.sim import Deterministic, Poisson, Server, simulate
        >>> report = simulate({"a": Server(service=Deterministic(mean=0.1))}, Poisson(rate=1.0), requests=9)
        >>> report.data()["shares"]
        {'a': 1.0}
        """
        kinds = [type(event).__name__ for event in self.events]
        return {
            "requests": self.requests,
            "failures": self.failures,
            "errors": self.errors,
            "retries": self.retries,
            "hedges": self.hedges,
            "attempts": self.attempts,
            "seconds": self.seconds,
            "mean": _number(self.mean),
            **{name: _number(self.quantile(share)) for name, share in QUANTILES.items()},
            "evenness": self.evenness,
            "overload": self.overload,
            "in_system": self.in_system,
            "seen": self.seen,
            "disruption": self.disruption,
            "picks": dict(self.picks),
            "shares": self.shares,
            "busy": dict(self.busy),
            "events": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        }

    def __getstate__(self) -> dict[str, Any]:
        # Plain bytes: the pickle of an array depends on how the array was made.
        return self.__dict__ | {"latency": self.latency.tobytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__["latency"] = np.frombuffer(state["latency"])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash((self.requests, self.failures, self.latency.tobytes()))


def _number(value: float) -> float | None:
    """Return a finite number unchanged. Return ``None`` for others, because JSON has only finite numbers."""
    return value if math.isfinite(value) else None


@checked_arguments
def jain_index(values: Sequence[float]) -> float:
    """Return Jain's fairness index, ``sum(x)**2 / (n * sum(x**2))``.

    It is 1 if all values are equal, and 1/n if all but one are 0. It is 1 if all values are 0 or there are none.

    Parameters
    ----------
    values
        Finite numbers >= 0.

    Raises
    ------
    ConfigurationError
        If a value is negative, not finite, or no number.

    Source: Jain, Chiu and Hawe, DEC Research Report TR-301 (1984).

    Example
    -------
    >>> from balancekit.sim import jain_index
    >>> jain_index([1, 1, 1, 1]), jain_index([4, 0, 0, 0])
    (1.0, 0.25)
    """
    found = valid.numbers("values", values, minimum=0.0)
    most = max(found, default=0.0)
    if not most:
        return 1.0
    parts = [value / most for value in found]  # scaled, so that squares neither overflow nor underflow to 0
    return math.fsum(parts) ** 2 / (len(parts) * math.fsum([part * part for part in parts]))
