"""Timeline of a simulation: requests, failures, retries and latency quantiles in equal intervals.

A request counts in the interval of its arrival, and an attempt in the interval of its beginning.

Cost: O(n log n) for n requests, in numpy.
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
"""Number of intervals of a report. A failover that takes 1 % of the run is visible."""

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Timeline(Record):
    """Counts and latency quantiles of a simulation in 100 equal intervals. Part of :class:`SimulationReport`.

    All sequences have one entry per interval. They are empty if ``width`` is 0.

    Parameters
    ----------
    begin
        Begin of the first interval, in seconds of the simulation.
    width
        Length of an interval in seconds; 0 if no time passed.
    requests
        Number of requests that arrived.
    failures
        Number of requests that arrived and that no attempt served.
    retries
        Number of retries and hedges that began.
    p50, p99
        Median and 99th percentile of latency in seconds, of the requests that arrived and were served; ``None`` if
        there were none.
    attempts
        Number of attempts that began, per endpoint.
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
        """Midpoint of each interval, in seconds of the simulation."""
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
        Begin and end of the timeline in seconds.
    requests
        Three arrays of shape (n,): arrival and end of each request, float64, and whether it was served.
    attempts
        Three arrays of shape (m,): beginning of each attempt, float64, number of its endpoint, and whether it was the
        first attempt of its request.
    endpoints
        Ids of the endpoints, by number.
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
    """Return the number of the interval of each time. Times outside the timeline are moved to its first or last interval."""
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
