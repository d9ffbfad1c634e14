"""Course of a simulation over time: requests, failures, retries and quantiles in equal intervals.

Requests count in the interval of their arrival, attempts in that of their beginning. Cost: O(n log n) for n requests, in
numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from balancekit._support.record import Record

__all__ = ["INTERVALS", "Timeline", "course"]

INTERVALS: Final = 100
"""Intervals of a report: enough to see a failover of one per cent of the run."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Timeline(Record):
    """What happened in each of some equal intervals.

    Parameters
    ----------
    begin
        When the first interval begins, in seconds of the simulation.
    width
        Seconds of an interval; 0 if no time passed.
    requests, failures
        Requests that arrived in each, and those of them that no attempt served.
    retries
        Attempts after a failed one, or parallel to a slow one, that began in each.
    p50, p99
        Quantiles of latency of the requests that arrived in each and succeeded, in seconds; ``None`` if none did.
    attempts
        Attempts that began in each, per endpoint.
    """

    begin: float
    width: float
    requests: tuple[int, ...]
    failures: tuple[int, ...]
    retries: tuple[int, ...]
    p50: tuple[float | None, ...]
    p99: tuple[float | None, ...]
    attempts: Mapping[str, tuple[int, ...]]

    @property
    def middles(self) -> list[float]:
        """Middle of each interval, in seconds of the simulation."""
        return [self.begin + (place + 0.5) * self.width for place in range(len(self.requests))]


def course(
    span: tuple[float, float],
    requests: tuple[Floats, Floats, NDArray[np.bool_]],
    attempts: tuple[Floats, Numbers, NDArray[np.bool_]],
    endpoints: Sequence[str],
) -> Timeline:
    """Compute the timeline of a run.

    Parameters
    ----------
    span
        Begin and end of what is counted, in seconds.
    requests
        Of each request its arrival, its end, both shape (n,) and float64, and whether it was served.
    attempts
        Of each attempt its beginning, shape (m,), float64; the number of its endpoint; and whether it was a first one.
    endpoints
        Their ids, by number.
    """
    begin, end = span
    width = (end - begin) / INTERVALS
    arrived, ended, served = requests
    entered, where, first = attempts
    if not width > 0.0:
        empty: tuple[int, ...] = ()
        return Timeline(
            begin=begin,
            width=0.0,
            requests=empty,
            failures=empty,
            retries=empty,
            p50=(),
            p99=(),
            attempts=dict.fromkeys(endpoints, empty),
        )
    place = _places(arrived, begin, width)
    tried = _places(entered, begin, width)
    inside = (entered >= begin) & (entered <= end)
    middle, tail = _quantiles(place[served], (ended - arrived)[served])
    return Timeline(
        begin=begin,
        width=width,
        requests=_counts(place),
        failures=_counts(place[~served]),
        retries=_counts(tried[inside & ~first]),
        p50=middle,
        p99=tail,
        attempts={id: _counts(tried[inside & (where == number)]) for number, id in enumerate(endpoints)},
    )


def _places(times: Floats, begin: float, width: float) -> Numbers:
    """Return the interval of each time."""
    found: Numbers = np.clip((times - begin) / width, 0, INTERVALS - 1).astype(np.int64)
    return found


def _counts(places: Numbers) -> tuple[int, ...]:
    return tuple(np.bincount(places, minlength=INTERVALS).tolist())


def _quantiles(places: Numbers, latency: Floats) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return the median and the 99th percentile of each interval."""
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(INTERVALS + 1))
    groups = [latency[order[bounds[place] : bounds[place + 1]]] for place in range(INTERVALS)]
    found = [
        np.quantile(group, (0.5, 0.99)).tolist() if len(group) else (math.nan, math.nan) for group in groups
    ]
    middle, tail = ([None if math.isnan(pair[which]) else pair[which] for pair in found] for which in (0, 1))
    return tuple(middle), tuple(tail)
