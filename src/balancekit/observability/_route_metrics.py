"""Prometheus collector for routes: read at each scrape.

=============================================  =====================================================
``balancekit_route_requests_total{result}``    requests that have ended: ``ok`` or ``failed``
``balancekit_route_retries_total``             attempts beyond the first
``balancekit_route_latency_seconds{quantile}`` 0.5, 0.95 and 0.99 of the last 256 requests
=============================================  =====================================================

All have the labels ``table`` and ``route``. Names of routes bound the number of series; paths and hosts are never labels.

Cost: nothing a request; sorting 256 numbers a route at each scrape. Needs the extra ``prometheus``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, final

from balancekit._support.display import StateRepr
from balancekit._support.extras import extra

with extra("prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry, Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

from balancekit._support import validation as valid
from balancekit._support.weak import weakly
from balancekit.errors import ConfigurationError

__all__ = ["RouteCollector", "SupportsRouteStats"]


class SupportsRouteStats(Protocol):
    """Statistics by route: ``RouteStatistics``, a routed transport or a routing middleware."""

    def stats(self) -> Sequence[Any]:
        """Return one record for each route: ``route``, ``requests``, ``failures``, ``retries``, ``latency``."""
        ...


@final
class RouteCollector(StateRepr, Collector):
    """Export the statistics of a table's routes.

    Parameters
    ----------
    name
        The value of the label ``table``.
    source
        ``RouteStatistics``, a routed transport or a routing middleware. It is not kept alive; once it is gone, there are no
        samples.
    registry
        Where it is registered; the default registry if left out.

    Raises
    ------
    ConfigurationError
        If the source has no ``stats``.

    *When not to use it:* with several processes that share one scrape target; quantiles do not add up.

    Example
    -------
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from balancekit.adapters import RouteStatistics
    >>> statistics, registry = RouteStatistics(), CollectorRegistry()
    >>> statistics.record("orders", latency=0.25, failed=False)
    >>> collector = RouteCollector("edge", statistics, registry=registry)
    >>> 'balancekit_route_latency_seconds{quantile="0.95",route="orders",table="edge"} 0.25' in generate_latest(registry).decode()
    True
    """

    def __init__(
        self, name: str, source: SupportsRouteStats, *, registry: CollectorRegistry | None = None
    ) -> None:
        if not callable(getattr(source, "stats", None)):
            raise ConfigurationError(
                "source", source, "RouteStatistics, a routed transport or a routing middleware"
            )
        self._name = valid.text("name", name)
        self._source = weakly(source)
        self._registry = REGISTRY if registry is None else registry
        self._registry.register(self)

    def close(self) -> None:
        """Leave the registry."""
        self._registry.unregister(self)

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples."""
        return _families()

    def collect(self) -> Iterable[Metric]:
        """Return the families as of now."""
        requests, retries, latency = _families()
        source = self._source()
        for stats in () if source is None else source.stats():
            labels = [self._name, stats.route]
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
        return requests, retries, latency


def _families() -> tuple[CounterMetricFamily, CounterMetricFamily, GaugeMetricFamily]:
    labels = ["table", "route"]
    return (
        CounterMetricFamily(
            "balancekit_route_requests", "Requests that have ended.", labels=[*labels, "result"]
        ),
        CounterMetricFamily("balancekit_route_retries", "Attempts beyond the first.", labels=labels),
        GaugeMetricFamily(
            "balancekit_route_latency_seconds",
            "Latency to the headers of the answer, over the last 256 requests.",
            labels=[*labels, "quantile"],
        ),
    )
