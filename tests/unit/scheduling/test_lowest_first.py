"""The heap of scores: always a true minimum, whatever rises unseen and changes with notice."""

from __future__ import annotations

from random import Random
from threading import RLock

import pytest

from balancekit.scheduling import LowestFirst
from balancekit.scheduling._score_buckets import MAX_REPORTS
from balancekit.testing import Z, chi_square_z, make_nodes


def report(heap, item):
    """Report that the score of an item has changed."""
    ranked = heap.ranked[item]
    ranked.changed(ranked)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", range(10))
def test_the_lowest_is_a_minimum(size, seed):
    """After any requests that began unseen and any change that was reported, the item returned has the least score."""
    rng = Random(seed)
    nodes = make_nodes([f"n{k}" for k in range(size)])
    base = {node: float(rng.randrange(4)) for node in nodes}
    heap = LowestFirst(
        {node: lambda node=node: base[node] * (node.inflight + 1) for node in nodes}, Random(seed), RLock()
    )
    for _ in range(600):
        exclude = {node.id for node in nodes if rng.random() < rng.choice((0.0, 0.3, 0.9))}
        left = [node for node in nodes if node.id not in exclude]
        found = heap.lowest_except(exclude)
        if not left:
            assert found is None
        else:
            assert base[found] * (found.inflight + 1) == min(base[n] * (n.inflight + 1) for n in left)
        node = rng.choice(nodes)
        match rng.randrange(4):
            case 0 | 1:
                (heap.lowest() if rng.random() < 0.7 else node).inflight += 1
            case 2 if node.inflight:
                node.inflight -= 1
                base[node] = float(rng.randrange(4))
                report(heap, node)
            case _:
                base[node] = rng.random()
                report(heap, node)
    assert len(heap._heap) <= heap._limit + 1


def test_equal_scores_are_equally_likely():
    """Among items that stay equal, each is returned as often as any other as requests begin and end there."""
    nodes = make_nodes(["a", "b", "c", "d"])
    heap = LowestFirst({node: lambda node=node: node.inflight for node in nodes}, Random(5), RLock())
    counts = dict.fromkeys("abcd", 0)
    pairs = {}
    before = None
    for _ in range(8000):
        node = heap.lowest()
        counts[node.id] += 1
        pairs[before, node.id] = pairs.get((before, node.id), 0) + 1
        before = node.id
        node.inflight += 1
        node.inflight -= 1
        report(heap, node)
    assert chi_square_z(counts, dict.fromkeys("abcd", 1.0)) < Z
    repeated = sum(count for (first, second), count in pairs.items() if first == second)
    assert abs(repeated - 2000) < Z * (8000 * 0.25 * 0.75) ** 0.5, "a pick says nothing of the next"


def test_a_pick_in_the_middle_of_a_pick_is_a_minimum_too():
    """A finalizer that picks while the heap moves items gets a minimum by a scan, and breaks nothing."""
    nodes = make_nodes(["a", "b", "c"])
    inner = []

    def score(node):
        if heaps and not inner:
            inner.append(None)
            inner[0] = (heaps[0].lowest(), heaps[0].lowest_except({"a"}), heaps[0].lowest_except(set("abc")))
        return float(node.inflight)

    heaps = []
    heaps.append(LowestFirst({node: lambda node=node: score(node) for node in nodes}, Random(1), RLock()))
    nodes[0].inflight = 3
    report(heaps[0], nodes[0])
    heaps[0].lowest()
    lowest, not_a, nothing = inner[0]
    assert lowest.inflight == 0
    assert not_a.id != "a"
    assert nothing is None


def test_reports_that_none_asks_for_take_bounded_memory():
    """A node that gets requests from elsewhere reports each end; what was dropped of it is looked at again."""
    nodes = make_nodes(["a", "b"])
    value = dict(zip(nodes, (2.0, 1.0), strict=True))
    heap = LowestFirst({node: lambda node=node: value[node] for node in nodes}, Random(1), RLock())
    a, b = nodes
    value[a] = 0.0
    report(heap, a)
    for _ in range(MAX_REPORTS):
        report(heap, b)
    assert len(heap._changed) == MAX_REPORTS
    assert heap.lowest() is a
    assert not heap._changed
    assert len(heap._heap) == 2


def test_items_of_one_score_and_one_random_number_are_not_compared():
    """A generator that repeats itself gives entries that are equal; none of the items needs an order for that."""
    rng = Random(1)
    rng.random = lambda: 0.5
    nodes = make_nodes([f"n{k}" for k in range(40)])
    heap = LowestFirst({node: lambda node=node: node.inflight for node in nodes}, rng, RLock())
    for _ in nodes:
        node = heap.lowest()
        assert not node.inflight
        node.inflight += 1
