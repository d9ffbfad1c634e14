"""Reported utilization as an input of the default decision."""

from __future__ import annotations

import math
from random import Random

import pytest

from balancekit import LoadBalancer, Outcome
from balancekit.loads._reported_utilization import EXPIRY_S, MAX_FACTOR, MAX_UTILIZATION, ReportedUtilization
from balancekit.outcome import LoadReport
from balancekit.testing import ManualClock

NOT_REPORTED = LoadReport(memory_utilization=0.9, rps=10.0)


def busy(utilization):
    """Make a report."""
    return LoadReport(application_utilization=utilization)


def picks(report, count=3_000, size=6):
    """Return the targets of requests that overlap and end at random; ``report`` makes what they say of load."""
    clock, rng = ManualClock(), Random(5)
    lb = LoadBalancer([f"e{number}" for number in range(size)], clock=clock, rng=Random(7))
    found, leases = [], []
    for _ in range(count):
        clock.advance(rng.expovariate(100.0))
        leases.append(lb.acquire())
        found.append(leases[-1].target)
        while len(leases) > 8 or (leases and rng.random() < 0.4):
            lease = leases.pop(rng.randrange(len(leases)))
            made = report(lease.target)
            if made is not None:
                lease.report_load(made)
            lease.release()
    return found


@pytest.mark.parametrize("size", [6, 40])
def test_reports_that_say_nothing_of_utilization_change_no_pick(size):
    """With reports that have no utilization, every pick is the one that is made without reports."""
    assert picks(lambda _: NOT_REPORTED, size=size) == picks(lambda _: None, size=size)


def test_an_endpoint_that_always_reports_the_same_has_the_factor_one():
    """An endpoint that always reports the same utilization has the factor 1, whatever it reports."""
    for utilization in (1e-6, 0.3, 0.99, 7.0, 1e12):
        reported = ReportedUtilization(200.0)
        for number in range(50):
            assert reported.record(busy(utilization), float(number))
        assert reported.factor(49.0) == 1.0


def test_the_factor_is_the_root_of_what_is_reported_over_what_is_usual():
    """The factor of one report of 1.4 after many of 0.2 is the square root of 2.4 / 1.2.

    The average has moved by one report of many.
    """
    reported = ReportedUtilization(1e9)
    for _ in range(999):
        reported.record(busy(0.2), 0.0)
    reported.record(busy(1.4), 0.0)
    average = (999 * 1.2 + 2.4) / 1000
    assert reported.factor(0.0) == pytest.approx(math.sqrt(2.4 / average), rel=1e-12)


def test_the_average_forgets():
    """After a long time, the average of old reports counts little beside one new report."""
    reported = ReportedUtilization(10.0)
    for _ in range(100):
        reported.record(busy(9.0), 0.0)
    reported.record(busy(1.0), 10_000.0)
    reported.record(busy(1.0), 20_000.0)
    assert reported.factor(20_000.0) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("usual", "last", "factor"), [(0.001, 1e12, MAX_FACTOR), (1e12, 0.001, 1.0 / MAX_FACTOR)]
)
def test_a_lie_changes_a_price_by_no_more_than_two(usual, last, factor):
    """Reported utilization changes a price by a factor of two at most, up or down.

    A figure above ten is taken for ten.
    """
    reported = ReportedUtilization(200.0)
    for _ in range(1_000):
        reported.record(busy(usual), 0.0)
    reported.record(busy(last), 0.0)
    assert reported.factor(0.0) == factor
    assert 1.0 <= reported._average <= 1.0 + MAX_UTILIZATION


def test_a_report_counts_for_five_seconds():
    """A report counts for up to five seconds.

    It does not count later, or when the clock has been set back to before it.
    """
    reported = ReportedUtilization(200.0)
    reported.record(busy(0.1), 100.0)
    reported.record(busy(2.0), 100.0)
    factor = reported.factor(100.0)
    assert factor > 1.0
    assert reported.factor(100.0 + EXPIRY_S) == factor
    assert reported.factor(100.01 + EXPIRY_S) == 1.0
    assert reported.factor(99.9 - EXPIRY_S) == 1.0


@pytest.mark.parametrize("report", [NOT_REPORTED, LoadReport()], ids=["other-figures", "empty"])
def test_a_report_without_utilization_replaces_none(report):
    """A report without utilization leaves the report before it in force."""
    reported = ReportedUtilization(200.0)
    reported.record(busy(0.1), 0.0)
    reported.record(busy(1.0), 0.0)
    before = reported.factor(1.0)
    assert not reported.record(report, 1.0)
    assert reported.factor(1.0) == before


def test_the_processors_speak_where_the_application_does_not():
    """``cpu_utilization`` is taken if there is no ``application_utilization``."""
    reported, other = ReportedUtilization(200.0), ReportedUtilization(200.0)
    for utilization in (0.1, 0.8):
        reported.record(LoadReport(cpu_utilization=utilization), 0.0)
        other.record(LoadReport(cpu_utilization=0.5, application_utilization=utilization), 0.0)
    assert reported.factor(0.0) == other.factor(0.0) > 1.0


@pytest.mark.parametrize("size", [4, 30])
def test_an_endpoint_that_reports_more_than_usual_is_picked_less(size):
    """An endpoint that reports more than usual is picked less, in small and large pools.

    Five seconds after its last report it has its former share.
    """
    clock = ManualClock()
    lb = LoadBalancer([f"e{number}" for number in range(size)], clock=clock, rng=Random(3))

    def served(rounds, utilization):
        found = 0
        for _ in range(rounds * size):
            lease = lb.acquire()
            clock.advance(0.01)
            if lease.target == "e0":
                found += 1
            if utilization is not None:
                lease.report_load(busy(utilization if lease.target == "e0" else 0.2))
            lease.release()
        return found / rounds

    served(400, 0.2)
    usual = served(100, 0.2)
    assert usual == pytest.approx(1.0, abs=0.15 if size == 4 else 0.5)
    assert served(100, 4.0) < 0.2
    clock.advance(EXPIRY_S + 2.0)
    served(400, None)
    assert served(100, None) == pytest.approx(usual, abs=0.15)


def test_failures_count_beside_reports():
    """An endpoint that fails, and reports to be idle when it does, gets at most a tenth more requests for it."""

    def failed(*, lying):
        clock = ManualClock()
        lb = LoadBalancer(["bad", "good"], clock=clock, rng=Random(3), health=None)
        count = 0
        for number in range(2_000):
            lease = lb.acquire()
            fails = lease.target == "bad" and number > 200
            clock.advance(0.002 if lease.target == "bad" else 0.01)
            if lying:
                lease.report_load(busy(0.001 if fails else 0.5))
            count += fails
            lease.release(Outcome.FAILURE if fails else Outcome.SUCCESS)
        return count

    assert failed(lying=True) <= 1.1 * failed(lying=False)


def test_what_is_usual_is_forgotten_by_the_memory():
    """After its time constant an old report weighs half of a new one, as it would in an average of two."""
    usual = ReportedUtilization(memory=10.0)
    usual.record(busy(0.0001), now=0.0)
    usual.record(busy(2.0), now=10.0)
    last, average = 3.0, 1.0001 + (3.0 - 1.0001) / 1.5
    assert usual.factor(10.0) == pytest.approx(math.sqrt(last / average))
