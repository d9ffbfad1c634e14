"""The places that an endpoint on trial has, whatever is open on it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from balancekit import LoadBalancer, Outcome, RingHash, RoundRobin, Selector, ShortestExpectedDelay
from balancekit.health import Lifecycle, Probation
from balancekit.testing import ManualClock


def on_trial(
    make: Callable[[], Selector], streams: int, **probation: int
) -> tuple[LoadBalancer[str], ManualClock, list[object]]:
    """Return a balancer whose endpoint ``a`` is on trial, with streams that were opened before it was ejected."""
    clock = ManualClock()
    lb = LoadBalancer(
        ["a", "b"],
        selector=make(),
        health=Lifecycle(probation=Probation(**probation)),
        clock=clock,
        rng=Random(1),
    )
    held: list[object] = [lb.acquire(exclude={"b"}) for _ in range(streams)]
    for _ in range(5):
        lb.acquire(exclude={"b"}).release(Outcome.FAILURE)
    clock.advance(30.0)
    assert lb.stats()["a"].state == "probing"
    return lb, clock, held


@pytest.mark.parametrize("streams", [0, 1, 3])
@pytest.mark.parametrize("make", [ShortestExpectedDelay, RoundRobin, RingHash])
def test_streams_that_outlast_an_ejection_do_not_keep_an_endpoint_from_its_trial(
    make: Callable[[], Selector], streams: int
) -> None:
    """An endpoint that was ejected with streams open on it is tried, and comes back, while they last."""
    lb, clock, _held = on_trial(make, streams)
    for number in range(5_000):
        clock.advance(0.01)
        lb.acquire(str(number)).release()
        if lb.stats()["a"].state == "healthy":
            break
    stats = lb.stats()["a"]
    assert (stats.state, stats.inflight) == ("healthy", streams)


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("streams", [0, 3])
def test_a_trial_takes_its_requests_beside_what_is_open(streams: int, concurrency: int) -> None:
    """While nothing ends, a trial has as many requests as it is to have, besides the streams from before it."""
    lb, _, _held = on_trial(RoundRobin, streams, concurrency=concurrency)
    leases = [lb.acquire() for _ in range(20)]
    assert sum(lease.target == "a" for lease in leases) == concurrency


@pytest.mark.parametrize("streams", [0, 3])
@pytest.mark.parametrize("make", [ShortestExpectedDelay, RoundRobin, RingHash])
def test_a_trial_whose_request_does_not_end_goes_on_with_another(
    make: Callable[[], Selector], streams: int
) -> None:
    """An endpoint whose trial is a stream comes back within the patience of the trial, by another request.

    One that answers nothing gets no more than one request each time that the wait has doubled.
    """
    lb, clock, _held = on_trial(make, streams)
    hung: list[object] = []
    for number in range(8_000):  # 80 s
        clock.advance(0.01)
        lease = lb.acquire(str(number))
        if lease.target == "a":
            hung.append(lease)
        else:
            lease.release()
    assert 2 <= len(hung) <= 4, "at 0, 10, 30 and 70 s, or later if the selector rarely gives it a request"
    for number in range(9_000):
        clock.advance(0.01)
        lb.acquire(str(number)).release()
        if lb.stats()["a"].state == "healthy":
            break
    stats = lb.stats()["a"]
    assert (stats.state, stats.inflight) == ("healthy", streams + len(hung))
