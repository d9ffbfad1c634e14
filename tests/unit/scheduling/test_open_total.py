"""The sum of requests in flight: true whenever all that was announced has begun, whatever was missed."""

from __future__ import annotations

from random import Random
from threading import RLock

import pytest

from balancekit.scheduling import OpenTotal
from balancekit.scheduling._score_buckets import MAX_REPORTS
from balancekit.testing import make_nodes


def end(node):
    """End a request as a lease does."""
    node.inflight -= 1
    if node.inflight < node.low_water:
        node.on_low_water(node)


@pytest.mark.parametrize("seed", range(20))
def test_the_total_is_the_sum_of_in_flight(seed):
    """After any sequence of announced starts and ends, the total equals the sum over all nodes."""
    rng = Random(seed)
    nodes = make_nodes([f"n{k}" for k in range(5)], inflight={"n1": 2})
    total = OpenTotal(nodes, RLock())
    for node in nodes:
        node.on_low_water = total.record_fall
    for _ in range(400):
        busy = [node for node in nodes if node.inflight]
        if rng.random() < 0.5 or not busy:
            node = rng.choice(nodes)
            total.starting(node)
            node.inflight += 1
        else:
            end(rng.choice(busy))
        assert total.read() == sum(node.inflight for node in nodes)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_missed_is_put_right_when_the_node_is_met(seed):
    """After starts that were not announced, or did not come, the total is right once each node has had a request."""
    rng = Random(seed)
    nodes = make_nodes(["a", "b", "c"])
    total = OpenTotal(nodes, RLock())
    for node in nodes:
        node.on_low_water = total.record_fall
    for _ in range(50):
        node = rng.choice(nodes)
        if rng.random() < 0.5:
            node.inflight += 1
        else:
            total.starting(node)
    for node in nodes:
        total.starting(node)
        node.inflight += 1
        end(node)
    assert total.read() == sum(node.inflight for node in nodes)


def test_nodes_that_were_never_there_are_ignored():
    """A start or an end of a node that is not counted changes nothing."""
    inside, outside = make_nodes(["a", "b"])
    total = OpenTotal([inside], RLock())
    total.starting(outside)
    total.record_fall(outside)
    assert total.read() == 0


class Interrupted:
    """An item of which requests end, as on another thread, just before its level is set."""

    id, weight, level, ends, record_fall = "a", 1.0, 0, 0, None

    def __init__(self, inflight):
        self.inflight = inflight

    @property
    def low_water(self):
        return self.level

    @low_water.setter
    def low_water(self, level):
        for _ in range(self.ends):
            self.inflight -= 1
            if self.inflight < self.level:
                self.record_fall(self)
        self.ends, self.level = 0, level

    def notify_below(self, low_water):
        self.low_water = low_water


@pytest.mark.parametrize("ends", [1, 2])
def test_ends_in_the_middle_of_an_announced_start_are_counted(ends):
    """If requests end while a start is announced, the total is right once it has begun."""
    item = Interrupted(1)
    total = OpenTotal([item], RLock())
    item.record_fall = total.record_fall
    item.inflight, item.ends = 3, ends
    total.starting(item)
    item.inflight += 1
    assert total.read() == item.inflight == 4 - ends


@pytest.mark.parametrize("ends", [1, 2])
def test_ends_in_the_middle_of_a_correction_are_counted(ends):
    """If requests end while a level is put right, at the beginning or later, the total is right when it is read."""
    item = Interrupted(4)
    item.ends = ends
    total = OpenTotal([item], RLock())
    item.record_fall = total.record_fall
    assert total.read() == item.inflight == 4 - ends
    item.inflight, item.ends = 7, ends
    total.record_fall(item)
    assert total.read() == item.inflight == 7 - ends


def test_reports_that_none_asks_for_take_bounded_memory():
    """A node that gets requests from elsewhere reports each end; what was dropped of it is looked at again."""
    nodes = make_nodes(["a", "b"], inflight={"a": 2, "b": 2})
    total = OpenTotal(nodes, RLock())
    a, b = nodes
    a.inflight = 0
    total.record_fall(a)
    for _ in range(MAX_REPORTS):
        total.record_fall(b)
    assert len(total._fallen) == MAX_REPORTS
    assert total.read() == 2
    assert not total._fallen
