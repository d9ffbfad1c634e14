"""An interrupt while something begins to listen to a balancer leaves no listener that cannot be taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.concurrency._interrupts import Interrupt, at_every_place

from balancekit import LoadBalancer
from balancekit.discovery._slices import EndpointSlices
from balancekit.observability.opentelemetry import _on_span, instrument
from balancekit.observability.prometheus import BalancerCollector
from balancekit.testing import ManualClock
from balancekit.waiting import WaitingQueue, WaitingRoom

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # in finalizers, as signals are

T = TypeVar("T")
MIN_PLACES = 4
"""Fewer places than these would mean that the injector does not see the library."""


def listeners(lb: LoadBalancer[Any]) -> tuple[int, ...]:
    """Return how many observe the ends of leases, their starts, and refusals, and how many listen to events."""
    runtime = lb._runtime
    entries = (
        runtime.ledger.observers,
        runtime.ledger.start_observers,
        runtime.refusals._listeners,
        runtime.listeners._listeners,
    )
    return tuple(map(len, entries))


BEGINS: dict[str, Callable[[LoadBalancer[Any]], object]] = {
    "on_completion": lambda lb: lb.on_completion(lambda endpoint, completion: None),
    "on_event": lambda lb: lb.on_event(lambda event: None),
    "on_start": lambda lb: lb.on_start(lambda endpoint: None),
    "on_refusal": lambda lb: lb.on_refusal(lambda kind: None),
}


def interrupted(
    make: Callable[[], T], act: Callable[[T], object], *, jumps: bool
) -> Iterator[tuple[T, str, bool]]:
    """Make a thing and act on it, with an interrupt at each place in turn.

    Yield the thing, where the interrupt came, and whether it was raised to the caller.
    """
    for injector in at_every_place(jumps=jumps):
        thing, came = make(), False
        with suppress(TypeError):  # what CPython 3.11 makes of an exception at the entry of a `__call__`
            try:
                with injector:
                    act(thing)
            except Interrupt:
                came = True
        if injector.where:
            yield thing, injector.where, came
    assert jumps or injector.place > MIN_PLACES


def balancer() -> LoadBalancer[str]:
    """Return one to which nothing listens."""
    return LoadBalancer(["a", "b"], clock=ManualClock())


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
@pytest.mark.parametrize("name", BEGINS)
def test_a_listener_that_was_not_handed_out_does_not_listen(name: str, jumps: bool) -> None:
    """After a KeyboardInterrupt at any place of ``on_...`` there is a function that ends it, or none that listens."""
    for lb, where, came in interrupted(balancer, BEGINS[name], jumps=jumps):
        assert not came or listeners(lb) == (0, 0, 0, 0), where


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_a_room_whose_start_was_interrupted_does_not_listen(jumps: bool) -> None:
    """After a KeyboardInterrupt at any place where a room is made, it listens to both or to neither."""
    for lb, where, came in interrupted(
        balancer, lambda lb: WaitingRoom(lb, WaitingQueue(max_waiting=3)), jumps=jumps
    ):
        assert not came or listeners(lb) in {(0, 0, 0, 0), (1, 0, 0, 1)}, where


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_instruments_whose_start_was_interrupted_report_nothing(jumps: bool) -> None:
    """After a KeyboardInterrupt at any place of ``instrument``, no events of the balancer go to spans."""
    instrument(balancer(), service="first")()
    for lb, where, came in interrupted(balancer, lambda lb: instrument(lb, service="orders"), jumps=jumps):
        spans = [one for one in lb._runtime.listeners._listeners if one.callback is _on_span]
        assert not came or not spans, where


def exported() -> tuple[LoadBalancer[str], CollectorRegistry, list[BalancerCollector]]:
    """Return a balancer, a registry that knows another, and the collectors that were made."""
    registry = CollectorRegistry()
    BalancerCollector(KEPT, service="first", registry=registry)
    return balancer(), registry, []


KEPT = LoadBalancer(["x"])


def collect(thing: tuple[LoadBalancer[str], CollectorRegistry, list[BalancerCollector]]) -> None:
    """Make a collector."""
    lb, registry, made = thing
    made.append(BalancerCollector(lb, service="orders", registry=registry))


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_the_name_of_an_interrupted_collector_is_free(jumps: bool) -> None:
    """After a KeyboardInterrupt at any place where a collector is made, another can be made, and counts each request once."""
    for thing, where, came in interrupted(exported, collect, jumps=jumps):
        lb, registry, made = thing
        if where.startswith(__file__):  # it was made, and lost by its caller
            continue
        if came and not made:
            assert listeners(lb)[:3] == (0, 0, 0), where
            collect(thing)
        with lb.acquire(exclude={"b"}):
            pass
        lines = generate_latest(registry).decode().splitlines()
        count = 'balancekit_request_duration_seconds_count{endpoint="a",service="orders"}'
        assert [line for line in lines if line.startswith(count)] == [f"{count} 1.0"], where


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_a_second_close_of_a_collector_finishes_one_that_was_interrupted(jumps: bool) -> None:
    """After a KeyboardInterrupt at any place of ``close``, another ends every listener, and the name is free."""

    def made() -> Any:
        thing = exported()
        collect(thing)
        return thing

    for (lb, registry, (collector,)), where, _ in interrupted(
        made, lambda thing: thing[2][0].close(), jumps=jumps
    ):
        collector.close()
        assert listeners(lb) == (0, 0, 0, 0), where
        collect((lb, registry, []))


def piece(address: str, version: str) -> dict[str, Any]:
    """Return a slice."""
    return {
        "metadata": {"name": "orders", "resourceVersion": version},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
@pytest.mark.parametrize("event", ["MODIFIED", "DELETED", "BOOKMARK"])
def test_an_interrupted_event_of_a_watch_is_taken_or_watched_for_again(event: str, jumps: bool) -> None:
    """A KeyboardInterrupt at any place leaves the slices of before, at the version of before, or those of after."""

    def made() -> EndpointSlices:
        slices = EndpointSlices()
        slices.apply("ADDED", piece("10.0.0.1", "1"))
        return slices

    def seen(slices: EndpointSlices) -> tuple[str, list[str]]:
        return slices.version, [endpoint.id for endpoint in slices.endpoints()]

    slices = made()
    before = seen(slices)
    slices.apply(event, piece("10.0.0.2", "2"))
    after = seen(slices)
    for slices, where, _ in interrupted(
        made, lambda slices: slices.apply(event, piece("10.0.0.2", "2")), jumps=jumps
    ):
        assert seen(slices) in (before, after), where
        slices.apply(event, piece("10.0.0.2", "2"))
        assert seen(slices) == after, where
