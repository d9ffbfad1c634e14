"""Counters of events: ejections, retries, hedges.

Counting starts when the counters are created; a balancer keeps no totals of its events.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.fork import new_lock
from balancekit._support.weak import observe_weakly
from balancekit.events import Ejected, Event, Hedged, Removed, Retried, RetryRefused, Suppressed
from balancekit.observability._series import MAX_REASONS, SeriesNames
from balancekit.protocols import ObservableBalancer, require_balancer

__all__ = ["EventCounters", "reason"]

_WORD: Final = re.compile(r"[a-z][a-z]+")
_FIRST: Final = {"check": "check", "latency": "latency", "success": "success_rate", "failure": "failure_rate"}


@checked_arguments
def reason(cause: str) -> str:
    """Return a metric label for the text of a cause. Causes contain numbers, but a label must have few different values.

    Raises
    ------
    ConfigurationError
        If ``cause`` is no string.

    Example
    -------
    >>> from balancekit.observability import reason
    >>> [reason(cause) for cause in ("5 failures in a row", "check failed: refused", "latency 0.512 s > 0.3 s at p99")]
    ['failures', 'check', 'latency']
    """
    first = _WORD.search(cause.lower())
    return "other" if first is None else _FIRST.get(first[0], first[0])


@final
class EventCounters(StateRepr, prints=("ejections", "retries", "hedges", "refused")):
    """Totals of the events of one balancer.

    The counters reference the balancer weakly. Threads may read them at any time; each property returns a copy.

    Parameters
    ----------
    balancer
        The balancer whose events are counted.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer.

    *When not to use it:* beside an exporter of this package, which exports the same counters.

    Example
    -------
    >>> from balancekit import LoadBalancer, Outcome
    >>> from balancekit.observability import EventCounters
    >>> lb = LoadBalancer(["a", "b"])
    >>> counters = EventCounters(lb)
    >>> for _ in range(5):
    ...     _ = lb.acquire(exclude=["b"]).release(Outcome.FAILURE)
    >>> dict(counters.ejections)
    {('a', 'failures'): 1}
    """

    def __init__(self, balancer: ObservableBalancer[Any]) -> None:
        require_balancer(balancer)
        self._lock = new_lock()
        self._ejections: Counter[tuple[str, str]] = Counter()
        self._retries: Counter[str] = Counter()
        self._hedges: Counter[str] = Counter()
        self._refused = 0
        self._reasons = SeriesNames(MAX_REASONS)
        self.stop: Callable[[], None] = observe_weakly(balancer.on_event, self._on_event)
        """The function that stops counting."""

    @property
    def ejections(self) -> Counter[tuple[str, str]]:
        """Ejections by endpoint and reason; those of removed endpoints are dropped."""
        with self._lock:
            return self._ejections.copy()

    @property
    def retries(self) -> Counter[str]:
        """Retries by reason."""
        with self._lock:
            return self._retries.copy()

    @property
    def hedges(self) -> Counter[str]:
        """Hedges by result: ``"won"`` or ``"lost"``."""
        with self._lock:
            return self._hedges.copy()

    @property
    def refused(self) -> int:
        """The number of retries that were not made because the budget was exhausted."""
        return self._refused

    def _on_event(self, event: Event) -> None:
        with self._lock:
            match event:
                case Ejected():
                    self._ejections[event.endpoint, self._reasons.label(reason(event.cause))] += 1
                case Suppressed():
                    self._ejections[event.endpoint, "flapping"] += 1
                case Retried():
                    self._retries[self._reasons.label(reason(event.reason))] += 1
                case RetryRefused():
                    self._refused += 1
                case Hedged():
                    self._hedges["won" if event.won else "lost"] += 1
                case Removed():
                    self._forget(event.endpoint)
                case _:
                    pass

    def _forget(self, endpoint: str) -> None:
        for key in [key for key in list(self._ejections) if key[0] == endpoint]:
            self._ejections.pop(key, None)
