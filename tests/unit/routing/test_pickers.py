"""The fast paths of routers: plain requests take them, and they answer as ``select`` would."""

from __future__ import annotations

from itertools import cycle
from random import Random
from typing import ClassVar

import pytest

from balancekit import (
    Endpoint,
    First,
    LeastRequest,
    LoadBalancer,
    PowerOfChoices,
    RingHash,
    RoundRobin,
    SaturatedError,
)
from balancekit.loads import InFlight
from balancekit.routing import (
    Canary,
    Locality,
    MaxInFlight,
    Priority,
    RateLimit,
    Sticky,
    StickyValues,
    Subset,
    Subsetting,
)
from balancekit.testing import ManualClock, Z, chi_square_z, make_context

POOL = [
    *[
        Endpoint(f"near{k}", zone="z1", metadata={"track": "canary"} if k == 0 else {"track": "stable"})
        for k in range(4)
    ],
    *[Endpoint(f"far{k}", zone="z2", priority=1, metadata={"track": "stable"}) for k in range(4)],
]
VALUES = StickyValues("pool", [b"sixteen secrets!"])
ROUTERS = {
    "Priority": lambda child: Priority(child),
    "Locality": lambda child: Locality("z1", near=["z2"], child=child),
    "Canary": lambda child: Canary({"track": "canary"}, share=0.3, child=child),
    "Sticky": lambda child: Sticky(VALUES, child=child),
    "Subset": lambda child: Subset(["track"], child=child),
    "Subsetting": lambda child: Subsetting(lambda ids: ids[::2], child=child),
    "MaxInFlight": lambda child: MaxInFlight(3, child=child),
    "MaxInFlight, by weight": lambda child: MaxInFlight(3, per_weight=True, child=child),
    "RateLimit": lambda child: RateLimit(1e9, child=child),
    "Priority of MaxInFlight of Canary": lambda child: Priority(
        lambda: MaxInFlight(3, child=lambda: Canary({"track": "canary"}, share=0.3, child=child))
    ),
}
PICKS = 4000


def target_of(lb, key=None):
    """Return where one request goes that ends at once."""
    with lb.acquire(key) as lease:
        return lease.target


def two_down(lb):
    """Eject two of the first tier, so that a part of its traffic spills."""
    for id in ("near1", "near2"):
        lb.drain(id)


@pytest.mark.parametrize(
    "child", [RoundRobin, PowerOfChoices, RingHash, LeastRequest], ids=lambda c: c.__name__
)
@pytest.mark.parametrize("name", ROUTERS)
def test_plain_requests_take_the_fast_path_and_share_as_select_does(name, child):
    """For requests without a key, the shares of endpoints by the fast path are those of ``select``."""
    clock = ManualClock()
    lb = LoadBalancer(
        POOL, selector=ROUTERS[name](child), load=InFlight(), clock=clock, rng=Random(3), health=None
    )
    two_down(lb)
    published = lb._current.published
    assert published.fast[0] is not None, "a plain request would take the slow path"
    fast = {}
    for _ in range(PICKS):
        lease = lb.acquire()
        fast[lease.target] = fast.get(lease.target, 0) + 1
        lease.release()
    twin = ROUTERS[name](child)
    rng, slow = Random(4), {}
    twin.prepare(published.state.snapshot)
    for _ in range(PICKS):
        node = twin.select(published.state.snapshot, make_context(rng))
        slow[node.id] = slow.get(node.id, 0) + 1
    both = {id: fast.get(id, 0) + slow.get(id, 0) for id in fast | slow}
    # Two samples against their pool: the chi-square of one against it is half as large as against a known share.
    assert chi_square_z({id: fast.get(id, 0) for id in both}, both) < Z


@pytest.mark.parametrize("name", ["Priority", "Locality", "Canary"])
def test_a_key_is_on_the_same_side_by_either_path(name):
    """A keyed request goes to the tier or side that ``select`` would take it to."""
    selector = ROUTERS[name](RingHash)
    lb = LoadBalancer(POOL, selector=selector, health=None)
    two_down(lb)
    assert lb._current.published.fast[1] is not None
    for number in range(500):
        key = f"user:{number}"
        with lb.acquire(key) as lease:
            assert lease.target == lb.explain(key).picked


class FastOnly:
    """A selector without keys that has a fast path and no other."""

    keyed, thread_safe = False, True

    def select(self, snapshot, ctx):
        """Fail: this is the slow path."""
        raise AssertionError

    def picker(self, snapshot, *, rng):
        """Return the fast path."""
        turns = cycle(snapshot.eligible)
        return lambda _now=0.0: next(turns)


@pytest.mark.parametrize("name", ["Priority", "Locality", "Canary"])
def test_a_key_that_the_child_does_not_hash_takes_the_fast_path_of_its_side(name):
    """A keyed request goes to the tier or side of its key, and there to what a child that needs no key picks fast."""
    lb = LoadBalancer(POOL, selector=ROUTERS[name](FastOnly), health=None)
    two_down(lb)
    if name == "Canary":
        sides = {endpoint.id: endpoint.metadata["track"] for endpoint in POOL}
    else:
        sides = {endpoint.id: endpoint.zone for endpoint in POOL}
    used = {(key, sides[target_of(lb, key)]) for key in map(str, range(100)) for _ in range(5)}
    assert len(used) == 100
    assert {side for _, side in used} == set(sides.values())


class Preparing:
    """A selector that notes what it was prepared for, and may refuse it."""

    thread_safe = True
    prepared: ClassVar[set[str]] = set()

    def select(self, snapshot, ctx):
        """Return the first candidate."""
        return next(iter(snapshot.candidates(ctx)), None)

    def prepare(self, snapshot):
        """Note the members, or refuse one of them."""
        ids = {node.id for node in snapshot.members.nodes}
        if "refused" in ids:
            raise ValueError("not that one")
        self.prepared.update(ids)


@pytest.mark.parametrize("name", ROUTERS)
def test_children_are_prepared_before_a_change_is_published(name):
    """Each endpoint is in what a child was prepared for when a change returns; if a child refuses, nothing has changed."""
    Preparing.prepared.clear()
    lb = LoadBalancer(POOL, selector=ROUTERS[name](Preparing), health=None)
    assert Preparing.prepared == {endpoint.id for endpoint in POOL}
    before = lb.endpoints
    with pytest.raises(ValueError, match="not that one"):
        lb.add(Endpoint("refused", zone="z1", metadata={"track": "stable"}))
    assert lb.endpoints == before
    assert target_of(lb) in {endpoint.id for endpoint in POOL}


def test_the_share_of_a_canary_holds_from_the_next_request_on():
    """``set_share`` is seen by the fast path without a new snapshot."""
    canary = Canary({"track": "canary"}, share=0.0, child=RoundRobin)
    lb = LoadBalancer(POOL, selector=canary, health=None)
    assert "near0" not in {target_of(lb) for _ in range(50)}
    canary.set_share(1.0)
    assert {target_of(lb) for _ in range(50)} == {"near0"}
    assert {target_of(lb, f"k{number}") for number in range(50)} == {"near0"}


def test_a_limit_holds_on_the_fast_path():
    """No endpoint is over its limit, all are used up to it, and then the caller is told."""
    for selector in (MaxInFlight(2, child=RoundRobin), MaxInFlight(2, child=RingHash)):
        lb = LoadBalancer(["a", "b", "c"], selector=selector, health=None)
        leases = [lb.acquire("the one key") for _ in range(6)]
        assert sorted(lease.target for lease in leases) == ["a", "a", "b", "b", "c", "c"]
        with pytest.raises(SaturatedError):
            lb.acquire("the one key")
        for lease in leases:
            lease.release()


@pytest.mark.parametrize(
    "limit", [lambda c: RateLimit(1.0, burst=3.0, child=c), lambda c: MaxInFlight(3, child=c)]
)
def test_a_limit_over_a_rate_limit_charges_only_what_it_picks(limit):
    """A request that the outer limit refuses costs nothing of the inner one: the inner one is asked by the slow path."""
    clock = ManualClock()
    inner = RateLimit(1.0, burst=100.0, child=RoundRobin)
    lb = LoadBalancer(["a", "b"], selector=limit(lambda: inner), clock=clock, health=None)
    leases = [lb.acquire() for _ in range(6)]
    for _ in range(50):
        with pytest.raises(SaturatedError):
            lb.acquire()
    for lease in leases:
        lease.release()
    spent = sum(full_at - clock() for full_at in inner._full_at.values())
    assert spent == pytest.approx(6.0)


def test_a_child_that_threads_must_take_turns_at_has_no_fast_path():
    """A router over a selector that is not thread-safe sends every request to ``select``."""

    class Mine:
        keyed = False

        def select(self, snapshot, ctx):
            return next(iter(snapshot.candidates(ctx)), None)

        def picker(self, snapshot, *, rng=None):
            raise AssertionError("not to be asked")

    for make in ROUTERS.values():
        lb = LoadBalancer(POOL, selector=make(Mine), load=InFlight(), health=None)
        assert lb._current.published.pickers == (None, None)
        assert lb._current.published.select is None
        lb.acquire().release()


@pytest.mark.parametrize("router", [Priority, lambda: Locality("z1")], ids=["Priority", "Locality"])
def test_a_tier_of_which_less_than_one_per_cent_is_eligible_serves(router, caplog):
    """With one of 200 endpoints left every tier is drawn in no case of a hundred; the endpoint serves, and nothing is logged."""
    lb = LoadBalancer([Endpoint(f"e{k}", zone="z1") for k in range(200)], selector=router(), health=None)
    for k in range(1, 200):
        lb.drain(f"e{k}")
    assert {target_of(lb), target_of(lb, "key")} == {"e0"}
    assert not caplog.records


@pytest.mark.parametrize(
    ("limit", "weight", "most"), [(100, 0.57, 57), (100, 0.29, 29), (10, 0.25, 2), (1, 0.5, 1)]
)
def test_a_limit_by_weight_is_the_limit_times_the_weight(limit: int, weight: float, most: int) -> None:
    """A limit by weight is the limit times the weight, rounded down and at least one.

    Rounding ignores the last digit of a float.
    """
    lb = LoadBalancer(
        [Endpoint("a", weight=weight), Endpoint("b", weight=2.0 - weight)],
        selector=MaxInFlight(limit, per_weight=True, child=First),
        load=InFlight(),
    )
    leases = [lb.acquire(exclude={"b"}) for _ in range(most)]
    with pytest.raises(SaturatedError):
        lb.acquire(exclude={"b"})
    for lease in leases:
        lease.release()
