"""Computation of reports from traces: averages over time, queue lengths at arrivals, and overload of servers.

Averages are taken from the arrival of the first request after the warm-up to the arrival of the last one. The time after
that is left out: no more requests arrive, so it does not represent the system.

The number ``n`` of requests at a server is computed from their entries and exits. No worker is idle while a request waits,
so ``min(n, workers)`` workers are busy, and the server is overloaded while ``n > workers``. So the trace of a run needs
only the times of entries and exits.

Cost: O(n log n) for n attempts, in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from balancekit.events import Event
from balancekit.sim._queues import Server
from balancekit.sim._report import SimulationReport
from balancekit.sim._timeline import course
from balancekit.sim._trace import FIRST, HEDGE, RETRY, Trace
from balancekit.snapshot import Key

__all__ = ["measure"]

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Span(NamedTuple):
    """The time over which averages are taken."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.begin

    def average(self, total: float) -> float:
        """Return ``total`` divided by the length; 0 if the length is 0."""
        return total / self.seconds if self.seconds > 0.0 else 0.0


def measure(
    trace: Trace, servers: Mapping[str, Server], warm_up: int, events: Sequence[Event]
) -> SimulationReport:
    """Compute the report of a run.

    Parameters
    ----------
    trace
        The trace of the run.
    servers
        Servers by endpoint id, in the order of their numbers in the trace.
    warm_up
        Number of requests at the beginning that are not counted.
    events
        Events of the balancers.
    """
    arrived, ended = np.frombuffer(trace.arrived), np.frombuffer(trace.ended)
    served = np.frombuffer(trace.served, dtype=np.int8).astype(bool)
    request = np.frombuffer(trace.request, dtype=np.int64)
    kind = np.frombuffer(trace.kind, dtype=np.int8)
    where = np.frombuffer(trace.where, dtype=np.int64)
    entered, left = np.frombuffer(trace.entered), np.frombuffer(trace.left)
    counted = len(arrived) - warm_up
    span = Span(float(arrived[warm_up]), float(arrived[-1])) if counted > 0 else Span(0.0, 0.0)
    tries = request >= warm_up
    picks = np.bincount(where[tries], minlength=len(servers))
    busy, overload = _occupation(entered, left, where, servers, span)
    stays = np.clip(ended, *span) - np.clip(arrived, *span)
    lasting = ended > arrived  # no arrival can find a request that ended at the time of its own arrival
    come: Numbers = np.cumsum(lasting) - lasting
    before = come[warm_up:] - np.searchsorted(np.sort(ended[lasting]), arrived[warm_up:], side="right")
    answered = served.copy()
    answered[:warm_up] = False
    first = tries & (kind == FIRST)
    return SimulationReport(
        requests=max(0, counted),
        failures=max(0, counted) - int(answered.sum()),
        retries=int((kind[tries] == RETRY).sum()),
        hedges=int((kind[tries] == HEDGE).sum()),
        seconds=span.seconds,
        latency=(ended - arrived)[answered],
        picks=dict(zip(servers, picks.tolist(), strict=True)),
        busy=busy,
        overload=overload,
        in_system=span.average(float(stays.sum())),
        seen=float(before.mean()) if counted > 0 else 0.0,
        disruption=_disruption(trace.keys, request[first], where[first])
        if any(key is not None for key in trace.keys)
        else None,
        events=tuple(events),
        timeline=course(
            span,
            (arrived[warm_up:], ended[warm_up:], served[warm_up:]),
            (entered[tries], where[tries], kind[tries] == FIRST),
            list(servers),
        ),
    )


def _occupation(
    entered: Floats, left: Floats, where: Numbers, servers: Mapping[str, Server], span: Span
) -> tuple[dict[str, float], float]:
    """Return the utilization of each server, and the seconds of overload summed over servers."""
    busy: dict[str, float] = {}
    overload = 0.0
    order = np.argsort(where, kind="stable")
    bounds = np.searchsorted(where[order], np.arange(len(servers) + 1))
    for number, (id, server) in enumerate(servers.items()):
        own = order[bounds[number] : bounds[number + 1]]
        times = np.concatenate([np.clip(entered[own], *span), np.clip(left[own], *span)])
        turn = np.argsort(times, kind="stable")
        present = np.cumsum(np.where(turn < len(own), 1, -1))
        lengths = np.diff(times[turn], append=span.end)
        work = float((np.minimum(present, server.workers) * lengths).sum())
        busy[id] = span.average(work) / server.workers
        overload += float(lengths[present > server.workers].sum())
    return busy, overload


def _disruption(keys: Sequence[Key | None], request: Numbers, where: Numbers) -> float:
    """Return the share of the keys with several requests that did not always go to the same endpoint."""
    owner: dict[Key, int] = {}
    seen: dict[Key, bool] = {}
    for number, place in zip(request.tolist(), where.tolist(), strict=True):
        key = keys[number]
        if key is None:
            continue
        if key in owner:
            seen[key] = seen.get(key, False) or owner[key] != place
        else:
            owner[key] = place
    return sum(seen.values()) / len(seen) if seen else 0.0
