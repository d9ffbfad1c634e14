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


def check(heap):
    """Assert that the heap has the scores of the buckets, each once, and each item is once in the bucket of its key."""
    assert sorted(heap._heap) == sorted(heap._buckets)
    assert sum(map(len, heap._buckets.values())) == len(heap.ranked)
    for key, bucket in heap._buckets.items():
        assert [(ranked.key, ranked.place) for ranked in bucket] == [(key, k) for k in range(len(bucket))]


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
        check(heap)
    assert len(heap._heap) <= heap._limit + 1


@pytest.mark.parametrize("excluded", [0, 1, 30, 59])
def test_items_of_one_bucket_are_equally_likely_with_exclusions(excluded):
    """Of sixty items of one score, each that is not excluded is returned equally often, however many are excluded."""
    nodes = make_nodes([f"n{k}" for k in range(60)])
    heap = LowestFirst({node: lambda: 1.0 for node in nodes}, Random(6), RLock())
    left = {node.id: 0 for node in nodes[excluded:]}
    exclude = {node.id for node in nodes[:excluded]}
    for _ in range(100 * len(left)):
        left[heap.lowest_except(exclude).id] += 1
    assert chi_square_z(left, dict.fromkeys(left, 1.0)) < Z


def test_an_item_that_gets_the_score_of_an_excluded_one_is_found():
    """A report that arrives during a search with exclusions may leave no bucket to look at. The item is found even so."""
    a, b = nodes = make_nodes(["a", "b"])
    value = {a: 1.0, b: 2.0}

    class Exclusions(set):
        def __contains__(self, id):
            value[b] = 1.0
            report(heap, b)
            return super().__contains__(id)

    heap = LowestFirst({node: lambda node=node: value[node] for node in nodes}, Random(1), RLock())
    assert heap.lowest_except(Exclusions({"a"})) is b
    assert heap.lowest_except({"b"}) is a
    check(heap)


def test_scores_that_no_item_has_are_dropped():
    """An item whose score rises again and again leaves a bounded number of scores behind."""
    nodes = make_nodes(["a", "b", "c"])
    value = dict.fromkeys(nodes, 1.0)
    heap = LowestFirst({node: lambda node=node: value[node] for node in nodes}, Random(1), RLock())
    a, b, _ = nodes
    sizes = set()
    for number in range(1000):
        value[b] = 2.0 + number
        report(heap, b)
        assert heap.lowest() is not b
        check(heap)
        sizes.add(len(heap._heap))
    assert max(sizes) <= heap._limit + 1
    value[a] = 0.0
    report(heap, a)
    assert heap.lowest() is a


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


def test_a_generator_that_repeats_itself_is_enough():
    """Draws from a bucket end whatever numbers the generator gives."""
    rng = Random(1)
    rng.getrandbits = lambda bits: 5
    nodes = make_nodes([f"n{k}" for k in range(40)])
    heap = LowestFirst({node: lambda node=node: node.inflight for node in nodes}, rng, RLock())
    for _ in nodes:
        node = heap.lowest()
        assert not node.inflight
        node.inflight += 1
