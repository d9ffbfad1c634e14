"""Writer of the metrics of one balancer, for several processes: what a scrape would read is written as it happens.

A forked child begins at 0, and what its parent has in flight stays the parent's.

Cost: one write when a request begins and two when it ends; all endpoints at an event, and at most once a second for first
bytes and tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, final

from balancekit._support.fork import call_in_child, new_lock
from balancekit.endpoint import Endpoint
from balancekit.events import Ejected, Event, Hedged, Retried, RetryRefused, Suppressed
from balancekit.observability._event_counters import reason
from balancekit.observability._instruments import STATES, Direct
from balancekit.observability._series import OTHER, SeriesNames
from balancekit.outcome import Completion
from balancekit.protocols import ObservableBalancer
from balancekit.statistics_view import EndpointStats

__all__ = ["DirectWriter"]

ANSWERS_PERIOD_S: Final = 1.0
"""Between two writings of first bytes and tokens: all endpoints are visited for them."""


@final
class DirectWriter:
    """What one process writes of one balancer.

    Parameters
    ----------
    direct
        Where to.
    service
        The label of all series.
    names
        The labels of endpoints.
    balancer
        Returns the balancer; ``None`` once it is gone.
    """

    def __init__(
        self,
        direct: Direct,
        service: str,
        names: SeriesNames,
        balancer: Callable[[], ObservableBalancer[Any] | None],
    ) -> None:
        self._direct = direct
        self._service = service
        self._names = names
        self._balancer = balancer
        self._lock = new_lock()
        self._tokens: dict[str, int] = {}
        self._begun: Counter[str] = Counter()
        """What this process has written as in flight, by label."""
        self._closed = False
        self._answers_due = -math.inf

    def begin(self, endpoints: Iterable[EndpointStats]) -> None:
        """Write what there is already, after the first start is reported."""
        call_in_child(self)
        begun: Counter[str] = Counter()
        for one in endpoints:
            begun[self._names.label(one.id)] += one.inflight
        self._begun = begun
        for name, count in list(begun.items()):
            self._direct.inflight.labels(self._service, name).set(count)
        self._write_states()

    def on_start(self, endpoint: Endpoint[Any]) -> None:
        """Write how many requests are in flight when one begins."""
        name = self._names.label(endpoint.id)
        with self._lock:
            if self._closed:
                return
            self._begun[name] += 1
        self._direct.inflight.labels(self._service, name).inc()

    def on_completion(self, endpoint: Endpoint[Any], completion: Completion) -> None:
        """Write how a request ended."""
        direct, service, name = self._direct, self._service, self._names.label(endpoint.id)
        direct.requests.labels(service, name, completion.outcome.value).inc()
        with self._lock:
            begun = self._begun[name] > 0  # else it began before a fork, in the parent, or ends after close()
            self._begun[name] -= begun
        if begun:
            direct.inflight.labels(service, name).dec()
        if completion.first_byte_at is not None and completion.ended_at >= self._answers_due:
            with self._lock:
                if completion.ended_at >= self._answers_due:  # no other thread was faster
                    self._answers_due = completion.ended_at + ANSWERS_PERIOD_S
                    self._write_answers()

    def on_event(self, event: Event) -> None:
        """Count an event, and write the states that may have followed."""
        direct, service = self._direct, self._service
        match event:
            case Retried():
                direct.retries.labels(service, event.reason).inc()
            case RetryRefused():
                direct.exhausted.labels(service).inc()
            case Hedged():
                direct.hedges.labels(service, "won" if event.won else "lost").inc()
            case Ejected():
                name = self._names.label(event.endpoint)
                direct.ejections.labels(service, name, reason(event.cause)).inc()
            case Suppressed():
                direct.ejections.labels(service, self._names.label(event.endpoint), "flapping").inc()
            case _:
                pass
        self._write_states()

    def close(self) -> None:
        """Write the last answers, and take what is in flight away: no end of it will be written."""
        with self._lock:
            self._write_answers()
            begun, self._begun, self._closed = self._begun, Counter(), True
        for name, count in begun.items():
            self._direct.inflight.labels(self._service, name).dec(count)

    def after_fork(self) -> None:
        """Take nothing away for the leases of the parent: this process writes figures of its own, from 0."""
        self._begun.clear()

    def _write_answers(self) -> None:
        """Write first bytes and tokens of all endpoints that have some; the lock is held."""
        direct, service, written = self._direct, self._service, self._tokens
        balancer = self._balancer()
        found: dict[str, int] = {}
        for one in () if balancer is None else balancer.stats().endpoints:
            name = self._names.label(one.id)
            if one.tokens:
                found[one.id] = one.tokens
                before = written.get(one.id, 0)  # an endpoint that was removed and is back begins at 0
                direct.tokens.labels(service, name).inc(one.tokens - (before if before <= one.tokens else 0))
            if one.first_byte is not None and name != OTHER:
                direct.first_byte.labels(service, name).set(one.first_byte.p50)
            if one.tokens_per_second is not None and name != OTHER:
                direct.speed.labels(service, name).set(one.tokens_per_second.p50)
        self._tokens = found

    def _write_states(self) -> None:
        direct, service, balancer = self._direct, self._service, self._balancer()
        if balancer is None:
            return
        stats, present = balancer.stats(), set[str]()
        for one in stats.endpoints:
            name = self._names.label(one.id)
            present.add(name)
            direct.weight.labels(service, name).set(one.weight)
            for state in STATES:
                direct.state.labels(service, name, state).set(float(one.state == state))
        for name in self._names.without(present):
            for state in STATES:
                direct.state.labels(service, name, state).set(0.0)
        direct.panic.labels(service).set(float(stats.panic))
