"""Exclusions and costs on the short path: exact, and flat in the number of endpoints."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import (
    AttemptsExhaustedError,
    Endpoint,
    LeastRequest,
    LoadBalancer,
    MaglevHash,
    PowerOfChoices,
    RendezvousHash,
    RingHash,
    RoundRobin,
    ShortestExpectedDelay,
    SourceHash,
)
from balancekit.selectors import BoundedLoad
from balancekit.snapshot import PickContext, Trace

SELECTORS = {
    "LeastRequest": LeastRequest,
    "MaglevHash": MaglevHash,
    "PowerOfChoices": PowerOfChoices,
    "RendezvousHash": RendezvousHash,
    "RingHash": RingHash,
    "RoundRobin": RoundRobin,
    "ShortestExpectedDelay": ShortestExpectedDelay,
    "SourceHash": SourceHash,
    "BoundedLoad": BoundedLoad,
}


@pytest.mark.parametrize("selector", [MaglevHash, RendezvousHash, RingHash, SourceHash])
def test_the_first_attempt_goes_where_its_key_is_at_home(selector):
    """The first attempt of a request goes where a request with the key goes that makes one, and one that excludes nothing."""
    lb = LoadBalancer([f"e{k}" for k in range(10)], selector=selector(), health=None)
    for number in range(50):
        key = f"k{number}"
        with lb.acquire(key) as plain, lb.acquire(key, exclude=[]) as lease:
            assert lease.target == plain.target
        assert [lease.target for lease in lb.attempts(1, key)] == [plain.target]


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("size", [2, 3, 10, 40])
def test_no_excluded_endpoint_is_picked_and_all_others_can_be(name, size):
    """Whatever is excluded, a request goes to one that is not, until none is left."""
    rng = Random(size)
    ids = [f"e{k}" for k in range(size)]
    lb = LoadBalancer(ids, selector=SELECTORS[name](), rng=Random(1), health=None)
    kept = []
    for number in range(300):
        exclude = set(rng.sample(ids, rng.randrange(size)))
        lease = lb.acquire(f"k{number}", exclude=exclude, cost=rng.choice((1.0, 2.5)))
        assert lease.target not in exclude
        if rng.random() < 0.9:
            lease.release()
        else:
            kept.append(lease)
    with pytest.raises(AttemptsExhaustedError):
        lb.acquire("k", exclude=set(ids))
    assert sorted(lease.target for lease in lb.attempts(size, "k")) == sorted(ids)
    for lease in kept:
        lease.release()


@pytest.mark.parametrize("seed", range(10))
def test_least_request_with_exclusions_is_a_minimum_of_those_left(seed):
    """With exclusions, each pick has the least ``(inflight + 1) / weight`` of the candidates."""
    rng = Random(seed)
    pool = [Endpoint(f"e{k}", weight=rng.choice((1, 1, 2))) for k in range(12)]
    lb = LoadBalancer(pool, selector=LeastRequest(), rng=Random(seed), health=None)
    open_leases = []
    for _ in range(400):
        exclude = {f"e{rng.randrange(12)}" for _ in range(rng.randrange(8))}
        scores = {
            node.id: (node.inflight + 1) / node.weight
            for node in lb._current.published.state.snapshot.eligible
            if node.id not in exclude
        }
        lease = lb.acquire(exclude=exclude)
        assert scores[lease.target] == min(scores.values())
        open_leases.append(lease)
        while len(open_leases) > 30 or (open_leases and rng.random() < 0.4):
            open_leases.pop(rng.randrange(len(open_leases))).release()
    for lease in open_leases:
        lease.release()


@pytest.mark.parametrize("seed", range(10))
def test_bounded_load_keeps_its_bound_with_exclusions(seed):
    """A candidate is picked only while it holds fewer than ``ceil(factor * m * w / W)``, over the candidates."""
    rng = Random(seed)
    pool = [Endpoint(f"e{k}", weight=rng.choice((1, 1, 2))) for k in range(9)]
    lb = LoadBalancer(pool, selector=BoundedLoad(factor=1.25), rng=Random(seed), health=None)
    open_leases = []
    for _ in range(400):
        exclude = {f"e{rng.randrange(9)}" for _ in range(rng.randrange(3))}
        nodes = lb._current.published.state.snapshot.eligible
        left = {node.id: node for node in nodes if node.id not in exclude}
        total = sum(node.inflight for node in left.values()) + 1
        whole = sum(node.weight for node in left.values())
        held = {id: node.inflight for id, node in left.items()}
        lease = lb.acquire(f"hot{rng.randrange(3)}", exclude=exclude)
        weight = left[lease.target].weight
        assert held[lease.target] < math.ceil(1.25 * total * weight / whole - 1e-9)
        open_leases.append(lease)
        while len(open_leases) > 40 or (open_leases and rng.random() < 0.4):
            open_leases.pop(rng.randrange(len(open_leases))).release()
    for lease in open_leases:
        lease.release()


def test_a_cost_reaches_lease_and_completion():
    """A lease with a cost says so, and so does the completion that observers see."""
    lb = LoadBalancer(["a", "b"], selector=RoundRobin())
    with lb.acquire(cost=3) as lease:
        assert lease.cost == 3.0
    seen = []
    lb.on_completion(lambda _endpoint, completion: seen.append(completion.cost))
    lb.acquire(cost=2.5).release()
    with lb.acquire(cost=4):
        pass
    assert seen == [2.5, 4.0]


def test_a_context_with_more_exclusions_is_otherwise_that_of_the_same_request():
    """``excluding`` adds ids to those that are excluded, keeps every other field, and leaves the context as it was."""
    ctx = PickContext(
        rng=Random(1),
        now=2.0,
        key="k",
        cost=3.0,
        exclude=frozenset({"a"}),
        attributes={"version": "v2"},
        trace=Trace(),
    )
    other = ctx.excluding(["b", "c"])
    assert set(other.exclude) == {"a", "b", "c"}
    assert set(ctx.exclude) == {"a"}
    for field in set(PickContext.__slots__) - {"exclude"}:
        assert getattr(other, field) is getattr(ctx, field)
