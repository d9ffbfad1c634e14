"""How long does a request take, and when does the next one come? Random times, drawn from a given generator.

Service times have a mean in seconds; what differs is how often a request takes many times as long:

===============  ==========================================================================
:class:`Always`       the same each time
:class:`Exponential`  memoryless; squared coefficient of variation 1
:class:`Lognormal`    most short, some long: what web servers measure
:class:`Pareto`       a heavy tail: the mean is made by few
:class:`Bimodal`      two kinds of request: hits and misses
:class:`Recorded`     what was measured, in random order
===============  ==========================================================================

Arrivals yield times in ascending order; several processes can be merged with ``heapq.merge``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Protocol

from balancekit import _validation as valid
from balancekit._record import Record
from balancekit.errors import ConfigurationError

__all__ = [
    "Always",
    "Arrivals",
    "Bimodal",
    "Bursty",
    "Diurnal",
    "Exponential",
    "Lognormal",
    "Pareto",
    "Poisson",
    "Recorded",
    "RecordedArrivals",
    "Service",
]


class Service(Protocol):
    """How long requests take."""

    def sample(self, rng: Random, /) -> float:
        """Draw one service time in seconds, >= 0."""
        ...


class Arrivals(Protocol):
    """When requests come."""

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield times in seconds, ascending, from 0 on."""
        ...


class Always(Record):
    """Every request takes ``mean`` seconds, > 0."""

    mean: float

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Return the mean."""
        return self.mean


class Exponential(Record):
    """Memoryless, with a mean of ``mean`` seconds, > 0."""

    mean: float

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return -math.log(1.0 - rng.random()) * self.mean


class Lognormal(Record):
    """The logarithm is normal with standard deviation ``sigma``, > 0; the mean is ``mean`` seconds, > 0."""

    mean: float
    sigma: float = 1.0

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)
        valid.number("sigma", self.sigma, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return rng.lognormvariate(math.log(self.mean) - self.sigma * self.sigma / 2.0, self.sigma)


class Pareto(Record):
    """A power-law tail of exponent ``shape``, > 1; the mean is ``mean`` seconds, > 0."""

    mean: float
    shape: float = 2.1

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)
        valid.number("shape", self.shape, above=1.0)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return rng.paretovariate(self.shape) * self.mean * (self.shape - 1.0) / self.shape


class Bimodal(Record):
    """A share of ``slow_share`` takes ``slow`` seconds on average, the rest ``fast``; both exponential."""

    fast: float
    slow: float
    slow_share: float = 0.1

    def _check(self) -> None:
        valid.number("fast", self.fast, above=0.0)
        valid.number("slow", self.slow, above=0.0)
        valid.number("slow_share", self.slow_share, minimum=0.0, maximum=1.0)

    @property
    def mean(self) -> float:
        """The mean in seconds."""
        return self.slow_share * self.slow + (1.0 - self.slow_share) * self.fast

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        mean = self.slow if rng.random() < self.slow_share else self.fast
        return -math.log(1.0 - rng.random()) * mean


class Recorded(Record):
    """Times that were measured, drawn in random order; at least one, all >= 0."""

    seconds: Sequence[float]

    def _check(self) -> None:
        if not len(self.seconds):
            raise ConfigurationError("seconds", self.seconds, "at least one time")
        for one in self.seconds:
            valid.number("seconds", one, minimum=0.0)

    @property
    def mean(self) -> float:
        """The mean in seconds."""
        return math.fsum(self.seconds) / len(self.seconds)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return self.seconds[rng.randrange(len(self.seconds))]


class Poisson(Record):
    """Independent callers, ``rate`` requests a second on average, > 0."""

    rate: float

    def _check(self) -> None:
        valid.number("rate", self.rate, above=0.0)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        now, scale, draw, log = 0.0, 1.0 / self.rate, rng.random, math.log
        while True:
            now -= log(1.0 - draw()) * scale
            yield now


class Bursty(Record):
    """Quiet and busy spells by turns, of exponential lengths; a Poisson process in either.

    Parameters
    ----------
    quiet, busy
        Requests a second in either spell, >= 0 and > 0.
    quiet_length, busy_length
        Mean lengths of the spells in seconds, > 0.
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
    """

    rate: float
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
    """Times that were measured, ascending, in seconds."""

    seconds: Sequence[float]

    def _check(self) -> None:
        before = 0.0
        for one in self.seconds:
            before = valid.number("seconds", one, minimum=before)

    def times(self, rng: Random, /) -> Iterator[float]:
        """Yield arrival times."""
        yield from self.seconds
