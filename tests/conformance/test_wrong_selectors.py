"""A law that catches none is no law: each of these selectors is wrong in one way, and is caught for it."""

from __future__ import annotations

import itertools
import random
import time
import zlib

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.protocols import Selector
from balancekit.testing import LawBroken, check_selector, laws, make_nodes


class Proper:
    """By weight among the candidates, with the generator of the context: nothing wrong here."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return ctx.rng.choices(nodes, [node.weight or 1e-9 for node in nodes])[0] if nodes else None


class ForgetsExclusion(Proper):
    """Draws from all that are eligible, tried or not."""

    def select(self, snapshot, ctx):
        nodes = snapshot.eligible
        return ctx.rng.choices(nodes, [node.weight or 1e-9 for node in nodes])[0] if nodes else None


class ForgetsHealth(Proper):
    """Draws from all members."""

    def select(self, snapshot, ctx):
        nodes = [node for node in snapshot.members.nodes if node.id not in ctx.exclude]
        return ctx.rng.choice(nodes) if nodes else None


class IgnoresWeight(Proper):
    """All alike."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return ctx.rng.choice(nodes) if nodes else None


class KeepsAnOldSnapshot(Proper):
    """Goes on with the endpoints it saw first."""

    def __init__(self):
        self.nodes = None

    def select(self, snapshot, ctx):
        if self.nodes is None:
            self.nodes = snapshot.eligible
        nodes = [node for node in self.nodes if node.id not in ctx.exclude]
        return ctx.rng.choice(nodes) if nodes else None


class ForgetsTheSnapshotBefore(Proper):
    """Drops what its picker for the snapshot before needs, as soon as the next one is prepared."""

    keyed = False

    def __init__(self):
        self.ids = frozenset()

    def prepare(self, snapshot):
        self.ids = frozenset(node.id for node in snapshot.members.nodes)

    def picker(self, snapshot, *, rng=None):
        def pick(now=0.0):
            return next(node for node in snapshot.eligible if node.id in self.ids)

        return pick


class ReadsGlobalRandom(Proper):
    """Uses the module-level generator."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return random.choice(nodes) if nodes else None


class ReadsTheClock(Proper):
    """Depends on what time it is."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[int(time.time()) % len(nodes)] if nodes else None


class HashesText(Proper):
    """Uses ``hash()``, which differs in each process."""

    keyed = True

    def select(self, snapshot, ctx):
        return max(snapshot.candidates(ctx), key=lambda node: hash((ctx.key, node.id)), default=None)


class RemembersWeights(Proper):
    """Takes the first weight that it sees of an endpoint for good."""

    def __init__(self):
        self.weights = {}

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        weights = [self.weights.setdefault(node.id, node.weight or 1e-9) for node in nodes]
        return ctx.rng.choices(nodes, weights)[0] if nodes else None


class IgnoresNewcomers(Proper):
    """Goes on with the endpoints it saw first while one of them is left."""

    def __init__(self):
        self.ids = None

    def select(self, snapshot, ctx):
        self.ids = self.ids or {node.id for node in snapshot.members.nodes}
        nodes = snapshot.candidates(ctx)
        known = [node for node in nodes if node.id in self.ids] or nodes
        return ctx.rng.choice(known) if known else None


class RingOfTheFirst(IgnoresNewcomers):
    """Builds its table once."""

    def select(self, snapshot, ctx):
        self.ids = self.ids or {node.id for node in snapshot.members.nodes}
        nodes = snapshot.candidates(ctx)
        known = [node for node in nodes if node.id in self.ids] or nodes
        return max(
            known, key=lambda node: zlib.crc32(f"{ctx.key}{node.id}".encode("utf-8", "replace")), default=None
        )


class MemoOfMembers(Proper):
    """Remembers by members what health changes too."""

    def __init__(self):
        self.memo = {}

    def select(self, snapshot, ctx):
        nodes = self.memo.setdefault(snapshot.members, snapshot.eligible)
        nodes = [node for node in nodes if node.id not in ctx.exclude]
        return ctx.rng.choice(nodes) if nodes else None


class MemoOfVersions(Proper):
    """Remembers by version, which differs for each snapshot: nothing wrong here."""

    def __init__(self):
        self.version = None

    def select(self, snapshot, ctx):
        if ctx.exclude or not snapshot.eligible:
            return super().select(snapshot, ctx)
        if snapshot.version != self.version:
            self.version, self.nodes = snapshot.version, snapshot.eligible
        return ctx.rng.choices(self.nodes, [node.weight or 1e-9 for node in self.nodes])[0]


class DrawsFromItsOwnGenerator(Proper):
    """Seeds itself, so two alike selectors differ."""

    def __init__(self):
        self.rng = random.Random()

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return self.rng.choice(nodes) if nodes else None


class BiasedSurvivors(Proper):
    """Round robin by index, then steps past those that are missing: the next one gets two turns."""

    def __init__(self):
        self.count = itertools.count()

    def select(self, snapshot, ctx):
        members = snapshot.members.nodes
        allowed = {node.id for node in snapshot.candidates(ctx)}
        start = next(self.count)
        for step in range(len(members)):
            node = members[(start + step) % len(members)]
            if node.id in allowed:
                return node
        return None


class GivesUp(Proper):
    """Answers None when the first endpoint is not to be had."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[0] if nodes and nodes[0] is snapshot.members.nodes[0] else None


class WritesIntoNodes(Proper):
    """Keeps its own count in the record of another."""

    def select(self, snapshot, ctx):
        node = super().select(snapshot, ctx)
        if node is not None:
            node.inflight += 1
        return node


class AnswersACopy(Proper):
    """Answers something that is equal in name only."""

    def select(self, snapshot, ctx):
        node = super().select(snapshot, ctx)
        return node and type(node)(node.endpoint, lambda _: node.load)


class PickerOfTheDead(Proper):
    """Its fast path forgets who is down."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        nodes, rng = snapshot.members.nodes, rng or random.Random(1)
        return lambda _now=0.0: rng.choice(nodes)


class PickerOfGlobalRandom(Proper):
    """Its fast path uses the module-level generator."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        return lambda now=0.0: random.choice(snapshot.eligible)


class PickerOfItsOwnRandom(Proper):
    """Its fast path seeds itself."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        own = random.Random()
        return lambda now=0.0: own.choice(snapshot.eligible)


class PickerThatCounts(Proper):
    """Its fast path keeps its own count in the record of another."""

    keyed = False

    def picker(self, snapshot, /, *, rng=None):
        def pick(now=0.0):
            node = rng.choice(snapshot.eligible)
            node.inflight += 1
            return node

        return pick


class LooksForEver(Proper):
    """Draws until an endpoint is found that is not excluded, which may never be."""

    def select(self, snapshot, ctx):
        while snapshot.eligible:
            node = ctx.rng.choice(snapshot.eligible)
            if node.id not in ctx.exclude:
                return node
        return None


class TurnsForEver(Proper):
    """Goes round until there is a weight, in one line."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return next((node for node in itertools.cycle(nodes) if ctx.rng.random() < node.weight), None)


class WaitsForAnEndpoint(Proper):
    """Waits until there is one."""

    def select(self, snapshot, ctx):
        while not snapshot.eligible:
            pass
        return super().select(snapshot, ctx)


class PicksZero(Proper):
    """By weight, but each a little."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return ctx.rng.choices(nodes, [node.weight + 0.02 for node in nodes])[0] if nodes else None


class OrderMatters(Proper):
    """Hash modulo n."""

    keyed = True

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return nodes[len(str(ctx.key)) % len(nodes)] if nodes else None


class MovesEverything(Proper):
    """Independent of order, but anything but consistent."""

    keyed = True

    def select(self, snapshot, ctx):
        nodes = sorted(snapshot.candidates(ctx), key=lambda node: node.id)
        return nodes[sum(map(ord, str(ctx.key))) % len(nodes)] if nodes else None


class RemembersTheLastAnswer(Proper):
    """Picks the endpoint with the shortest last answer, so that one long answer is never made good."""

    def __init__(self):
        self.latency = {}

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return min(nodes, key=lambda node: self.latency.get(node.id, 0.0)) if nodes else None

    def learn(self, node, completion):
        self.latency[node.id] = completion.latency


class DrawsTwo(Proper):
    """Picks the less busy of two endpoints drawn at random, which may both be slow."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        drawn = [ctx.rng.choice(nodes) for _ in range(2)] if nodes else []
        return min(drawn, key=lambda node: node.inflight, default=None)


class LeastBusy(Proper):
    """Picks the endpoint with the fewest requests in flight: the one that fails fast."""

    def select(self, snapshot, ctx):
        nodes = list(snapshot.candidates(ctx))
        ctx.rng.shuffle(nodes)
        return min(nodes, key=lambda node: node.inflight, default=None)


class UntriedFirst(Proper):
    """Picks endpoints that have never succeeded before all others."""

    def select(self, snapshot, ctx):
        nodes = snapshot.candidates(ctx)
        return min(nodes, key=lambda node: (node.successes > 0, ctx.rng.random()), default=None)


CAUGHT_BY = [
    (ForgetsExclusion, laws.honours_exclusion),
    (ForgetsHealth, laws.picks_candidates),
    (IgnoresWeight, laws.in_proportion),
    (KeepsAnOldSnapshot, laws.survives_changes),
    (ForgetsTheSnapshotBefore, laws.survives_changes),
    (ReadsGlobalRandom, laws.uses_only_its_generator),
    (ReadsTheClock, laws.uses_only_its_generator),
    (DrawsFromItsOwnGenerator, laws.same_seed_same_picks),
    (BiasedSurvivors, laws.evenly),
    (GivesUp, laws.none_iff_no_candidate),
    (WritesIntoNodes, laws.writes_nothing),
    (AnswersACopy, laws.picks_candidates),
    (PickerOfTheDead, laws.fast_path_agrees),
    (PicksZero, laws.in_proportion),
    (OrderMatters, laws.independent_of_order),
    (MovesEverything, laws.disrupts_little),
    (RemembersTheLastAnswer, laws.starves_none),
    (DrawsTwo, laws.keeps_queues_finite),
    (LeastBusy, laws.avoids_failing),
    (UntriedFirst, laws.learns_nothing_from_ignored),
    (HashesText, laws.uses_only_its_generator),
    (RemembersWeights, laws.in_proportion),
    (IgnoresNewcomers, laws.evenly),
    (RingOfTheFirst, laws.disrupts_little),
    (MemoOfMembers, laws.survives_changes),
    (PickerOfGlobalRandom, laws.uses_only_its_generator),
    (PickerOfItsOwnRandom, laws.same_seed_same_picks),
    (PickerThatCounts, laws.writes_nothing),
    (LooksForEver, laws.picks_candidates),
    (TurnsForEver, laws.picks_candidates),
    (WaitsForAnEndpoint, laws.picks_candidates),
]


def test_a_proper_selector_is_not_caught():
    """The laws accept a right selector, so what they say of the wrong ones means something."""
    check_selector(Proper, laws.ALL)
    check_selector(MemoOfVersions, laws.ALL)


def test_what_another_thread_draws_meanwhile_is_not_held_against_a_selector():
    """A module-level draw in every fortieth pick, as by a thread that runs beside it, is none of the selector's."""
    picks = itertools.count(1)

    class BesideAThread(Proper):
        def select(self, snapshot, ctx):
            if next(picks) % 40 == 0:
                random.random()
            return super().select(snapshot, ctx)

    check_selector(BesideAThread, {laws.uses_only_its_generator})
    assert next(picks) > 400


@pytest.mark.parametrize(("wrong", "law"), CAUGHT_BY, ids=lambda case: case.__name__)
def test_each_wrong_selector_is_caught_by_its_law(wrong, law):
    """The law that is broken is the one that says so, by its number."""
    with pytest.raises(LawBroken, match=law.__name__):
        check_selector(wrong, {law})


@pytest.mark.parametrize("wrong", sorted({wrong for wrong, _ in CAUGHT_BY}, key=lambda one: one.__name__))
def test_no_wrong_selector_passes_all_laws(wrong):
    """A check against all laws finds every one of them."""
    with pytest.raises(LawBroken):
        check_selector(wrong, laws.ALL | {laws.EVEN} | laws.HASHED | laws.ADAPTIVE)


def test_every_law_catches_one():
    """Each law fails for at least one of the wrong selectors."""
    caught_late = {
        laws.overlaps_safely,
        laws.forgets_what_left,
        laws.hooks_raise_nothing,
    }  # by hidden mistakes
    assert {law for _, law in CAUGHT_BY} | caught_late == laws.ALL | {laws.EVEN} | laws.HASHED | laws.ADAPTIVE


@pytest.mark.parametrize(
    ("select", "says"),
    [
        (
            lambda node: node.id,
            r"select\(\) returned 'e0' of type str .*: expected one of its nodes, or None",
        ),
        (
            lambda node: node.endpoint,
            r"returned Endpoint\(id='e0'.* of type Endpoint .*: expected one of its nodes",
        ),
        (lambda node: 0, r"returned 0 of type int .*: expected one of its nodes"),
        (
            lambda node: make_nodes([node.endpoint])[0],
            "expected the node object of the snapshot, not another one",
        ),
    ],
)
def test_an_answer_that_is_no_node_is_named_with_what_is_expected(select, says):
    """An id, an endpoint, an index and a copy are each told apart from the node that they stand for."""

    class Answers(Proper):
        def select(self, snapshot, ctx):
            node = super().select(snapshot, ctx)
            return None if node is None else select(node)

    with pytest.raises(LawBroken, match=says):
        check_selector(Answers)


def test_an_error_of_a_selector_has_the_case_that_raised_it():
    """The shrunk arguments are a note of the error that says which law was tried, once."""

    class OffByOne(Proper):
        def select(self, snapshot, ctx):
            nodes = snapshot.candidates(ctx)
            return nodes[len(nodes)] if len(nodes) > 1 else super().select(snapshot, ctx)

    with pytest.raises(LawBroken, match="it raised IndexError: tuple index out of range") as caught:
        check_selector(OffByOne, {laws.picks_candidates})
    (note,) = caught.value.__notes__
    assert "eligible=['e0', 'e1']" in note


@pytest.mark.parametrize("raises", [ValueError("now and then"), None], ids=["raises", "breaks a law"])
def test_what_happens_once_only_is_said_to_be_state_outside_the_selector(raises):
    """An error or a wrong pick that the same arguments do not repeat is told as such, and by what it was."""
    calls = itertools.count(1)

    class NowAndThen(Proper):
        def select(self, snapshot, ctx):
            if next(calls) % 37 == 0:
                if raises is not None:
                    raise raises
                return "nothing"
            return super().select(snapshot, ctx)

    what = "it raised ValueError" if raises else "'nothing' of type str"
    with pytest.raises(LawBroken, match=rf"{what}.* once, but not again .* keeps state outside itself"):
        check_selector(NowAndThen, {laws.picks_candidates})


class Misspelt(Selector):
    """Has a hook that no balancer calls."""

    def perpare(self, snapshot):
        """Never called."""

    def select(self, snapshot, ctx):
        return Proper().select(snapshot, ctx)


class Asynchronous:
    """Has a pick that nothing awaits."""

    async def select(self, snapshot, ctx):
        return None


class AsynchronousHook(Proper):
    """Has a hook that nothing awaits."""

    async def learn(self, node, completion):
        """Never awaited."""


class HalfAPicker(Proper):
    """Has a fast path that no balancer takes, for it does not say whether it is keyed."""

    def picker(self, snapshot, /, *, rng=None):
        return lambda now=0.0: snapshot.eligible[0]


class NoLoads(Proper):
    """Names a load that is none."""

    default_load = 3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Misspelt, "did you mean 'prepare'"),
        (Asynchronous, "not a coroutine function"),
        (AsynchronousHook, r"'AsynchronousHook.learn' .* since nothing awaits it"),
        (HalfAPicker, "an attribute keyed beside picker"),
        (NoLoads, "load=3 is not allowed"),
    ],
)
def test_what_a_balancer_refuses_is_refused_before_any_law(wrong, says):
    """A selector that no balancer takes is refused with the balancer's own words."""
    for trial in (check_selector, lambda make: LoadBalancer(["a"], selector=make())):
        with pytest.raises(ConfigurationError, match=says):
            trial(wrong)


@pytest.mark.parametrize("make", [Proper(), lambda name: Proper(), 3, None])
def test_what_makes_no_selector_is_refused(make):
    """An instance, a function with a parameter, and what cannot be called."""
    with pytest.raises(ConfigurationError, match="a function without parameters that makes a selector"):
        check_selector(make)


def test_an_error_within_a_maker_is_its_own():
    """A ``TypeError`` from inside the function that makes the selector is raised as it is."""

    def make():
        return len(3)

    with pytest.raises(TypeError, match="has no len"):
        check_selector(make)
