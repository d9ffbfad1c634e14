"""What each selector does beyond the laws that all keep."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancekit import (
    Endpoint,
    First,
    LeastRequest,
    LeastResponseTime,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    RoundRobin,
    SmoothWeightedRoundRobin,
    SourceHash,
    StrideScheduling,
    WeightedRandom,
    selectors,
)
from balancekit.hashing import hash32
from balancekit.loads import InFlight
from balancekit.selectors import BoundedLoad, MaglevHash, RendezvousHash, RingHash
from balancekit.testing import ManualClock, Z, chi_square_z, make_context, make_nodes, make_snapshot, share_z


def ids(selector, snapshot, count, seed=1, **asked):
    """Pick some times the slow path."""
    rng = Random(seed)
    return [selector.select(snapshot, make_context(rng, **asked)).id for _ in range(count)]


class TestRoundRobin:
    """In turn."""

    def test_it_starts_anywhere(self):
        """Round robin starts anywhere.

        A thousand balancers that start together do not pick the same endpoint.
        """
        starts = Counter()
        for seed in range(600):
            balancer = LoadBalancer(list("abc"), selector=RoundRobin(), rng=Random(seed))
            starts[balancer.explain().picked] += 1
        assert abs(chi_square_z(starts, dict.fromkeys("abc", 1))) < Z

    def test_the_turn_survives_a_change_of_membership(self):
        """After a change of membership the turn goes on after the endpoint it was at."""
        selector = RoundRobin()
        nodes = make_nodes(list("abcdef"))
        before = ids(selector, make_snapshot(nodes), 3)[-1]
        without = [node for node in nodes if node.id != "f"] if before != "f" else list(nodes)
        following = ids(selector, make_snapshot(without), 1)[0]
        order = [node.id for node in without]
        assert following == order[(order.index(before) + 1) % len(order)]

    def test_everyone_once_a_round(self):
        """In each round of n picks every endpoint is picked exactly once."""
        picked = ids(RoundRobin(), make_snapshot(list("abcd")), 40)
        assert Counter(picked) == dict.fromkeys("abcd", 10)


@pytest.mark.parametrize("kind", [RoundRobin, SmoothWeightedRoundRobin, StrideScheduling])
def test_an_exclusion_of_one_does_not_double_the_load_of_its_neighbour(kind):
    """With one endpoint excluded, the others share its requests evenly."""
    snapshot = make_snapshot(list("abcd"))
    picked = Counter(ids(kind(), snapshot, 3_000, exclude={"a"}))
    assert (
        max(picked.values()) - min(picked.values()) <= 2 or chi_square_z(picked, dict.fromkeys("bcd", 1)) < Z
    )


class TestPowerOfChoices:
    """Two draws, the lighter one."""

    def test_the_most_loaded_is_never_picked(self):
        """The endpoint with the most load is never picked, as the endpoints drawn are distinct."""
        nodes = make_nodes(list("abcdefgh"), inflight={"h": 1})
        snapshot = make_snapshot(nodes)
        selector = PowerOfChoices()
        picker = selector.picker(snapshot, rng=Random(2))
        assert "h" not in {picker().id for _ in range(4_000)}
        assert "h" not in ids(selector, snapshot, 2_000)

    @pytest.mark.parametrize("d", [1, 2, 3, 8, 20])
    def test_the_least_of_d_wins_as_often_as_it_is_drawn(self, d):
        """One idle endpoint among busy ones is picked with probability d/n, or always with d = n."""
        nodes = make_nodes(list("abcdefgh"), inflight=dict.fromkeys("bcdefgh", 5))
        picker = PowerOfChoices(d).picker(make_snapshot(nodes), rng=Random(3))
        hits = sum(picker().id == "a" for _ in range(4_000))
        share = min(1.0, d / 8)
        if share == 1.0:
            assert hits == 4_000
        else:
            assert abs(share_z(hits, 4_000, share)) < Z

    def test_one_endpoint_is_enough(self):
        """In a pool of one, every pick is that endpoint; in a pool of two, both are compared."""
        assert ids(PowerOfChoices(), make_snapshot(["a"]), 3) == ["a"] * 3
        nodes = make_nodes(["a", "b"], inflight={"a": 1})
        assert set(ids(PowerOfChoices(), make_snapshot(nodes), 50)) == {"b"}


class TestLeastRequest:
    """The fewest per weight."""

    def test_the_score_counts_the_request_to_come(self):
        """The score is (active + 1) / weight. An idle heavy endpoint is picked before an idle light one."""
        nodes = make_nodes({"light": 1, "heavy": 3})
        assert set(ids(LeastRequest(), make_snapshot(nodes), 20)) == {"heavy"}
        nodes = make_nodes({"light": 1, "heavy": 3}, inflight={"heavy": 3})
        assert set(ids(LeastRequest(), make_snapshot(nodes), 20)) == {"light"}

    def test_ties_are_random(self):
        """Among equal loads each endpoint is picked equally often, and not the first declared."""
        counts = Counter(ids(LeastRequest(), make_snapshot(list("abc")), 3_000))
        assert abs(chi_square_z(counts, dict.fromkeys("abc", 1))) < Z

    def test_held_requests_spread_by_weight(self):
        """When requests are held, the endpoints' numbers in flight are in proportion to their weights."""
        pool = [Endpoint("a", weight=1), Endpoint("b", weight=2), Endpoint("c", weight=5)]
        balancer = LoadBalancer(pool, selector=LeastRequest(), rng=Random(1))
        leases = [balancer.acquire() for _ in range(80)]
        assert [e.inflight for e in balancer.stats().endpoints] == [10, 20, 50]
        for lease in leases:
            lease.release()


def test_least_response_time_takes_the_soonest():
    """Least response time picks the endpoint whose expected wait is the least of all."""
    nodes = make_nodes(["a", "b", "c"], load=InFlight(), inflight={"a": 2, "b": 1, "c": 3})
    assert set(ids(LeastResponseTime(), make_snapshot(nodes), 20)) == {"b"}


def test_source_hash_is_the_foil_it_says_it_is():
    """Source hash picks hash % N over the eligible endpoints.

    From four to five endpoints, 80 % of the keys move.
    """
    four, five = make_snapshot(list("abcd")), make_snapshot(list("abcde"))
    selector = SourceHash()
    keys = [f"key-{k}" for k in range(4_000)]
    owners = [selector.select(four, make_context(key=key)).id for key in keys]
    assert owners == ["abcd"[hash32(key) % 4] for key in keys]
    moved = sum(selector.select(five, make_context(key=k)).id != o for k, o in zip(keys, owners, strict=True))
    assert abs(share_z(moved, len(keys), 0.8)) < Z


def test_first_is_the_first():
    """``First`` picks the first endpoint until it is excluded or out."""
    snapshot = make_snapshot(list("abc"))
    assert ids(First(), snapshot, 3) == ["a"] * 3
    assert ids(First(), snapshot, 1, exclude={"a"}) == ["b"]
    assert ids(First(), make_snapshot(list("abc"), down={"a", "b"}), 1) == ["c"]


@pytest.mark.parametrize(
    "kind",
    [WeightedRandom, SmoothWeightedRoundRobin, StrideScheduling, PowerOfChoices, LeastRequest],
)
def test_shares_follow_weights_after_every_change(kind):
    """After each change the shares of the rest are in proportion to weights.

    Changes are removal, ejection, exclusion and a new weight.
    """
    balancer = LoadBalancer(
        {id: id for id in "abcdef"},
        selector=kind(),
        load=InFlight(),
        clock=ManualClock(),
        rng=Random(11),
    )
    weights = dict(zip("abcdef", (1.0, 2.0, 3.0, 1.0, 0.5, 4.0), strict=True))
    for id, weight in weights.items():
        balancer.set_weight(id, weight)

    def shares_are_right(present, exclude=frozenset()):
        counts = Counter()
        held = []
        for _ in range(4_000):
            lease = balancer.acquire(exclude=exclude)
            counts[lease.target] += 1
            held.append(lease)
            if kind is not LeastRequest or len(held) == 400:
                while held:
                    held.pop().release()
        assert set(counts) <= set(present)
        assert chi_square_z(counts, {id: weights[id] for id in present}) < Z

    shares_are_right("abcdef")
    balancer.remove("c")
    shares_are_right("abdef")
    for _ in range(5):
        balancer.acquire(exclude=set("abde")).release(Outcome.FAILURE)
    assert balancer.stats()["f"].state == "ejected"
    shares_are_right("abde")
    shares_are_right("bde", exclude={"a"})
    balancer.drain("b")
    shares_are_right("ade")
    weights["a"] = 7.0
    balancer.set_weight("a", 7.0)
    shares_are_right("ade")
    balancer.add(Endpoint("g", weight=2))
    weights["g"] = 2.0
    shares_are_right("adeg")


@pytest.mark.parametrize("kind", [BoundedLoad, MaglevHash, RendezvousHash, RingHash, SourceHash])
def test_a_key_goes_where_it_is_explained_to_go(kind):
    """On the fast path, too, the endpoint of a request follows from its key alone, and keys use every endpoint."""
    balancer = LoadBalancer(list("abcde"), selector=kind(), health=None)
    picked = set()
    for number in range(60):
        key = f"user {number}"
        with balancer.acquire(key) as lease:
            picked.add(lease.target)
        assert lease.target == balancer.explain(key).picked
        with balancer.acquire(key) as again:
            assert again.target == lease.target
    assert picked == set("abcde")


@pytest.mark.parametrize("name", selectors.__all__)
def test_shipped_selectors_are_called_under_no_lock(name):
    """Each shipped selector may be called by several threads at once. No request waits for another."""
    assert getattr(selectors, name)().thread_safe is True


def test_selectors_by_hash_say_that_the_key_decides_and_no_others_do():
    """``keyed`` is true of the five selectors whose picks follow from the key, and of no others."""
    keyed = {name for name in selectors.__all__ if getattr(getattr(selectors, name), "keyed", False)}
    assert keyed == {"BoundedLoad", "MaglevHash", "RendezvousHash", "RingHash", "SourceHash"}
