"""Metrics of routes: counters and quantiles by route, and nothing a client chooses in a label."""

from __future__ import annotations

import gc

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


def test_a_source_that_raises_costs_no_other_series(caplog):
    """A source whose statistics cannot be had has no series, and those of another table are there."""

    class Broken:
        def stats(self):
            raise OSError("no statistics")

    statistics, registry, broken = RouteStatistics(), CollectorRegistry(), Broken()
    statistics.record("orders", latency=0.25, failed=False)
    collectors = [
        RouteCollector("broken", broken, registry=registry),
        RouteCollector("edge", statistics, registry=registry),
    ]
    page = [sample for family in registry.collect() for sample in family.samples]
    assert {sample.labels["table"] for sample in page} == {"edge"}
    assert "no statistics" in caplog.text
    for collector in collectors:
        collector.close()


def test_a_registry_has_each_table_once():
    """Several tables share a registry; a second one of a name is refused, until the first has left."""
    statistics, registry = RouteStatistics(), CollectorRegistry()
    statistics.record("orders", latency=0.25, failed=False)
    edge = RouteCollector("edge", statistics, registry=registry)
    RouteCollector("inner", statistics, registry=registry)
    assert {sample.labels["table"] for family in registry.collect() for sample in family.samples} == {
        "edge",
        "inner",
    }
    with pytest.raises(ConfigurationError, match="name='edge'"):
        RouteCollector("edge", statistics, registry=registry)
    edge.close()
    edge.close()
    assert {sample.labels["table"] for family in registry.collect() for sample in family.samples} == {"inner"}
    RouteCollector("edge", statistics, registry=registry)


def test_the_name_of_a_source_that_is_gone_is_free():
    """A table whose source was collected leaves its name to another."""
    registry, statistics = CollectorRegistry(), RouteStatistics()
    kept = RouteCollector("edge", statistics, registry=registry)
    del statistics
    gc.collect()
    assert not kept.has_source
    RouteCollector("edge", RouteStatistics(), registry=registry)


def test_a_name_that_no_page_can_have_is_refused():
    """A route that UTF-8 cannot encode is refused when it is counted: it would end each scrape."""
    with pytest.raises(ConfigurationError, match="route"):
        RouteStatistics().record(chr(0xD83D), latency=0.25, failed=False)
