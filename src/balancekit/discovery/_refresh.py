"""Refresh settings: how often a resolver is called, and which answers are accepted."""

from __future__ import annotations

from random import Random
from typing import Final, Literal, TypeAlias

from balancekit._support import validation as valid
from balancekit._support.record import Record, field
from balancekit.errors import ConfigurationError

__all__ = ["OnEmpty", "Refresh"]

OnEmpty: TypeAlias = Literal["hold", "apply"]
"""The treatment of an empty answer: confirm it first, or apply it at once."""

_NUMBERS: Final = ("interval", "min_interval", "max_interval", "first_retry", "max_retry", "timeout")


class Refresh(Record):
    """The intervals, timeouts and limits for following a source.

    Parameters
    ----------
    interval
        Seconds between two resolutions if the answer has no TTL, > 0.
    min_interval, max_interval
        The bounds of a TTL, > 0. A record with a TTL of zero must not cause a flood of queries, and one with a TTL of a
        day must not hide a change for a day.
    jitter
        The share by which each wait is longer or shorter at random, in [0, 1). It desynchronises clients that started
        together.
    first_retry, max_retry
        Seconds to wait after the first failure, doubled with each further failure up to the maximum; both > 0.
    timeout
        The longest time to wait for an answer, in seconds, > 0. A coroutine is then cancelled; a function has to limit
        itself.
    on_empty
        ``"hold"`` applies an empty answer once every answer for ``hold`` seconds has been empty. ``"apply"`` applies it
        at once, as in Envoy.
    hold
        Seconds for ``on_empty="hold"``, >= 0.
    shrink
        If more than this share of the endpoints is missing in one answer, they stay until the next answer confirms it;
        in [0, 1]. 1 turns this off.
    quiet, max_quiet
        A pushed list takes effect after ``quiet`` seconds without another one, and at the latest ``max_quiet`` seconds
        after the first; both >= 0.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, a maximum is below its minimum, or ``on_empty`` is another word.

    Example
    -------
    >>> from balancekit.discovery import Refresh
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
        """Return the seconds to wait after an answer."""
        if ttl is None:
            return self.interval
        return min(self.max_interval, max(self.min_interval, valid.number("ttl", ttl)))

    def retry(self, failures: int) -> float:
        """Return the seconds to wait after a number of consecutive failures, >= 1."""
        return min(
            self.max_retry,
            self.first_retry * 2.0 ** min(valid.integer("failures", failures, minimum=1) - 1, 60),
        )

    def spread(self, wait: float, rng: Random) -> float:
        """Lengthen or shorten a wait at random."""
        return valid.number("wait", wait, minimum=0.0) * (1.0 + self.jitter * (2.0 * rng.random() - 1.0))
