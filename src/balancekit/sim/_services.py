"""Service times, drawn from a given generator.

All have a mean in seconds; what differs is how often a request takes many times as long:

======================  ===============================================
:class:`Deterministic`  the same each time
:class:`Exponential`    memoryless; squared coefficient of variation 1
:class:`Lognormal`      most short, some long: what web servers measure
:class:`Pareto`         a heavy tail: the mean is made by few
:class:`Bimodal`        two kinds of request: hits and misses
:class:`Recorded`       what was measured, in random order
======================  ===============================================

Cost: a simulation draws a thousand at a time (:func:`draws`), for a call per draw would be a tenth of a request.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from random import Random
from typing import Final, Protocol

from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.errors import ConfigurationError

__all__ = ["Bimodal", "Deterministic", "Exponential", "Lognormal", "Pareto", "Recorded", "Service", "draws"]

BLOCK: Final = 1024
"""Times drawn at once."""
MAX_TOTAL_S: Final = 1e15
"""Seconds that they may take together. Far beyond, a clock of floating point stands still."""


class Service(Protocol):
    """How long requests take."""

    def sample(self, rng: Random, /) -> float:
        """Draw one service time in seconds, >= 0."""
        ...


class Deterministic(Record):
    """Every request takes ``mean`` seconds, > 0.

    Raises
    ------
    ConfigurationError
        If ``mean`` is not > 0.
    """

    mean: float = field(kw_only=False)

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Return the mean."""
        return self.mean


class Exponential(Record):
    """Memoryless, with a mean of ``mean`` seconds, > 0.

    Raises
    ------
    ConfigurationError
        If ``mean`` is not > 0.
    """

    mean: float = field(kw_only=False)

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return -math.log(1.0 - rng.random()) * self.mean


class Lognormal(Record):
    """The logarithm is normal with standard deviation ``sigma``, > 0; the mean is ``mean`` seconds, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is not > 0.
    """

    mean: float = field(kw_only=False)
    sigma: float = 1.0

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)
        valid.number("sigma", self.sigma, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return rng.lognormvariate(math.log(self.mean) - self.sigma * self.sigma / 2.0, self.sigma)


class Pareto(Record):
    """A power-law tail of exponent ``shape``, > 1; the mean is ``mean`` seconds, > 0.

    Raises
    ------
    ConfigurationError
        If ``mean`` is not > 0, or ``shape`` is not > 1.
    """

    mean: float = field(kw_only=False)
    shape: float = 2.1

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)
        valid.number("shape", self.shape, above=1.0)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return rng.paretovariate(self.shape) * self.mean * (self.shape - 1.0) / self.shape


class Bimodal(Record):
    """A share of ``slow_share`` takes ``slow`` seconds on average, the rest ``fast``; both exponential.

    Raises
    ------
    ConfigurationError
        If ``fast`` or ``slow`` is not > 0, or ``slow_share`` is outside [0, 1].
    """

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
    """Times that were measured, drawn in random order; at least one, all >= 0.

    Raises
    ------
    ConfigurationError
        If there is no time, or one is negative or not finite.
    """

    seconds: Sequence[float] = field(kw_only=False)

    def _check(self) -> None:
        times = tuple(valid.numbers("seconds", self.seconds, minimum=0.0))
        if not times:
            raise ConfigurationError("seconds", self.seconds, "at least one time")
        self.__dict__["seconds"] = times

    @property
    def mean(self) -> float:
        """The mean in seconds."""
        return math.fsum(self.seconds) / len(self.seconds)

    def sample(self, rng: Random, /) -> float:
        """Draw one service time."""
        return self.seconds[rng.randrange(len(self.seconds))]


def draws(service: Service, rng: Random, parameter: str = "service") -> Iterator[float]:
    """Return service times without end: those that ``service.sample`` would draw one by one.

    Raises
    ------
    ConfigurationError
        When the next is drawn, if one of them is no time: negative, infinite, NaN, or no number.

    Example
    -------
    >>> next(draws(Deterministic(mean=0.5), Random(1)))
    0.5
    """
    sample = service.sample
    if isinstance(service, Exponential):
        mean, uniform, log = service.mean, rng.random, math.log

        def block() -> list[float]:
            return [-log(1.0 - uniform()) * mean for _ in range(BLOCK)]
    else:

        def block() -> list[float]:
            return [sample(rng) for _ in range(BLOCK)]

    def checked() -> list[float]:
        allowed = "times that are finite and >= 0, and end some day"
        try:
            times = block()
        except OverflowError as error:
            raise ConfigurationError(parameter, service, allowed) from error
        try:
            fine = min(times) >= 0.0 and sum(times) < MAX_TOTAL_S
        except TypeError:
            fine = False
        if not fine:
            raise ConfigurationError(parameter, service, allowed)
        return times

    return chain.from_iterable(iter(checked, None))
