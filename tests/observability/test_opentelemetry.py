"""What an OpenTelemetry SDK collects."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from balancekit import First, LoadBalancer, Outcome
from balancekit.events import Retried
from balancekit.observability.opentelemetry import instrument
from balancekit.testing import ManualClock


def read(reader: InMemoryMetricReader) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """Collect; return values and attributes by instrument."""
    data: Any = reader.get_metrics_data()
    return {
        metric.name: [(point.value, dict(point.attributes)) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_instruments_are_read_when_the_sdk_collects() -> None:
    """With the attributes of the conventions, and ``error.type`` for failures only."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    lb = LoadBalancer(["10.0.0.1:80", "10.0.0.2:81"], selector=First())
    stop = instrument(lb, service="orders", meter=meter)
    with lb.acquire():
        pass
    for _ in range(5):
        lb.acquire(exclude=["10.0.0.1:80"]).release(Outcome.TIMEOUT)
    lb.emit(Retried(endpoint="10.0.0.2:81", at=0.0, reason="timeout"))
    lease = lb.acquire()
    found = read(reader)
    lease.release()
    common = {"server.address": "orders", "balancekit.service": "orders"}
    first = common | {"network.peer.address": "10.0.0.1", "network.peer.port": 80}
    second = common | {"network.peer.address": "10.0.0.2", "network.peer.port": 81}
    assert found["balancekit.client.attempts"] == [
        (1, first | {"balancekit.outcome": "success"}),
        (5, second | {"balancekit.outcome": "timeout", "error.type": "timeout"}),
    ]
    assert found["balancekit.client.inflight"] == [(1, first), (0, second)]
    assert found["balancekit.client.ejections"] == [(1, second | {"balancekit.reason": "failures"})]
    assert found["balancekit.client.retries"] == [(1, common | {"balancekit.reason": "timeout"})]
    stop()
    lb.emit(Retried(endpoint="10.0.0.2:81", at=0.0, reason="timeout"))
    assert read(reader)["balancekit.client.retries"][0][0] == 1


def test_first_bytes_and_tokens_are_read_where_requests_report_them() -> None:
    """Endpoints of language models have a time to the first byte, tokens and their speed; others have none of them."""
    reader, clock = InMemoryMetricReader(), ManualClock()
    lb = LoadBalancer(["10.0.0.1:80", "10.0.0.2:81"], selector=First(), clock=clock, timed=True)
    stop = instrument(lb, service="models", meter=MeterProvider([reader]).get_meter("test"))
    with lb.acquire() as lease:
        clock.advance(0.5)
        lease.first_byte()
        clock.advance(1.0)
        lease.report_tokens(21)
    found = read(reader)
    first = {"server.address": "models", "balancekit.service": "models"}
    first |= {"network.peer.address": "10.0.0.1", "network.peer.port": 80}
    assert found["balancekit.client.first_byte"] == [(0.5, first)]
    assert found["balancekit.client.tokens"] == [(21, first)]
    assert found["balancekit.client.token_speed"] == [(20.0, first)]
    stop()


def test_a_retry_is_an_event_on_the_callers_span() -> None:
    """No span of ours: the HTTP client's instrumentation has one for each attempt."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    lb = LoadBalancer(["a"])
    stop = instrument(lb, service="orders")
    with provider.get_tracer("test").start_as_current_span("checkout"):
        lb.emit(Retried(endpoint="a", at=0.0, reason="connect"))
    stop()
    (span,) = exporter.get_finished_spans()
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        ("balancekit.retry", {"balancekit.endpoint": "a", "balancekit.reason": "connect"}),
    ]
    assert not trace.get_current_span().is_recording()
