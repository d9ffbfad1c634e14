"""Prometheus collector: read at each scrape, so that a pick costs nothing.

========================================================  ==================================================
``balancekit_requests_total{outcome}``                    requests that have ended
``balancekit_request_duration_seconds``                   a histogram, to the first byte where that is known
``balancekit_inflight_requests``                          open leases
``balancekit_first_byte_seconds``                         median of recent requests that reported it
``balancekit_tokens_total``                               tokens of answers, as reported
``balancekit_tokens_per_second``                          median of recent answers, after their first token
``balancekit_endpoint_weight``                            as configured
``balancekit_endpoint_state{state}``                      1 for the state an endpoint is in, else 0
``balancekit_ejections_total{reason}``                    times that health took it out
``balancekit_retries_total{reason}``                      without an endpoint, as all that follow
``balancekit_retry_budget_exhausted_total``               retries that there was no budget for
``balancekit_hedges_total{result}``                       second attempts: won or lost
``balancekit_pick_failures_total{reason}``                requests for which no endpoint could be picked
``balancekit_panic``                                      1 while health is being ignored
``balancekit_resolver_refreshes_total{resolver,result}``  answers of a source of endpoints
``balancekit_resolver_last_success_timestamp_seconds``    when it last answered
``balancekit_resolver_endpoints``                         how many it names
========================================================  ==================================================

All have the label ``service``, the first nine ``endpoint`` as well: ids, never URLs, keys or users.

*Several processes* (``PROMETHEUS_MULTIPROC_DIR``, gunicorn): what is read when scraped does not work there, so the same names are
written directly, when requests begin and end and things happen, and what belongs to an endpoint that was removed stays, at 0. A
collector that is closed takes what is in flight with it, and so does that of a balancer that is gone as soon as another collector joins
the registry. A forked child begins at 0, and what its parent has in flight stays the parent's. First bytes and tokens are written
when a request ends, at most once a second, and when the collector is closed; of medians the last one that any process wrote is shown.

Needs the extra ``prometheus``. ``benchmarks/observe.py`` measures what the histogram costs.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, final

from balancekit._support.extras import extra

with extra("prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry, Metric

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.weak import weakly
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.events import Ejected, Event, Hedged, Removed, Retried, RetryRefused, Suppressed
from balancekit.observability._event_counters import EventCounters, reason
from balancekit.observability._exporter import OTHER, exporter_of
from balancekit.observability._instruments import BUCKETS, STATES, Direct
from balancekit.observability._route_metrics import RouteCollector, SupportsRouteStats
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.statistics_view import EndpointStats

__all__ = [
    "BUCKETS",
    "STATES",
    "BalancerCollector",
    "RouteCollector",
    "SupportsDiscoveryStats",
    "SupportsRouteStats",
]

ANSWERS_PERIOD_S: Final = 1.0
"""Between two writings of first bytes and tokens: all endpoints are visited for them."""
MAX_LABELLED_ENDPOINTS: Final = 500
"""Endpoints that get series of their own; the others share ``endpoint="other"``."""


class SupportsDiscoveryStats(Protocol):
    """A runner of ``balancekit.discovery``."""

    def stats(self) -> Any:
        """Return a ``DiscoveryStats``."""
        ...


@final
class BalancerCollector:
    """The metrics of one balancer.

    Parameters
    ----------
    balancer
        Whose; it is not kept alive, and once it is gone its metrics are too. Durations need one that measures time:
        ``timed=True``, or a load that does, as the default one.
    service
        The label of all its series; one balancer of that name per registry.
    registry
        Where to; prometheus_client's own if left out.
    discovery
        Runners of ``balancekit.discovery`` that feed it.

    Raises
    ------
    ConfigurationError
        For a wrong value, or a service that the registry has already.

    Example
    -------
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from balancekit import LoadBalancer
    >>> lb, registry = LoadBalancer(["a"]), CollectorRegistry()
    >>> collector = BalancerCollector(lb, service="orders", registry=registry)
    >>> with lb.acquire():
    ...     pass
    >>> line = 'balancekit_requests_total{endpoint="a",outcome="success",service="orders"} 1.0'
    >>> line in generate_latest(registry).decode()
    True
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        *,
        service: str,
        registry: CollectorRegistry = REGISTRY,
        discovery: Iterable[SupportsDiscoveryStats] = (),
    ) -> None:
        require_balancer(balancer)
        self.service: str = valid.text("service", service)
        if not isinstance(registry, CollectorRegistry):
            raise ConfigurationError("registry", registry, "a CollectorRegistry")
        if not isinstance(discovery, Iterable):
            raise ConfigurationError("discovery", discovery, "a list of runners")
        runners = tuple(discovery)
        for runner in runners:
            if not callable(getattr(runner, "stats", None)):
                raise ConfigurationError("discovery", runner, "runners with a method stats()")
        self._exporter = exporter_of(registry)
        self._balancer = weakly(balancer)
        listener = _Listener(self._on_event, runners)
        self._listener = weakref.ref(listener)
        self.counters: EventCounters = EventCounters(balancer)
        self._named: set[str] = set()
        self._durations: dict[str, Any] = {}
        self._lock = new_lock()
        self._tokens: dict[str, int] = {}
        self._begun: Counter[str] = Counter()
        """What this process has written as in flight, by label."""
        self._closed = False
        self._answers_due = -math.inf
        try:
            self._exporter.join(self)  # last, for a scrape may come at once
        except BaseException:
            self.counters.stop()
            raise
        observe = self._written if self._exporter.direct is not None else self._timed
        self._stops: list[Callable[[], None]] = [
            balancer.on_completion(observe),
            balancer.on_event(listener),
            self.counters.stop,
        ]
        if self._exporter.direct is not None:
            call_in_child(self)
            self._stops.append(balancer.on_start(self._started))
            begun: Counter[str] = Counter()
            for one in balancer.stats().endpoints:
                begun[self.label(one.id)] += one.inflight
            self._begun = begun
            for name, count in list(begun.items()):
                self._exporter.direct.inflight.labels(service, name).set(count)
            self._write_states()

    @property
    def balancer(self) -> ObservableBalancer[Any] | None:
        """The balancer; ``None`` once it is gone, for the collector does not keep it."""
        return self._balancer()

    def close(self) -> None:
        """Take the metrics away. Closing twice does nothing."""
        direct = self._exporter.direct
        self._exporter.leave(self)
        with self._lock:
            stops, self._stops = self._stops, []
        for stop in stops:
            stop()
        if direct is not None and stops:
            with self._lock:
                self._write_answers(direct)
                begun, self._begun, self._closed = self._begun, Counter(), True
            for name, count in begun.items():  # no end of these will be written
                direct.inflight.labels(self.service, name).dec(count)
        for endpoint in list(self._durations):
            self._forget(endpoint)

    def describe(self) -> Iterable[Metric]:
        """Refuse to be registered: a collector has done that itself, and a name may be exported only once.

        Raises
        ------
        ConfigurationError
            Always.
        """
        raise ConfigurationError(
            "collector", self, "no call of register(): a collector joins its registry when made"
        )

    def discovered(self) -> Iterator[Any]:
        """Read the runners."""
        listener = self._listener()
        for runner in () if listener is None else listener.runners:
            yield runner.stats()

    def _endpoints(self) -> tuple[EndpointStats, ...]:
        balancer = self._balancer()
        return () if balancer is None else balancer.stats().endpoints

    def label(self, endpoint: str) -> str:
        """Return the label of an endpoint: its id, while there are not too many."""
        if endpoint in self._named:
            return endpoint
        if len(self._named) >= MAX_LABELLED_ENDPOINTS:
            return OTHER
        self._named.add(endpoint)
        return endpoint

    def _timed(self, endpoint: Endpoint[Any], completion: Completion) -> None:
        """Put the duration of a success into the histogram."""
        if completion.outcome is not Outcome.SUCCESS:
            return
        seconds = completion.latency
        if not math.isnan(seconds):
            self._histogram(endpoint.id).observe(seconds)

    def _written(self, endpoint: Endpoint[Any], completion: Completion) -> None:
        """Write what a scrape would have read: for several processes."""
        direct = self._exporter.direct
        assert direct is not None
        self._timed(endpoint, completion)
        outcome = completion.outcome.value
        name = self.label(endpoint.id)
        direct.requests.labels(self.service, name, outcome).inc()
        with self._lock:
            begun = self._begun[name] > 0  # else it began before a fork, in the parent, or ends after close()
            self._begun[name] -= begun
        if begun:
            direct.inflight.labels(self.service, name).dec()
        if completion.first_byte_at is not None and completion.ended_at >= self._answers_due:
            with self._lock:
                if completion.ended_at >= self._answers_due:  # no other thread was faster
                    self._answers_due = completion.ended_at + ANSWERS_PERIOD_S
                    self._write_answers(direct)

    def _write_answers(self, direct: Direct) -> None:
        """Write first bytes and tokens of all endpoints that have some; the lock is held."""
        service, written = self.service, self._tokens
        found: dict[str, int] = {}
        for one in self._endpoints():
            name = self.label(one.id)
            if one.tokens:
                found[one.id] = one.tokens
                before = written.get(one.id, 0)  # an endpoint that was removed and is back begins at 0
                direct.tokens.labels(service, name).inc(one.tokens - (before if before <= one.tokens else 0))
            if one.first_byte is not None and name != OTHER:
                direct.first_byte.labels(service, name).set(one.first_byte.p50)
            if one.tokens_per_second is not None and name != OTHER:
                direct.speed.labels(service, name).set(one.tokens_per_second.p50)
        self._tokens = found

    def _started(self, endpoint: Endpoint[Any]) -> None:
        """Write how many requests are in flight when one begins: for several processes, where none asks at a scrape."""
        direct = self._exporter.direct
        assert direct is not None
        name = self.label(endpoint.id)
        with self._lock:
            if self._closed:
                return
            self._begun[name] += 1
        direct.inflight.labels(self.service, name).inc()

    def after_fork(self) -> None:
        """Take nothing away for the leases of the parent: this process writes figures of its own, from 0."""
        self._begun.clear()

    def _on_event(self, event: Event) -> None:
        direct = self._exporter.direct
        if isinstance(event, Removed):
            self._forget(event.endpoint)
        if direct is None:
            return
        match event:
            case Retried():
                direct.retries.labels(self.service, event.reason).inc()
            case RetryRefused():
                direct.exhausted.labels(self.service).inc()
            case Hedged():
                direct.hedges.labels(self.service, "won" if event.won else "lost").inc()
            case Ejected():
                why = reason(event.cause)
                direct.ejections.labels(self.service, self.label(event.endpoint), why).inc()
            case Suppressed():
                direct.ejections.labels(self.service, self.label(event.endpoint), "flapping").inc()
            case _:
                pass
        self._write_states()

    def _write_states(self) -> None:
        direct = self._exporter.direct
        assert direct is not None
        balancer = self._balancer()
        if balancer is None:
            return
        stats, present = balancer.stats(), set()
        for one in stats.endpoints:
            name = self.label(one.id)
            present.add(name)
            direct.weight.labels(self.service, name).set(one.weight)
            for state in STATES:
                direct.state.labels(self.service, name, state).set(float(one.state == state))
        for name in self._named - present:
            for state in STATES:
                direct.state.labels(self.service, name, state).set(0.0)
        direct.panic.labels(self.service).set(float(stats.panic))

    def _histogram(self, endpoint: str) -> Any:
        child = self._durations.get(endpoint)
        if child is None:
            histogram = self._exporter.duration
            if all(one.id != endpoint for one in self._endpoints()):  # a last answer of one that is gone
                return histogram.labels(self.service, OTHER)
            child = self._durations[endpoint] = histogram.labels(self.service, self.label(endpoint))
        return child

    def _forget(self, endpoint: str) -> None:
        """Delete the series of an endpoint that is gone, and let another have its place."""
        if self._exporter.direct is None and endpoint in self._named:
            if endpoint in self._durations:
                with contextlib.suppress(KeyError):  # it was deleted before an interrupt
                    self._exporter.duration.remove(self.service, endpoint)
            self._named.discard(endpoint)
        self._durations.pop(endpoint, None)


@final
class _Listener:
    """Hands events on. A balancer keeps its listeners, and so the runners of discovery, which may keep their balancer."""

    __slots__ = ("__weakref__", "_on_event", "runners")

    def __init__(
        self, on_event: Callable[[Event], None], runners: tuple[SupportsDiscoveryStats, ...]
    ) -> None:
        self._on_event = on_event
        self.runners = runners

    def __call__(self, event: Event) -> None:
        self._on_event(event)
