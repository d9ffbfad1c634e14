"""Retry budgets: a limit on retries as a share of requests.

A budget keeps retries from multiplying an outage. Every request deposits a fifth of a retry, and a retry withdraws a
whole one. A small reserve lets clients with few requests retry too. Amplification is at most ``1 + ratio`` plus
the reserve, whatever fails. A budget takes the time as an argument and is safe to share between threads.

To drop first attempts as well while a backend refuses most of them, use :class:`~balancekit.waiting.ClientThrottle`.

Source: Finagle ``RetryBudget`` (ttl 10 s, 20 %, 10 per second).
"""

from __future__ import annotations

from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import MAX_TIME_S, checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit._support.recent_count import RecentCount

__all__ = ["RetryBudget"]

BALANCE_DIGITS: Final = 9
"""After the point: three times a third is one."""


@final
class RetryBudget(ConstructorRepr):
    """A limit on retries, as a share of recent requests.

    Parameters
    ----------
    ratio
        Retries per request, in [0, 1].
    reserve
        Retries a second that need no requests, >= 0.
    ttl
        Seconds for which a request's contribution lasts, > 0.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *Guarantee.* Time is cut into tenths of ``ttl``. Whenever a retry is withdrawn, the retries of the last ten tenths,
    including the present one, are at most ``ratio`` times the requests of the same ten plus ``reserve * ttl``.

    Example
    -------
    >>> from balancekit.retry import RetryBudget
    >>> budget = RetryBudget(ratio=0.2, reserve=0.0)
    >>> for _ in range(10):
    ...     budget.deposit(now=0.0)
    >>> [budget.withdraw(now=1.0) for _ in range(3)]
    [True, True, False]
    """

    __slots__ = ("_deposits", "_lock", "_ratio", "_reserve", "_withdrawals")

    def __init__(self, *, ratio: float = 0.2, reserve: float = 10.0, ttl: float = 10.0) -> None:
        self._ratio = valid.number("ratio", ratio, minimum=0.0, maximum=1.0)
        length = valid.number("ttl", ttl, above=0.0)
        self._reserve = valid.number("reserve", reserve, minimum=0.0) * length
        self._deposits = RecentCount(length)
        self._withdrawals = RecentCount(length)
        self._lock = new_lock()

    def deposit(self, *, now: float) -> None:
        """Count a request's first attempt."""
        # What follows is the check of checked_arguments, written out: each request is counted.
        if now.__class__ is not float or not -MAX_TIME_S <= now <= MAX_TIME_S:
            now = valid.number("now", now, minimum=-MAX_TIME_S, maximum=MAX_TIME_S)
        with self._lock:
            self._deposits.add(now)

    @checked_arguments
    def withdraw(self, *, now: float) -> bool:
        """Take a retry out; ``False`` if there is none left, and then do not retry."""
        with self._lock:
            if self._balance(now) < 1.0:
                return False
            self._withdrawals.add(now)
            return True

    @checked_arguments
    def balance(self, *, now: float) -> float:
        """Return how many retries there may be now."""
        with self._lock:
            return max(0.0, self._balance(now))

    def _balance(self, now: float) -> float:
        earned = self._ratio * self._deposits.count(now) + self._reserve
        return round(earned - self._withdrawals.count(now), BALANCE_DIGITS)
