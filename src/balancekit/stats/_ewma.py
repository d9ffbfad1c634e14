"""Exponentially weighted averages over time, not over samples.

A sample that arrives ``dt`` after the previous one gets the weight ``1 - exp(-dt / decay)``, so the
average forgets at the same speed whether samples are rare or frequent. :class:`PeakEwma` jumps up to a
sample above it and only comes down slowly: a slow answer is believed at once, a fast one is not.

Both costs are O(1) time and two floats.

Source: Finagle, ``PeakEwma.scala`` (October 2024): default decay 10 s, reading decays towards a rest
value, a time before that of the last sample counts as that time. Half-life is ``decay * ln 2`` (6.93 s at the default).
"""

from __future__ import annotations

from math import exp, inf, log
from typing import NoReturn, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit.errors import ConfigurationError

__all__ = ["Ewma", "PeakEwma"]


def _refuse(sample: float, now: float) -> NoReturn:
    """Raise for a sample or a time that is infinite or not a number."""
    valid.number("now", now)
    valid.number("sample", sample)
    raise ConfigurationError("sample", sample, "a number that is a finite distance from the average")


class _TimedAverage:
    """An average over time; how it takes a sample is left to its subclasses.

    Parameters
    ----------
    decay
        Time constant in seconds, > 0.
    """

    __slots__ = ("_at", "_rate", "_value", "seen")

    @checked_arguments
    def __init__(self, *, decay: float = 10.0) -> None:
        self._rate = 1.0 / valid.number("decay", decay, above=0.0)
        self._value = 0.0
        self._at = 0.0
        self.seen: bool = False
        """Whether there has been any sample."""

    def value(self, *, now: float, rest: float | None = None) -> float:
        """Return the average at ``now``: as of the last sample, or faded towards ``rest`` since then."""
        try:
            if now.__class__ is not float or now - now != 0.0:
                now = valid.number("now", now)
            if rest is None:
                return self._value
            if rest.__class__ is not float or rest - rest != 0.0:
                rest = valid.number("rest", rest)
            since = self._at - now
            return rest + (self._value - rest) * (exp(since * self._rate) if since < 0.0 else 1.0)
        except Exception as error:
            refuse(error, _TimedAverage.value, self, now=now, rest=rest)

    def rank(self) -> float:
        """Return the logarithm of the value at time 0, faded towards 0: it orders averages of equal decay at any time."""
        return log(self._value) + self._at * self._rate if self._value > 0.0 else -inf

    def __repr__(self) -> str:
        state = f"value={self._value:.6g} at={self._at:.6g}" if self.seen else "seen=False"
        return f"<{type(self).__name__} {state}>"


@final
class Ewma(_TimedAverage):
    """A symmetric moving average.

    Parameters
    ----------
    decay
        Time constant in seconds, > 0: after it, an old value keeps 37 % of its say.

    *When not to use it:* for latencies that feed a choice. It believes good news as fast as bad; use
    :class:`PeakEwma`.

    Example
    -------
    >>> average = Ewma(decay=10.0)
    >>> average.observe(1.0, now=0.0)
    >>> average.observe(0.0, now=10.0)
    >>> round(average.value(now=10.0), 3)
    0.368
    """

    __slots__ = ()

    def observe(self, sample: float, *, now: float) -> None:
        """Take a sample. The first one is believed whole."""
        try:
            value, at = sample, now
            if value.__class__ is not float or at.__class__ is not float:
                value, at = valid.number("sample", value), valid.number("now", at)
            if self.seen:
                since = self._at - at
                value += (self._value - value) * (exp(since * self._rate) if since < 0.0 else 1.0)
        except Exception as error:
            refuse(error, Ewma.observe, self, sample, now=now)
        if not (value - value == 0.0 == at - at):
            _refuse(sample, now)
        self._value = value
        self._at = at
        self.seen = True


@final
class PeakEwma(_TimedAverage):
    """A moving average that jumps up to any sample above it and decays like :class:`Ewma` otherwise.

    Parameters
    ----------
    decay
        Time constant in seconds, > 0. A spike is forgiven to 10 % after ``2.3 * decay``.

    *When not to use it:* for anything where a single outlier should not count, or for long polling and
    streams, whose duration says nothing about the endpoint.

    Example
    -------
    >>> average = PeakEwma(decay=10.0)
    >>> average.observe(0.1, now=0.0)
    >>> average.observe(0.9, now=0.001)
    >>> average.value(now=0.001)
    0.9
    """

    __slots__ = ()

    def observe(self, sample: float, *, now: float) -> None:
        """Take a sample. The first one is believed whole."""
        try:
            value, at = sample, now
            if value.__class__ is not float or at.__class__ is not float:  # a call takes longer than the rest
                value, at = valid.number("sample", value), valid.number("now", at)
            if value < self._value and self.seen:
                since = self._at - at
                value += (self._value - value) * (exp(since * self._rate) if since < 0.0 else 1.0)
        except Exception as error:
            refuse(error, PeakEwma.observe, self, sample, now=now)
        if not (value - value == 0.0 == at - at):
            _refuse(sample, now)
        self._value = value
        self._at = at
        self.seen = True

    def raise_to(self, bound: float, *, now: float) -> None:
        """Learn that the true value is at least ``bound``: go up to it, never down."""
        try:
            if bound.__class__ is not float or bound - bound != 0.0:
                bound = valid.number("bound", bound)
            if bound > self._value:
                self.observe(bound, now=now)
            elif now.__class__ is not float or now - now != 0.0:
                valid.number("now", now)
        except Exception as error:
            refuse(error, PeakEwma.raise_to, self, bound, now=now)
