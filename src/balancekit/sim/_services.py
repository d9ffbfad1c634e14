"""Distributions of service times, drawn from a given random generator.

Each has a mean in seconds. They differ in how often a request takes many times as long as the mean:

======================  ==============================================================================
:class:`Deterministic`  constant
:class:`Exponential`    memoryless; the squared coefficient of variation is 1
:class:`Lognormal`      most requests are short and some are long, as typically measured at web servers
:class:`Pareto`         heavy-tailed: a few requests make up most of the mean
:class:`Bimodal`        two kinds of requests, such as cache hits and misses
:class:`Recorded`       measured times, drawn at random
======================  ==============================================================================

Cost: a simulation draws 1024 times at once (:func:`draws`). One call per request would take a tenth of a simulated request.
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
"""Number of times drawn at once."""
MAX_TOTAL_S: Final = 1e15
"""Maximum sum of one block in seconds. Far beyond, adding a short time to a floating-point clock has no effect."""


class Service(Protocol):
    """A distribution of service times. Implement this protocol for a distribution of your own."""

    def sample(self, rng: Random, /) -> float:
        """Draw one service time in seconds, >= 0."""
        ...


class Deterministic(Record):
    """A constant service time.

    Parameters
    ----------
    mean
        The service time in seconds, > 0.

    Raises
    ------
    ConfigurationError
        If ``mean`` is not > 0.
    """

    mean: float = field(kw_only=False)

    def _check(self) -> None:
        valid.number("mean", self.mean, above=0.0)

    def sample(self, rng: Random, /) -> float:
        """Return ``mean``."""
        return self.mean


class Exponential(Record):
    """An exponential distribution.

    Parameters
    ----------
    mean
        Mean in seconds, > 0.

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
    """A lognormal distribution.

    Parameters
    ----------
    mean
        Mean in seconds, > 0.
    sigma
        Standard deviation of the natural logarithm, > 0.

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
    """A Pareto distribution, whose tail follows a power law.

    Parameters
    ----------
    mean
        Mean in seconds, > 0.
    shape
        Exponent of the tail, > 1. The variance is infinite for ``shape`` <= 2.

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
    """A mixture of two exponential distributions, for fast and slow requests.

    Parameters
    ----------
    fast, slow
        Mean of the fast and of the slow requests in seconds, > 0.
    slow_share
        The share of slow requests, 0 to 1.

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
    """Measured service times, drawn at random with replacement.

    Parameters
    ----------
    seconds
        Times in seconds, >= 0; at least one.

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
    """Return an endless iterator of service times. They are those that ``service.sample`` draws one by one.

    Raises
    ------
    ConfigurationError
        When a block is drawn, if one of its times is negative, infinite, NaN or no number, or if their sum is 1e15 s
        or more. The error names ``parameter``.

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
        allowed = f"times >= 0, less than {MAX_TOTAL_S:g} s in total"
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
