"""Moving averages that are exponentially weighted by time, not by the number of samples.

A sample that arrives ``dt`` seconds after the previous one gets the weight ``1 - exp(-dt / decay)``. So the weight of old
samples decays at the same speed whether samples are rare or frequent. :class:`PeakEwma` takes a sample above the
average as the new average at once. It decreases only slowly.

Cost: O(1) time, four attributes.

Source: Finagle, ``PeakEwma.scala`` (October 2024): a default decay of 10 s, and a value that decays towards a rest value
when it is read. A time before that of the last sample counts as that time. The half-life is ``decay * ln 2``, 6.93 s at the
default.
"""

from __future__ import annotations

from math import exp, inf, log
from typing import NoReturn, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit.errors import ConfigurationError

__all__ = ["Ewma", "PeakEwma"]


def _refuse(sample: float, now: float) -> NoReturn:
    """Raise the ``ConfigurationError`` for a sample or a time that is infinite or not a number."""
    valid.number("now", now)
    valid.number("sample", sample)
    raise ConfigurationError("sample", sample, "a number that is a finite distance from the average")


class _TimedAverage:
    """The common part of the averages. Subclasses define ``observe``.

    Parameters
    ----------
    decay
        The time constant in seconds, > 0.
    """

    __slots__ = ("_at", "_rate", "_value", "seen")

    @checked_arguments
    def __init__(self, *, decay: float = 10.0) -> None:
        self._rate = 1.0 / valid.number("decay", decay, above=0.0)
        self._value = 0.0
        self._at = 0.0
        self.seen: bool = False
        """Whether there was a sample."""

    def value(self, *, now: float, rest: float | None = None) -> float:
        """Return the average at ``now``.

        Without ``rest``, this is the average after the last sample. With ``rest``, the average decays towards ``rest`` from
        the time of the last sample on.

        Raises
        ------
        ConfigurationError
            If ``now`` or ``rest`` is no finite number.
        """
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
        """Return a number that orders averages of equal decay as their values with ``rest=0.0`` do, at any time.

        The number is the logarithm of the value, extrapolated back to time 0; minus infinity for a value of 0 or less.
        """
        return log(self._value) + self._at * self._rate if self._value > 0.0 else -inf

    def __repr__(self) -> str:
        state = f"value={self._value:.6g} at={self._at:.6g}" if self.seen else "seen=False"
        return f"<{type(self).__name__} {state}>"


@final
class Ewma(_TimedAverage):
    """A symmetric moving average: it follows higher and lower samples at the same speed.

    *When not to use it:* for latencies that decide picks. An endpoint that becomes slow must be noticed sooner than one
    that becomes fast; use :class:`PeakEwma`.

    Parameters
    ----------
    decay
        The time constant in seconds, > 0. After this time, an old value has 37 % of its weight.

    Raises
    ------
    ConfigurationError
        If ``decay`` is no finite number > 0.

    Example
    -------
    >>> from balancekit.stats import Ewma
    >>> average = Ewma(decay=10.0)
    >>> average.observe(1.0, now=0.0)
    >>> average.observe(0.0, now=10.0)
    >>> round(average.value(now=10.0), 3)
    0.368
    """

    __slots__ = ()

    def observe(self, sample: float, *, now: float) -> None:
        """Add a sample. The first one becomes the average. O(1).

        Raises
        ------
        ConfigurationError
            If ``sample`` or ``now`` is no finite number.
        """
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
    """A moving average that takes a higher sample at once, and follows lower samples like :class:`Ewma`.

    *When not to use it:* if a single outlier must not count. Also not for long polling and streams, because their duration
    does not depend on the endpoint.

    Parameters
    ----------
    decay
        The time constant in seconds, > 0. After ``2.3 * decay``, the weight of a spike is 10 %.

    Raises
    ------
    ConfigurationError
        If ``decay`` is no finite number > 0.

    Example
    -------
    >>> from balancekit.stats import PeakEwma
    >>> average = PeakEwma(decay=10.0)
    >>> average.observe(0.1, now=0.0)
    >>> average.observe(0.9, now=0.001)
    >>> average.value(now=0.001)
    0.9
    """

    __slots__ = ()

    def observe(self, sample: float, *, now: float) -> None:
        """Add a sample. The first one, and each one above the average, becomes the average. O(1).

        Raises
        ------
        ConfigurationError
            If ``sample`` or ``now`` is no finite number.
        """
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
        """Raise the average to ``bound`` if it is lower; otherwise change nothing.

        Raises
        ------
        ConfigurationError
            If ``bound`` or ``now`` is no finite number.
        """
        try:
            if bound.__class__ is not float or bound - bound != 0.0:
                bound = valid.number("bound", bound)
            if bound > self._value:
                self.observe(bound, now=now)
            elif now.__class__ is not float or now - now != 0.0:
                valid.number("now", now)
        except Exception as error:
            refuse(error, PeakEwma.raise_to, self, bound, now=now)
