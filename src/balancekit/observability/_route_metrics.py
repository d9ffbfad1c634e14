"""Prometheus metrics of routes, read at each scrape.

=============================================  =====================================================
``balancekit_route_requests_total{result}``    finished requests: ``ok`` or ``failed``
``balancekit_route_retries_total``             attempts beyond the first
``balancekit_route_latency_seconds{quantile}`` 0.5, 0.95 and 0.99 of the last 256 requests
=============================================  =====================================================

All have the labels ``table`` and ``route``. Names of routes bound the number of series; paths and hosts are never labels.

Cost: nothing per request; at each scrape, sorting 256 numbers per route. Needs the extra ``prometheus``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from operator import attrgetter, is_not
from typing import Any, Final, Protocol, TypeAlias, final
from weakref import WeakKeyDictionary

from balancekit._support.calls import checked_call
from balancekit._support.display import StateRepr
from balancekit._support.extras import extra

with extra("prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry, Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.log import contain_error
from balancekit._support.weak import weakly
from balancekit.errors import ConfigurationError

__all__ = ["RouteCollector", "SupportsRouteStats"]

_Families: TypeAlias = tuple[CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]


class SupportsRouteStats(Protocol):
    """Statistics by route: ``RouteStatistics``, a routed transport or a routing middleware."""

    def stats(self) -> Sequence[Any]:
        """Return one record for each route: ``route``, ``requests``, ``failures``, ``retries``, ``latency``."""
        ...


@final
class RouteCollector(StateRepr):
    """Prometheus collector of the statistics of the routes of one table.

    Parameters
    ----------
    name
        The value of the label ``table``. A registry may have one table of each name.
    source
        ``RouteStatistics``, a routed transport or a routing middleware. It is referenced weakly; once it is collected,
        there are no samples.
    registry
        The registry; by default, that of ``prometheus_client``.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, ``source`` has no method ``stats``, ``registry`` is no registry, or the registry already
        has a table of that name.

    *When not to use it:* with several processes behind one scrape target, because quantiles cannot be added up.

    Example
    -------
    >>> from balancekit.adapters import RouteStatistics
    >>> from balancekit.observability.prometheus import RouteCollector
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> statistics, registry = RouteStatistics(), CollectorRegistry()
    >>> statistics.record("orders", latency=0.25, failed=False)
    >>> collector = RouteCollector("edge", statistics, registry=registry)
    >>> 'balancekit_route_latency_seconds{quantile="0.95",route="orders",table="edge"} 0.25' in generate_latest(registry).decode()
    True
    """

    @checked_call
    def __init__(
        self, name: str, source: SupportsRouteStats, *, registry: CollectorRegistry | None = None
    ) -> None:
        allowed = "RouteStatistics, a routed transport or a routing middleware"
        valid.instance("source", source, "stats", allowed=allowed)
        self._name = valid.text("name", name)
        self._source = weakly(source)
        self._exporter = _exporter_of(REGISTRY if registry is None else registry)
        self._exporter.join(self)

    @property
    def name(self) -> str:
        """The value of the label ``table``."""
        return self._name

    @property
    def has_source(self) -> bool:
        """Whether the source still exists; it is referenced weakly."""
        return self._source() is not None

    def close(self) -> None:
        """Remove the metrics. Closing twice does nothing."""
        self._exporter.leave(self)

    def stats(self) -> Sequence[Any]:
        """Return the records of all routes; none if the source is collected or raises."""
        source = self._source()
        try:
            return () if source is None else source.stats()
        except Exception:
            contain_error("statistics of %r, for the metrics of table %s", source, self._name)
            return ()


@final
class _Exporter(Collector):
    """The tables of one registry, because a metric's name may be exported only once."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._members: tuple[RouteCollector, ...] = ()

    def join(self, member: RouteCollector) -> None:
        """Add a table; remove those whose source is collected."""
        with self._lock:
            living = tuple(filter(attrgetter("has_source"), self._members))
            if member.name in map(attrgetter("name"), living):
                raise ConfigurationError("name", member.name, "a name that this registry does not have yet")
            self._members = (*living, member)

    def leave(self, member: RouteCollector) -> None:
        """Remove a table."""
        with self._lock:
            self._members = tuple(filter(partial(is_not, member), self._members))

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples."""
        return _families()

    def collect(self) -> Iterable[Metric]:
        """Return the families with current samples."""
        families = _families()
        for member in self._members:
            for stats in member.stats():
                _add(families, member.name, stats)
        return [family for family in families if family.samples]


def _add(families: _Families, table: str, stats: Any) -> None:
    """Add the samples of one route."""
    requests, retries, latency = families
    labels = [table, stats.route]
    requests.add_metric([*labels, "ok"], stats.requests - stats.failures)
    requests.add_metric([*labels, "failed"], stats.failures)
    retries.add_metric(labels, stats.retries)
    if stats.latency is not None:
        for quantile, value in (
            ("0.5", stats.latency.p50),
            ("0.95", stats.latency.p95),
            ("0.99", stats.latency.p99),
        ):
            latency.add_metric([*labels, quantile], value)


_EXPORTERS: Final[WeakKeyDictionary[CollectorRegistry, _Exporter]] = WeakKeyDictionary()
_LOCK: Final = new_lock()


def _exporter_of(registry: CollectorRegistry) -> _Exporter:
    """Return the exporter of a registry, registered on first use."""
    if not isinstance(registry, CollectorRegistry):
        raise ConfigurationError("registry", registry, "a CollectorRegistry")
    with _LOCK:
        found = _EXPORTERS.get(registry)
        if found is None:
            found = _Exporter()
            registry.register(found)
            _EXPORTERS[registry] = found
        return found


def _families() -> _Families:
    labels = ["table", "route"]
    return (
        CounterMetricFamily(
            "balancekit_route_requests",
            "Number of ended requests of the route, by result: ok or failed.",
            labels=[*labels, "result"],
        ),
        CounterMetricFamily(
            "balancekit_route_retries", "Number of retries of requests of the route.", labels=labels
        ),
        GaugeMetricFamily(
            "balancekit_route_latency_seconds",
            "Quantiles of the seconds to the headers of the answer, of the last 256 requests of the route.",
            labels=[*labels, "quantile"],
        ),
    )
