"""Writer of the metrics of one balancer, for several processes. It writes the metrics when they change.

A forked child starts at 0; requests in flight in its parent stay with the parent.

Cost: one write at the start of a request and two at its end; all endpoints at an event, and at most once per second for
first bytes, tokens and sources of endpoints.
"""

from __future__ import annotations

import enum
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, final

from balancekit._support.fork import call_in_child, new_lock
from balancekit.endpoint import Endpoint
from balancekit.events import Ejected, Event, Hedged, Retried, RetryRefused, Suppressed
from balancekit.observability._event_counters import reason
from balancekit.observability._instruments import STATES, Direct
from balancekit.observability._series import MAX_REASONS, OTHER, SeriesNames
from balancekit.observability._totals import EndpointTotals, by_id, tokens_of
from balancekit.outcome import Completion
from balancekit.protocols import ObservableBalancer
from balancekit.statistics_view import EndpointStats

__all__ = ["DirectWriter"]

ANSWERS_PERIOD_S: Final = 1.0
"""Seconds between two writes of first bytes, tokens and sources, which visit all endpoints."""


class Cause(enum.Enum):
    """The causes for writing those metrics that are written at most once per second."""

    ANSWER = enum.auto()
    """A request with a first byte has ended."""
    END = enum.auto()
    """Another request has ended."""
    OTHER = enum.auto()
    """Any other event."""


@final
class DirectWriter:
    """The writer of the metrics of one balancer in one process.

    Parameters
    ----------
    direct
        The metrics to write to.
    service
        The value of the label ``service``.
    names
        The labels of endpoints.
    balancer
        Returns the balancer; ``None`` once it is collected.
    discovered
        Returns the statistics of each source of endpoints.
    """

    def __init__(
        self,
        direct: Direct,
        service: str,
        names: SeriesNames,
        balancer: Callable[[], ObservableBalancer[Any] | None],
        discovered: Callable[[], Iterable[Any]],
    ) -> None:
        self._direct = direct
        self._service = service
        self._names = names
        self._balancer = balancer
        self._discovered = discovered
        self._reasons = SeriesNames(MAX_REASONS)
        self._lock = new_lock()
        self._tokens = EndpointTotals()
        self._begun: Counter[str] = Counter()
        """The requests in flight that this process has written, by label. Before :meth:`begin`, starts less ends."""
        self._started = False
        """Whether the requests in flight are being written."""
        self._closed = False
        self._refreshed: Counter[tuple[str, str]] = Counter()
        """Answers of sources that this process has written, by source and result."""
        self._writing = False
        """Whether a thread is visiting endpoints and sources. It holds no lock, because sources may be user code."""
        self._due = dict.fromkeys(Cause, -math.inf)
        """The earliest times of the next visit to sources and, after the end of a request, to all endpoints."""

    def begin(self, endpoints: Iterable[EndpointStats], kinds: Iterable[str]) -> None:
        """Write the present values. Call this after the balancer reports starts and ends of requests.

        Parameters
        ----------
        endpoints
            Statistics that were read after the balancer began to report ends, and before it began to report starts. Then
            no request is counted twice, which the gauge would show for ever. A request that is not counted makes it too
            low until the endpoint is idle.
        kinds
            The reasons for which no endpoint may be picked.
        """
        call_in_child(self)
        with self._lock:
            self._write_existing(endpoints)
        direct, service = self._direct, self._service
        direct.exhausted.labels(service)
        for result in ("won", "lost"):
            direct.hedges.labels(service, result)
        for kind in kinds:
            direct.failures.labels(service, kind)
        self._write_states()
        self._write_if_due(Cause.OTHER)

    def _write_existing(self, endpoints: Iterable[EndpointStats]) -> None:
        """Write the requests in flight of all endpoints. Called under the lock."""
        found = self._begun
        for one in endpoints:
            found[self._names.label(one.id)] += one.inflight
        for name, count in list(found.items()):
            found[name] = max(0, count)
            self._direct.inflight.labels(self._service, name).set(found[name])
        self._started = True

    def on_refusal(self, kind: str) -> None:
        """Count a request for which no endpoint could be picked."""
        self._direct.failures.labels(self._service, kind).inc()
        self._write_if_due(Cause.OTHER)

    def on_start(self, endpoint: Endpoint[Any]) -> None:
        """Increment the requests in flight."""
        name = self._names.label(endpoint.id)
        with self._lock:
            if self._closed:
                return
            gauge = self._direct.inflight.labels(self._service, name)
            if name not in self._begun:
                gauge.set(0.0)  # a process of the same id may have died and left a file
            self._begun[name] += 1
            written = self._started
        if written:
            gauge.inc()

    def on_completion(self, endpoint: Endpoint[Any], completion: Completion) -> None:
        """Count the outcome of a request, and decrement the requests in flight."""
        direct, service, name = self._direct, self._service, self._names.label(endpoint.id)
        direct.requests.labels(service, name, completion.outcome.value).inc()
        with self._lock:
            # A request that is not counted has started in the parent, before a fork, or ends after close().
            counted = self._begun[name] > 0 or not (self._started or self._closed)
            self._begun[name] -= counted
            written = counted and self._started
        if written:
            direct.inflight.labels(service, name).dec()
        self._write_if_due(Cause.END if completion.first_byte_at is None else Cause.ANSWER)

    def on_event(self, event: Event) -> None:
        """Count an event, and write the states of all endpoints."""
        direct, service = self._direct, self._service
        self._tokens.on_event(event)
        match event:
            case Retried():
                direct.retries.labels(service, self._reasons.label(reason(event.reason))).inc()
            case RetryRefused():
                direct.exhausted.labels(service).inc()
            case Hedged():
                direct.hedges.labels(service, "won" if event.won else "lost").inc()
            case Ejected():
                name = self._names.label(event.endpoint)
                direct.ejections.labels(service, name, self._reasons.label(reason(event.cause))).inc()
            case Suppressed():
                direct.ejections.labels(service, self._names.label(event.endpoint), "flapping").inc()
            case _:
                pass
        self._write_states()
        self._write_if_due(Cause.OTHER)

    def close(self) -> None:
        """Write the last answers, and remove the requests in flight, because their ends will not be written."""
        with self._lock:
            begun, self._begun, self._closed = self._begun, Counter(), True
            writing, self._writing = self._writing, True
        if not writing:
            self._write_sources()
            self._write_answers()
        for name, count in begun.items():
            self._direct.inflight.labels(self._service, name).dec(count)

    def after_fork(self) -> None:
        """Forget the leases of the parent. A forked child counts from 0."""
        self._begun.clear()
        self._writing = False

    def _write_if_due(self, cause: Cause) -> None:
        """Write those metrics that are written at most once per second and cause. The first call writes at once."""
        now, due = time.monotonic(), self._due
        if now >= due[cause]:
            with self._lock:
                if now < due[cause] or self._closed or self._writing:  # another thread was faster
                    return
                due[cause] = now + ANSWERS_PERIOD_S
                self._writing = True
            try:
                self._write_sources()
                if cause is not Cause.OTHER:
                    self._write_answers()
            finally:
                self._writing = False

    def _write_sources(self) -> None:
        """Write the statistics of sources of endpoints."""
        direct, service, written = self._direct, self._service, self._refreshed
        refreshes, at, endpoints = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
        for one in self._discovered():  # sources of the same name are added up, as at a scrape
            for result, count in one.refreshes.items():
                refreshes[one.source, result] += count
            at[one.source] += one.last_success_at
            endpoints[one.source] += one.endpoints
        for (source, result), count in refreshes.items():
            direct.refreshes.labels(service, source, result).inc(max(0, count - written[source, result]))
        for source, when in at.items():
            direct.success.labels(service, source).set(when)
            direct.endpoints.labels(service, source).set(endpoints[source])
        self._refreshed = refreshes

    def _write_answers(self) -> None:
        """Write first bytes and tokens of all endpoints that have reported them."""
        direct, service = self._direct, self._service
        balancer = self._balancer()
        if balancer is None:
            return
        for total in self._tokens.read(lambda: tokens_of(balancer)):
            if total.value:
                direct.tokens.labels(service, self._names.label(total.endpoint)).inc(total.increase)
        for one in by_id(balancer.stats()).values():
            name = self._names.label(one.id)
            if one.first_byte is not None and name != OTHER:
                direct.first_byte.labels(service, name).set(one.first_byte.p50)
            if one.tokens_per_second is not None and name != OTHER:
                direct.speed.labels(service, name).set(one.tokens_per_second.p50)

    def _write_states(self) -> None:
        direct, service, balancer = self._direct, self._service, self._balancer()
        if balancer is None:
            return
        stats, present = balancer.stats(), set[str]()
        for one in by_id(stats).values():
            name = self._names.label(one.id)
            present.add(name)
            direct.weight.labels(service, name).set(one.weight)
            for state in STATES:
                direct.state.labels(service, name, state).set(float(one.state == state))
        for name in self._names.without(present):
            direct.weight.labels(service, name).set(0.0)
            for state in STATES:
                direct.state.labels(service, name, state).set(0.0)
        direct.panic.labels(service).set(float(stats.panic))
