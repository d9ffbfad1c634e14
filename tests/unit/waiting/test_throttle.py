"""Client-side throttling: the formula, its effect in a closed loop, criticalities, the window."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from balancekit import ConfigurationError
from balancekit.waiting import ClientThrottle


def told(
    throttle: ClientThrottle, requests: int, accepts: int, *, now: float, criticality: int = 0
) -> ClientThrottle:
    """Return the throttle after so many requests, of which the backend accepted some."""
    rng = Random(1)
    for _ in range(requests):
        throttle.allow(rng, now=now, criticality=criticality)
    for _ in range(accepts):
        throttle.accepted(now=now, criticality=criticality)
    return throttle


@pytest.mark.parametrize("requests", [0, 1, 10, 1_000])
@pytest.mark.parametrize("accepts", [0, 1, 5, 400])
@pytest.mark.parametrize("k", [1.0, 1.1, 2.0, 5.0])
def test_the_probability_is_the_formula(requests, accepts, k):
    """The probability is max(0, (requests - k * accepts) / (requests + 1)), to 1e-12."""
    accepts = min(accepts, requests)
    expected = max(0.0, (requests - k * accepts) / (requests + 1))
    throttle = told(ClientThrottle(k=k), requests, accepts, now=1.0)
    assert throttle.probability(now=1.0) == pytest.approx(expected, abs=1e-12)


def test_criticalities_are_counted_apart():
    """Refusals of one criticality change the probability of no other."""
    throttle = told(ClientThrottle(), 100, 20, now=0.0, criticality=1)
    assert throttle.probability(now=0.0, criticality=1) == pytest.approx((100 - 40) / 101)
    assert throttle.probability(now=0.0) == 0.0
    assert throttle.allow(Random(1), now=0.0)


def test_what_reaches_the_backend_is_k_times_its_capacity():
    """Of 400 requests a second to a backend that accepts 100, about 200 are sent with k = 2 (closed loop, 300 s)."""
    throttle, rng = ClientThrottle(k=2.0), Random(8)
    sent = [0] * 300
    for second in range(300):
        for number in range(400):
            now = second + number / 400
            if throttle.allow(rng, now=now):
                sent[second] += 1
                if sent[second] <= 100:
                    throttle.accepted(now=now)
    assert sum(sent[150:]) / 150 == pytest.approx(200, rel=0.02)


def test_requests_that_the_backend_lets_hang_count():
    """Requests without an answer raise the probability as refusals do."""
    assert told(ClientThrottle(), 100, 0, now=0.0).probability(now=0.0) > 0.9


def test_one_request_a_second_is_sent_whatever_was_refused():
    """A backend that refused everything for the whole window gets one request a second from each criticality."""
    throttle, rng = told(ClientThrottle(), 10_000, 0, now=0.0), Random(3)
    sent = [number for number in range(10_000) if throttle.allow(rng, now=number / 100)]
    assert 90 <= len(sent) <= 110
    assert max(later - earlier for earlier, later in pairwise(sent)) <= 101
    assert throttle.allow(rng, now=99.99, criticality=1)


def test_a_throttle_sends_again_after_time_went_back():
    """A clock that went back by hours does not keep the throttle closed until it is right again."""
    throttle = told(ClientThrottle(window=20.0), 1_000, 0, now=10_000.0)
    told(throttle, 1_000, 0, now=1.0)
    assert throttle.allow(Random(1), now=3.0)


@pytest.mark.parametrize("rate", [10, 100])
def test_a_throttle_recovers_from_a_long_outage_within_minutes(rate):
    """After three minutes in which all was refused, fewer than a tenth of the requests are dropped six minutes later."""
    throttle, rng = ClientThrottle(), Random(4)
    for number in range(180 * rate):
        throttle.allow(rng, now=number / rate)
    for number in range(180 * rate, 540 * rate):
        if throttle.allow(rng, now=number / rate):
            throttle.accepted(now=number / rate)
    assert throttle.probability(now=540.0) < 0.1


def test_ordinary_errors_drop_nothing():
    """A third of all requests that fail at random is below 1 - 1/k, and the probability stays 0."""
    throttle, rng = ClientThrottle(k=2.0), Random(9)
    for number in range(3_000):
        throttle.allow(rng, now=number / 100)
        if rng.random() > 1 / 3:
            throttle.accepted(now=number / 100)
    assert throttle.probability(now=30.0) == 0.0


def test_the_window_passes():
    """After the window has passed, the probability is 0 again."""
    throttle = told(ClientThrottle(window=10.0), 50, 0, now=0.0)
    assert throttle.probability(now=1.0) > 0.9
    assert throttle.probability(now=11.0) == 0.0


def test_a_request_whose_draw_fails_is_not_counted():
    """A generator that raises leaves the throttle as it was."""
    throttle = ClientThrottle()
    for _ in range(100):
        throttle.allow(Random(1), now=0.0)
    before = throttle.probability(now=0.0)
    with pytest.raises(ConfigurationError, match="rng"):
        throttle.allow("no generator", now=0.0)
    assert throttle.probability(now=0.0) == before
