"""What selectors say of a pick in an explanation, what they refuse at construction, and what they make of weights."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from balancekit import (
    BoundedLoad,
    ConfigurationError,
    Endpoint,
    LeastRequest,
    LeastResponseTime,
    LoadBalancer,
    MaglevHash,
    PowerOfChoices,
    RendezvousHash,
    RingHash,
    ShortestExpectedDelay,
    SourceHash,
    StrideScheduling,
)
from balancekit._selection.pickers import NO_KEY, pickers_of
from balancekit.compat import envoy
from balancekit.hashing import HashRing
from balancekit.loads import InFlight
from balancekit.node import Node
from balancekit.snapshot import PickContext, Snapshot
from balancekit.testing import make_nodes, make_snapshot


@pytest.mark.parametrize(
    ("selector", "note"),
    [
        (LeastRequest(), "'b' has 0 in flight at weight 2"),
        (ShortestExpectedDelay(), "'b' has the shortest expected delay: 0"),
    ],
    ids=["least request", "shortest expected delay"],
)
def test_an_explanation_has_the_figures_of_the_pick(selector: object, note: str) -> None:
    """The only endpoint left is named with what it was picked by."""
    lb = LoadBalancer(["a", Endpoint("b", weight=2.0)], selector=selector, load=InFlight())
    assert lb.explain(exclude=["a"]).notes == (note,)


@pytest.mark.parametrize(
    "selector",
    [
        RingHash(),
        MaglevHash(size=1009),
        RendezvousHash(),
        BoundedLoad(),
        SourceHash(),
        envoy.RingHash(),
        envoy.Maglev(),
    ],
    ids=["ring", "Maglev", "rendezvous", "bounded load", "modulo", "ring of Envoy", "Maglev of Envoy"],
)
def test_no_endpoint_owns_a_request_without_a_key(selector: object) -> None:
    """An explanation without a key says that the pick is at random; with a key it does not."""
    lb = LoadBalancer(["a", "b", "c"], selector=selector)
    assert lb.explain().notes[0] == NO_KEY
    assert not any("belongs to" in note for note in lb.explain().notes)
    assert NO_KEY not in lb.explain("user:1").notes


@pytest.mark.parametrize("vnodes", [0, -1, 1.5, True, "many"])
def test_a_ring_refuses_wrong_points_at_construction(vnodes: object) -> None:
    """``vnodes`` that is not a whole number >= 1 is refused at construction, not with the first pick."""
    with pytest.raises(ConfigurationError) as caught:
        RingHash(vnodes=vnodes)
    assert caught.value.parameter == "vnodes"


@pytest.mark.parametrize("d", [0, -1, 1.5, True])
def test_choices_refuse_a_wrong_number_at_construction(d: object) -> None:
    """A number of choices that is not a whole number >= 1 is refused at construction."""
    with pytest.raises(ConfigurationError) as caught:
        PowerOfChoices(d)
    assert caught.value.parameter == "d"


def test_an_explanation_has_the_load_of_each_candidate() -> None:
    """Of each endpoint an explanation has what its load says: how many requests are in flight."""
    lb = LoadBalancer(["a", "b", "c"], selector=LeastRequest(), load=InFlight())
    leases = [lb.acquire(exclude=exclude) for exclude in (["b", "c"], ["b", "c"], ["a", "c"])]
    found = {one.id: (one.inflight, one.load) for one in lb.explain().candidates}
    assert found == {"a": (2, 2.0), "b": (1, 1.0), "c": (0, 0.0)}
    for lease in leases:
        lease.release()


def test_an_explanation_has_the_load_that_was_least() -> None:
    """An explanation has the least load, and the number of endpoints that it was the least of."""
    lb = LoadBalancer(["a", "b", "c"], selector=LeastResponseTime())
    assert lb.explain(exclude=["a"]).notes == ("the least load of 2 is 0",)


def test_an_explanation_has_the_bound_that_was_kept() -> None:
    """With nothing open, one request may go to any endpoint: two of two, 1.25 times the mean, rounded up."""
    lb = LoadBalancer(["a", "b"], selector=BoundedLoad(factor=1.25))
    assert lb.explain("key", exclude=["a"]).notes[-1] == "'b' holds 0 of at most 2"


@pytest.mark.parametrize("keyed", [True, False])
def test_a_picker_by_key_is_for_requests_with_a_key(*, keyed: bool) -> None:
    """The one picker of a selector that is ``keyed`` is not for others, and that of another for no key."""

    class Mine:
        def __init__(self) -> None:
            self.keyed = keyed

        def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
            return snapshot.eligible[0]

        def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
            return lambda *_: snapshot.eligible[0]

    plain, by_key = pickers_of(Mine(), make_snapshot(make_nodes({"a": 1})), Random(1))
    assert (plain is None, by_key is None) == (keyed, not keyed)


def test_a_ring_selector_has_the_points_that_it_says() -> None:
    """A ring selector has 150 points per endpoint and unit of weight, as the structure of the same name."""
    weights = {"a": 1.0, "b": 2.0, "c": 3.0}
    made, ring = RingHash().structure(weights), HashRing(weights, vnodes=150)
    keys = [f"key:{number}" for number in range(2_000)]
    assert made.lookup_many(keys).tolist() == ring.lookup_many(keys).tolist()


def test_turns_of_many_weights_that_have_no_common_measure() -> None:
    """Shares are those of the weights, within one turn, also where a whole round would never end."""
    weights = {f"e{number}": math.sqrt(number + 2) for number in range(100)}
    pick = StrideScheduling().picker(make_snapshot(make_nodes(weights)), rng=Random(1))
    count, total = 20_000, math.fsum(weights.values())
    found = Counter(pick().id for _ in range(count))
    assert all(abs(found[id] - count * weight / total) <= 1.0 for id, weight in weights.items())
