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
"""Those that reports state, by name."""


class SimulationReport(Record):
    """The outcome of one simulation. Times in seconds; latencies of requests that succeeded.

    All is counted over the requests after the warm-up; what is averaged over time, from the arrival of the first of them
    to the arrival of the last. Equal runs have equal reports, whose pickles are equal byte for byte.

    Parameters
    ----------
    requests, failures, retries, hedges
        Those that came, those that no attempt served, attempts after a failed one, attempts parallel to a slow one.
    seconds
        How long was counted.
    latency
        Shape (n,), float64, in the order of arrival: from arrival to answer, retries included.
    picks
        Attempts per endpoint.
    busy
        Share of the time each endpoint's workers worked.
    overload
        Seconds in which an endpoint had more requests than workers, so that some waited or all were slowed down, added up
        over endpoints: two endpoints that are overloaded for the same second count two.
    in_system
        Requests in the system on average over time.
    seen
        Requests in the system on average as arrivals found it.
    disruption
        The share of keys, of those that came more than once, whose requests did not all go to the same endpoint at their
        first attempt; ``None`` for requests without keys.
    events
        Of the balancers, in order.
    timeline
        Requests, failures, retries and latency over time.
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
        """Mean latency; NaN if nothing was served."""
        return float(self.latency.mean()) if len(self.latency) else math.nan

    def quantile(self, share: float) -> float:
        """Return a quantile of latency, ``share`` from 0 to 1; NaN if nothing was served."""
        share = valid.number("share", share, minimum=0.0, maximum=1.0)
        return float(np.quantile(self.latency, share)) if len(self.latency) else math.nan

    @property
    def errors(self) -> float:
        """The share of requests that no attempt served."""
        return self.failures / self.requests if self.requests else 0.0

    @property
    def attempts(self) -> float:
        """Attempts a request, hedges included."""
        return sum(self.picks.values()) / self.requests if self.requests else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Each endpoint's share of the attempts."""
        total = sum(self.picks.values()) or 1
        return {id: count / total for id, count in self.picks.items()}

    @property
    def evenness(self) -> float:
        """Jain's index of the attempts."""
        return jain_index(list(self.picks.values()))

    def _repr_html_(self) -> str:
        rows = [(id, bar(share), bar(self.busy[id])) for id, share in self.shares.items()]
        tail = f"p50 {self.quantile(0.5) * 1e3:.1f} ms, p99 {self.quantile(0.99) * 1e3:.1f} ms"
        caption = f"{self.requests:,} requests, {self.errors:.2%} failed, {tail}"
        return html_table(caption, ("endpoint", "share", "busy"), rows)

    def data(self) -> dict[str, Any]:
        """Return all but the single latencies and events, as JSON has it: strings, numbers, lists, tables, null.

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
        # Plain bytes: an array's pickle depends on where the array has been.
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
    """Return a number that JSON has."""
    return value if math.isfinite(value) else None


@checked_arguments
def jain_index(values: Sequence[float]) -> float:
    """Return Jain's fairness index: 1 if all are equal, 1/n if one has everything.

    Parameters
    ----------
    values
        Finite numbers >= 0.

    Raises
    ------
    ConfigurationError
        For any other value.

    Example
    -------
    >>> jain_index([1, 1, 1, 1]), jain_index([4, 0, 0, 0])
    (1.0, 0.25)
    """
    found = valid.numbers("values", values, minimum=0.0)
    most = max(found, default=0.0)
    if not most:
        return 1.0
    parts = [value / most for value in found]  # their squares neither overflow nor vanish
    return math.fsum(parts) ** 2 / (len(parts) * math.fsum([part * part for part in parts]))
