"""Refresh settings: how often a resolver is called, and which answers are accepted."""

from __future__ import annotations

from random import Random
from typing import Final, Literal, TypeAlias

from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.errors import ConfigurationError

__all__ = ["OnEmpty", "Refresh"]

OnEmpty: TypeAlias = Literal["hold", "apply"]
"""What an empty answer is: something to be confirmed first, or the truth at once."""

_NUMBERS: Final = ("interval", "min_interval", "max_interval", "first_retry", "max_retry", "timeout")


class Refresh(Record):
    """How to follow a source.

    Parameters
    ----------
    interval
        Seconds between two questions if the answer names no TTL, > 0.
    min_interval, max_interval
        The bounds of a TTL, > 0: a record with a TTL of zero must not become a flood of questions, one of a day
        must not hide a change for a day.
    jitter
        The share by which each wait is longer or shorter at random, in [0, 1), so that clients that started
        together do not stay synchronised.
    first_retry, max_retry
        Seconds to wait after the first failure; doubled with each further one up to the maximum, both > 0.
    timeout
        Seconds an answer may take, > 0. A coroutine is cancelled then; a function has to keep it by itself.
    on_empty
        ``"hold"``: an empty answer counts once nothing else was said for ``hold`` seconds. ``"apply"``: at once, as
        in Envoy.
    hold
        See there, >= 0.
    shrink
        If more than this share of the endpoints is missing in one answer, they stay until the next answer agrees,
        in [0, 1]; 1 believes everything.
    quiet, max_quiet
        A list that is pushed counts after ``quiet`` seconds without another one, ``max_quiet`` after the first
        at the latest, both >= 0.

    Example
    -------
    >>> refresh = Refresh(interval=10.0)
    >>> [refresh.period(ttl) for ttl in (None, 0.0, 60.0, 86400.0)]
    [10.0, 5.0, 60.0, 300.0]
    >>> [refresh.retry(failures) for failures in (1, 2, 3, 7, 4000)]
    [1.0, 2.0, 4.0, 60.0, 60.0]
    """

    interval: float = field(default=30.0, kw_only=False)
    min_interval: float = 5.0
    max_interval: float = 300.0
    jitter: float = 0.1
    first_retry: float = 1.0
    max_retry: float = 60.0
    timeout: float = 10.0
    on_empty: OnEmpty = "hold"
    hold: float = 30.0
    shrink: float = 0.5
    quiet: float = 0.1
    max_quiet: float = 1.0

    def _check(self) -> None:
        for name in _NUMBERS:
            valid.number(name, getattr(self, name), above=0.0)
        for name in ("hold", "quiet"):
            valid.number(name, getattr(self, name), minimum=0.0)
        valid.number("max_interval", self.max_interval, minimum=self.min_interval)
        valid.number("max_retry", self.max_retry, minimum=self.first_retry)
        valid.number("max_quiet", self.max_quiet, minimum=self.quiet)
        valid.number("shrink", self.shrink, minimum=0.0, maximum=1.0)
        if valid.number("jitter", self.jitter, minimum=0.0, maximum=1.0) == 1.0:
            raise ConfigurationError("jitter", self.jitter, "a number < 1")
        if self.on_empty not in ("hold", "apply"):
            raise ConfigurationError("on_empty", self.on_empty, '"hold" or "apply"')

    def period(self, ttl: float | None) -> float:
        """Return how long to wait after an answer."""
        if ttl is None:
            return self.interval
        return min(self.max_interval, max(self.min_interval, valid.number("ttl", ttl)))

    def retry(self, failures: int) -> float:
        """Return how long to wait after the last of so many failures in a row, >= 1."""
        return min(
            self.max_retry,
            self.first_retry * 2.0 ** min(valid.integer("failures", failures, minimum=1) - 1, 60),
        )

    def spread(self, wait: float, rng: Random) -> float:
        """Make a wait longer or shorter at random."""
        return valid.number("wait", wait, minimum=0.0) * (1.0 + self.jitter * (2.0 * rng.random() - 1.0))
