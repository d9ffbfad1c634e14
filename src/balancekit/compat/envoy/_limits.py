"""Envoy's limits: the retry budget of a cluster, and the token bucket of the local rate limit.

*Retry budget.* A retry may begin while fewer retries are in progress than ``max(minimum, floor(percent * active))``;
the request that wants the retry is one of the active ones.

*Token bucket.* It starts full and fills without steps: ``tokens_per_fill / fill_interval`` tokens a second, at most
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
"""Tokens by which sums of fractions may fall short of a whole one."""


@final
class RetryBudget(ConstructorRepr):
    """The retries that a cluster may have in progress, in addition to its requests.

    Parameters
    ----------
    budget_percent
        Retries in percent of the requests in progress, 0 to 100.
    min_retry_concurrency
        Retries that are always allowed, >= 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *When not to use it:* without an Envoy to agree with. Requests in progress are few while a server fails fast;
    :class:`balancekit.retry.RetryBudget` counts those of the last seconds.

    Example
    -------
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
        """The retries in progress."""
        return self._retries

    @checked_arguments
    def limit(self, *, active: int) -> int:
        """Return how many retries may be in progress at this number of requests, retries among them."""
        return max(
            self._minimum, math.floor(self._percent / 100.0 * valid.integer("active", active, minimum=0))
        )

    @checked_arguments
    def begin_retry(self, *, active: int) -> bool:
        """Count a retry as in progress if it may begin, with so many requests in progress, this one included."""
        if self._retries >= self.limit(active=valid.integer("active", active, minimum=1)):
            return False
        self._retries += 1
        return True

    def end_retry(self) -> None:
        """Record that a retry ended."""
        if not self._retries:
            raise LeaseError("no retry is in progress")
        self._retries -= 1


@final
class TokenBucket(ConstructorRepr):
    """The local rate limit.

    Parameters
    ----------
    max_tokens
        Requests at once, >= 1; the bucket starts full.
    tokens_per_fill
        Tokens in each interval, >= 1.
    fill_interval
        Seconds, >= 0.05 as in Envoy.
    now
        When it starts.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds, or ``now`` is no finite number.

    *Guarantee.* In any ``t`` seconds at most ``max_tokens + t * tokens_per_fill / fill_interval`` are allowed.

    Example
    -------
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
        """Return how many tokens there are."""
        return min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)

    @checked_arguments
    def allow(self, *, now: float) -> bool:
        """Take a token; ``False`` if there is no whole one."""
        tokens = self.tokens(now=valid.number("now", now))
        if tokens < 1.0 - ROUNDING:
            return False
        self._tokens, self._at = max(0.0, tokens - 1.0), max(self._at, now)
        return True
