"""Arrival processes: times in ascending order, drawn from a given generator.

=========================  ===================================================================
:class:`Poisson`           independent callers, so many a second
:class:`Bursty`            quiet and busy spells, alternating
:class:`Diurnal`           a day's curve
:class:`RecordedArrivals`  what was measured
:class:`ClosedLoop`        so many callers, each of which waits for its answer (a closed loop)
=========================  ===================================================================

Several open processes can be merged with ``heapq.merge``.

*Open or closed?* The users of a site do not wait for each other: open. A fixed set of workers does: closed, and it
flatters a slow system, for a waiting client sends nothing (coordinated omission).
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

__all__ = ["Arrivals", "Bursty", "ClosedLoop", "Diurnal", "Poisson", "RecordedArrivals", "moments"]

BLOCK: Final = 1024
"""Times drawn at once."""
MIN_PER_CYCLE: Final = 1e-6
"""Requests in a quiet and a busy spell together. Far below, it takes for ever to draw one."""


class Arrivals(Protocol):
    """When requests come."""

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield times in seconds, ascending, from 0 on."""
        ...


class Poisson(Record):
    """Independent callers, ``rate`` requests a second on average, > 0.

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
    """Quiet and busy spells, alternating, of exponential lengths; a Poisson process in either.

    Parameters
    ----------
    quiet, busy
        Requests a second in either spell, >= 0 and > 0.
    quiet_length, busy_length
        Mean lengths of the spells in seconds, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds, or two spells have too few requests on average.
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
            allowed = f"a length with {MIN_PER_CYCLE:g} requests or more in two spells"
            raise ConfigurationError("busy_length", self.busy_length, allowed)

    @property
    def rate(self) -> float:
        """Requests a second on average."""
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
    """A day's curve: ``rate * (1 + swing * sin)`` with a period in seconds, by thinning.

    Parameters
    ----------
    rate
        Requests a second on average, > 0.
    swing
        How far it goes up and down, 0 to 1.
    period
        Seconds, > 0.

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
    """Times that were measured, ascending, in seconds.

    Raises
    ------
    ConfigurationError
        If a time is negative, not finite, or less than the one before.
    """

    seconds: Sequence[float] = field(kw_only=False)

    def _check(self) -> None:
        times = valid.numbers("seconds", self.seconds, minimum=0.0)
        for before, after in pairwise(times):
            if after < before:
                valid.number("seconds", after, minimum=before)
        self.__dict__["seconds"] = tuple(times)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        yield from self.seconds


class ClosedLoop(Record):
    """A fixed number of callers; each waits for its answer, pauses, and sends the next request.

    Parameters
    ----------
    count
        How many, >= 1.
    pause
        Seconds between an answer and the next request.

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
        """Yield the first request of each caller; the others follow from the answers."""
        yield from sorted(islice(draws(self.pause, rng, "pause"), self.count))


def moments(arrivals: Arrivals, rng: Random, total: int) -> array[float]:
    """Return when the first requests come, at most ``total``.

    Raises
    ------
    ConfigurationError
        If the times are no numbers, not finite, not ascending, or negative.
    """
    allowed = "times that are finite, >= 0 and ascending"
    try:
        times = array("d", islice(arrivals.times(rng), total))
    except TypeError as error:
        raise ConfigurationError("arrivals", arrivals, allowed) from error
    seconds = np.frombuffer(times)
    if not (np.isfinite(seconds).all() and (np.diff(seconds, prepend=0.0) >= 0.0).all()):
        raise ConfigurationError("arrivals", arrivals, allowed)
    return times
