"""Balancers are freed by reference count alone: nothing of the engine refers to them."""

from __future__ import annotations

import gc
import weakref

import pytest

from balancekit import (
    BoundedLoad,
    First,
    LeastRequest,
    LeastResponseTime,
    LoadBalancer,
    MaglevHash,
    Outcome,
    PowerOfChoices,
    RendezvousHash,
    RingHash,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    UniformRandom,
    WeightedRandom,
    loads,
    routing,
)

SELECTORS = [
    BoundedLoad,
    First,
    LeastRequest,
    LeastResponseTime,
    lambda: MaglevHash(size=251),
    PowerOfChoices,
    RendezvousHash,
    lambda: RingHash(vnodes=10),
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    UniformRandom,
    WeightedRandom,
]
ROUTERS = [
    lambda: routing.Locality("home"),
    routing.Priority,
    lambda: routing.MaxInFlight(100),
    lambda: routing.RateLimit(1e9),
    lambda: routing.Sticky(routing.StickyValues("orders", [b"a secret of 32 bytes, more or less"])),
    lambda: routing.Subset(["team"]),
]
LOADS = [getattr(loads, name) for name in ("FailureAware", "InFlight", "InFlightCost", "PeakEwmaLatency")]


def used(**options):
    """Return a balancer after a thousand requests, an addition, a removal and a drain."""
    lb = LoadBalancer(["a", "b", "c"], **options)
    stop = lb.on_event(lambda event: None)
    for number in range(1000):
        lease = lb.acquire(f"user:{number}", exclude={"a"} if number % 7 == 0 else ())
        lease.release(Outcome.FAILURE if number % 50 == 0 else Outcome.SUCCESS)
    lb.add("d")
    lb.remove("a")
    lb.drain("b")
    lb.stats()
    lb.explain()
    stop()
    return lb


@pytest.fixture
def no_collector():
    """Leave everything to reference counts."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "options",
    [{"selector": make} for make in [*SELECTORS, *ROUTERS]] + [{"load": load} for load in LOADS] + [{}],
)
def test_a_balancer_that_is_dropped_is_gone(options, no_collector):
    """With the collector switched off, the weak reference is dead when the last strong one is."""
    lb = used(**{name: make() for name, make in options.items()})
    there = weakref.ref(lb)
    del lb
    assert there() is None
