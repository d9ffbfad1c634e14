"""Prometheus metrics of a balancer. They are read at each scrape, so they add no cost to a pick.

========================================================  ==================================================
``balancekit_requests_total{outcome}``                    ended requests
``balancekit_request_duration_seconds``                   histogram; to the first byte if that is reported
``balancekit_inflight_requests``                          open leases
``balancekit_first_byte_seconds``                         median of recent requests, if reported
``balancekit_tokens_total``                               tokens in answers, as reported
``balancekit_tokens_per_second``                          median of recent answers, after the first token
``balancekit_endpoint_weight``                            configured weight
``balancekit_endpoint_state{state}``                      1 for the present state, 0 for every other
``balancekit_ejections_total{reason}``                    ejections of the endpoint
``balancekit_retries_total{reason}``                      retries of all endpoints
``balancekit_retry_budget_exhausted_total``               retries that the budget did not allow
``balancekit_hedges_total{result}``                       hedged requests: ``won`` or ``lost``
``balancekit_pick_failures_total{reason}``                requests for which no endpoint could be picked
``balancekit_panic``                                      1 while health is ignored, else 0
``balancekit_resolver_refreshes_total{resolver,result}``  answers of a resolver
``balancekit_resolver_last_success_timestamp_seconds``    Unix time of its last successful answer
``balancekit_resolver_endpoints``                         endpoints in its last answer
========================================================  ==================================================

All have the label ``service``; the first nine also have ``endpoint``. Its values are ids, never URLs, keys or users.
Above 500 endpoints, the others share the value ``other``.

*Several processes* (``PROMETHEUS_MULTIPROC_DIR``, gunicorn): prometheus_client cannot read metrics at a scrape there.
So the same metrics are written when a request starts, ends or is refused, and at events. The series of a removed
endpoint remain, with the value 0; its medians keep their last value. They also keep their places: an endpoint after the
first 500 of the life of a process has the value ``other``.

Closing a collector subtracts its requests in flight. If its balancer was garbage-collected, they are subtracted when
another collector joins the registry. A forked child counts from 0; requests in flight in its parent belong to the
parent.

First bytes, tokens and resolvers are written with one of those changes, at most once per second, and when the collector
is closed. A median is the last one that any of the processes has written.

Needs the extra ``prometheus``. ``benchmarks/observe.py`` measures the cost of the histogram.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, final

from balancekit._support.calls import checked_call
from balancekit._support.display import StateRepr
from balancekit._support.extras import extra

with extra("prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry, Metric

from balancekit._support import validation as valid
from balancekit._support.log import contain_error
from balancekit._support.weak import weakly
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.events import Event, Removed
from balancekit.observability._direct_writer import DirectWriter
from balancekit.observability._event_counters import EventCounters
from balancekit.observability._exporter import exporter_of
from balancekit.observability._instruments import BUCKETS, STATES
from balancekit.observability._route_metrics import RouteCollector, SupportsRouteStats
from balancekit.observability._series import OTHER, SeriesNames
from balancekit.observability._series_counters import Series, SeriesCounters
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import ObservableBalancer, SupportsRefusalObservers, require_balancer

__all__ = [
    "BUCKETS",
    "STATES",
    "BalancerCollector",
    "RouteCollector",
    "SupportsDiscoveryStats",
    "SupportsRouteStats",
]


class SupportsDiscoveryStats(Protocol):
    """A runner of ``balancekit.discovery``, as the collector reads it."""

    def stats(self) -> Any:
        """Return a ``DiscoveryStats``."""
        ...


@final
class BalancerCollector(StateRepr, prints=("balancer",)):
    """Prometheus collector of the metrics of one balancer. It registers itself.

    Parameters
    ----------
    balancer
        The balancer. It is referenced weakly; its metrics end when it is garbage-collected. Durations need a balancer
        that measures time: ``timed=True``, or a load that uses times, such as the default one.
    service
        The value of the label ``service``. A registry may have one balancer of each name.
    registry
        The registry; by default, that of ``prometheus_client``.
    discovery
        The runners of ``balancekit.discovery`` that update this balancer.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, ``service`` is empty or already in the registry, ``registry`` is no registry, or
        ``discovery`` is no iterable of runners with a method ``stats``.

    Cost: O(endpoints) per scrape; one observation of a histogram per successful request.

    *When not to use it:* beside :func:`~balancekit.observability.opentelemetry.instrument` in one backend, which would then
    have each figure twice.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.observability.prometheus import BalancerCollector
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> lb, registry = LoadBalancer(["a"]), CollectorRegistry()
    >>> collector = BalancerCollector(lb, service="orders", registry=registry)
    >>> with lb.acquire():
    ...     pass
    >>> line = 'balancekit_requests_total{endpoint="a",outcome="success",service="orders"} 1.0'
    >>> line in generate_latest(registry).decode()
    True
    """

    @checked_call
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
        listener = _Listener(self._on_event, _runners(discovery))
        self._listener = weakref.ref(listener)
        self._exporter = exporter_of(registry)
        self._balancer = weakly(balancer)
        self._names = SeriesNames()
        self._durations: dict[str, Any] = {}
        self._counts = SeriesCounters()
        self._writer: DirectWriter | None = None
        if self._exporter.direct is not None:
            self._writer = DirectWriter(
                self._exporter.direct, self.service, self._names, self._balancer, self.discovered
            )
        self._closed = False
        self.counters: EventCounters = EventCounters(balancer)
        self._stops: list[Callable[[], None]] = [self.counters.stop]
        try:
            self._exporter.join(self)
            self._begin(balancer, listener)
        except BaseException:  # an interrupt would leave the service's name taken
            self._leave()
            raise

    def _begin(self, balancer: ObservableBalancer[Any], listener: _Listener) -> None:
        """Subscribe to the balancer."""
        stops = self._stops
        stops.append(balancer.on_completion(self._on_completion))
        stops.append(balancer.on_event(listener))
        if self._writer is not None:
            stats = balancer.stats()  # before starts are reported: no request may count twice
            stops.append(balancer.on_start(self._writer.on_start))
            if isinstance(balancer, SupportsRefusalObservers):
                stops.append(balancer.on_refusal(self._writer.on_refusal))
            self._writer.begin(stats.endpoints, stats.refused)

    def _leave(self) -> None:
        """Stop observing, and release the service's name."""
        self._closed = True
        self._exporter.leave(self)
        for stop in list(self._stops):
            stop()

    @property
    def balancer(self) -> ObservableBalancer[Any] | None:
        """The balancer; ``None`` once it is collected, because the collector references it weakly."""
        return self._balancer()

    def close(self) -> None:
        """Remove the metrics. Closing twice does nothing."""
        self._leave()
        if self._writer is not None and self._stops:
            self._writer.close()
        self._stops = []  # last, so that another call completes an interrupted one
        for endpoint in list(self._durations):
            self._forget(endpoint)

    def describe(self) -> Iterable[Metric]:
        """Refuse a call of ``registry.register()``. The constructor has already registered the collector.

        Raises
        ------
        ConfigurationError
            In every call.
        """
        raise ConfigurationError(
            "collector", self, "no call of register(): the constructor registers the collector"
        )

    def discovered(self) -> Iterator[Any]:
        """Yield the statistics of the runners of discovery. An error of a runner is logged."""
        listener = self._listener()
        for runner in () if listener is None else listener.runners:
            try:
                found = runner.stats()
                valid.text("source", found.source)
            except Exception:
                contain_error("statistics of %r, for the metrics of service %s", runner, self.service)
            else:
                yield found

    def label(self, endpoint: str) -> str:
        """Return the value of the label ``endpoint``: the id of the endpoint, or ``other`` beyond the limit."""
        return self._names.label(endpoint)

    def count(self, balancer: ObservableBalancer[Any]) -> Mapping[Series, int]:
        """Return the counters of requests, tokens and ejections, by series. They do not decrease while the series is there."""
        return self._counts.read(balancer, self.counters, self.label)

    def labelled(self) -> set[str]:
        """Return the ids that have a label of their own."""
        return self._names.without(set())

    def forget(self, endpoints: Iterable[str]) -> None:
        """Delete the series of endpoints that have left, and free their places."""
        for endpoint in endpoints:
            self._forget(endpoint)

    def _on_completion(self, endpoint: Endpoint[Any], completion: Completion) -> None:
        """Add the duration of a success to the histogram. With several processes, write the other metrics too."""
        if self._closed:  # an interrupt has prevented the end of the subscription
            return
        seconds = completion.latency
        if completion.outcome is Outcome.SUCCESS and not math.isnan(seconds):
            self._histogram(endpoint.id).observe(seconds)
        if self._writer is not None:
            self._writer.on_completion(endpoint, completion)

    def _on_event(self, event: Event) -> None:
        if self._closed:
            return
        if isinstance(event, Removed):
            self._forget(event.endpoint)
        if self._writer is None:
            self._counts.on_event(event)
        else:
            self._writer.on_event(event)

    def _histogram(self, endpoint: str) -> Any:
        child = self._durations.get(endpoint)
        if child is None:
            if not self._serves(endpoint):  # a late answer of a removed endpoint
                return self._exporter.duration.labels(self.service, OTHER)
            child = self._exporter.duration.labels(self.service, self.label(endpoint))
            self._durations[endpoint] = child
            if not self._serves(endpoint):  # removed in another thread, which had nothing to forget
                self._forget(endpoint)
        return child

    def _serves(self, endpoint: str) -> bool:
        balancer = self._balancer()
        return balancer is not None and any(one.id == endpoint for one in balancer.endpoints)

    def _forget(self, endpoint: str) -> None:
        """Delete the series of a removed endpoint, and free its place."""
        if self._writer is None and endpoint in self._names:
            if endpoint in self._durations:
                with contextlib.suppress(KeyError):  # deleted before an interrupt, or in another thread
                    self._exporter.duration.remove(self.service, endpoint)
            self._names.forget(endpoint)
        self._durations.pop(endpoint, None)


def _runners(given: Iterable[SupportsDiscoveryStats]) -> tuple[SupportsDiscoveryStats, ...]:
    """Return the runners of discovery as a tuple, after checking that each has a method ``stats``."""
    if not isinstance(given, Iterable):
        raise ConfigurationError("discovery", given, "a list of runners")
    runners = tuple(given)
    for runner in runners:
        valid.instance("discovery", runner, "stats", allowed="runners with a method stats()")
    return runners


@final
class _Listener:
    """Forwarder of events. The balancer references it as a listener, and it keeps the runners of discovery alive."""

    __slots__ = ("__weakref__", "_on_event", "runners")

    def __init__(
        self, on_event: Callable[[Event], None], runners: tuple[SupportsDiscoveryStats, ...]
    ) -> None:
        self._on_event = on_event
        self.runners = runners

    def __call__(self, event: Event) -> None:
        self._on_event(event)
