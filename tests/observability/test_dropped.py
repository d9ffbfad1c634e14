"""What observes a balancer does not keep it: one that is dropped is collected, and nothing is reported of it any more."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from balancekit import LoadBalancer, Outcome
from balancekit.adapters import RouteStatistics
from balancekit.discovery import ThreadDiscovery
from balancekit.observability.logs import log_events
from balancekit.observability.opentelemetry import instrument
from balancekit.observability.prometheus import BalancerCollector, RouteCollector
from balancekit.sharing import RedisStore, SharedEjections

KEPT: list[Any] = []
"""What a program keeps of a hook: what it returned, and what it was registered with."""


def _metrics(lb: LoadBalancer) -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    KEPT.extend([instrument(lb, service="orders", meter=meter), reader, meter])


def _collector(lb: LoadBalancer) -> None:
    registry = CollectorRegistry()
    KEPT.extend([BalancerCollector(lb, service="orders", registry=registry), registry])


def _followed(lb: LoadBalancer) -> None:
    registry = CollectorRegistry()
    with ThreadDiscovery(lb, "static:a,b") as discovery:
        KEPT.extend(
            [BalancerCollector(lb, service="orders", registry=registry, discovery=[discovery]), registry]
        )
        assert discovery.wait_ready(5.0)
        assert "balancekit_resolver_endpoints" in generate_latest(registry).decode()


def _ejections(lb: LoadBalancer) -> None:
    store = RedisStore(_Server(), name="checkout")
    KEPT.extend([SharedEjections(lb, store), store])


class _Server:
    """A server that answers nothing of others."""

    def eval(self, *_arguments: Any) -> str:
        return json.dumps({"sums": [], "hints": [], "granted": []})


HOOKS: dict[str, Callable[[LoadBalancer], None]] = {
    "a listener": lambda lb: KEPT.append(lb.on_event(print)),
    "an observer of ends": lambda lb: KEPT.append(lb.on_completion(lambda _endpoint, _completion: None)),
    "an observer of starts": lambda lb: KEPT.append(lb.on_start(lambda _endpoint: None)),
    "logs": lambda lb: KEPT.append(log_events(lb, logger=logging.getLogger("test"))),
    "OpenTelemetry": _metrics,
    "Prometheus": _collector,
    "Prometheus with discovery": _followed,
    "shared ejections": _ejections,
}


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """Nothing of another test is kept."""
    KEPT.clear()
    yield
    KEPT.clear()


def use(lb: LoadBalancer) -> None:
    """Serve requests, of which some fail until their endpoint is ejected."""
    for number in range(20):
        lb.acquire(exclude=["b"] if number < 5 else ()).release(
            Outcome.FAILURE if number < 5 else Outcome.SUCCESS
        )


@pytest.mark.parametrize("hook", list(HOOKS))
def test_a_balancer_that_is_dropped_is_gone_whatever_observes_it(hook: str) -> None:
    """A balancer that is dropped is freed by reference count alone, whatever observes it.

    Its engine goes with it or with the next collection.
    """
    lb = LoadBalancer(["a", "b"], timed=True)
    HOOKS[hook](lb)
    use(lb)
    balancer, engine = weakref.ref(lb), weakref.ref(lb._runtime)
    gc.collect()
    gc.disable()
    try:
        del lb
        assert hook == "Prometheus with discovery" or balancer() is None
    finally:
        gc.enable()
    gc.collect()
    assert balancer() is None
    assert engine() is None
    for end in KEPT:
        if callable(end) and not isinstance(end, type):
            end()


def test_instruments_of_a_balancer_that_is_gone_report_nothing() -> None:
    """OpenTelemetry instruments report a balancer while it is there, and nothing once it is gone."""
    lb = LoadBalancer(["a", "b"], timed=True)
    _metrics(lb)
    use(lb)
    reader = KEPT[1]
    names = {metric.name for metric in _points(reader)}
    assert {
        "balancekit.client.attempts",
        "balancekit.client.inflight",
        "balancekit.client.ejections",
    } <= names
    del lb
    assert not [metric for metric in _points(reader) if metric.data.data_points]


def _points(reader: InMemoryMetricReader) -> list[Any]:
    data = reader.get_metrics_data()
    resources = [] if data is None else data.resource_metrics
    return [metric for resource in resources for scope in resource.scope_metrics for metric in scope.metrics]


def test_a_collector_of_a_balancer_that_is_gone_exports_nothing() -> None:
    """A Prometheus collector exports nothing of a balancer that is gone, and the service's name is free again.

    Other balancers stay.
    """
    registry = CollectorRegistry()
    lb, other = LoadBalancer(["a", "b"], timed=True), LoadBalancer(["c"], timed=True)
    collector = BalancerCollector(lb, service="orders", registry=registry)
    BalancerCollector(other, service="stock", registry=registry)
    use(lb)
    other.acquire().release()
    exported = generate_latest(registry).decode()
    for line in (
        "balancekit_requests_total{",
        "balancekit_request_duration_seconds_count{",
        "balancekit_ejections_total{",
    ):
        assert [
            found for found in exported.splitlines() if found.startswith(line) and 'service="orders"' in found
        ]
    assert collector.balancer is lb
    del lb
    assert collector.balancer is None
    exported = generate_latest(registry).decode()
    assert "orders" not in exported
    assert 'balancekit_request_duration_seconds_count{endpoint="c",service="stock"} 1.0' in exported
    BalancerCollector(other, service="orders", registry=registry)
    collector.close()
    assert "orders" in generate_latest(registry).decode()


def test_a_service_can_be_named_again_before_the_next_scrape() -> None:
    """A service can be named again before the next scrape, as a balancer that is gone does not hold its name."""
    registry = CollectorRegistry()
    lb = LoadBalancer(["a"])
    BalancerCollector(lb, service="orders", registry=registry)
    del lb
    again = LoadBalancer(["b"])
    BalancerCollector(again, service="orders", registry=registry)
    assert (
        'balancekit_inflight_requests{endpoint="b",service="orders"} 0.0'
        in generate_latest(registry).decode()
    )


def test_a_route_collector_does_not_keep_its_source() -> None:
    """A route collector does not keep its source. Once the routed transport is gone there are no samples."""
    registry = CollectorRegistry()
    source = RouteStatistics()
    source.record("orders", latency=0.25, failed=False)
    collector = RouteCollector("edge", source, registry=registry)
    assert 'route="orders"' in generate_latest(registry).decode()
    there = weakref.ref(source)
    del source
    assert there() is None
    assert "orders" not in generate_latest(registry).decode()
    collector.close()


def test_ejections_of_a_balancer_that_is_gone_leave_their_store() -> None:
    """Once a balancer is gone, its ejections leave the store with the next exchange."""
    lb = LoadBalancer(["a"])
    store = RedisStore(_Server(), name="checkout")
    SharedEjections(lb, store)
    assert store.core.listeners
    del lb
    store.synchronize()
    assert not store.core.listeners
