"""The latency that a number of requests means, and what a meter answers to probes."""

from __future__ import annotations

from random import Random

import pytest

from balancekit import ConfigurationError
from balancekit.reported import LatencyByLoad, LoadMeter, ProbedLoad
from balancekit.testing import ManualClock


def test_nothing_known_is_zero():
    """Without a request, the estimate is 0, which probes take for unknown."""
    assert LatencyByLoad().estimate(3) == 0.0


def test_the_median_is_of_those_that_found_most_nearly_as_many():
    """Of five requests, the three nearest count, and of these the middle one, scaled to the present number."""
    by_load = LatencyByLoad(nearest=3)
    for found, latency in [(0, 9.0), (4, 0.5), (5, 0.9), (6, 0.7), (20, 9.0)]:
        by_load.record(found, latency)
    # scaled to 5: 0.5 * 6/5 = 0.6, 0.9, 0.7 * 6/7 = 0.6
    assert by_load.estimate(5) == pytest.approx(0.6)


def test_of_those_equally_near_the_latest_count():
    """A server that has become slow says so after as many requests as the median is taken of."""
    by_load = LatencyByLoad(nearest=3)
    for _ in range(60):
        by_load.record(2, 0.1)
    for number in range(3):
        assert by_load.estimate(2) == pytest.approx(0.1 if number < 2 else 0.8)
        by_load.record(2, 0.8)
    assert by_load.estimate(2) == pytest.approx(0.8)


def test_old_requests_are_forgotten():
    """No more than ``samples`` requests are kept, and older ones are forgotten."""
    by_load = LatencyByLoad(samples=2, nearest=1)
    for found, latency in [(9, 5.0), (0, 0.1), (1, 0.2)]:
        by_load.record(found, latency)
    assert by_load.estimate(9) == pytest.approx(1.0)


def test_the_estimate_of_a_queue_is_its_length_times_the_service():
    """The estimate of a queue is its length times the service, within half a service.

    This holds for one worker and equal requests.
    """
    by_load, rng = LatencyByLoad(), Random(1)
    for _ in range(200):
        found = rng.randrange(10)
        by_load.record(found, 0.02 * (found + 1))
    for found in range(12):
        assert by_load.estimate(found) == pytest.approx(0.02 * (found + 1))


@pytest.mark.parametrize("latency", [-0.1, float("nan"), float("inf")], ids=str)
def test_figures_that_cannot_be_are_refused(latency):
    """A latency that is negative or not finite, or a number that is not whole, is refused."""
    with pytest.raises(ConfigurationError, match="latency"):
        LatencyByLoad().record(1, latency)
    with pytest.raises(ConfigurationError, match="found"):
        LatencyByLoad().record(-1, 0.1)
    with pytest.raises(ConfigurationError, match="samples"):
        LatencyByLoad(samples=0)
    with pytest.raises(ConfigurationError, match="nearest"):
        LatencyByLoad(nearest=0)


def test_a_meter_answers_what_is_open_and_what_it_takes():
    """A meter returns the number open and the latency to expect at it. A failed request changes neither."""
    clock = ManualClock()
    meter = LoadMeter(clock=clock)
    first, second, failed = meter.started(), meter.started(), meter.started()
    assert meter.probed() == ProbedLoad(3, 0.0)
    clock.advance(0.2)
    meter.finished(failed, failed=True)
    meter.finished(second)
    assert (first.found, second.found, second.at) == (0, 1, 0.0)
    meter.started()
    assert meter.probed() == ProbedLoad(2, pytest.approx(0.3))


def test_a_clock_that_was_set_back_counts_as_no_time():
    """The meter takes a latency of 0 and goes on."""
    now = [10.0]
    meter = LoadMeter(clock=lambda: now[0])
    arrival = meter.started()
    now[0] = 4.0
    meter.finished(arrival)
    assert meter.probed() == ProbedLoad(0, 0.0)


@pytest.mark.parametrize("latency", [-1.0, float("nan"), float("inf"), 10**400, "1", None, True], ids=repr)
def test_a_latency_that_is_no_number_of_seconds_is_refused(latency):
    """A latency that is no number of seconds is refused when it is recorded, and not by a later estimate."""
    by_load = LatencyByLoad()
    with pytest.raises(ConfigurationError, match="latency="):
        by_load.record(1, latency)
    assert by_load.estimate(3) == 0.0
