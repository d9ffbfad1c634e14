"""Slow paths of selectors, asked directly: no balancer contains their errors."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from balancekit import SmoothWeightedRoundRobin
from balancekit.hashing._keys import hash32
from balancekit.selectors import BoundedLoad, LeastRequest, RingHash, RoundRobin, SourceHash
from balancekit.snapshot import Trace
from balancekit.testing import make_context, make_nodes, make_snapshot


def traced(selector, snapshot, **options):
    """Return the pick and the notes of a request that is explained."""
    ctx = make_context(**options)
    ctx.trace = Trace()
    return selector.select(snapshot, ctx), ctx.trace.notes


def test_a_turn_is_explained():
    """Round robin says whose turn it is."""
    node, notes = traced(RoundRobin(), make_snapshot(["a", "b"]))
    assert notes == [f"it is the turn of {node.id!r}"]


def test_a_position_modulo_is_explained_and_kept():
    """The note has the hash, the number of candidates and the remainder; without a key the pick is drawn."""
    snapshot = make_snapshot(["a", "b", "c"])
    position = hash32("user:1")
    node, notes = traced(SourceHash(), snapshot, key="user:1")
    assert node.id == "abc"[position % 3]
    assert notes == [f"hash {position} % 3 = {position % 3}"]
    node, _ = traced(SourceHash(), snapshot, key="user:1", exclude={"b"})
    assert node.id == "ac"[position % 2]
    drawn = {SourceHash().select(snapshot, make_context(seed)).id for seed in range(60)}
    assert drawn == {"a", "b", "c"}
    assert SourceHash().select(snapshot, make_context(exclude={"a", "b", "c"})) is None


@pytest.mark.parametrize("picker", [False, True])
@pytest.mark.parametrize("exclude", [(), ("b",), ("a", "b")])
def test_a_bounded_pick_is_the_first_below_its_bound(picker, exclude):
    """In the ring's order, the first with fewer open leases than 1.25 of its part of them and this one, rounded up."""
    nodes = make_nodes({"a": 1, "b": 2, "c": 1, "d": 1})
    snapshot, rng = make_snapshot(nodes), Random(5)
    selector, ring = BoundedLoad(), RingHash()
    if picker:
        selector.pickers(snapshot, rng=rng)
    for number in range(300):
        ctx = make_context(key=f"k{number % 7}", exclude=exclude)
        left = [node for node in nodes if node.id not in exclude]
        total, whole = sum(node.inflight for node in left) + 1, sum(node.weight for node in left)
        expected = next(
            node
            for node in ring.ranking(snapshot, ctx)
            if node.inflight < math.ceil(1.25 * total * node.weight / whole - 1e-9)
        )
        assert selector.select(snapshot, ctx) is expected
        expected.inflight += 1
        if rng.random() < 0.4:
            busy = rng.choice([node for node in nodes if node.inflight])
            busy.inflight -= 1
            if busy.on_low_water is not None and busy.inflight < busy.low_water:
                busy.on_low_water(busy)


@pytest.mark.parametrize("weights", [(0.1, math.pi, 1.0), (1.0, math.sqrt(2.0)), (1e-3, 1.0, 0.77)])
@pytest.mark.parametrize("picker", [False, True])
def test_smooth_weights_need_not_be_whole(weights, picker):
    """After n picks each endpoint has had its part of them, give or take less than its number of endpoints."""
    nodes = make_nodes({f"e{k}": weight for k, weight in enumerate(weights)})
    selector, snapshot = SmoothWeightedRoundRobin(), make_snapshot(nodes)
    pick = selector.picker(snapshot, rng=Random(1)) if picker else None
    counts, total = Counter(), math.fsum(weights)
    for number in range(1, 2001):
        counts[(selector.select(snapshot, make_context()) if pick is None else pick()).id] += 1
        for node in nodes:
            assert abs(counts[node.id] - number * node.weight / total) < len(nodes)


def test_a_bounded_pick_hands_the_generator_on():
    """A selector within, whose order is drawn, draws from the generator that the fast path was made with."""

    class Shuffled(RingHash):
        def ranking(self, snapshot, ctx, /):
            drawn.append(ctx.rng)
            return iter(snapshot.candidates(ctx))

    drawn: list[Random] = []
    rng, nodes = Random(1), make_nodes(["a", "b"])
    picker = BoundedLoad(Shuffled()).picker(make_snapshot(nodes), rng=rng)
    for node in nodes:
        node.inflight = 1
    picker("key", 0.0)
    assert drawn == [rng]
    assert drawn[0] is rng


@pytest.mark.parametrize("picker", [False, True])
def test_where_no_weight_is_positive_all_are_bounded_alike(picker):
    """Of four endpoints of weight 0, one hot key gives none more than 1.25 of a quarter, rounded up."""
    nodes = make_nodes(dict.fromkeys("abcd", 0))
    snapshot, rng = make_snapshot(nodes), Random(5)
    selector = BoundedLoad(factor=1.25)
    pick = selector.pickers(snapshot, rng=rng)[1] if picker else None
    for total in range(1, 41):
        node = pick("hot", 0.0) if pick else selector.select(snapshot, make_context(key="hot"))
        node.inflight += 1
        assert node.inflight <= math.ceil(1.25 * total / 4)


def test_the_least_request_among_those_left_may_be_one_of_weight_zero():
    """If the endpoints of positive weight are excluded, the one of weight 0 is picked, with a picker made or not."""
    snapshot = make_snapshot(make_nodes({"a": 1, "b": 0}))
    selector = LeastRequest()
    assert selector.select(snapshot, make_context(exclude={"a"})).id == "b"
    selector.picker(snapshot, rng=Random(1))
    assert selector.select(snapshot, make_context(exclude={"a"})).id == "b"
    assert selector.select(snapshot, make_context(exclude={"b"})).id == "a"
    assert selector.select(snapshot, make_context(exclude={"a", "b"})) is None
