"""Power of d choices: what is compared, which of two wins, and what an explanation says."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancekit import Endpoint, LoadBalancer, Node, PowerOfChoices
from balancekit.loads import InFlight, InFlightCost
from balancekit.snapshot import Trace
from balancekit.testing import Z, chi_square_z, make_context, make_nodes, make_snapshot

LOADS = [InFlight(), InFlightCost()]


def notes_of(d: int, weights: dict[str, float], exclude: tuple[str, ...] = ()) -> list[str]:
    """Return what a pick notes."""
    snapshot = make_snapshot(make_nodes(weights, load=InFlight()))
    ctx = make_context(3, exclude=set(exclude))
    ctx.trace = Trace()
    PowerOfChoices(d).select(snapshot, ctx)
    return ctx.trace.notes


@pytest.mark.parametrize(("d", "noted"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 4)])
def test_an_explanation_names_each_endpoint_that_was_compared_once(d: int, noted: int) -> None:
    """An explanation names ``d`` distinct endpoints, or all if there are fewer, each with its load."""
    notes = notes_of(d, dict.fromkeys("abcd", 1.0))
    assert len(notes) == len(set(notes)) == noted
    assert all(note.startswith("drew '") and note.endswith("', load 0") for note in notes)


def test_an_excluded_endpoint_is_not_compared() -> None:
    """An excluded endpoint is not compared: with all but one excluded, that one alone is drawn."""
    assert notes_of(2, dict.fromkeys("abc", 1.0), exclude=("a", "c")) == ["drew 'b', load 0"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("load", LOADS, ids=repr)
@pytest.mark.parametrize("d", [2, 3])
def test_the_less_loaded_of_the_compared_wins(d: int, load: object, weighted: bool) -> None:
    """With d = n every pick goes to the least loaded for its weight, by select and by picker alike."""
    weights = {"a": 4.0 if weighted else 1.0, "b": 1.0, "c": 1.0}
    lb = LoadBalancer(
        [Endpoint(id, weight=weight) for id, weight in weights.items()],
        selector=PowerOfChoices(3),
        load=load,
        rng=Random(d),
    )
    leases = [lb.acquire() for _ in range(60)]
    held = Counter(lease.target for lease in leases)
    whole = sum(weights.values())
    for id, weight in weights.items():
        assert abs(held[id] - 60 * weight / whole) <= 1.0
    leases += [lb.acquire(exclude=["a"]) for _ in range(4)]
    for lease in leases:
        lease.release()


@pytest.mark.parametrize(
    "weights", [{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 3.0, "b": 1.0, "c": 2.0}], ids=repr
)
def test_two_draws_are_never_the_same_endpoint(weights: dict[str, float]) -> None:
    """The one that is busy is never picked: the other of two distinct draws always is."""
    nodes = make_nodes(weights, load=InFlight())
    nodes[0].inflight = 1000
    snapshot = make_snapshot(nodes)
    pick = PowerOfChoices().picker(snapshot, rng=Random(1))
    assert {pick(0.0).id for _ in range(500)} == {"b", "c"}
    select, ctx = PowerOfChoices().select, make_context(5)
    picked = {node.id for node in (select(snapshot, ctx) for _ in range(500)) if node is not None}
    assert picked == {"b", "c"}


def test_of_equally_loaded_ones_the_first_drawn_wins() -> None:
    """A tie is no reason to prefer the second: shares of idle endpoints are in proportion to their weights."""
    nodes = make_nodes({"a": 3.0, "b": 1.0}, load=InFlight())
    snapshot = make_snapshot(nodes)
    pick = PowerOfChoices().picker(snapshot, rng=Random(2))
    counts = Counter(pick(0.0).id for _ in range(8000))
    assert abs(counts["a"] - 6000) <= 4.5 * (8000 * 0.75 * 0.25) ** 0.5


def test_the_fast_path_compares_two_distinct_uniform_draws():
    """Of four loads the k-th least is picked with probability (4 - k) / 6, and the greatest never."""

    class Fixed:
        needs_start = False

        def __init__(self, node):
            self.load = float("abcd".index(node.id))

        def started(self, *, now, cost):
            """Take no note."""

        def finished(self, completion, /):
            """Take no note."""

        def value(self, *, now):
            return self.load

    nodes = [Node(Endpoint(id), Fixed) for id in "abcd"]
    pick = PowerOfChoices().picker(make_snapshot(nodes), rng=Random(3))
    counts = Counter(pick(0.0).id for _ in range(6_000))
    assert counts["d"] == 0
    assert chi_square_z({id: counts[id] for id in "abc"}, {"a": 3, "b": 2, "c": 1}) < Z


@pytest.mark.parametrize("d", [1, 2, 3])
def test_of_no_endpoints_none_is_chosen(d):
    """``select`` returns None where nothing is eligible."""
    assert PowerOfChoices(d).select(make_snapshot([]), make_context(1)) is None


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_pairs_are_compared_alike(size: int) -> None:
    """Of endpoints with 0, 1, 2, ... open leases the k-th wins against all after it: ``2 (n - 1 - k) / (n (n - 1))``."""
    ids = [f"e{number}" for number in range(size)]
    inflight = {id: number for number, id in enumerate(ids)}
    nodes = make_nodes(dict.fromkeys(ids, 1), load=InFlight(), inflight=inflight)
    pick = PowerOfChoices(2).picker(make_snapshot(nodes), rng=Random(3))
    found = Counter(pick().id for _ in range(30_000))
    expected = {id: float(size - 1 - number) for number, id in enumerate(ids)}
    assert chi_square_z(found, expected) < Z
