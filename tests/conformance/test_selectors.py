"""Every shipped selector keeps the laws, with every load it may be used with."""

from __future__ import annotations

import pytest

from balancekit import (
    BoundedLoad,
    First,
    LeastRequest,
    LeastResponseTime,
    MaglevHash,
    PowerOfChoices,
    RendezvousHash,
    RingHash,
    RoundRobin,
    ShortestExpectedDelay,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    UniformRandom,
    WeightedRandom,
)
from balancekit.compat import envoy
from balancekit.inference import PrefixAffinity, RelativeLoad, StickyMatch
from balancekit.l4 import FlowTable, StickyFlows
from balancekit.loads import EwmaLatency, FailureAware, InFlight, InFlightCost, PeakEwmaLatency
from balancekit.routing import (
    Canary,
    Locality,
    MaxInFlight,
    Priority,
    RateLimit,
    Sticky,
    StickyValues,
    Subset,
    Subsetting,
)
from balancekit.testing import check_selector
from balancekit.testing.laws import (
    ADAPTIVE,
    ALL,
    EVEN,
    HASHED,
    WEIGHTED,
    disrupts_little,
    independent_of_order,
    keeps_queues_finite,
    learns_nothing_from_ignored,
    starves_none,
)

CASES = {
    "RoundRobin": (RoundRobin, ALL - {WEIGHTED} | {EVEN}, {}),
    "SmoothWeightedRoundRobin": (SmoothWeightedRoundRobin, ALL, {}),
    "StrideScheduling": (StrideScheduling, ALL, {}),
    "UniformRandom": (UniformRandom, ALL - {WEIGHTED} | {EVEN}, {}),
    "WeightedRandom": (WeightedRandom, ALL, {}),
    "First": (First, ALL - {WEIGHTED}, {}),
    "RingHash": (RingHash, set(HASHED), {}),
    "RingHash, 16 points": (lambda: RingHash(vnodes=16), ALL - {WEIGHTED}, {"examples": 15}),
    "RingHash, 5 000 points": (lambda: RingHash(vnodes=5_000), {WEIGHTED}, {}),
    "MaglevHash": (lambda: MaglevHash(size=1009), ALL | HASHED - {disrupts_little}, {}),
    "RendezvousHash": (RendezvousHash, ALL | HASHED, {}),
    "BoundedLoad": (BoundedLoad, ALL - {WEIGHTED} | HASHED, {"examples": 15}),
    "BoundedLoad, no bound": (lambda: BoundedLoad(RendezvousHash(), factor=1e9), ALL | HASHED, {}),
    "SourceHash": (SourceHash, ALL - {WEIGHTED} | {EVEN}, {}),
    "LeastRequest": (
        LeastRequest,
        ALL | {starves_none, keeps_queues_finite, learns_nothing_from_ignored},
        {"held": 2},
    ),
    "LeastResponseTime": (LeastResponseTime, ALL - {WEIGHTED}, {}),
    "LeastResponseTime, EWMA": (LeastResponseTime, ALL - {WEIGHTED}, {"load": EwmaLatency()}),
    "PowerOfChoices": (PowerOfChoices, ALL, {}),
    "ShortestExpectedDelay": (ShortestExpectedDelay, ALL | ADAPTIVE, {"held": 2}),
    "ShortestExpectedDelay, in-flight": (ShortestExpectedDelay, ALL - {WEIGHTED}, {"load": InFlight()}),
    "PowerOfChoices, in-flight": (PowerOfChoices, ALL, {"load": InFlight()}),
    "PowerOfChoices, in-flight cost": (PowerOfChoices, ALL, {"load": InFlightCost()}),
    "PowerOfChoices, Peak EWMA": (PowerOfChoices, ALL, {"load": PeakEwmaLatency()}),
    "PowerOfChoices of 3": (lambda: PowerOfChoices(3), ALL, {"load": InFlight()}),
    "envoy.RoundRobin": (envoy.RoundRobin, ALL, {}),
    "envoy.LeastRequest": (envoy.LeastRequest, ALL, {}),
    "envoy.LeastRequest, full scan": (
        lambda: envoy.LeastRequest(selection_method="FULL_SCAN"),
        ALL - {WEIGHTED},
        {},
    ),
    "envoy.Random": (envoy.Random, ALL - {WEIGHTED} | {EVEN}, {}),
    "envoy.RingHash": (
        lambda: envoy.RingHash(minimum_ring_size=64, maximum_ring_size=512),
        ALL - {WEIGHTED},
        {},
    ),
    "envoy.Maglev": (lambda: envoy.Maglev(table_size=251), ALL - {WEIGHTED} | {independent_of_order}, {}),
    "envoy.Maglev, bounded": (
        lambda: envoy.Maglev(table_size=251, hash_balance_factor=150),
        ALL - {WEIGHTED},
        {},
    ),
    "PrefixAffinity": (PrefixAffinity, ALL, {"held": 2}),
    "PrefixAffinity in subsets": (lambda: Subset(["version"], child=PrefixAffinity), ALL, {"held": 2}),
    "PrefixAffinity, relative load": (lambda: PrefixAffinity(RelativeLoad()), ALL - {WEIGHTED}, {}),
    "PrefixAffinity, sticky": (lambda: PrefixAffinity(StickyMatch(gate=4.0)), ALL - {WEIGHTED}, {}),
    "PrefixAffinity, in-flight cost": (PrefixAffinity, ALL - {WEIGHTED}, {"load": InFlightCost()}),
    "PowerOfChoices of 1": (lambda: PowerOfChoices(1), ALL, {"load": FailureAware()}),
}


ROUTERS = {
    "Priority": Priority,
    "Locality": lambda: Locality("home"),
    "Subset": lambda: Subset(["version"]),
    "Canary": lambda: Canary({"track": "canary"}, share=0.3),
    "Sticky": lambda: Sticky(StickyValues("pool", [b"sixteen secrets!"])),
    "MaxInFlight": lambda: MaxInFlight(1_000),
    "RateLimit": lambda: RateLimit(1e9),
    "StickyFlows": lambda: StickyFlows(PowerOfChoices, FlowTable(capacity=1_000)),
    "Subsetting": lambda: Subsetting(lambda ids: ids),
    "Priority of smooth turns": lambda: Priority(SmoothWeightedRoundRobin),
}
CASES |= {name: (make, ALL, {}) for name, make in ROUTERS.items()}


@pytest.mark.timeout(600)  # half a minute, and more beside other work
@pytest.mark.parametrize("name", CASES)
def test_a_shipped_selector_keeps_the_laws(name):
    """Each shipped selector keeps laws 1 to 8, and has shares by weight, or evenly, as it promises."""
    make, laws, options = CASES[name]
    check_selector(make, laws, **options)


def test_hash_modulo_n_is_the_foil():
    """SourceHash is documented to move nearly everything, so it must break both laws of consistency."""
    for law in HASHED:
        with pytest.raises(AssertionError):
            check_selector(SourceHash, {law})


def test_a_user_algorithm_needs_one_line():
    """A user's algorithm is checked by one line."""

    class CheapestFirst:
        def __init__(self, price, busy=8):
            self.price, self.busy = price, busy

        def select(self, snapshot, ctx):
            nodes = snapshot.candidates(ctx)
            idle = [node for node in nodes if node.inflight < self.busy] or nodes
            return min(idle, key=lambda node: (self.price.get(node.id, 1), node.inflight), default=None)

    check_selector(lambda: CheapestFirst({"a": 2}), ALL - {WEIGHTED, independent_of_order})


@pytest.mark.parametrize("load", [InFlight, InFlightCost, EwmaLatency, PeakEwmaLatency, FailureAware])
@pytest.mark.parametrize("make", [PowerOfChoices, lambda: PowerOfChoices(4), LeastResponseTime])
def test_requests_that_end_ignored_attract_under_no_load(make, load):
    """Law 16 holds for the selectors that compare loads, over each load that is shipped."""
    check_selector(make, {learns_nothing_from_ignored}, load=load())


@pytest.mark.parametrize("child", [ShortestExpectedDelay, PowerOfChoices, LeastResponseTime])
@pytest.mark.parametrize(
    "router",
    [
        Priority,
        lambda child: Locality("home", child=child),
        lambda child: Subset(["version"], child=child),
        lambda child: Canary({"track": "canary"}, share=0.3, child=child),
        lambda child: MaxInFlight(1_000, child=child),
        lambda child: RateLimit(1e9, child=child),
        lambda child: Subsetting(lambda ids: ids, child=child),
    ],
)
def test_requests_that_end_ignored_attract_under_no_router(router, child):
    """Law 16 holds for a selector that compares loads wherever it is nested."""
    check_selector(lambda: router(child), {learns_nothing_from_ignored})
