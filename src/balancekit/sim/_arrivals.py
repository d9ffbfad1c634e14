"""Arrival processes: times in ascending order, drawn from a given random generator.

=========================  ======================================================================
:class:`Poisson`           independent callers at a constant mean rate
:class:`Bursty`            alternating quiet and busy periods
:class:`Diurnal`           a rate that follows a sine curve, such as that of a day
:class:`RecordedArrivals`  times that were measured
:class:`ClosedLoop`        a fixed number of callers, each of which waits for its response
=========================  ======================================================================

Merge several open processes with ``heapq.merge``.

*Open or closed?* In an open process, requests arrive whether or not earlier ones have been answered. Use it for the users
of a site. In a closed process, a caller sends its next request only after a response. Use it for a fixed set of workers.
A closed process hides how slow a system is, because a waiting caller sends nothing (coordinated omission).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice, pairwise
from random import Random
from typing import Final, Protocol

import numpy as np

from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.errors import ConfigurationError
from balancekit.sim._services import Exponential, Service, draws

__all__ = ["Arrivals", "Bursty", "ClosedLoop", "Diurnal", "Poisson", "RecordedArrivals", "arrival_times"]

BLOCK: Final = 1024
"""Times drawn at once."""
MAX_TIME_S: Final = 1e10
"""About three hundred years. A float above it has no place for microseconds. Epochs in milliseconds are above it."""
MIN_PER_CYCLE: Final = 1e-6
"""Minimum mean number of requests in one quiet and one busy period together. With far fewer, drawing one time takes forever."""


class Arrivals(Protocol):
    """The times at which requests arrive. Implement this protocol for an arrival process of your own."""

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield times in seconds, >= 0, in ascending order. Draw all randomness from ``rng``."""
        ...


class Poisson(Record):
    """A Poisson process: independent callers at a constant mean rate.

    Parameters
    ----------
    rate
        Mean requests per second, > 0.

    Raises
    ------
    ConfigurationError
        If ``rate`` is not > 0.
    """

    rate: float = field(kw_only=False)

    def _check(self) -> None:
        valid.number("rate", self.rate, above=0.0)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        scale, uniform, log = 1.0 / self.rate, rng.random, math.log

        def block() -> list[float]:
            return [-log(1.0 - uniform()) * scale for _ in range(BLOCK)]

        return accumulate(chain.from_iterable(iter(block, None)))


class Bursty(Record):
    """Quiet and busy periods that alternate, beginning with a quiet one.

    The lengths of periods are exponentially distributed. Within a period, arrivals are a Poisson process.

    Parameters
    ----------
    quiet
        Mean requests per second in a quiet period, >= 0.
    busy
        Mean requests per second in a busy period, > 0.
    quiet_length, busy_length
        Mean lengths of the periods in seconds, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds, or a quiet and a busy period together have fewer than a millionth of a
        request on average.
    """

    quiet: float
    busy: float
    quiet_length: float
    busy_length: float

    def _check(self) -> None:
        valid.number("quiet", self.quiet, minimum=0.0)
        valid.number("busy", self.busy, above=0.0)
        valid.number("quiet_length", self.quiet_length, above=0.0)
        valid.number("busy_length", self.busy_length, above=0.0)
        if self.quiet * self.quiet_length + self.busy * self.busy_length < MIN_PER_CYCLE:
            allowed = (
                f"a length with {MIN_PER_CYCLE:g} requests or more in a quiet and a busy period together"
            )
            raise ConfigurationError("busy_length", self.busy_length, allowed)

    @property
    def rate(self) -> float:
        """Mean requests per second."""
        sent = self.quiet * self.quiet_length + self.busy * self.busy_length
        return sent / (self.quiet_length + self.busy_length)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        begin, busy = 0.0, False
        while True:
            end = begin + rng.expovariate(1.0 / (self.busy_length if busy else self.quiet_length))
            rate = self.busy if busy else self.quiet
            now = begin
            while rate and (now := now + rng.expovariate(rate)) < end:
                yield now
            begin, busy = end, not busy


class Diurnal(Record):
    """A Poisson process whose rate follows a sine curve, such as that of a day.

    At time ``t`` the rate is ``rate * (1 + swing * sin(2 * pi * t / period))``. Times are drawn by thinning.

    Parameters
    ----------
    rate
        Mean requests per second, > 0.
    swing
        Amplitude of the curve relative to ``rate``, 0 to 1.
    period
        Length of the curve in seconds, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.
    """

    rate: float = field(kw_only=False)
    swing: float = 0.5
    period: float = 86_400.0

    def _check(self) -> None:
        valid.number("rate", self.rate, above=0.0)
        valid.number("swing", self.swing, minimum=0.0, maximum=1.0)
        valid.number("period", self.period, above=0.0)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        peak = self.rate * (1.0 + self.swing)
        turn = math.tau / self.period
        now = 0.0
        while True:
            now += rng.expovariate(peak)
            if rng.random() * (1.0 + self.swing) < 1.0 + self.swing * math.sin(now * turn):
                yield now


class RecordedArrivals(Record):
    """Measured arrival times.

    Parameters
    ----------
    seconds
        Times in seconds, from 0 to 1e10, in ascending order.

    Raises
    ------
    ConfigurationError
        If a time is negative, above 1e10 or not finite, or less than the one before.
    """

    seconds: Sequence[float] = field(kw_only=False)

    def _check(self) -> None:
        times = valid.numbers("seconds", self.seconds, minimum=0.0)
        if times:
            valid.number("seconds", max(times), minimum=0.0, maximum=MAX_TIME_S)
        for before, after in pairwise(times):
            if after < before:
                valid.number("seconds", after, minimum=before)
        self.__dict__["seconds"] = tuple(times)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        yield from self.seconds


class ClosedLoop(Record):
    """A fixed number of callers. Each waits for its response, pauses, and sends the next request.

    Parameters
    ----------
    count
        Number of callers, >= 1.
    pause
        Distribution of the pause between a response and the next request, in seconds.

    Raises
    ------
    ConfigurationError
        If ``count`` is not a whole number >= 1, or ``pause`` has no ``sample`` method.
    """

    count: int = field(kw_only=False)
    pause: Service = Exponential(mean=1.0)

    def _check(self) -> None:
        valid.integer("count", self.count, minimum=1)
        valid.instance("pause", self.pause, "sample", allowed="times such as Exponential(mean=1.0)")

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield the time of the first request of each caller. The simulation computes later ones from the responses."""
        yield from sorted(islice(draws(self.pause, rng, "pause"), self.count))


def arrival_times(arrivals: Arrivals, rng: Random, total: int) -> array[float]:
    """Return the times of the first requests, at most ``total`` of them.

    Raises
    ------
    ConfigurationError
        If a time is not a number, not finite, negative, above 1e10, or less than the one before.
    """
    allowed = f"times that are finite, >= 0 and ascending, up to {MAX_TIME_S:g} seconds"
    try:
        times = array("d", islice(arrivals.times(rng), total))
    except TypeError as error:
        raise ConfigurationError("arrivals", arrivals, allowed) from error
    seconds = np.frombuffer(times)
    ascending = np.isfinite(seconds).all() and (np.diff(seconds, prepend=0.0) >= 0.0).all()
    if not ascending or (len(seconds) and seconds[-1] > MAX_TIME_S):
        raise ConfigurationError("arrivals", arrivals, allowed)
    return times
