"""No endpoint gets more than its rate, and none that has room is passed over."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction
from random import Random
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancekit import ConfigurationError, Endpoint, LoadBalancer, RoundRobin, SaturatedError
from balancekit.errors import Reason
from balancekit.routing import MaxInFlight, Priority, RateLimit
from balancekit.testing import ManualClock

GAPS = st.lists(st.sampled_from([0, 0, 0, 1, 2, 5, 40]), min_size=1, max_size=60)
"""Eighths of a second between one request and the next."""


def limited(ids: str, limit: RateLimit, clock: ManualClock) -> LoadBalancer[str]:
    """Return a pool without health, for time alone."""
    return LoadBalancer(list(ids), selector=limit, health=None, clock=clock, rng=Random(1))


def spend(lb: LoadBalancer[str], **options: Any) -> int:
    """Pick until none has room; return how often."""
    count = 0
    while True:
        try:
            lb.acquire(**options).release()
        except SaturatedError:
            return count
        count += 1


class Model:
    """A bucket that is filled drop by drop, in exact arithmetic."""

    def __init__(self, rate: Fraction, burst: Fraction) -> None:
        self.rate, self.burst, self.level, self.at = rate, burst, burst, Fraction(0)

    def has_room(self, now: Fraction, cost: Fraction) -> bool:
        """Return whether a request may pass."""
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        return self.level >= min(cost, self.burst)


@settings(max_examples=200)
@given(
    gaps=GAPS,
    costs=st.lists(st.sampled_from([1, 2, 7, 16]), min_size=60, max_size=60),
    rate=st.sampled_from([0.5, 2.0, 8.0]),
    burst=st.sampled_from([1.0, 4.0, 8.0]),
)
def test_the_picks_are_those_of_a_bucket_filled_drop_by_drop(
    gaps: list[int], costs: list[int], rate: float, burst: float
) -> None:
    """The picks of a rate limit are those of a bucket that is filled continuously.

    This holds for every endpoint, rhythm and cost.
    """
    clock = ManualClock()
    lb = limited("ab", RateLimit(rate, burst=burst, by_cost=True, child=RoundRobin), clock)
    models = {id: Model(Fraction(rate), Fraction(burst)) for id in "ab"}
    now = Fraction(0)
    for gap, cost in zip(gaps, costs, strict=False):
        clock.advance(gap / 8)
        now += Fraction(gap, 8)
        room = {id for id, model in models.items() if model.has_room(now, Fraction(cost))}
        if not room:
            with pytest.raises(SaturatedError):
                lb.acquire(cost=float(cost))
            continue
        with lb.acquire(cost=float(cost)) as lease:
            assert lease.endpoint.id in room
            models[lease.endpoint.id].level -= cost


@settings(max_examples=100)
@given(gaps=GAPS, burst=st.sampled_from([1, 3, 8]))
def test_no_span_of_time_sees_more_than_the_burst_and_the_rate(gaps: list[int], burst: int) -> None:
    """No span of time has more requests than the burst and the rate times its length."""
    rate, clock, seen = 2.0, ManualClock(), defaultdict[str, list[float]](list)
    lb = limited("abc", RateLimit(rate, burst=burst), clock)
    for gap in gaps:
        clock.advance(gap / 8)
        for _ in range(4):
            try:
                with lb.acquire() as lease:
                    seen[lease.endpoint.id].append(clock())
            except SaturatedError:
                break
    for times in seen.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + rate * (times[last] - times[first])


@pytest.mark.parametrize("cost", [1.0, 3.0, 50.0])
def test_the_caller_is_told_the_very_moment(cost: float) -> None:
    """The error names the moment before which no endpoint may be picked, and at which one may."""
    clock = ManualClock()
    lb = limited("ab", RateLimit(0.3, burst=7.0, by_cost=True), clock)
    for _ in range(20):
        spend(lb, cost=cost)
        with pytest.raises(SaturatedError) as caught:
            lb.acquire(cost=cost)
        due = caught.value.retry_at
        assert due is not None
        assert caught.value.reasons == {Reason.SATURATED: 2}
        clock.advance(due - clock() - 1e-6)
        with pytest.raises(SaturatedError):
            lb.acquire(cost=cost)
        clock.advance(math.nextafter(due, math.inf) - clock() + 1e-9)
        lb.acquire(cost=cost).release()


def test_a_costly_request_waits_for_a_full_bucket_and_is_paid_off() -> None:
    """A request that costs more than the burst waits for a full bucket.

    What it overdraws is paid before the next request.
    """
    clock = ManualClock()
    lb = limited("a", RateLimit(1.0, burst=10.0, by_cost=True), clock)
    lb.acquire(cost=30.0).release()
    with pytest.raises(SaturatedError) as caught:
        lb.acquire(cost=1.0)
    assert caught.value.retry_at == 21.0


def test_a_correction_is_as_if_the_cost_had_been_known() -> None:
    """A correction of the cost leaves the bucket as if the cost had been known.

    It may be up or down, from any thread.
    """
    dues = []
    for estimate, real in ((5.0, 5.0), (1.0, 5.0), (9.0, 5.0)):
        clock, limit = ManualClock(), RateLimit(1.0, burst=10.0, by_cost=True)
        lb = limited("a", limit, clock)
        lb.acquire(cost=estimate).release()
        clock.advance(0.5)
        thread = Thread(target=limit.correct, args=("a", real - estimate))
        thread.start()
        thread.join()
        limit.correct("absent", 5.0)
        lb.acquire(cost=5.5).release()
        with pytest.raises(SaturatedError) as caught:
            lb.acquire(cost=10.0)
        dues.append(caught.value.retry_at)
    assert dues == [10.5] * 3


def test_requests_and_their_cost_are_limited_together() -> None:
    """With one limit in the other, requests and their cost are limited together.

    A request that the outer one refuses costs nothing of the inner one.
    """
    clock = ManualClock()
    tokens = RateLimit(1.0, burst=100.0, by_cost=True, child=RoundRobin)
    lb = limited("ab", RateLimit(1.0, burst=3.0, child=lambda: tokens), clock)
    assert spend(lb, cost=10.0) == 6
    clock.advance(30.0)
    assert spend(lb, cost=50.0) == 4, "all that was spent by requests that passed"


def test_shares_by_weight() -> None:
    """An endpoint of three times the weight has three times the quota."""
    pool = [Endpoint("a", weight=1), Endpoint("b", weight=3)]
    clock, got = ManualClock(), defaultdict[str, int](int)
    lb = LoadBalancer(pool, selector=RateLimit(2.0, burst=4.0, per_weight=True), clock=clock)
    for seconds in (0.0, 10.0, 1.01):  # and not a rounding error less than one
        clock.advance(seconds)
        try:
            while True:
                with lb.acquire() as lease:
                    got[lease.target] += 1
        except SaturatedError:
            pass
    assert got == {"a": 2 + 2 + 1, "b": 6 + 6 + 3}


def test_explaining_spends_nothing() -> None:
    """Explaining a pick spends nothing, however often it is done."""
    clock = ManualClock()
    lb = limited("ab", RateLimit(1.0, burst=5.0), clock)
    for _ in range(50):
        assert lb.explain().picked in ("a", "b")
    assert spend(lb) == 10


def test_who_leaves_and_comes_back_has_spent_what_it_had() -> None:
    """An endpoint that leaves and comes back has spent what it had spent.

    Endpoints that owe nothing are forgotten.
    """
    clock, limit = ManualClock(), RateLimit(1.0, burst=5.0)
    lb = limited("ab", limit, clock)
    assert spend(lb) == 10
    lb.remove("b")
    lb.add("b")
    assert spend(lb) == 0
    clock.advance(5.0)
    for n in range(100):
        lb.add(f"pod-{n}")
        spend(lb)
        lb.remove(f"pod-{n}")
        clock.advance(10.0)
    spend(lb)
    lb.add("c")
    assert set(limit._owners) <= {"a", "b", "c", "pod-99"}


def test_threads_share_the_buckets_exactly() -> None:
    """Eight threads, with the clock standing still, get exactly the tokens that are in the buckets."""
    lb = limited("abc", RateLimit(1.0, burst=100.0), ManualClock())
    counts: list[int] = []
    threads = [Thread(target=lambda: counts.append(spend(lb))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 300


def test_a_limit_in_flight_and_a_rate() -> None:
    """A limit in flight below a rate limit holds, and the outer one gives the reason."""
    lb = limited("ab", RateLimit(1.0, burst=5.0, child=lambda: MaxInFlight(2)), ManualClock())
    held = [lb.acquire() for _ in range(4)]
    with pytest.raises(Exception, match="RateLimit picked none of 2"):
        lb.acquire()
    for lease in held:
        lease.release()
    assert spend(lb) == 6


@pytest.mark.parametrize("burst", [1.0, 50.0])
def test_a_limit_that_the_child_has_reached_is_told_too(burst: float) -> None:
    """The error names a limit that the child has reached, and its time.

    It does so whether or not the outer one has reached its own.
    """
    clock = ManualClock()
    lb = limited("ab", RateLimit(1.0, burst=burst, child=lambda: RateLimit(0.25)), clock)
    assert spend(lb) == 2
    with pytest.raises(SaturatedError) as caught:
        lb.acquire()
    assert (caught.value.retry_at, caught.value.reasons) == (4.0, {Reason.SATURATED: 2})
    lb = limited("ab", MaxInFlight(50, child=lambda: RateLimit(0.5)), clock)
    assert spend(lb) == 2
    with pytest.raises(SaturatedError) as caught:
        lb.acquire()
    assert (caught.value.retry_at, caught.value.reasons) == (2.0, {Reason.SATURATED: 2})


def test_the_spare_tier_serves_what_the_first_may_not() -> None:
    """If the first tier has no quota left, the spare tier serves."""
    pool = [Endpoint("key"), Endpoint("spare", priority=1)]
    selector = RateLimit(1.0, burst=5.0, child=lambda: Priority(overprovisioning=2.0))
    clock = ManualClock()
    lb = LoadBalancer(pool, selector=selector, clock=clock)

    def ask() -> str:
        with lb.acquire() as lease:
            return lease.target

    assert [ask() for _ in range(8)] == ["key"] * 5 + ["spare"] * 3
    clock.advance(1.0)
    assert ask() == "key"


@pytest.mark.parametrize(
    ("parameter", "make"),
    [
        ("rate", lambda: RateLimit(0.0)),
        ("rate", lambda: RateLimit(math.nan)),
        ("rate", lambda: RateLimit(math.inf)),
        ("rate", lambda: RateLimit(True)),
        ("burst", lambda: RateLimit(1.0, burst=0.5)),
        ("burst", lambda: RateLimit(1.0, burst="5")),
        ("by_cost", lambda: RateLimit(1.0, by_cost=1)),
        ("per_weight", lambda: RateLimit(1.0, per_weight=None)),
        ("child", lambda: RateLimit(1.0, child="least")),
        ("by", lambda: RateLimit(1.0).correct("a", math.nan)),
        ("endpoint", lambda: RateLimit(1.0).correct([], 1.0)),
    ],
)
def test_wrong_values_are_refused(parameter: str, make: Any) -> None:
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    "options",
    [{"rate": 5e-324}, {"rate": 1e-101}, {"rate": 1e101}, {"rate": 0.0}, {"rate": 1.0, "burst": 1e101}],
    ids=repr,
)
def test_quotas_whose_waits_no_float_can_hold_are_refused(options: dict[str, float]) -> None:
    """A rate that a wait in seconds cannot be computed from is refused, as is a burst that no wait would end."""
    with pytest.raises(ConfigurationError, match="1e\\+100"):
        RateLimit(**options)


@pytest.mark.parametrize("options", [{}, {"per_weight": True}, {"by_cost": True}], ids=repr)
@pytest.mark.parametrize("rate", [1e-100, 1e-20, 1e-6])
def test_the_least_rates_grant_the_burst_and_no_more(rate: float, options: dict[str, bool]) -> None:
    """However small the rate, or an endpoint's part of it by weight, its burst is granted once, and then nothing."""
    clock = ManualClock()
    pool = [Endpoint("a", weight=1e-300), Endpoint("b", weight=1e100)]
    lb = LoadBalancer(
        pool,
        selector=RateLimit(rate, burst=3, child=RoundRobin, **options),
        health=None,
        clock=clock,
        rng=Random(1),
    )
    expected = 1 + 3 * 2 if options.get("per_weight") else 3 * 2
    assert spend(lb) == expected
    with pytest.raises(SaturatedError) as caught:
        lb.acquire()
    assert len(str(caught.value)) < 200
