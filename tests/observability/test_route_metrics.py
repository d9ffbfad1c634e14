"""Metrics of routes: counters and quantiles by route, and nothing a client chooses in a label."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from balancekit.adapters import RouteStatistics
from balancekit.errors import ConfigurationError
from balancekit.observability.prometheus import RouteCollector


def test_routes_are_exported():
    """Routes are exported: requests by result, retries, and the 50th, 95th and 99th percentile."""
    statistics, registry = RouteStatistics(), CollectorRegistry()
    collector = RouteCollector("edge", statistics, registry=registry)
    for number in range(1, 101):
        statistics.record("api", latency=number / 100, failed=number > 90, attempts=2 if number == 1 else 1)
    statistics.record(None, latency=0.0, failed=True)

    def value(name, **labels):
        return registry.get_sample_value(
            f"balancekit_route_{name}", {"table": "edge", "route": "api", **labels}
        )

    assert value("requests_total", result="ok") == 90
    assert value("requests_total", result="failed") == 10
    assert value("retries_total") == 1
    assert value("latency_seconds", quantile="0.5") == pytest.approx(0.505)
    assert value("latency_seconds", quantile="0.95") == pytest.approx(0.9505)
    assert value("latency_seconds", quantile="0.99") == pytest.approx(0.9901)
    assert value("requests_total", route="no route", result="failed") == 1
    collector.close()
    assert value("retries_total") is None


def test_a_source_without_statistics_is_refused():
    """The source must have ``stats``."""
    with pytest.raises(ConfigurationError, match="source"):
        RouteCollector("edge", object(), registry=CollectorRegistry())
