"""The course of a simulation over time: its sums are those of the report, and a fault is seen when it happens."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from balancekit import LoadBalancer, RoundRobin
from balancekit.bench._plot_timeline import Period, periods
from balancekit.events import Cooling, Drained, Draining, Ejected, Probing
from balancekit.sim import Crash, Deterministic, Poisson, Server, Simulation


@pytest.fixture(scope="module")
def report():
    """Run four servers of which one is gone from 10 s to 20 s, with two attempts and no health."""

    def plain(endpoints, clock, rng):
        return LoadBalancer(endpoints, selector=RoundRobin(), health=None, clock=clock, rng=rng)

    servers = {f"s{number}": Server(service=Deterministic(mean=0.01), workers=8) for number in range(4)}
    faults = [Crash(endpoint="s0", at=10.0, seconds=10.0)]
    simulation = Simulation(servers, Poisson(rate=200.0), balancer=plain, attempts=2, faults=faults, seed=5)
    return simulation.run(requests=8000, warm_up=100)


class TestTimeline:
    """Sums, places and values."""

    def test_the_sums_are_those_of_the_report(self, report):
        """Requests, failures, retries and attempts per endpoint add up to the totals of the report."""
        line = report.timeline
        assert sum(line.requests) == report.requests
        assert sum(line.failures) == report.failures
        assert sum(line.retries) == report.retries
        inside = {id: sum(counts) for id, counts in line.attempts.items()}
        assert sum(report.picks.values()) - sum(inside.values()) <= 3  # those after the last arrival
        assert len(line.middles) == len(line.requests) == 100
        assert line.width * 100 == pytest.approx(report.seconds)

    def test_a_fault_is_seen_when_it_happens(self, report):
        """Retries begin in the intervals of the crash and in no others."""
        line = report.timeline
        retried = np.array([count > 0 for count in line.retries])
        begin, end = line.begin + line.width * np.arange(100), line.begin + line.width * np.arange(1, 101)
        assert not retried[(end < 10.0) | (begin > 20.0)].any()
        assert retried[(begin > 10.0) & (end < 20.0)].mean() > 0.9

    def test_quantiles_are_those_of_the_requests(self, report):
        """Quantiles are those of the requests: every median is the service of 10 ms.

        An interval without answers has none.
        """
        assert all(value == pytest.approx(0.01) for value in report.timeline.p50 if value is not None)
        assert all(value is not None and value >= 0.01 - 1e-9 for value in report.timeline.p99)

    def test_a_run_without_time_has_an_empty_timeline(self):
        """A run that takes no time has a timeline without intervals."""
        servers = {"a": Server(service=Deterministic(mean=0.1))}
        line = Simulation(servers, Poisson(rate=1.0)).run(requests=1).timeline
        assert (line.width, line.requests, line.attempts) == (0.0, (), {"a": ()})

    def test_equal_runs_have_equal_timelines(self, report):
        """A report survives pickling with its timeline."""
        assert pickle.loads(pickle.dumps(report)).timeline == report.timeline


def test_periods_end_when_the_endpoint_returns():
    """An ejection ends at its deadline, at the next probe, or at the end of the run, whichever comes first."""
    events = [
        Ejected(endpoint="a", at=1.0, until=5.0, streak=1, cause="x"),
        Probing(endpoint="a", at=3.0),
        Ejected(endpoint="a", at=8.0, until=50.0, streak=2, cause="x"),
        Cooling(endpoint="b", at=2.0, until=4.0),
        Draining(endpoint="b", at=5.0, inflight=1, deadline=None),
        Drained(endpoint="b", at=6.0, forced=False, remaining=0),
    ]
    assert periods(events, 10.0) == [
        Period("a", "ejected", 1.0, 3.0),
        Period("a", "ejected", 8.0, 10.0),
        Period("b", "cooling", 2.0, 4.0),
        Period("b", "draining", 5.0, 6.0),
    ]
