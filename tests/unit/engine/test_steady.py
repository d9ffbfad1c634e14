"""Clocks that go back: for a balancer, time does not."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import pytest

from balancekit import (
    ConfigurationError,
    LeastResponseTime,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    Selector,
    ShortestExpectedDelay,
)
from balancekit._support.steady import SteadyClock


def test_the_monotonic_clock_is_read_as_it_is() -> None:
    """No call is added to the default, which never goes back."""
    for lb in (LoadBalancer(["a"]), LoadBalancer(["a"], clock=time.monotonic)):
        assert lb._runtime._clock is time.monotonic


def test_time_that_goes_on_is_shown_as_it_is() -> None:
    """Readings that do not go back are not changed, whatever they are."""
    readings = [-5.0, 0.1, 0.1, 0.30000000000000004, 1e9]
    clock = SteadyClock(iter(readings).__next__)
    assert [clock() for _ in readings] == readings


def test_less_than_a_second_is_waited_for() -> None:
    """A clock that goes back a little stands still until it is right again."""
    clock = SteadyClock(iter([10.0, 9.5, 9.9, 10.0, 10.1]).__next__)
    assert [clock() for _ in range(5)] == [10.0, 10.0, 10.0, 10.0, 10.1]


def test_more_is_added_from_then_on() -> None:
    """A clock that goes back by a second or more goes on from where it was, however often it does."""
    clock = SteadyClock(iter([100.0, 40.0, 41.5, 0.0, 2.0, 101.0]).__next__)
    assert [clock() for _ in range(6)] == [100.0, 100.0, 101.5, 101.5, 103.5, 202.5]


@pytest.mark.parametrize("make", [ShortestExpectedDelay, PowerOfChoices, LeastResponseTime])
@pytest.mark.parametrize("under_way", [True, False])
def test_no_endpoint_looks_fast_because_the_clock_was_set_back(
    make: Callable[[], Selector], under_way: bool
) -> None:
    """With the clock set back by an hour, also while a request is under way, equal endpoints get equal shares."""
    now, picks = 1e6, Counter[str]()
    lb = LoadBalancer(["a", "b", "c"], selector=make(), clock=lambda: now)
    for number in range(3_000):
        now -= 3_600.0 * (number == 1_000 and not under_way)
        with lb.acquire() as lease:
            now += 0.01 - 3_600.0 * (number == 1_000 and under_way)
        picks[lease.target] += number > 1_000
    assert min(picks.values()) > 500
    assert all(
        0.0 <= one.latency.p50 <= one.latency.p99 < 0.02 for one in lb.stats().endpoints if one.latency
    )


@pytest.mark.parametrize("reading", [math.nan, math.inf, -math.inf, 1e308, -1e308, 1.001e12], ids=repr)
@pytest.mark.parametrize("during", ["a request", "the first byte", "the end", "statistics", "a drain"])
def test_one_reading_that_is_no_time_passes(
    reading: float, during: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A reading that is no time is taken for none: no answer is lost to it, and later readings are as if it had not been."""
    now, wrong = 100.0, False

    def clock() -> float:
        return reading if wrong else now

    lb = LoadBalancer(["a", "b"], clock=clock, timed=True)
    lease, wrong = lb.acquire(), True
    if during == "the first byte":
        lease.first_byte()
    elif during == "the end":
        with lease:
            pass
    else:
        with pytest.raises(ConfigurationError, match="clock"):
            {"a request": lb.acquire, "statistics": lb.stats, "a drain": lambda: lb.drain("a")}[during]()
    wrong = False
    lease.release()
    picks = Counter[str]()
    for _ in range(100):
        with lb.acquire() as each:
            now += 0.01
        picks[each.target] += 1
    stats = lb.stats()
    assert (stats.inflight, stats.completed, len(picks)) == (0, 101, 2)
    assert stats.latency is not None
    assert (stats.at, stats.latency.p99) == (now, pytest.approx(0.01))
    assert len(caplog.records) == (during in {"the first byte", "the end"})


@pytest.mark.parametrize("clock", [time.time_ns, time.monotonic_ns, lambda: 1e308, lambda: -1e13])
def test_a_clock_of_other_units_is_refused(clock: Callable[[], float]) -> None:
    """A clock that counts nanoseconds, or is as far away as no clock is, is refused when the balancer is made."""
    if clock() > 1e12 or clock() < -1e12:  # a machine that has just started has few nanoseconds
        with pytest.raises(ConfigurationError, match="seconds"):
            LoadBalancer(["a"], clock=clock)


def test_an_ejection_does_not_last_longer_because_the_clock_was_set_back() -> None:
    """An endpoint that is ejected for some seconds is back after them, as the clock counts on."""
    now = 1e6
    lb = LoadBalancer(["a", "b"], clock=lambda: now)
    for _ in range(20):
        lb.acquire(exclude={"b"}).release(Outcome.FAILURE)
        if lb.stats().endpoints[0].state == "ejected":
            break
    assert lb.stats().endpoints[0].state == "ejected"
    now -= 3_600.0
    assert lb.stats().endpoints[0].state == "ejected"
    now += 30.0
    assert lb.stats().endpoints[0].state == "probing"
