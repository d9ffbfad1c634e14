"""Report of a simulation of tiers: latencies and failures, time per stage, failed attempts, and detected changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["STAGES", "TierReport"]

Times: TypeAlias = NDArray[np.float64]
Span: TypeAlias = tuple[float, float]

STAGES: Final = ("retries", "l4", "l7", "server line", "service")
"""Stages of a request: failed attempts and their pauses, L4 node, L7 node, waiting for a server, service."""


@final
class TierReport(Record):
    """Result of one simulation of tiers. Made by :meth:`TierSimulation.run`. Times are in seconds.

    Equal runs have equal reports, and their pickles are equal byte for byte.

    Parameters
    ----------
    columns
        Arrays by name, with one row per request in the order of their ends. The names are ``"arrived"``, ``"ended"`` and
        the stages ``"retries"`` (failed attempts and the pauses after them), ``"l4"``, ``"l7"``, ``"server line"``
        (waiting for a server) and ``"service"``. Each has shape (n,) and is float64. The stages of a served request add
        up to ``ended - arrived``.
    served
        Whether an attempt was answered. Shape (n,), bool.
    attempts
        Number of attempts of the client. Shape (n,), int8.
    lost
        Times at which attempts of clients failed, by the tier that failed them: ``"gslb"``, ``"site"``, ``"l4"``,
        ``"l7"``, ``"server"``.
    broken
        Number of connections that were sent to another L7 node although their own was up.
    detected
        Changes of state that checks and routers detected, each as time, checker, target, and whether it is up.
    busy
        Utilization of the busiest node of each tier, by site and tier, 0 to 1.
    seconds
        Length of the time in which requests arrived.
    """

    columns: Mapping[str, Times]
    served: NDArray[np.bool_]
    attempts: NDArray[np.int8]
    lost: Mapping[str, tuple[float, ...]]
    broken: int
    detected: tuple[tuple[float, str, str, bool], ...]
    busy: Mapping[str, Mapping[str, float]]
    seconds: float

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.served)

    @property
    def failures(self) -> int:
        """Number of requests that no attempt served."""
        return int((~self.served).sum())

    @property
    def latency(self) -> Times:
        """Seconds from arrival to response of each served request, failed attempts included."""
        return (self.columns["ended"] - self.columns["arrived"])[self.served]

    def quantile(self, share: float, between: Span | None = None) -> float:
        """Return a quantile of latency; NaN if no request was served.

        Parameters
        ----------
        share
            The quantile, 0 to 1.
        between
            Begin and end in seconds. If given, only requests that arrived in ``[begin, end)`` are used.

        Raises
        ------
        ConfigurationError
            If ``share`` is outside [0, 1], or ``between`` is no ascending pair of numbers.
        """
        share = valid.number("share", share, minimum=0.0, maximum=1.0)
        inside = self._inside(between) & self.served
        found = (self.columns["ended"] - self.columns["arrived"])[inside]
        return float(np.quantile(found, share)) if len(found) else math.nan

    def failed(self, between: Span | None = None) -> int:
        """Return the number of requests that arrived in ``[begin, end)`` and that no attempt served.

        Raises
        ------
        ConfigurationError
            If ``between`` is no ascending pair of numbers.
        """
        return int((self._inside(between) & ~self.served).sum())

    def last_failure(self) -> float | None:
        """Return the arrival time of the last request that no attempt served; ``None`` if there is none."""
        late = self.columns["arrived"][~self.served]
        return float(late.max()) if len(late) else None

    def spent(self, share: float | None = None, between: Span | None = None) -> dict[str, float]:
        """Return the seconds that served requests spent in each stage; NaN if no request was served.

        Parameters
        ----------
        share
            The quantile, 0 to 1; ``None`` for the mean.
        between
            Begin and end in seconds. If given, only requests that arrived in ``[begin, end)`` are used.

        Raises
        ------
        ConfigurationError
            If ``share`` is outside [0, 1], or ``between`` is no ascending pair of numbers.

        Example
        -------
        >>> from balancekit.sim import Exponential, Server
        >>> from balancekit.sim.tiers import Nodes, Site, TierSimulation
        >>> nodes, server = Nodes(count=2, requests_per_second=1000.0), Server(service=Exponential(0.1), workers=8)
        >>> sites = {"eu": Site(l4=nodes, l7=nodes, servers=4, server=server)}
        >>> report = TierSimulation(sites, requests_per_second=100.0).run(5.0)
        >>> max(report.spent(), key=report.spent().get)
        'service'
        """
        inside = self._inside(between) & self.served
        found = {name: self.columns[name][inside] for name in STAGES}
        if not inside.any():
            return dict.fromkeys(STAGES, math.nan)
        if share is None:
            return {name: float(times.mean()) for name, times in found.items()}
        part = valid.number("share", share, minimum=0.0, maximum=1.0)
        return {name: float(np.quantile(times, part)) for name, times in found.items()}

    def course(self, intervals: int = 100) -> dict[str, list[float | None]]:
        """Return counts, latency quantiles and mean stages in equal intervals of time.

        Parameters
        ----------
        intervals
            Number of intervals, 1 to 100,000.

        Returns
        -------
        dict
            Lists with one entry per interval: ``"time"`` (the midpoint), ``"requests"``, ``"failures"``, ``"p50"``,
            ``"p99"`` and the mean of each stage. Quantiles and means are ``None`` where no request was served.

        Raises
        ------
        ConfigurationError
            If ``intervals`` is outside its bounds.
        """
        intervals = valid.integer("intervals", intervals, minimum=1, maximum=100_000)
        edges = np.linspace(0.0, self.seconds, intervals + 1)
        found: dict[str, list[float | None]] = {
            name: [] for name in ("time", "requests", "failures", "p50", "p99", *STAGES)
        }
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            span = (begin, end)
            inside = self._inside(span)
            row = {
                "time": (begin + end) / 2,
                "requests": float(inside.sum()),
                "failures": float(self.failed(span)),
                "p50": self.quantile(0.5, span),
                "p99": self.quantile(0.99, span),
                **self.spent(None, span),
            }
            for name, value in row.items():
                found[name].append(None if math.isnan(value) else value)
        return found

    def data(self) -> dict[str, Any]:
        """Return the report as plain values for JSON, without the single requests."""
        return {
            "requests": self.requests,
            "failures": self.failures,
            "seconds": self.seconds,
            "attempts": float(self.attempts.mean()) if self.requests else 0.0,
            "p50": _number(self.quantile(0.5)),
            "p99": _number(self.quantile(0.99)),
            "spent": {name: _number(value) for name, value in self.spent().items()},
            "lost": {tier: len(times) for tier, times in self.lost.items()},
            "broken": self.broken,
            "busy": {site: dict(tiers) for site, tiers in self.busy.items()},
            "detected": [list(row) for row in self.detected],
        }

    def _inside(self, between: Span | None) -> NDArray[np.bool_]:
        arrived = self.columns["arrived"]
        if between is None:
            return np.ones(len(arrived), dtype=np.bool_)
        if not isinstance(between, tuple) or len(between) != 2:
            raise ConfigurationError("between", between, "a pair (begin, end) of seconds")
        begin = valid.number("between", between[0])
        end = valid.number("between", between[1], minimum=begin)
        return (arrived >= begin) & (arrived < end)

    def __getstate__(self) -> dict[str, Any]:
        # Plain bytes: the pickle of an array depends on how the array was made.
        return self.__dict__ | {
            "columns": {name: times.tobytes() for name, times in self.columns.items()},
            "served": self.served.tobytes(),
            "attempts": self.attempts.tobytes(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__["columns"] = {name: np.frombuffer(raw) for name, raw in state["columns"].items()}
        self.__dict__["served"] = np.frombuffer(state["served"], dtype=np.bool_)
        self.__dict__["attempts"] = np.frombuffer(state["attempts"], dtype=np.int8)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash((self.requests, self.failures, self.columns["ended"].tobytes()))


def _number(value: float) -> float | None:
    """Return a finite number unchanged. Return ``None`` for others, because JSON has only finite numbers."""
    return value if math.isfinite(value) else None
