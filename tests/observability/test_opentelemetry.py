"""What an OpenTelemetry SDK collects."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from balancekit import Endpoint, First, Lease, LoadBalancer, Outcome
from balancekit.events import Removed, Retried
from balancekit.observability._totals import MAX_READINGS, MAX_REMOVED, Count, EndpointTotals
from balancekit.observability.opentelemetry import instrument
from balancekit.testing import ManualClock


def read(reader: InMemoryMetricReader) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    """Collect; return values and attributes by instrument."""
    data: Any = reader.get_metrics_data()
    if data is None:  # nothing was observed
        return {}
    return {
        metric.name: [(point.value, dict(point.attributes)) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_instruments_are_read_when_the_sdk_collects() -> None:
    """Instruments have the attributes of the conventions when the SDK collects.

    Failures alone have ``error.type``.
    """
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
    assert read(reader) == {}


@pytest.mark.parametrize("port", ["65536", "9" * 20, "1" * 5000, "0" * 5000])
def test_an_id_that_ends_in_many_digits_costs_no_export(port: str) -> None:
    """Digits that are no port are no number in an attribute: one that 64 bits cannot hold would end an export."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    lb = LoadBalancer([f"a:{port}", "b:65535"])
    stop = instrument(lb, service="orders", meter=provider.get_meter("test"))
    found = [attributes for _, attributes in read(reader)["balancekit.client.inflight"]]
    peers = [{name: value for name, value in each.items() if "peer" in name} for each in found]
    assert peers == [
        {"network.peer.address": f"a:{port}"},
        {"network.peer.address": "b", "network.peer.port": 65535},
    ]
    stop()


def services(reader: InMemoryMetricReader) -> dict[str, int]:
    """Return how many requests have ended, by service."""
    found = read(reader).get("balancekit.client.attempts", [])
    return {attributes["balancekit.service"]: value for value, attributes in found}


def test_the_balancers_of_a_process_are_all_exported() -> None:
    """Balancers share the instruments of a meter; each is there until it is stopped, and again if it is started again."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    balancers = {name: LoadBalancer([name]) for name in ("orders", "stock", "users")}
    stops = {name: instrument(lb, service=name, meter=meter) for name, lb in balancers.items()}
    for count, lb in enumerate(balancers.values(), start=1):
        for _ in range(count):
            lb.acquire().release()
    assert services(reader) == {"orders": 1, "stock": 2, "users": 3}
    stops["stock"]()
    assert services(reader) == {"orders": 1, "users": 3}
    stops["stock"]()  # a second time changes nothing
    again = instrument(balancers["stock"], service="stock", meter=meter)
    assert services(reader) == {"orders": 1, "stock": 2, "users": 3}
    for stop in (again, *stops.values()):
        stop()
    assert services(reader) == {}


def test_a_balancer_that_is_stopped_is_let_go() -> None:
    """No instrument keeps a balancer after ``stop``, and none keeps a meter."""
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("test")
    lb = LoadBalancer(["a"])
    instrument(lb, service="orders", meter=meter)()
    gone = weakref.ref(lb)
    del lb
    gc.collect()
    assert gone() is None


def test_balancers_before_the_sdk_are_exported_by_it() -> None:
    """In a program that sets the provider after it has made its balancers, all of them are exported."""
    program = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from balancekit import LoadBalancer
from balancekit.observability.opentelemetry import instrument

balancers = [LoadBalancer([name]) for name in "abc"]
stops = [instrument(lb, service=lb.endpoints[0].id) for lb in balancers[:2]]
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
stops.append(instrument(balancers[2], service="c"))
for lb in balancers:
    lb.acquire().release()
(resource,) = reader.get_metrics_data().resource_metrics
found = [metric for scope in resource.scope_metrics for metric in scope.metrics]
points = [point for metric in found if metric.name.endswith("attempts") for point in metric.data.data_points]
print(sorted(point.attributes["balancekit.service"] for point in points))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "['a', 'b', 'c']"


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
    """A retry is an event on the caller's span, and no span is added."""
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


@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
@pytest.mark.parametrize("how", ["removed and added", "retargeted", "removed for a while"])
def test_counters_never_decrease(temporality: AggregationTemporality, how: str) -> None:
    """The totals of an endpoint that leaves and returns continue, so that no difference between two readings is negative."""
    reader = InMemoryMetricReader(preferred_temporality={ObservableCounter: temporality})
    lb = LoadBalancer(["a", "b"])
    stop = instrument(lb, service="orders", meter=MeterProvider([reader]).get_meter("test"))
    sums: dict[str, int] = {}
    for successes in (10, 3, 0, 20):
        for _ in range(successes):
            with lb.acquire(exclude=["b"]) as lease:
                lease.report_tokens(2)
        for _ in range(5):
            lb.acquire(exclude=["b"]).release(Outcome.FAILURE)
        for name, points in read(reader).items():
            for value, attributes in points:
                if attributes.get("network.peer.address") == "a" and name != "balancekit.client.inflight":
                    name_of_sum = f"{name} {attributes.get('balancekit.outcome', '')}"
                    assert value >= 0
                    before = sums.get(name_of_sum, 0)
                    sums[name_of_sum] = (
                        before + value if temporality is AggregationTemporality.DELTA else value
                    )
                    assert sums[name_of_sum] >= before
        if how == "retargeted":
            lb.update([Endpoint("a", f"target {successes}"), "b"])
        else:
            lb.remove("a")
            if how == "removed for a while":
                read(reader)
            lb.add("a")
    assert sums == {
        "balancekit.client.attempts success": 33,
        "balancekit.client.attempts failure": 20,
        "balancekit.client.tokens ": 66,
        "balancekit.client.ejections ": 4,
    }
    stop()


@pytest.mark.parametrize("successor", [False, True])
def test_an_endpoint_that_leaves_is_counted_once(successor: bool) -> None:
    """Counts of a removed endpoint with open leases go on, beside those of a successor, and stay when it has left."""
    reader = InMemoryMetricReader()
    lb = LoadBalancer(["a", "b"], timed=True)
    stop = instrument(lb, service="orders", meter=MeterProvider([reader]).get_meter("test"))

    def lease_of_a() -> Lease[str]:
        return lb.acquire(exclude=["b"])

    def end(lease: Lease[str]) -> None:
        lease.report_tokens(2)
        lease.release()

    def found() -> list[int]:
        values = read(reader)
        names = ("attempts", "tokens", "inflight")
        points = [values[f"balancekit.client.{name}"] for name in names]
        return [sum(v for v, at in each if at["network.peer.address"] == "a") for each in points]

    for _ in range(10):
        end(lease_of_a())
    late = [lease_of_a() for _ in range(3)]
    assert found() == [10, 20, 3]
    lb.remove("a")
    assert found() == [10, 20, 3]
    end(late.pop())
    assert found() == [11, 22, 2]
    added = 0
    if successor:
        lb.add("a")
        for added in range(1, 16):
            end(lease_of_a())
            assert found() == [11 + added, 22 + 2 * added, 2]
    end(late.pop())
    assert found() == [12 + added, 24 + 2 * added, 1]
    end(late.pop())  # the last answer of an endpoint is in no reading
    if successor:
        assert found()[:2] == [12 + added, 24 + 2 * added]
        end(lease_of_a())
        assert found() == [13 + added, 26 + 2 * added, 0]
        lb.remove("a")
    lb.add("a")
    end(lease_of_a())
    assert found() == [13 + added + successor, 26 + 2 * (added + successor), 0]
    stop()


def test_totals_of_endpoints_that_leave_are_bounded() -> None:
    """Endpoints that were read while they left, or whose removal was never reported, are no more than the limit."""
    totals = EndpointTotals()
    for number in range(MAX_REMOVED + 2):
        totals.read(lambda number=number: [Count(f"e{number}", "attempts", "success", 5, leaving=True)])
    found = totals.read(lambda: [Count(f"e{number}", "attempts", "success", 1) for number in range(4)])
    assert [one.value for one in found] == [1, 6, 6, 6]


def test_counts_of_any_number_of_leaving_endpoints_are_read_once() -> None:
    """More endpoints than the limit may be removed at once with open leases: no count is read a second time."""
    totals, ids = EndpointTotals(), [f"e{number}" for number in range(MAX_REMOVED + 2)]

    def read(*, leaving: bool) -> int:
        found = totals.read(lambda: [Count(id, "attempts", "success", 5, leaving=leaving) for id in ids])
        return sum(one.increase for one in found)

    increases = [read(leaving=False)]
    for id in ids:
        totals.on_event(Removed(endpoint=id, at=0.0))
    increases += [read(leaving=True), read(leaving=True)]
    assert increases == [5 * len(ids), 0, 0]


def test_totals_of_endpoints_that_left_long_ago_are_dropped() -> None:
    """The totals of the last thousand removed endpoints are kept, and those of a balancer's present ones."""
    totals = EndpointTotals()
    for number in range(MAX_REMOVED + 2):
        totals.read(lambda number=number: [Count(f"e{number}", "attempts", "success", 5)])
        totals.on_event(Removed(endpoint=f"e{number}", at=0.0))
        totals.on_event(Removed(endpoint="never read", at=0.0))
    found = totals.read(lambda: [Count(f"e{number}", "attempts", "success", 1) for number in range(4)])
    assert [one.value for one in found] == [1, 6, 6, 6]


def test_a_successor_that_is_read_before_its_predecessor_is_gone_loses_nothing() -> None:
    """Counts that fall before the removal is reported are added to the total, and are not added again by the report."""
    totals = EndpointTotals()
    found = [totals.read(lambda value=value: [Count("a", "tokens", "", value)])[0].value for value in (9, 2)]
    totals.on_event(Removed(endpoint="a", at=0.0))
    found.append(totals.read(lambda: [Count("a", "tokens", "", 2)])[0].value)
    assert found == [9, 11, 11]


@pytest.mark.parametrize("between", ["removal", "reading"])
def test_counts_are_read_again_after_a_change(between: str) -> None:
    """A removal or another reading while counts are read, which holds no lock, counts nothing twice."""
    totals, values = EndpointTotals(), [9, 2, 3]
    assert totals.read(lambda: [Count("a", "tokens", "", 8)])[0].value == 8

    def counts() -> list[Count]:
        value = values.pop(0)
        if value == 9 and between == "removal":  # the endpoint leaves, and one of the same id comes
            totals.on_event(Removed(endpoint="a", at=0.0))
        elif value == 9:
            values[:] = [10, 10]
            assert totals.read(counts)[0].value == 10
        return [Count("a", "tokens", "", value)]

    assert totals.read(counts)[0].value == 10


def test_counts_that_change_all_the_time_are_read() -> None:
    """A reading ends however often endpoints leave meanwhile."""
    totals, calls = EndpointTotals(), []

    def counts() -> list[Count]:
        calls.append(1)
        totals.on_event(Removed(endpoint="b", at=0.0))
        return [Count("a", "tokens", "", 5)]

    assert totals.read(counts)[0].value == 5
    assert len(calls) == MAX_READINGS + 1
