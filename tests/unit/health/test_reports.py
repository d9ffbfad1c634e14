"""Reports of endpoints, and nginx's books: values at their edges."""

from __future__ import annotations

from random import Random

import pytest

from balancekit.events import Ejected
from balancekit.health import EndpointReport, MaxFails
from balancekit.outcome import Completion, Outcome


def test_latencies_of_a_report_are_in_order_however_they_were_given() -> None:
    """A sequence is sorted, a callable is asked when the latencies are read, and sorted too."""
    assert EndpointReport("a", successes=3, failures=0, latencies=[3.0, 1.0, 2.0]).latencies == [
        1.0,
        2.0,
        3.0,
    ]
    asked: list[int] = []

    def read() -> list[float]:
        asked.append(1)
        return [3.0, 1.0, 2.0]

    report = EndpointReport("a", successes=3, failures=0, latencies=read)
    assert asked == []
    assert report.latencies == [1.0, 2.0, 3.0]
    assert EndpointReport("a", successes=0, failures=1).latencies == []


def failure(at: float) -> Completion:
    """Return a request that failed."""
    return Completion(Outcome.FAILURE, started_at=at - 1.0, ended_at=at)


def test_an_endpoint_that_fails_max_fails_times_is_out_for_fail_timeout() -> None:
    """Two failures of two eject until 10 s after the second; the event says so, and the machine is due then."""
    machine = MaxFails(max_fails=2, fail_timeout=10.0)("a", lambda _: True, Random(1))
    assert machine.observe(failure(5.0), now=5.0) == []
    (event,) = machine.observe(failure(7.0), now=7.0)
    assert event == Ejected(endpoint="a", at=7.0, until=17.0, streak=1, cause="2 failures")
    assert machine.deadline == pytest.approx(17.0)
    assert not machine.eligible
    assert machine.advance(now=16.9) == []
    assert not machine.eligible
    machine.advance(now=17.0)
    assert machine.eligible
