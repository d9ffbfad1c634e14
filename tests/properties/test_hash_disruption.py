"""When nodes change, which keys move? Only those that must: zero others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from balancekit.hashing import AnchorHash, HashRing, JumpHash, MaglevTable, MultiProbeHash, RendezvousHash
from balancekit.hashing._slots import GROUP

KEYS = np.arange(4_000)
ids = st.text("abcdefgh-.:0123456789", min_size=1, max_size=4)
sets = st.sets(ids, min_size=2, max_size=25)
MINIMAL = {
    "HashRing": partial(HashRing, vnodes=10),
    "RendezvousHash": RendezvousHash,
    "MultiProbeHash": partial(MultiProbeHash, probes=4),
}
WEIGHTED = {"HashRing": partial(HashRing, vnodes=10), "RendezvousHash": RendezvousHash}


def owners(structure):
    """Return the owner of each of KEYS."""
    return np.array(structure.nodes, object)[structure.lookup_many(KEYS)]


@pytest.mark.parametrize("make", MINIMAL.values(), ids=MINIMAL)
@given(nodes=sets, data=st.data())
@settings(max_examples=40)
def test_exactly_the_keys_of_a_removed_node_move(make, nodes, data):
    """Exactly the keys of a removed node move, each to its second candidate."""
    gone = data.draw(st.sampled_from(sorted(nodes)))
    before, after = make(sorted(nodes)), make(sorted(nodes - {gone}))
    was, now = owners(before), owners(after)
    assert ((was != now) == (was == gone)).all()
    for key in KEYS[was == gone][:20].tolist():
        assert list(before.candidates(key))[1:] == list(after.candidates(key))


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED)
@given(nodes=sets, factor=st.floats(1.0, 5.0), data=st.data())
@settings(max_examples=40)
def test_keys_move_only_to_a_node_that_gains_weight(make, nodes, factor, data):
    """Keys move only to a node that gains weight, and only from one that loses it."""
    weights = {node: data.draw(st.floats(0.2, 3.0)) for node in sorted(nodes)}
    heavier = data.draw(st.sampled_from(sorted(nodes)))
    was = owners(make(weights))
    now = owners(make(weights | {heavier: weights[heavier] * factor}))
    assert (now[was != now] == heavier).all()


@given(nodes=st.lists(ids, min_size=1, max_size=25, unique=True), extra=ids)
@settings(max_examples=40)
def test_jump_moves_keys_only_to_a_node_at_the_end(nodes, extra):
    """From n to n + 1 nodes, keys move only to the new node."""
    if extra not in nodes:
        was, now = owners(JumpHash(nodes)), owners(JumpHash([*nodes, extra]))
        assert (now[was != now] == extra).all()


@pytest.mark.parametrize("make", [*WEIGHTED.values(), partial(MaglevTable, size=251)])
@given(nodes=sets, others=sets, data=st.data())
@settings(max_examples=25)
def test_the_moved_part_is_what_keys_see(make, nodes, others, data):
    """The moved part is what 4 000 keys see, within five standard deviations.

    It is exact for arcs and slots, expected for bids.
    """
    weight = st.sampled_from([0.5, 1.0, 2.0])
    before = make({node: data.draw(weight) for node in sorted(nodes)})
    after = make({node: data.draw(weight) for node in sorted(others)})
    moved = before.moved(after)
    assert moved == after.moved(before) or abs(moved - after.moved(before)) < 1e-12
    seen = (owners(before) != owners(after)).mean()
    assert abs(seen - moved) <= 5 * (moved * (1 - moved) / len(KEYS)) ** 0.5 + 1e-9
    assert before.moved(before) < 1e-12


class RingMachine(RuleBasedStateMachine):
    """A ring under additions and removals is the ring built at once."""

    def __init__(self):
        super().__init__()
        self.ring, self.model = HashRing(vnodes=7), {}

    @initialize(nodes=st.dictionaries(ids, st.sampled_from([0.1, 1.0, 3.5]), max_size=8))
    def start(self, nodes):
        """Build."""
        self.ring.replace(nodes)
        self.model = dict(nodes)

    @rule(node=ids, weight=st.sampled_from([0.1, 1.0, 3.5]))
    def add(self, node, weight):
        """Add, if it is new."""
        if node not in self.model:
            before = owners(self.ring) if self.model else None
            self.ring.add(node, weight)
            self.model[node] = weight
            if before is not None:
                now = owners(self.ring)
                assert (now[before != now] == node).all()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data):
        """Remove one."""
        node = data.draw(st.sampled_from(sorted(self.model)))
        before = owners(self.ring)
        self.ring.remove(node)
        del self.model[node]
        if self.model:
            assert ((owners(self.ring) != before) == (before == node)).all()

    @invariant()
    def equals_a_new_one(self):
        """History leaves no trace: the ring has the points, the slots and the answers of one built at once."""
        fresh = HashRing(self.model, vnodes=7)
        assert (self.ring.nodes, self.ring.weights) == (fresh.nodes, fresh.weights)
        assert self.ring.shares() == fresh.shares()
        if self.model:
            (words, shift, mask, *_), (anew, *others) = self.ring._lookup, fresh._lookup
            assert [shift, mask] == others[:2]
            assert [min(word, GROUP) for word in words] == [min(word, GROUP) for word in anew]
            found, wanted = [ring._state.circle.points() for ring in (self.ring, fresh)]
            assert [one.tolist() for one in found] == [one.tolist() for one in wanted]
            assert owners(self.ring).tolist() == owners(fresh).tolist()


class AnchorMachine(RuleBasedStateMachine):
    """Whatever was removed and added, exactly the keys that must move do; undoing restores everything."""

    def __init__(self):
        super().__init__()
        self.anchor = AnchorHash(["a", "b", "c", "d"], capacity=10)
        self.past, self.names = [], iter(range(1_000))

    @precondition(lambda self: len(self.anchor) < 10)
    @rule()
    def add(self):
        """Keys move only to the new one."""
        before, node = owners(self.anchor), f"n{next(self.names)}"
        self.anchor.add(node)
        now = owners(self.anchor)
        assert (now[before != now] == node).all()
        self.past.append(None)

    @precondition(lambda self: len(self.anchor) > 1)
    @rule(data=st.data())
    def remove(self, data):
        """Only its keys move."""
        node = data.draw(st.sampled_from(self.anchor.nodes))
        before = owners(self.anchor)
        self.anchor.remove(node)
        assert ((owners(self.anchor) != before) == (before == node)).all()
        self.past.append((node, before))

    @precondition(lambda self: self.past and self.past[-1] is not None)
    @rule()
    def undo(self):
        """Adding what was removed last brings every key back."""
        node, before = self.past.pop()
        self.anchor.add(node)
        assert (owners(self.anchor) == before).all()

    @invariant()
    def one_by_one_agrees(self):
        """Compare the batch with single look-ups."""
        assert [*map(self.anchor.lookup, range(50))] == owners(self.anchor)[:50].tolist()


for machine in (RingMachine, AnchorMachine):
    machine.TestCase.settings = settings(max_examples=30, stateful_step_count=15, deadline=None)
TestRing = RingMachine.TestCase
TestAnchor = AnchorMachine.TestCase
