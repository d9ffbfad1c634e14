"""Leases whose success is no plain one: what their loads learn, and on which path they end."""

from __future__ import annotations

import pytest

from balancekit import LeastResponseTime, LoadBalancer, Outcome
from balancekit.engine.lease_owners import FirstByteOwner, SlowPathOwner
from balancekit.loads import EwmaLatency
from balancekit.outcome import LoadReport
from balancekit.testing import ManualClock


class OwnLoad:
    """A load of the user, which takes plain successes without a completion."""

    timed = True

    def __init__(self, node):
        self.node = node
        self.completions = []

    def started(self, *, now, cost):
        """Do nothing."""

    def finished(self, completion, /):
        """Keep the completion."""
        self.completions.append(completion)

    def succeeded(self, latency, now, /):
        """Do nothing."""

    def value(self, *, now):
        """Return the open leases."""
        return self.node.inflight


def end(lease, how):
    """End a lease by a block or by a call."""
    if how == "with":
        with lease:
            pass
    else:
        lease.release(Outcome.SUCCESS)


@pytest.mark.parametrize("how", ["with", "release"])
@pytest.mark.parametrize("late", [None, "observer", "report"])
def test_the_latency_ends_at_the_first_byte_on_every_path(how, late):
    """A shipped load, and the statistics, learn the time to the first byte, whatever else happens to the lease."""
    clock, seen = ManualClock(), []
    lb = LoadBalancer(["a"], selector=LeastResponseTime(), load=EwmaLatency(), clock=clock)
    lease = lb.acquire()
    clock.advance(0.25)
    lease.first_byte()
    assert type(lease._owner) is FirstByteOwner
    if late == "observer":
        lb.on_completion(lambda _, completion: seen.append(completion.first_byte_at))
    elif late == "report":
        lease.report_load(LoadReport(cpu_utilization=0.5))
        assert type(lease._owner) is SlowPathOwner
    clock.advance(5.0)
    end(lease, how)
    one = lb.stats()["a"]
    assert one.latency.p50 == one.first_byte.p50 == 0.25
    assert (one.inflight, one.completed, one.outcomes[Outcome.SUCCESS]) == (0, 1, 1)
    assert seen == ([0.25] if late == "observer" else [])


def test_a_load_of_the_user_gets_the_completion_with_its_first_byte():
    """Only loads of this library are known to need no more than the latency."""
    clock, made = ManualClock(), []
    lb = LoadBalancer(["a"], load=lambda node: made.append(OwnLoad(node)) or made[-1], clock=clock)
    with lb.acquire() as lease:
        clock.advance(0.25)
        lease.first_byte()
        clock.advance(1.0)
    assert [one.first_byte_at for one in made[0].completions] == [0.25]


def test_a_clock_that_fails_at_the_end_leaves_the_counts_right():
    """The request has succeeded; only what the load would have learned is lost."""
    manual, broken = ManualClock(), []

    def clock():
        if broken:
            raise OSError("no clock")
        return manual()

    lb = LoadBalancer(["a"], clock=clock)
    with lb.acquire() as lease:
        lease.first_byte()
        broken.append(True)
    broken.clear()
    one = lb.stats()["a"]
    assert (one.inflight, one.completed, one.outcomes[Outcome.SUCCESS]) == (0, 1, 1)
