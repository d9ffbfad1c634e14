"""A limit below any router: its reason and its time reach the error, and a tier at its limit spills."""

from __future__ import annotations

from contextlib import suppress

import pytest
from redis import Redis

from balancekit import AllIneligibleError, Endpoint, LoadBalancer, SaturatedError
from balancekit.errors import Reason
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
from balancekit.sharing import RedisStore, SharedRateLimit
from balancekit.testing import ManualClock

POOL = [
    Endpoint("a", zone="z1", metadata={"gpu": "yes", "track": "canary"}),
    Endpoint("b", zone="z1", metadata={"gpu": "yes"}),
    Endpoint("spare", zone="z2", priority=1, metadata={"gpu": "yes"}),
]


def one_a_second():
    """Return a limit of one request a second for each endpoint."""
    return RateLimit(1, burst=1)


def one_at_a_time():
    """Return a limit of one request at a time for each endpoint."""
    return MaxInFlight(1)


ROUTERS = {
    "Priority": lambda child: Priority(child),
    "Locality": lambda child: Locality("z1", near=["z2"], child=child),
    "Canary": lambda child: Canary({"track": "canary"}, share=0.5, child=child),
    "Sticky": lambda child: Sticky(StickyValues("pool", [b"sixteen secrets!"]), child=child),
    "Subset": lambda child: Subset(["gpu"], child=child),
    "Subsetting": lambda child: Subsetting(lambda ids: [id for id in ids if id != "spare"], child=child),
    "Priority of Locality": lambda child: Priority(lambda: Locality("z1", child=child)),
    "Sticky of Subset of Canary": lambda child: Sticky(
        StickyValues("pool", [b"sixteen secrets!"]),
        child=lambda: Subset(["gpu"], child=lambda: Canary({"track": "canary"}, share=0.5, child=child)),
    ),
}
every_router = pytest.mark.parametrize("name", ROUTERS)


@every_router
@pytest.mark.parametrize("attributes", [None, {"gpu": "yes"}], ids=["plain", "labelled"])
def test_a_rate_limit_below_a_router_says_when_to_come_back(name, attributes):
    """Three endpoints serve one request each; the fourth raises SaturatedError with the time of the next token."""
    clock = ManualClock()
    balancer = LoadBalancer(POOL, selector=ROUTERS[name](one_a_second), clock=clock)
    served = set()
    for _ in range(3):
        with balancer.acquire(attributes=attributes) as lease:
            served.add(lease.target)
    assert served == {"a", "b", "spare"}
    with pytest.raises(SaturatedError, match="3 at") as error:
        balancer.acquire(attributes=attributes)
    assert error.value.retry_at == pytest.approx(clock() + 1.0)
    clock.advance(1.0)
    with balancer.acquire(attributes=attributes):
        pass


@every_router
def test_a_limit_in_flight_below_a_router_is_named(name):
    """With one request at a time on each of three endpoints the fourth raises SaturatedError, which counts all three."""
    balancer = LoadBalancer(POOL, selector=ROUTERS[name](one_at_a_time))
    leases = [balancer.acquire() for _ in range(3)]
    assert {lease.target for lease in leases} == {"a", "b", "spare"}
    with pytest.raises(SaturatedError, match="3 at"):
        balancer.acquire()
    leases[1].release()
    with balancer.acquire() as lease:
        assert lease.target == leases[1].target
    for lease in leases:
        lease.release()


def test_a_tier_at_its_limit_spills_to_the_next():
    """While both near endpoints are busy the spare tier serves; when one is free the near tier serves again."""
    balancer = LoadBalancer(POOL, selector=Priority(one_at_a_time, overprovisioning=2.0))
    near = [balancer.acquire(), balancer.acquire()]
    assert {lease.target for lease in near} == {"a", "b"}
    with balancer.acquire() as lease:
        assert lease.target == "spare"
    near[0].release()
    with balancer.acquire() as lease:
        assert lease.target == near[0].target
    near[1].release()


def test_a_subset_at_its_limit_does_not_fall_back():
    """A fallback is for labels that nothing matches: a full subset raises, it does not serve by other endpoints."""
    pool = [Endpoint("old", metadata={"v": "1"}), Endpoint("new", metadata={"v": "2"})]
    balancer = LoadBalancer(pool, selector=Subset(["v"], child=one_at_a_time))
    held = balancer.acquire(attributes={"v": "2"})
    with pytest.raises(SaturatedError, match="1 at"):
        balancer.acquire(attributes={"v": "2"})
    with balancer.acquire(attributes={"v": "3"}):
        pass
    held.release()


LIMITS_AROUND = {
    "MaxInFlight": lambda child: MaxInFlight(1, child=child),
    "RateLimit": lambda child: RateLimit(1, burst=1, child=child),
    "MaxInFlight of Priority": lambda child: MaxInFlight(1, child=lambda: Priority(child)),
    "Sticky of RateLimit": lambda child: Sticky(
        StickyValues("pool", [b"sixteen secrets!"]), child=lambda: RateLimit(1, burst=1, child=child)
    ),
}


@pytest.mark.parametrize("fallback", ["any", "none", {"gpu": "no"}], ids=["any", "none", "default"])
@pytest.mark.parametrize("keys", [["gpu"], ["gpu", "track"]], ids=["all-keys", "some-keys"])
@pytest.mark.parametrize("name", LIMITS_AROUND)
def test_a_limit_around_a_subset_does_not_lead_out_of_it(name, keys, fallback):
    """The only endpoint that matches is at its limit: the request is refused, and goes to none that does not match."""
    pool = [Endpoint("match", metadata={"gpu": "yes"}), Endpoint("other", metadata={"gpu": "no"})]
    selector = LIMITS_AROUND[name](lambda: Subset(keys, fallback=fallback))
    balancer = LoadBalancer(pool, selector=selector, clock=ManualClock())
    lease = balancer.acquire(attributes={"gpu": "yes"})
    assert lease.target == "match"
    for _ in range(3):
        with pytest.raises(SaturatedError, match="1 at the limit"):
            balancer.acquire(attributes={"gpu": "yes"})
    lease.release()


@pytest.mark.parametrize("keys", [["gpu"], ["gpu", "track"]], ids=["all-keys", "some-keys"])
def test_a_retry_stays_in_the_subset(keys):
    """An endpoint that was tried still matches: the fallback is for labels that no eligible endpoint has."""
    pool = [Endpoint("match", metadata={"gpu": "yes"}), Endpoint("other", metadata={"gpu": "no"})]
    balancer = LoadBalancer(pool, selector=Subset(keys))
    with pytest.raises(AllIneligibleError, match="1 not matching"):
        balancer.acquire(attributes={"gpu": "yes"}, exclude={"match"})
    balancer.drain("match")
    with balancer.acquire(attributes={"gpu": "yes"}) as lease:
        assert lease.target == "other"


@pytest.mark.parametrize("later", [None, {"gpu": "yes"}, {"gpu": "unknown"}], ids=["none", "same", "unknown"])
def test_a_rate_limit_around_a_subset_counts_requests_of_all_labels_together(later):
    """Three endpoints have served one request each; none that names other labels, or no label, gets a second one."""
    selector = RateLimit(1, burst=1, child=lambda: Subset(["gpu"]))
    balancer = LoadBalancer(POOL, selector=selector, clock=ManualClock())
    for _ in range(3):
        balancer.acquire(attributes={"gpu": "yes"}).release()
    with pytest.raises(SaturatedError, match="3 at the limit"):
        balancer.acquire(attributes=later)


def test_a_rate_limit_around_tiers_holds_for_an_endpoint_that_moves_to_another():
    """An endpoint that has used its token has used it in every tier."""
    clock = ManualClock()
    balancer = LoadBalancer(POOL, selector=RateLimit(1, burst=1, child=Priority), clock=clock)
    for _ in range(3):
        balancer.acquire().release()
    balancer.update([*POOL[:2], Endpoint("spare", zone="z2", priority=0, metadata={"gpu": "yes"})])
    with pytest.raises(SaturatedError, match="3 at the limit"):
        balancer.acquire()


def two_tokens(child):
    """Return a quota over processes, which has no token before its first exchange."""
    store = RedisStore(Redis(port=1, socket_timeout=0.01, retry=None), name="keys")
    return SharedRateLimit(store, 1.0, child=child)


@pytest.mark.parametrize(
    "limit",
    [
        lambda child: MaxInFlight(1, child=child),
        lambda child: RateLimit(1.0, burst=1, child=child),
        lambda child: MaxInFlight(1, child=lambda: RateLimit(1.0, burst=1, child=child)),
        lambda child: RateLimit(1.0, burst=1, child=lambda: MaxInFlight(1, child=child)),
        two_tokens,
    ],
    ids=[
        "MaxInFlight",
        "RateLimit",
        "MaxInFlight of RateLimit",
        "RateLimit of MaxInFlight",
        "SharedRateLimit",
    ],
)
def test_an_endpoint_that_does_not_match_is_not_waited_for(limit):
    """Endpoints at a limit that do not match the request either are no reason to wait, and the error has no time."""
    lb = LoadBalancer(
        [Endpoint("a", metadata={"gpu": "yes"}), Endpoint("b", metadata={"gpu": "yes"})],
        selector=limit(lambda: Subset(["gpu"], fallback="none")),
        clock=ManualClock(),
    )
    held = []
    with suppress(SaturatedError):
        while True:
            held.append(lb.acquire(attributes={"gpu": "yes"}))
    with pytest.raises(AllIneligibleError) as caught:
        lb.acquire(attributes={"gpu": "no"})
    assert caught.value.reasons == {Reason.UNMATCHED: 2}
    assert caught.value.retry_at is None
    with pytest.raises(SaturatedError) as waits:
        lb.acquire(attributes={"gpu": "yes"})
    assert waits.value.reasons == {Reason.SATURATED: 2}
    for lease in held:
        lease.release()
