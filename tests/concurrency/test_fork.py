"""A forked child has its own luck, its own locks and nothing in flight."""

from __future__ import annotations

import os
import threading
import warnings
from random import Random

import pytest

from balancekit import LoadBalancer, Outcome, RoundRobin, UniformRandom
from balancekit.adapters.vrrp import VrrpThread
from balancekit.events import Drained
from balancekit.ha import TrackedCheck, Tracking, VirtualRouter
from balancekit.loads import ExpectedDelay, FailureAware
from balancekit.reported import LoadMeter
from balancekit.testing import ManualClock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def in_child(function):
    """Run a function in a forked child; return what it returned, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(function()).encode()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}".encode()
        os.write(write, answer)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        answer = file.read().decode()
    os.waitpid(pid, 0)
    return answer


def picks(balancer, count=40):
    """Return what a balancer picks."""
    found = []
    for _ in range(count):
        with balancer.acquire() as lease:
            found.append(lease.target)
    return "".join(found)


def test_children_draw_differently():
    """A default generator is seeded again in each child."""
    balancer = LoadBalancer("abcd"[:0] or list("abcd"), selector=UniformRandom())
    answers = {in_child(lambda: picks(balancer)) for _ in range(3)} | {picks(balancer)}
    assert len(answers) == 4


def test_a_generator_of_the_user_is_left_alone():
    """A generator that the user passes is left alone in a child."""
    balancer = LoadBalancer(list("abcd"), selector=UniformRandom(), rng=Random(5))
    assert in_child(lambda: picks(balancer)) == in_child(lambda: picks(balancer)) == picks(balancer)


def test_a_child_has_nothing_in_flight():
    """A child has nothing in flight, as leases of the parent's threads would never end there."""
    balancer = LoadBalancer(["a", "b"], selector=RoundRobin())
    lease = balancer.acquire()

    def child():
        before = balancer.stats().inflight
        ended = lease.release()
        return before, ended, balancer.stats().inflight, len(picks(balancer))

    assert in_child(child) == "(0, True, 0, 40)"
    assert balancer.stats().inflight == 1
    lease.release()


@pytest.mark.parametrize("name", ["writer", "serial", "listeners"])
def test_a_lock_held_by_another_thread_does_not_hang_the_child(name):
    """A lock of the engine that another thread holds at the moment of the fork is free in the child."""
    balancer = LoadBalancer(["a", "b"])
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with getattr(balancer._runtime.locks, name):
            inside.set()
            go_on.wait(10)

    def child():
        balancer.on_event(lambda event: None)
        balancer.add("c")
        for _ in range(9):
            balancer.acquire(exclude={"c"}).release(Outcome.FAILURE)
        return len(balancer.endpoints)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    try:
        assert in_child(child) == "3"
    finally:
        go_on.set()
        thread.join()


def test_an_endpoint_on_trial_is_on_trial_in_the_child():
    """An endpoint on trial is on trial in the child too.

    It takes one request at a time, and its first success restores it.
    """
    clock = ManualClock()
    balancer = LoadBalancer(["a", "b"], selector=RoundRobin(), clock=clock)
    for _ in range(5):
        balancer.acquire(exclude={"b"}).release(Outcome.FAILURE)
    clock.advance(5.0)
    assert balancer.stats()["a"].state == "probing"

    def child():
        leases = [balancer.acquire() for _ in range(6)]
        found = "".join(sorted(lease.target for lease in leases))
        for lease in leases:
            with lease:
                pass
        return found, balancer.stats()["a"].state

    assert in_child(child) == "('abbbbb', 'healthy')"


def test_a_drain_ends_at_once_in_the_child():
    """A drain ends at once in the child, as the leases that it waited for do not exist there."""
    events = []
    balancer = LoadBalancer(["a", "b"], listeners=[events.append])
    lease = balancer.acquire(exclude={"b"})
    balancer.drain("a")

    def child():
        picks(balancer, 2)
        return [(event.endpoint, event.forced) for event in events if isinstance(event, Drained)]

    assert in_child(child) == "[('a', False)]"
    lease.release()


@pytest.mark.parametrize("draining", [False, True])
def test_the_end_of_a_lease_from_before_the_fork_is_counted_in_the_child(draining):
    """The end of a lease from before the fork is counted in the child, also on an endpoint that had been removed."""
    balancer = LoadBalancer(["a", "b"])
    lease, gone = balancer.acquire(exclude={"b"}), balancer.acquire(exclude={"a"})
    balancer.remove("b")
    if draining:
        balancer.drain("a")

    def child():
        before = balancer.stats().completed
        gone.release()
        lease.release()
        stats = balancer.stats()
        return before, stats.completed, stats.inflight, stats.outcomes[Outcome.SUCCESS]

    assert in_child(child) == "(0, 2, 0, 2)"
    lease.release()
    gone.release()


@pytest.mark.parametrize("load", [ExpectedDelay(), FailureAware()])
def test_loads_of_the_parent_are_left_out_in_the_child(load):
    """What the loads of a pool share knows the nodes of the child only."""
    balancer = LoadBalancer(["a", "b"], load=load)

    def child():
        picks(balancer, 2)
        nodes = {member.node for member in balancer._runtime.state.members.values()}
        return set(balancer._runtime._loads.make._loads) == nodes

    assert in_child(child) == "True"


def test_a_warning_of_a_tracking_is_not_given_again_in_a_child():
    """A warning of a tracking is not given again in a child, even if later warnings are errors."""
    tracking = Tracking(checks={"api": TrackedCheck(weight=-20)})
    router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", preempt=False)
    with pytest.warns(UserWarning, match="preempt is False"):
        driver = VrrpThread(router, interface="lo", tracking=tracking)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver.after_fork()
    assert not driver.running


def test_a_child_meters_its_own_requests():
    """A child has none of the requests of its parent open, nor their rates, and their ends there change nothing."""
    clock = ManualClock()
    meter = LoadMeter(capacity=4, clock=clock, processors=lambda: 0.0)
    parents = [meter.started() for _ in range(3)]
    for _ in range(100):
        meter.finished(meter.started())

    def child():
        reports = [meter.report()]
        own = meter.started()
        for arrival in parents:
            meter.finished(arrival)
        clock.advance(1.0)
        reports.append(meter.report())
        meter.finished(own)
        meter.finished()
        reports.append(meter.report())
        return [(one.application_utilization, round(one.rps)) for one in reports]

    assert in_child(child) == "[(0.0, 0), (0.25, 0), (0.0, 2)]"
    assert meter.report().application_utilization == 0.75
