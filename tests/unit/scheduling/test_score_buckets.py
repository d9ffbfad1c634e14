"""The buckets: always a true minimum, whatever rises and falls beneath it."""

from __future__ import annotations

from random import Random
from threading import RLock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.oracles.models import least_request

from balancekit.scheduling import ScoreBuckets
from balancekit.scheduling._score_buckets import MAX_REPORTS
from balancekit.testing import Z, chi_square_z, make_nodes


class ScoreBucketsMachine(RuleBasedStateMachine):
    """Requests start, anywhere or at the minimum, and end in any order."""

    @initialize(
        weights=st.lists(st.sampled_from([1, 1, 2, 3, 0.5]), min_size=1, max_size=7), seed=st.integers(0)
    )
    def build(self, weights, seed):
        """Start with some in flight already."""
        self.nodes = make_nodes({f"n{k}": weight for k, weight in enumerate(weights)})
        self.open = []
        self.buckets = ScoreBuckets(self.nodes, Random(seed), RLock())
        for node in self.nodes:
            node.on_low_water = self.buckets.record_fall

    @rule()
    def take_the_lowest(self):
        """Check that the one picked is a minimum at that moment."""
        node = self.buckets.lowest()
        assert node.id in least_request(self.nodes)
        self.start(node)

    @rule(data=st.data())
    def take_another(self, data):
        """Pick an item by other means, without a report."""
        self.start(data.draw(st.sampled_from(self.nodes)))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data):
        """End a request; it reports only if in-flight falls below the level."""
        node = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        node.inflight -= 1
        if node.inflight < node.low_water:
            node.on_low_water(node)

    def start(self, node):
        """Open a request."""
        node.inflight += 1
        self.open.append(node)

    @invariant()
    def audit(self):
        """Check the structure after every step."""
        if hasattr(self, "buckets"):
            self.buckets._check()


TestLadder = ScoreBucketsMachine.TestCase
TestLadder.settings = settings(max_examples=60, stateful_step_count=60)


def test_ties_are_drawn_evenly():
    """All items of the least score are equally likely."""
    nodes = make_nodes(["a", "b", "c"])
    buckets = ScoreBuckets(nodes, Random(5), RLock())
    counts = dict.fromkeys("abc", 0)
    for _ in range(6_000):
        counts[buckets.lowest().id] += 1
    assert abs(chi_square_z(counts, dict.fromkeys("abc", 1))) < Z


def test_retired_buckets_still_answer_right_and_move_nothing():
    """A bucket of an old snapshot still gives right answers, and moves nothing."""
    nodes = make_nodes({"a": 1, "b": 1})
    buckets = ScoreBuckets(nodes, Random(1), RLock())
    buckets.retire()
    nodes[0].inflight = 3
    levels = [node.low_water for node in nodes]
    assert {buckets.lowest().id for _ in range(20)} == {"b"}
    assert [node.low_water for node in nodes] == levels


def test_reports_that_none_asks_for_take_bounded_memory():
    """An endpoint that gets requests from elsewhere reports each end; what was dropped of it is looked at again."""
    nodes = make_nodes({"a": 1, "b": 1, "c": 1}, inflight={"a": 2, "b": 2, "c": 2})
    buckets = ScoreBuckets(nodes, Random(1), RLock())
    a, b, _ = nodes
    a.inflight = 0
    buckets.record_fall(a)
    for _ in range(MAX_REPORTS):
        buckets.record_fall(b)
    assert len(buckets._fallen) == MAX_REPORTS
    assert buckets.lowest() is a
    buckets._check()
    assert not buckets._fallen


@pytest.mark.parametrize("exclude", [set(), {"c"}])
def test_a_bucket_that_another_thread_empties_meanwhile_is_no_error(exclude):
    """Between reading the lowest bucket and drawing from it, another thread may have moved all items out of it."""
    nodes = make_nodes({"a": 1, "b": 1, "c": 1})
    buckets = ScoreBuckets(nodes, Random(1), RLock())
    bits = buckets._bits

    def draw(count):
        buckets._bits = bits
        for node in nodes:  # the other thread
            node.inflight += 1
        buckets.lowest()
        return bits(count)

    buckets._bits = draw
    found = buckets.lowest_except(exclude)
    assert found.id in {"a", "b", "c"} - exclude
    buckets._check()
