"""Shortest expected delay: each pick beside the same rule, written plainly."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest

from balancekit import Endpoint
from balancekit.loads import ExpectedDelay, InFlight
from balancekit.node import Node
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Trace
from balancekit.testing import make_context, make_nodes, make_snapshot


def made(weights, *, told=True):
    """Return nodes with expected delays of one pool, told or not of every end."""
    nodes = make_nodes(weights, load=ExpectedDelay())
    for node in nodes:
        node.needs_completion = told
        node.load.restate(0.0)
    return nodes


def counted(queue):
    """Return what a queue counts for: sixths of the pace, more than its length in proportion."""
    return queue * (queue + 5.0)


def step(node):
    """Return how far a pick moves the turn of a node of mean capacity, in sixths of a second."""
    pool = node.load.pool
    return pool.turn * min(node.load.price, pool.longest)


class Model:
    """The rule: turns, and what an endpoint's delay is stated to be after a pick."""

    def __init__(self, nodes):
        self.clock = 0.0
        self.turns = {node.id: node.load.turn for node in nodes}

    def take(self, node):
        """Give the turn, and check that the node has it, with the delay of its request and one more."""
        self.clock = max(self.clock, self.turns[node.id])
        self.turns[node.id] = turn = self.clock + step(node) / node.capacity
        assert node.load.turn == pytest.approx(turn, rel=1e-12)
        assert node.load.pool.clock == self.clock
        expected = node.load.price * counted((node.inflight + 1) / node.capacity + 1.0) + turn
        assert node.latency_estimate == pytest.approx(expected, rel=1e-12)


def least(nodes):
    """Return the first of those with the least delay stated."""
    return min(nodes, key=lambda node: node.latency_estimate)


def live(rng, nodes, picked, open_, now):
    """Begin the request that was picked, and let some end."""
    picked.inflight += 1
    open_.append(picked)
    while open_ and rng.random() < 0.48:
        node = open_.pop(rng.randrange(len(open_)))
        node.inflight -= 1
        node.successes += 1
        node.load.succeeded(rng.expovariate(1.0 if node is nodes[0] else 3.0), now)


@pytest.mark.parametrize("weights", [[1.0] * 5, [1.0] * 16, [3.0, 1.0, 1.0, 2.0], [1.0], [0.0, 0.0]])
def test_a_small_pool_is_compared_whole(weights):
    """Up to 16 endpoints, the pick has the least delay of all, and the turn goes on by a step over its capacity."""
    nodes, rng = made({f"e{k}": weight for k, weight in enumerate(weights)}), Random(1)
    selector = ShortestExpectedDelay()
    pick = selector.picker(make_snapshot(nodes), rng=rng)
    model, open_ = Model(nodes), []
    for number in range(400):
        delays = {node.id: node.latency_estimate for node in nodes}
        picked = pick(float(number))
        assert delays[picked.id] == min(delays.values())
        model.take(picked)
        live(rng, nodes, picked, open_, number / 10.0)


@pytest.mark.parametrize("inflight", [0, 1, 1021, 1022, 1023, 1024, 5000])
@pytest.mark.parametrize("size", [3, 20])
@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_queues_count_by_the_same_rule_however_long(inflight, size, weight):
    """A pick and an answer state the delay by the formula, whether or not its figure is in the table."""
    nodes = made({f"e{k}": weight for k in range(size)})
    pick, model = ShortestExpectedDelay().picker(make_snapshot(nodes), rng=Random(3)), Model(nodes)
    for node in nodes:
        node.inflight = inflight
        node.load.succeeded(0.5, 1.0)  # the first answer is not plain
    for now in (2.0, 3.0):
        for node in nodes:
            node.load.succeeded(0.5, now)
            delay = node.load.price * counted(inflight / node.capacity + 1.0) + node.load.turn
            assert node.latency_estimate == pytest.approx(delay, rel=1e-12)
        model.take(pick(now))


@pytest.mark.parametrize("size", [17, 20, 24, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_pool_is_looked_at_in_windows_of_six_with_eight_remembered(size, weighted):
    """Each pick is the least of the next six in a fixed order and of eight that have just answered."""
    nodes = made({f"e{k}": 1.0 + k % 3 if weighted else 1.0 for k in range(size)})
    rng, selector = Random(2), ShortestExpectedDelay()
    pick = selector.picker(make_snapshot(nodes), rng=rng)
    order, again = sorted(nodes, key=lambda node: node.load.place), Random(2)
    assert [node.load.place for node in nodes] == [again.random() for _ in nodes]
    first = again.randrange(size)
    order = order[first:] + order[:first]
    recent = nodes[0].load.recent
    assert recent == order[:8]
    assert all(node.load.recent is recent for node in nodes)
    model, open_ = Model(nodes), []
    start = 0
    for number in range(600):
        window = [order[(start + k) % size] for k in range(6)]
        start = start + 6 if start + 6 < size else 0
        looked = [*recent, *window]
        delays = [node.latency_estimate for node in looked]
        before = list(recent)
        picked = pick(float(number))
        assert picked is looked[delays.index(min(delays))]
        assert recent == before, "a pick changes no seat"
        model.take(picked)
        live(rng, nodes, picked, open_, number / 10.0)
    assert any(node not in order[:8] for node in recent)


def test_a_large_pool_keeps_its_order():
    """When members leave and join, those that stay are looked at in the same order, from any of them on; new ones are among them."""
    nodes, rng = made({f"e{k}": 1.0 for k in range(60)}), Random(4)
    firsts = set()
    for members in [nodes[:50], nodes[5:], *[nodes] * 40]:
        pick = ShortestExpectedDelay().picker(make_snapshot(members), rng=rng)
        looked, recent = [], members[0].load.recent
        for _ in range(math.ceil(len(members) / 6)):
            for node in members:
                node.latency_estimate = 2.0 if node in recent else 1.0
            looked.append(pick())
        firsts.add(looked[0].id)
        places = [node.load.place for node in looked]
        assert sum(after < before for before, after in pairwise(places)) <= 1, "once round"
    assert len(firsts) > 10
    assert len({node.load.place for node in nodes}) == 60
    joined = sorted(node.load.place for node in nodes[50:])
    assert joined[0] < 0.4
    assert joined[-1] > 0.6


def test_endpoints_of_weight_zero_are_picked_only_if_there_are_no_others():
    """Of weights 0 and 1, the endpoint of weight 1 gets every pick."""
    nodes = made({"a": 0.0, "b": 1.0})
    pick = ShortestExpectedDelay().picker(make_snapshot(nodes), rng=Random(1))
    assert {pick().id for _ in range(20)} == {"b"}
    none = made({"a": 0.0, "b": 0.0})
    pick = ShortestExpectedDelay().picker(make_snapshot(none), rng=Random(1))
    assert {pick().id for _ in range(20)} == {"a", "b"}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("size", [3, 16, 40])
def test_the_slow_path_follows_the_same_rule(size, told):
    """With exclusions the least of those that are not excluded is picked, by delays as they are now if none tells them."""
    nodes, rng = made({f"e{k}": 1.0 + k % 2 for k in range(size)}, told=told), Random(3)
    selector, snapshot = ShortestExpectedDelay(), make_snapshot(nodes)
    model, open_, clock = Model(nodes), [], 0.0
    for _ in range(300):
        clock += 0.1
        exclude = set(rng.sample([node.id for node in nodes], rng.randrange(min(size, 4))))
        delays = {
            node.id: node.load.price * counted(node.inflight / node.capacity + 1.0) + node.load.turn
            for node in nodes
        }
        picked = selector.select(snapshot, make_context(rng, exclude=exclude, now=clock))
        assert picked.id not in exclude
        if size <= 16:
            assert delays[picked.id] == min(delays[id] for id in delays if id not in exclude)
        model.take(picked)
        live(rng, nodes, picked, open_, clock)
    assert selector.select(snapshot, make_context(rng, exclude={node.id for node in nodes})) is None


@pytest.mark.parametrize("told", [True, False])
def test_all_but_one_excluded_leaves_that_one(told):
    """However large a pool is, a request that excludes all endpoints but one goes to that one."""
    nodes = made({f"e{k}": 1.0 for k in range(61)}, told=told)
    selector, snapshot = ShortestExpectedDelay(), make_snapshot(nodes)
    for left in nodes:
        exclude = {node.id for node in nodes if node is not left}
        assert selector.select(snapshot, make_context(exclude=exclude)) is left


@pytest.mark.parametrize("told", [True, False])
def test_an_endpoint_that_is_to_be_tried_is_tried_at_once(told):
    """A delay of minus infinity is the least, on both paths; excluded, it waits."""
    nodes = made({"a": 1.0, "b": 1.0, "c": 1.0}, told=told)
    selector, snapshot = ShortestExpectedDelay(), make_snapshot(nodes)
    nodes[1].latency_estimate = -math.inf
    nodes[1].load.price = 1e6
    assert selector.select(snapshot, make_context(exclude={"b"})) is not nodes[1]
    nodes[1].latency_estimate = -math.inf
    assert selector.select(snapshot, make_context(exclude={"a"})) is nodes[1]
    nodes[1].latency_estimate = -math.inf
    assert selector.picker(snapshot, rng=Random(1))() is nodes[1]


def test_the_last_pick_is_restated_before_the_next():
    """A request that was picked and never began leaves no trace in the delay; one that has begun counts once."""
    nodes = made({"a": 1.0, "b": 1.0})
    selector, snapshot = ShortestExpectedDelay(), make_snapshot(nodes)
    first = selector.select(snapshot, make_context())
    other = next(node for node in nodes if node is not first)
    assert first.latency_estimate == pytest.approx(counted(2.0) + first.load.turn)
    assert selector.select(snapshot, make_context()) is other
    assert first.latency_estimate == pytest.approx(counted(1.0) + first.load.turn)
    first.inflight = 3
    first.capacity = 2.0
    selector.select(snapshot, make_context(exclude={first.id}))
    first.load.pool.taken, first.load.pool.taken_delay = first, first.latency_estimate
    selector.select(snapshot, make_context(exclude={first.id}))
    assert first.latency_estimate == pytest.approx(counted(2.5) + first.load.turn)
    first.latency_estimate = -math.inf
    first.load.pool.taken = first
    selector.select(snapshot, make_context(exclude={first.id}))
    assert first.latency_estimate == -math.inf, "a trial that is due stays due"


def test_delays_that_are_no_longer_true_are_not_used():
    """If the number in flight changes without the selector's knowledge, the next pick uses the new number."""
    nodes = made({"a": 1.0, "b": 1.0})
    selector, snapshot = ShortestExpectedDelay(), make_snapshot(nodes)
    nodes[0].inflight = 5
    nodes[0].latency_estimate = 0.5
    assert selector.select(snapshot, make_context()) is nodes[1]


def test_other_loads_are_asked_for_their_value():
    """Of in-flight counts the least is picked, on both paths; ties at random."""
    nodes = make_nodes(["a", "b", "c"], load=InFlight(), inflight={"a": 2, "b": 1, "c": 1})
    selector, snapshot = ShortestExpectedDelay(), make_snapshot(nodes)
    rng = Random(1)
    assert {selector.select(snapshot, make_context(rng)).id for _ in range(40)} == {"b", "c"}
    pick = selector.picker(snapshot, rng=rng)
    assert {pick(0.0).id for _ in range(40)} == {"b", "c"}
    assert selector.select(snapshot, make_context(exclude={"b", "c"})) is nodes[0]
    assert selector.select(snapshot, make_context(exclude={"a", "b", "c"})) is None


def test_expected_delays_of_several_pools_are_compared_by_value():
    """Endpoints whose loads share nothing are compared by their loads' values."""
    nodes = tuple(Node(Endpoint(id), ExpectedDelay()) for id in "ab")
    nodes[0].inflight = 1
    pick = ShortestExpectedDelay().picker(make_snapshot(nodes), rng=Random(1))
    assert {pick(0.0).id for _ in range(10)} == {"b"}
    assert nodes[1].load.turn == 0.0


def test_a_trace_says_why():
    """A trace has the delay that decided, with four digits."""
    nodes = made({"a": 1.0, "b": 1.0})
    nodes[0].inflight = 2
    ctx = make_context(now=3.0)
    ctx.trace = Trace()
    assert ShortestExpectedDelay().select(make_snapshot(nodes), ctx) is nodes[1]
    assert ctx.trace.notes == ["'b' has the shortest expected delay: 1"]
    assert nodes[1].load.turn == pytest.approx(0.06)


def test_a_new_snapshot_has_a_new_order():
    """With a new snapshot, endpoints that have left are looked at no more."""
    nodes = made({"a": 1.0, "b": 1.0})
    selector = ShortestExpectedDelay()
    selector.select(make_snapshot(nodes), make_context())
    for _ in range(4):
        assert selector.select(make_snapshot(nodes[:1]), make_context()) is nodes[0]
