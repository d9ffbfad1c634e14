"""A change of membership that is interrupted leaves the old state or the new one, and saying it again heals."""

from __future__ import annotations

import sys
from contextlib import suppress
from random import Random

import pytest
from tests.concurrency._interrupts import Interrupt, at_every_place

from balancekit import (
    ConfigurationError,
    Endpoint,
    LeastRequest,
    LoadBalancer,
    PoolEmptyError,
    PowerOfChoices,
    RingHash,
    UnknownEndpointError,
)
from balancekit.hashing import AnchorHash, HashRing
from balancekit.loads import InFlight

BEFORE = {"a": 1.0, "b": 1.0, "c": 2.0}
SELECTORS = {
    "PowerOfChoices": PowerOfChoices,
    "RingHash": lambda: RingHash(vnodes=12),
    "LeastRequest": LeastRequest,
}
CHANGES = {
    "add": (lambda lb: lb.add("d"), BEFORE | {"d": 1.0}, set()),
    "update": (
        lambda lb: lb.update([Endpoint("b", weight=3), Endpoint("c", weight=2), "d"]),
        {"b": 3.0, "c": 2.0, "d": 1.0},
        set(),
    ),
    "remove": (lambda lb: lb.remove("a"), {"b": 1.0, "c": 2.0}, set()),
    "drain": (lambda lb: lb.drain("a"), BEFORE, {"a"}),
    "undrain": (lambda lb: lb.undrain("a"), BEFORE, set()),
    "set_weight": (lambda lb: lb.set_weight("a", 5.0), BEFORE | {"a": 5.0}, set()),
}
MIN_CALLS, MIN_JUMPS = 60, 10
"""Fewer places than these would mean that the injector does not see the library."""


def fresh(selector, change):
    """Return a balancer that has served a few requests."""
    endpoints = [Endpoint(id, weight=weight) for id, weight in BEFORE.items()]
    lb = LoadBalancer(endpoints, selector=SELECTORS[selector](), load=InFlight(), rng=Random(3))
    for number in range(5):
        with lb.acquire(f"key:{number}"):
            pass
    if change == "undrain":
        lb.drain("a")
    return lb


def seen(lb, count=120):
    """Return which endpoints get requests: 120 open at once, so that each that may be picked is (by keys, by load)."""
    leases = [lb.acquire(f"key:{number}") for number in range(count)]
    targets = {lease.target for lease in leases}
    for lease in leases:
        assert lease.release()
    return targets


def look(lb):
    """Return weights, draining endpoints and picked ones, after checking that all parts of the balancer agree."""
    assert lb._runtime.locks.held() == ()
    picked = seen(lb)
    stats = lb.stats()
    configured = {endpoint.id: endpoint.weight for endpoint in lb.endpoints}
    state = lb._current.published.state
    assert {node.id: node.weight for node in state.snapshot.members.nodes} == configured
    assert [endpoint.id for endpoint in stats.endpoints] == list(configured), "nothing is left leaving"
    assert stats.inflight == 0
    draining = {endpoint.id for endpoint in stats.endpoints if endpoint.state in {"draining", "drained"}}
    assert picked == set(configured) - draining
    assert {node.id for node in state.snapshot.eligible} == picked
    return configured, draining


def check(lb, selector, change, where):
    """Demand the old state or the new one, and the new one after the same change again."""
    operation, weights, draining = CHANGES[change]
    old = (BEFORE, {"a"} if change == "undrain" else set())
    new = (weights, draining)
    assert look(lb) in (old, new), where
    with suppress(ConfigurationError, UnknownEndpointError):  # it has been added, or removed, already
        operation(lb)
    assert look(lb) == new, where
    if selector == "LeastRequest":
        lb._runtime.selector.selector._buckets._check()
        leases = [lb.acquire() for _ in range(int(sum(weights.values())))]
        shares = {endpoint.id: endpoint.inflight for endpoint in lb.stats().endpoints}
        if not draining:
            assert shares == weights, where
        for lease in leases:
            lease.release()


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # in finalizers, as signals are
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_an_interrupt_anywhere_leaves_the_old_state_or_the_new_one(selector, change, jumps):
    """A KeyboardInterrupt at any place leaves the old state or the new one. The same change succeeds afterwards."""
    for injector in at_every_place(jumps=jumps):
        lb = fresh(selector, change)
        # A TypeError is what CPython 3.11 makes of an exception at the entry of a `__call__`.
        with suppress(Interrupt, TypeError), injector:
            CHANGES[change][0](lb)
        check(lb, selector, change, injector.where)
    assert injector.place > (MIN_JUMPS if jumps else MIN_CALLS)


def at_depth(depth, function):
    """Call a function from that many frames further down."""
    return function() if depth <= 0 else at_depth(depth - 1, function)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("selector", SELECTORS)
def test_a_stack_that_ends_anywhere_leaves_the_old_state_or_the_new_one(selector, change):
    """A recursion limit that is reached at any depth of a change leaves the old state or the new one."""
    limit = sys.getrecursionlimit()
    frame, here = sys._getframe(), 0
    while frame is not None:
        frame, here = frame.f_back, here + 1
    room, errors = 0, 0
    while True:
        room += 1
        lb = fresh(selector, change)
        try:
            sys.setrecursionlimit(here + 60)
            at_depth(60 - room - 4, lambda lb=lb: CHANGES[change][0](lb))
        except (RecursionError, TypeError):  # numpy makes a TypeError of some
            errors += 1
        else:
            break
        finally:
            sys.setrecursionlimit(limit)
        check(lb, selector, change, f"room for {room} frames")
    assert errors > 5


STRUCTURES = {
    "HashRing, add": (lambda: HashRing(["a", "b"], vnodes=7), lambda ring: ring.add("c")),
    "HashRing, remove": (lambda: HashRing(["a", "b"], vnodes=7), lambda ring: ring.remove("a")),
    "HashRing, remove the last": (lambda: HashRing(["a"], vnodes=7), lambda ring: ring.remove("a")),
    "HashRing, replace": (lambda: HashRing(["a"], vnodes=7), lambda ring: ring.replace(["b", "c"])),
    "AnchorHash, add": (lambda: AnchorHash(["a", "b"]), lambda anchor: anchor.add("c")),
    "AnchorHash, remove": (lambda: AnchorHash(["a", "b"]), lambda anchor: anchor.remove("a")),
}


def owners(structure):
    """Return the owners of some keys, by look-up."""
    return [structure.lookup(key) for key in range(50)] if len(structure) else []


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_an_interrupted_change_of_a_structure_leaves_the_old_one_or_the_new_one(name, jumps):
    """After a KeyboardInterrupt at any place, nodes and owners agree.

    Both are from before the change, or from after it.
    """
    make, change = STRUCTURES[name]
    old, new = make(), make()
    change(new)
    for injector in at_every_place(jumps=jumps):
        structure = make()
        with suppress(Interrupt, TypeError), injector:
            change(structure)
        whole = old if structure.nodes == old.nodes else new
        assert structure.nodes == whole.nodes, injector.where
        assert owners(structure) == owners(whole), injector.where
        if not whole.nodes:
            with pytest.raises(PoolEmptyError):
                structure.lookup("key")
    assert injector.place > (0 if jumps else 5)
