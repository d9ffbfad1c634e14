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
    Random,
    RendezvousHash,
    RingHash,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    WeightedRandom,
)
from balancekit.loads import EwmaLatency, FailureAware, InFlight, InFlightCost, PeakEwmaLatency
from balancekit.testing import check_selector
from balancekit.testing.laws import ALL, EVEN, HASHED, WEIGHTED, disrupts_little, independent_of_order

CASES = {
    "RoundRobin": (RoundRobin, ALL - {WEIGHTED} | {EVEN}, {}),
    "SmoothWeightedRoundRobin": (SmoothWeightedRoundRobin, ALL, {}),
    "StrideScheduling": (StrideScheduling, ALL, {}),
    "Random": (Random, ALL - {WEIGHTED} | {EVEN}, {}),
    "WeightedRandom": (WeightedRandom, ALL, {}),
    "First": (First, ALL - {WEIGHTED}, {}),
    "RingHash": (RingHash, ALL - {WEIGHTED} | HASHED, {"examples": 15}),
    "RingHash, 5 000 points": (lambda: RingHash(vnodes=5_000), {WEIGHTED}, {}),
    "MaglevHash": (lambda: MaglevHash(size=1009), ALL | HASHED - {disrupts_little}, {}),
    "RendezvousHash": (RendezvousHash, ALL | HASHED, {}),
    "BoundedLoad": (BoundedLoad, ALL - {WEIGHTED} | HASHED, {"examples": 15}),
    "BoundedLoad, no bound": (lambda: BoundedLoad(RendezvousHash(), factor=1e9), ALL | HASHED, {}),
    "SourceHash": (SourceHash, ALL - {WEIGHTED} | {EVEN}, {}),
    "LeastRequest": (LeastRequest, ALL, {"held": 2}),
    "LeastResponseTime": (LeastResponseTime, ALL - {WEIGHTED}, {}),
    "LeastResponseTime, EWMA": (LeastResponseTime, ALL - {WEIGHTED}, {"load": EwmaLatency()}),
    "PowerOfChoices": (PowerOfChoices, ALL, {}),
    "PowerOfChoices, in-flight": (PowerOfChoices, ALL, {"load": InFlight()}),
    "PowerOfChoices, in-flight cost": (PowerOfChoices, ALL, {"load": InFlightCost()}),
    "PowerOfChoices, Peak EWMA": (PowerOfChoices, ALL, {"load": PeakEwmaLatency()}),
    "PowerOfChoices of 3": (lambda: PowerOfChoices(3), ALL, {"load": InFlight()}),
    "PowerOfChoices of 1": (lambda: PowerOfChoices(1), ALL, {"load": FailureAware()}),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CASES)
def test_a_shipped_selector_keeps_the_laws(name):
    """Laws 1 to 8 for all; shares by weight, or evenly, as the selector promises."""
    make, laws, options = CASES[name]
    check_selector(make, laws, **options)


def test_hash_modulo_n_is_the_foil():
    """SourceHash is documented to move nearly everything, so it must break both laws of consistency."""
    for law in HASHED:
        with pytest.raises(AssertionError):
            check_selector(SourceHash, {law})


def test_a_user_algorithm_needs_one_line():
    """A complete algorithm of a user, and the one line that checks it."""

    class CheapestFirst:
        def __init__(self, price, busy=8):
            self.price, self.busy = price, busy

        def select(self, snapshot, ctx):
            nodes = snapshot.candidates(ctx)
            idle = [node for node in nodes if node.inflight < self.busy] or nodes
            return min(idle, key=lambda node: (self.price.get(node.id, 1), node.inflight), default=None)

    check_selector(lambda: CheapestFirst({"a": 2}), ALL - {WEIGHTED, independent_of_order})
