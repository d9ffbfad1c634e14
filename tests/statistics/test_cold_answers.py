"""No choice gives up an endpoint for ever because its first answer was slow."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from balancekit import LeastRequest, LeastResponseTime, LoadBalancer, PowerOfChoices
from balancekit.loads import EwmaLatency, ExpectedDelay, FailureAware, InFlight, PeakEwmaLatency
from balancekit.selectors import ShortestExpectedDelay
from balancekit.testing import ManualClock

COLD_S, WARM_S = 0.5, 0.01
SELECTORS: dict[str, Callable[[], Any]] = {
    "two choices": PowerOfChoices,
    "as many choices as there are": lambda: PowerOfChoices(5),
    "least response time": LeastResponseTime,
    "least request": LeastRequest,
    "shortest expected delay": ShortestExpectedDelay,
}
LOADS = (InFlight, EwmaLatency, PeakEwmaLatency, FailureAware, ExpectedDelay)
MAX_GAP_S, MAX_GAP_REQUESTS = 45.0, 120
"""Loads fade by ``exp(-t / 10 s)``, from 50 to 1 in 39.1 s; trials are due after 30 s and, of failure-aware loads, 100 requests
per endpoint. Sweeps come once a second, and picks by draws may take a few more."""


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.__name__)
@pytest.mark.parametrize(("size", "cold"), [(2, 1), (3, 1), (3, 2), (5, 1), (5, 4)])
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_none_goes_without_requests_because_its_first_answer_was_cold(
    selector: str, load: Callable[[], Any], size: int, cold: int, pause_s: float
) -> None:
    """All endpoints take 10 ms, but the first answer of some took half a second. Each gets requests again in time.

    Requests come one after the other, so that no queue hides which endpoint a load takes for the best.
    """
    clock = ManualClock()
    ids = [f"e{number}" for number in range(size)]
    lb = LoadBalancer(ids, selector=SELECTORS[selector](), load=load(), clock=clock, rng=Random(1))
    answered = dict.fromkeys(ids, 0)
    last = dict.fromkeys(ids, (0.0, 0))
    gaps = dict.fromkeys(ids, 0.0)
    """The longest time without a request of each endpoint, over what is allowed, and likewise of requests: the lesser of both."""
    requests = 9_000 if pause_s == 0.0 else 1_500
    for number in range(requests):
        with lb.acquire() as lease:
            chosen = lease.target
            clock.advance(COLD_S if chosen in ids[-cold:] and not answered[chosen] else WARM_S)
        answered[chosen] += 1
        for each in ids if number == requests - 1 else (chosen,):
            since_s, since = clock() - last[each][0], number - last[each][1]
            gaps[each] = max(gaps[each], min(since_s / MAX_GAP_S, since / (MAX_GAP_REQUESTS * size)))
        last[chosen] = clock(), number
        clock.advance(pause_s)
    assert max(gaps.values()) <= 1.0, gaps
    assert min(answered.values()) >= 2, answered


@pytest.mark.parametrize("load", [EwmaLatency, PeakEwmaLatency], ids=lambda load: load.__name__)
@pytest.mark.parametrize("selector", ["two choices", "least response time"])
@pytest.mark.parametrize("slow_s", [0.5, 60.0])
@pytest.mark.parametrize("decay", [2.0, 10.0])
def test_an_average_lets_an_endpoint_back_when_it_has_faded(
    selector: str, load: Callable[..., Any], slow_s: float, decay: float
) -> None:
    """After a slow first answer an endpoint is picked again ``decay * ln(slow / usual)`` seconds later, and not before."""
    clock = ManualClock()
    lb = LoadBalancer(
        ["fast", "cold"], selector=SELECTORS[selector](), load=load(decay=decay), clock=clock, rng=Random(1)
    )
    with lb.acquire(exclude={"fast"}):
        clock.advance(slow_s)
    ended = clock()
    chosen = "fast"
    while chosen == "fast":
        began = clock()
        with lb.acquire() as lease:
            chosen = lease.target
            clock.advance(WARM_S)
    promised = decay * math.log(slow_s / WARM_S)
    assert began - ended == pytest.approx(promised, abs=2 * WARM_S)
