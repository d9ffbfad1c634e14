"""Envoy's limits: the retry budget of a cluster, and the token bucket of the local rate limit.

*Retry budget.* A retry may begin if fewer retries than ``max(minimum, floor(percent * active))`` are in progress. The request that
is retried is one of the active requests.

*Token bucket.* It is full at first, and fills continuously with ``tokens_per_fill / fill_interval`` tokens per second, up to
``max_tokens``. A request needs a whole token.

Cost: O(1). Source: Envoy 1.40, ``ResourceManagerImpl`` and ``AtomicTokenBucketImpl``.
"""

from __future__ import annotations

import math
from typing import final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import LeaseError

__all__ = ["RetryBudget", "TokenBucket"]

ROUNDING = 1e-9
"""Allowed rounding error of a sum of fractions of tokens."""


@final
class RetryBudget(ConstructorRepr):
    """Envoy's limit on the retries of a cluster that are in progress.

    Parameters
    ----------
    budget_percent
        Maximum number of retries in percent of the requests in progress, 0 to 100.
    min_retry_concurrency
        Number of retries that are always allowed, >= 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Notes
    -----
    *When not to use it:* unless you need the same choices as Envoy. While a server fails fast, few requests are in progress, so
    the budget is small. :class:`balancekit.retry.RetryBudget` counts the requests of the last seconds.

    Example
    -------
    >>> from balancekit.compat.envoy import RetryBudget
    >>> budget = RetryBudget(budget_percent=20, min_retry_concurrency=1)
    >>> [budget.begin_retry(active=1), budget.begin_retry(active=9), budget.begin_retry(active=10)]
    [True, False, True]
    """

    __slots__ = ("_minimum", "_percent", "_retries")

    @checked_arguments
    def __init__(self, *, budget_percent: float = 20.0, min_retry_concurrency: int = 3) -> None:
        self._percent = valid.number("budget_percent", budget_percent, minimum=0.0, maximum=100.0)
        self._minimum = valid.integer("min_retry_concurrency", min_retry_concurrency, minimum=0)
        self._retries = 0

    @property
    def retries(self) -> int:
        """Number of retries in progress."""
        return self._retries

    @checked_arguments
    def limit(self, *, active: int) -> int:
        """Return the maximum number of retries in progress, if ``active`` requests are in progress, including retries."""
        return max(
            self._minimum, math.floor(self._percent / 100.0 * valid.integer("active", active, minimum=0))
        )

    @checked_arguments
    def begin_retry(self, *, active: int) -> bool:
        """Count a retry as in progress and return ``True`` if it may begin; otherwise return ``False``.

        ``active`` is the number of requests in progress, including the one that is retried.
        """
        if self._retries >= self.limit(active=valid.integer("active", active, minimum=1)):
            return False
        self._retries += 1
        return True

    def end_retry(self) -> None:
        """Record that a retry has ended.

        Raises
        ------
        LeaseError
            If no retry is in progress.
        """
        if not self._retries:
            raise LeaseError("no retry is in progress")
        self._retries -= 1


@final
class TokenBucket(ConstructorRepr):
    """The token bucket of Envoy's local rate limit.

    Parameters
    ----------
    max_tokens
        Maximum number of tokens, >= 1. The bucket is full at first.
    tokens_per_fill
        Number of tokens per interval, >= 1.
    fill_interval
        Length of an interval in seconds, >= 0.05 as in Envoy.
    now
        Start time in seconds.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds, or ``now`` is no finite number.

    Notes
    -----
    *Guarantee.* In any ``t`` seconds, at most ``max_tokens + t * tokens_per_fill / fill_interval`` requests are allowed.

    Example
    -------
    >>> from balancekit.compat.envoy import TokenBucket
    >>> bucket = TokenBucket(max_tokens=1, fill_interval=2.0)
    >>> [bucket.allow(now=now) for now in (0.0, 1.9, 2.0)]
    [True, False, True]
    """

    __slots__ = ("_at", "_most", "_rate", "_tokens")

    @checked_arguments
    def __init__(
        self, *, max_tokens: int, tokens_per_fill: int = 1, fill_interval: float, now: float = 0.0
    ) -> None:
        self._most = float(valid.integer("max_tokens", max_tokens, minimum=1))
        tokens = valid.integer("tokens_per_fill", tokens_per_fill, minimum=1)
        self._rate = tokens / valid.number("fill_interval", fill_interval, minimum=0.05)
        self._tokens = self._most
        self._at = valid.number("now", now)

    @checked_arguments
    def tokens(self, *, now: float) -> float:
        """Return the number of tokens, which may have a fraction."""
        return min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)

    @checked_arguments
    def allow(self, *, now: float) -> bool:
        """Take a token and return ``True``; return ``False`` if there is no whole token."""
        tokens = self.tokens(now=valid.number("now", now))
        if tokens < 1.0 - ROUNDING:
            return False
        self._tokens, self._at = max(0.0, tokens - 1.0), max(self._at, now)
        return True
