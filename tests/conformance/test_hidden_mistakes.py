"""Selectors whose mistakes show late: each is found by the law that states it, with a small case."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import random
import threading
import zlib
from random import Random
from time import monotonic

import pytest

from balancekit.testing import LawBroken, check_selector, laws


def by_weight(rng, nodes):
    """Return one of some nodes, by weight."""
    weights = [node.weight for node in nodes]
    return rng.choices(nodes, weights if any(weights) else None)[0] if nodes else None


def score(key, node):
    """Return a hash of a key and an id that is the same in each process."""
    return zlib.crc32(f"{key!r} {node.id}".encode())


class Proper:
    """By weight among the candidates: nothing wrong here."""

    def select(self, snapshot, ctx):
        return by_weight(ctx.rng, snapshot.candidates(ctx))


class Rendezvous:
    """A consistent hash: nothing wrong here."""

    keyed = True

    def select(self, snapshot, ctx):
        return max(snapshot.candidates(ctx), key=lambda node: score(ctx.key, node), default=None)


class OwnSeed(Proper):
    """Has a generator with a seed of its own."""

    def __init__(self):
        self.rng = Random(42)

    def select(self, snapshot, ctx):
        return by_weight(self.rng, snapshot.candidates(ctx))


class OwnSeedKept(Proper):
    """Keeps a method of a generator with a seed of its own."""

    def __init__(self):
        self.draw = Random(1).random

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[int(self.draw() * len(nodes))] if nodes else None


class OwnSeedPicker(Proper):
    """Draws from a generator of its own on the fast path only."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        own = Random(5)
        return lambda now=0.0: by_weight(own, snapshot.eligible)


class OwnSeedPickers(Proper):
    """Draws from a generator of its own on the fast path without a key."""

    def pickers(self, snapshot, /, *, rng):
        own = Random(5)
        return (lambda now=0.0: by_weight(own, snapshot.eligible)), None


class ClockByName(Proper):
    """Reads a clock that was imported by name."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[int(monotonic() * 1000.0) % len(nodes)] if nodes else None


class Today(Proper):
    """Depends on the day."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[dt.datetime.now(dt.UTC).day % len(nodes)] if nodes else None


class OrderOfASet(Proper):
    """Draws from a set of ids, whose order differs between processes."""

    def select(self, snapshot, ctx):
        by_id = {node.id: node for node in snapshot.candidates(ctx)}
        return by_weight(ctx.rng, [by_id[id] for id in {*by_id}])


class StepsAlone(Proper):
    """Is not safe in threads, and says that it is: another pick may move the cursor between its two steps."""

    thread_safe = True

    def __init__(self):
        self.place = -1

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        self.place = self.place + 1 if self.place + 1 < len(nodes) else 0
        return nodes[self.place] if nodes else None


class SharedScratch(Proper):
    """Is not safe in threads: the lists of a pick are attributes."""

    thread_safe = True

    def select(self, snapshot, ctx):
        self.nodes = snapshot.candidates(ctx)
        self.weights = [node.weight for node in self.nodes]
        return (
            ctx.rng.choices(self.nodes, self.weights if any(self.weights) else None)[0]
            if self.nodes
            else None
        )


class PickerStepsAlone(Proper):
    """Has a picker that is not safe in threads."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        place = [-1]

        def pick(now=0.0):
            place[0] += 1
            if place[0] == len(snapshot.eligible):
                place[0] = 0
            return snapshot.eligible[place[0]]

        return pick


class CountsById(Proper):
    """Keeps a count of each id for good."""

    def __init__(self):
        self.counts = {}

    def select(self, snapshot, ctx):
        node = super().select(snapshot, ctx)
        if node is not None:
            self.counts[node.id] = self.counts.get(node.id, 0) + 1
        return node


class LearnsById(Proper):
    """Keeps the last latency of each id for good."""

    def __init__(self):
        self.latencies = {}

    def learn(self, node, completion):
        self.latencies[node.id] = completion.latency


class KeepsPicks(Proper):
    """Keeps a record of all picks."""

    def __init__(self):
        self.record = []

    def select(self, snapshot, ctx):
        node = super().select(snapshot, ctx)
        self.record.append(node and node.id)
        return node


class KeepsSnapshots(Proper):
    """Keeps a table for each snapshot."""

    def __init__(self):
        self.tables = {}

    def select(self, snapshot, ctx):
        self.tables.setdefault(snapshot, snapshot.eligible)
        return super().select(snapshot, ctx)


class DerivesAnew(Proper):
    """Derives a table by a new function for each pick."""

    def select(self, snapshot, ctx):
        snapshot.derive(lambda snapshot: [node.id for node in snapshot.eligible])
        return super().select(snapshot, ctx)


class LearnsOfThePresent(Proper):
    """Does not expect requests that outlive their endpoints."""

    def __init__(self):
        self.latencies = {}

    def prepare(self, snapshot):
        self.latencies = {node.id: 0.0 for node in snapshot.members.nodes}

    def learn(self, node, completion):
        self.latencies[node.id] += completion.latency


class LearnsFirstBytes(Proper):
    """Expects a first byte of each response."""

    def learn(self, node, completion):
        self.wait = completion.first_byte_at - completion.started_at


class RefusalsRaise(Proper):
    """Has reasons of nothing."""

    def refusals(self, snapshot, ctx):
        return {id: self.reasons[id] for id in ctx.exclude}


class GivesUp(Proper):
    """Draws fifty times, and then returns nothing."""

    def select(self, snapshot, ctx):
        for _ in range(50):
            node = by_weight(ctx.rng, snapshot.eligible)
            if node is None or node.id not in ctx.exclude:
                return node
        return None


class RefusesCosts(Proper):
    """Takes requests of cost 1 only."""

    def select(self, snapshot, ctx):
        return super().select(snapshot, ctx) if ctx.cost == 1.0 else None


class RefusesLargeCosts(Proper):
    """Refuses a request that costs much, whatever the load."""

    def select(self, snapshot, ctx):
        return None if ctx.cost > 10.0 else super().select(snapshot, ctx)


class NoneInPanic(Proper):
    """Picks none while too many endpoints are down."""

    def select(self, snapshot, ctx):
        return None if snapshot.panic else super().select(snapshot, ctx)


class RetryAtNoNumber(Proper):
    """States a time that is none."""

    def retry_at(self, snapshot, ctx):
        return math.nan


class Recursive(Proper):
    """Calls itself once for each endpoint."""

    def select(self, snapshot, ctx):
        def last(nodes):
            return last(nodes[1:]) if len(nodes) > 1 else nodes[0]

        nodes = snapshot.candidates(ctx)
        return last(nodes) if nodes else None


class RaisesForTraces(Proper):
    """Notes a reason while a pick is explained, by a method that is not there."""

    def select(self, snapshot, ctx):
        if ctx.trace is not None:
            ctx.trace.add("at random")
        return super().select(snapshot, ctx)


class MemoByAddress(Proper):
    """Remembers by the address of a snapshot, which a later one may have."""

    def __init__(self):
        self.eligible = {}

    def select(self, snapshot, ctx):
        nodes = self.eligible.setdefault(id(snapshot), snapshot.eligible)
        return by_weight(ctx.rng, [node for node in nodes if node.id not in ctx.exclude])


class EncodesKeys(Rendezvous):
    """Expects that each key has an encoding."""

    def select(self, snapshot, ctx):
        def hashed(node):
            return zlib.crc32(f"{ctx.key}{node.id}".encode())

        return max(snapshot.candidates(ctx), key=hashed, default=None)


class WholeWeights(Proper):
    """Takes the whole part of weights, at least 1."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        weights = [max(1, int(node.weight)) if node.weight else 0 for node in nodes]
        return ctx.rng.choices(nodes, weights if any(weights) else None)[0] if nodes else None


class ZeroWhenExcluding(Proper):
    """Lets an endpoint of weight zero have some retries."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        least = 0.1 if ctx.exclude else 0.0
        weights = [max(node.weight, least) for node in nodes]
        return ctx.rng.choices(nodes, weights if any(weights) else None)[0] if nodes else None


class ZeroByPicker(Proper):
    """Lets an endpoint of weight zero have some requests, on the fast path."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        weights = [node.weight or 0.02 for node in snapshot.eligible]
        return lambda now=0.0: rng.choices(snapshot.eligible, weights)[0]


class EvenPickers(Proper):
    """Forgets weights on the fast path without a key."""

    def pickers(self, snapshot, /, *, rng):
        return (lambda now=0.0: rng.choice(snapshot.eligible)), None


class Stride(Proper):
    """Stride scheduling where newcomers, and those that come back, catch up."""

    def __init__(self):
        self.passes = {}

    def select(self, snapshot, ctx):
        self.passes = {node.id: self.passes.get(node.id, 0.0) for node in snapshot.members.nodes}
        nodes = snapshot.candidates(ctx)
        nodes = [node for node in nodes if node.weight] or nodes
        node = min(nodes, key=lambda node: self.passes[node.id], default=None)
        if node is not None:
            self.passes[node.id] += 1.0 / (node.weight or 1.0)
        return node


class OneByte(Proper):
    """Draws the index of an endpoint from one byte."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[ctx.rng.getrandbits(32) % min(len(nodes), 256)] if nodes else None


class FoldsCase(Proper):
    """Takes ids that differ by case for one."""

    def select(self, snapshot, ctx):
        by_id = {node.id.casefold(): node for node in snapshot.candidates(ctx)}
        return ctx.rng.choice([*by_id.values()]) if by_id else None


class NumbersOfIds(Proper):
    """Expects that ids end in numbers."""

    def select(self, snapshot, ctx):
        nodes = sorted(snapshot.candidates(ctx), key=lambda node: int(node.id[1:] or "0"))
        return ctx.rng.choice(nodes) if nodes else None


class DeadByPickers(Proper):
    """Picks endpoints that are down, on the fast path without a key."""

    def pickers(self, snapshot, /, *, rng):
        return (lambda now=0.0: rng.choice(snapshot.members.nodes)), None


class OtherByPickers(Rendezvous):
    """Picks other endpoints by key on the fast path."""

    def pickers(self, snapshot, /, *, rng):
        return None, lambda key, now: min(snapshot.eligible, key=lambda node: score(key, node))


class ModuloWhenDown(Rendezvous):
    """Moves most keys when an endpoint is down."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        if len(nodes) == len(snapshot.members.nodes):
            return super().select(snapshot, ctx)
        return nodes[zlib.crc32(repr(ctx.key).encode()) % len(nodes)] if nodes else None


class RetriesAtRandom(Rendezvous):
    """Forgets the key when an endpoint is excluded."""

    def select(self, snapshot, ctx):
        return Proper().select(snapshot, ctx) if ctx.exclude else super().select(snapshot, ctx)


class PrefixOfKeys(Rendezvous):
    """Hashes the beginning of a key."""

    def select(self, snapshot, ctx):
        return max(snapshot.candidates(ctx), key=lambda node: score(str(ctx.key)[:3], node), default=None)


FOUND_BY = {
    OwnSeed: (laws.uses_only_its_generator, "20 of 20 picks by select drew from a generator"),
    OwnSeedKept: (laws.uses_only_its_generator, "20 of 20 picks by select drew from a generator"),
    OwnSeedPicker: (laws.uses_only_its_generator, "20 of 20 picks by the picker drew from a generator"),
    OwnSeedPickers: (laws.uses_only_its_generator, r"picks by the picker of pickers\(\) drew"),
    ClockByName: (laws.uses_only_its_generator, "with other clocks"),
    Today: (laws.uses_only_its_generator, "with other clocks"),
    OrderOfASet: (laws.uses_only_its_generator, "with other hashes of ids: sort a set"),
    StepsAlone: (laws.overlaps_safely, r"select from \['a', 'b'\] raised IndexError"),
    SharedScratch: (laws.overlaps_safely, "select from .* while another thread used select"),
    PickerStepsAlone: (laws.overlaps_safely, "the picker from .* raised IndexError"),
    CountsById: (laws.forgets_what_left, "another 600 endpoints had left"),
    LearnsById: (laws.forgets_what_left, "another 600 endpoints had left"),
    KeepsPicks: (laws.forgets_what_left, "another 12,000 picks"),
    KeepsSnapshots: (laws.forgets_what_left, "another 100 snapshots"),
    DerivesAnew: (laws.forgets_what_left, "another 12,000 picks"),
    LearnsOfThePresent: (laws.hooks_raise_nothing, "learn.* raised KeyError: 'c'"),
    LearnsFirstBytes: (laws.hooks_raise_nothing, "learn.* raised TypeError"),
    RefusalsRaise: (laws.hooks_raise_nothing, "refusals .* raised AttributeError"),
    GivesUp: (laws.none_iff_no_candidate, "picked None"),
    RefusesLargeCosts: (laws.none_iff_no_candidate, "picked None when the candidates were .* cost 40 at "),
    NoneInPanic: (laws.none_iff_no_candidate, "picked None when the candidates were .* panic"),
    RetryAtNoNumber: (laws.hooks_raise_nothing, "returned nan: expected a time or None"),
    RefusesCosts: (laws.none_iff_no_candidate, "picked None when the candidates were"),
    Recursive: (laws.picks_candidates, "it raised RecursionError with 1100 endpoints"),
    RaisesForTraces: (laws.picks_candidates, "it raised AttributeError"),
    MemoByAddress: (laws.survives_changes, "whose candidates were"),
    EncodesKeys: (laws.picks_candidates, "it raised UnicodeEncodeError"),
    WholeWeights: (laws.in_proportion, "weights that are fractions"),
    ZeroWhenExcluding: (laws.in_proportion, r"weight zero was picked, with \('c',\) excluded"),
    ZeroByPicker: (laws.in_proportion, "weight zero was picked by the picker"),
    EvenPickers: (laws.in_proportion, r"the picker of pickers\(\) gave"),
    Stride: (laws.in_proportion, "right after two endpoints joined"),
    OneByte: (laws.evenly, "300 endpoints, select gave .* of 256 endpoints"),
    FoldsCase: (laws.evenly, "ids that are nearly equal"),
    NumbersOfIds: (laws.evenly, "it raised ValueError"),
    DeadByPickers: (laws.fast_path_agrees, r"the picker of pickers\(\) returned"),
    OtherByPickers: (laws.fast_path_agrees, "by key and select differ"),
    ModuloWhenDown: (laws.disrupts_little, "did not own when it was down"),
    RetriesAtRandom: (laws.disrupts_little, "did not own when it was excluded"),
    PrefixOfKeys: (laws.disrupts_little, "own none of 2000 keys"),
}


@pytest.mark.parametrize("wrong", FOUND_BY, ids=lambda wrong: wrong.__name__)
def test_a_mistake_is_found_by_its_law(wrong):
    """The error names the law and the situation."""
    law, says = FOUND_BY[wrong]
    with pytest.raises(LawBroken, match=f"law \\d+, {law.__name__}: .*{says}"):
        check_selector(wrong, {law})


class LockedSteps(StepsAlone):
    """The same two steps under a lock: nothing wrong here."""

    def __init__(self, lock=threading.Lock):
        super().__init__()
        self.lock = lock()

    def select(self, snapshot, ctx):
        with self.lock:
            return super().select(snapshot, ctx)


class CountedSteps(Proper):
    """A cursor that moves in one step: nothing wrong here."""

    thread_safe = True

    def __init__(self):
        self.count = itertools.count()

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[next(self.count) % len(nodes)] if nodes else None


class SeededByKey(Proper):
    """A generator that each pick seeds is a hash: nothing wrong here."""

    keyed = True

    def __init__(self):
        self.rng = Random()

    def _score(self, key, node):
        self.rng.seed(f"{key!r} {node.id}")
        return self.rng.random()

    def select(self, snapshot, ctx):
        return max(snapshot.candidates(ctx), key=lambda node: self._score(ctx.key, node), default=None)


def shuffled(members):
    """Return ids in an order that is the same in each process."""
    ids = sorted(node.id for node in members.nodes)
    Random(len(ids)).shuffle(ids)
    return ids


class ShuffledOnce(Proper):
    """A table that a generator of its own shuffles: nothing wrong here."""

    def select(self, snapshot, ctx):
        by_id = {node.id: node for node in snapshot.candidates(ctx)}
        return by_weight(ctx.rng, [by_id[id] for id in snapshot.members.derive(shuffled) if id in by_id])


class RecentIds(Proper):
    """Keeps 64 ids: nothing wrong here."""

    def __init__(self):
        self.recent = {}

    def select(self, snapshot, ctx):
        node = super().select(snapshot, ctx)
        if node is not None:
            self.recent[node.id] = True
        if len(self.recent) > 64:
            del self.recent[next(iter(self.recent))]
        return node


class PriceById(Proper):
    """Looks ids up in a dictionary of its own: nothing wrong here."""

    def select(self, snapshot, ctx):
        prices = {"web-1": 1.0, "e0": 2.0}
        return min(
            snapshot.candidates(ctx), key=lambda node: (prices.get(node.id, 9.0), node.id), default=None
        )


RIGHT = (Proper, Rendezvous, LockedSteps, lambda: LockedSteps(threading.RLock), CountedSteps)
RIGHT += (ShuffledOnce, RecentIds, PriceById)


@pytest.mark.parametrize("right", RIGHT, ids=range(len(RIGHT)))
def test_what_is_right_breaks_no_law(right):
    """Locks, counters, tables, bounded memories and dictionaries of ids are no mistakes."""
    check_selector(right, laws.ALL - {laws.WEIGHTED}, examples=10)


def test_a_generator_that_each_pick_seeds_is_a_hash():
    """Law 4 accepts draws from a generator of the selector that the pick has seeded by the key."""
    check_selector(SeededByKey, {laws.uses_only_its_generator}, examples=5)


def test_the_generator_of_python_is_as_before():
    """The methods that are replaced while draws are recorded are those of the base class again."""
    before = dict(vars(random.Random))
    with pytest.raises(LawBroken):
        check_selector(OwnSeed, {laws.uses_only_its_generator})
    assert dict(vars(random.Random)) == before
