"""Leases that are dropped: found, ended, reported, without ever hanging."""

from __future__ import annotations

import gc
import threading
import warnings

import pytest

from balancekit import LeastRequest, LoadBalancer, Outcome, RoundRobin
from balancekit.events import LeaseLost
from balancekit.outcome import CheckResult


@pytest.fixture
def aggressive_collector():
    """Collect garbage at every allocation that could start it."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


class Cycle:
    """Keeps a lease in a reference cycle, so that only the collector finds it."""

    def __init__(self, lease):
        self.lease = lease
        self.me = self


def drop(balancer, count):
    """Open leases and drop them, half of them in cycles; return the warnings about them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(count):
            lease = balancer.acquire()
            if number % 2:
                Cycle(lease)
            del lease
        gc.collect()
        balancer.stats()
    return [one for one in caught if issubclass(one.category, ResourceWarning)]


@pytest.mark.parametrize("selector", [RoundRobin, LeastRequest, None])
def test_lost_leases_are_ended_and_reported_once_each(selector, aggressive_collector):
    """Each lost lease is ended and reported once, by one ResourceWarning and one event.

    Nothing deadlocks and nothing is in flight.
    """
    events = []
    balancer = LoadBalancer(["a", "b", "c"], selector=selector and selector(), listeners=[events.append])
    found = drop(balancer, 300)
    assert balancer.stats().inflight == 0
    assert len(found) == 300
    assert balancer.stats().outcomes[Outcome.CANCELLED] == 300
    assert len([event for event in events if isinstance(event, LeaseLost)]) == 300


def test_lost_leases_do_not_hang_under_threads_and_changes(aggressive_collector):
    """A collection in the middle of any lock finds lost leases and does not wait for anything."""
    balancer = LoadBalancer(["a", "b", "c"])
    caught = []

    def work():
        for number in range(300):
            lease = balancer.acquire()
            if number % 3 == 0:
                Cycle(lease)
            elif number % 3 == 1:
                lease.release(Outcome.FAILURE)
            else:
                lease.release()
            del lease

    def change():
        for number in range(60):
            balancer.add(f"guest-{number}")
            balancer.drain(f"guest-{number}")
            balancer.remove(f"guest-{number}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        threads = [threading.Thread(target=work) for _ in range(4)] + [threading.Thread(target=change)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
            assert not thread.is_alive(), "a thread hangs"
        gc.collect()
        balancer.stats()
    assert caught == []
    assert balancer.stats().inflight == 0
    assert balancer.stats().completed == 4 * 300


def test_a_finalizer_that_uses_the_balancer_does_not_hang(aggressive_collector):
    """A __del__ of the user may acquire in the middle of an acquire, also inside a selector's lock."""

    class Nosy:
        def __init__(self, balancer):
            self.balancer = balancer
            self.me = self

        def __del__(self):
            with self.balancer.acquire():
                pass

    balancer = LoadBalancer([f"e{k}" for k in range(20)], selector=LeastRequest())
    held = []
    for number in range(300):
        Nosy(balancer)
        held.append(balancer.acquire())
        if number % 2:
            held.pop(0).release()
    for lease in held:
        lease.release()
    gc.collect()
    assert balancer.stats().inflight == 0


WAKES = {
    "acquire": lambda lb: lb.acquire().release(),
    "acquire with a key": lambda lb: lb.acquire("user").release(),
    "attempts": lambda lb: [attempt.release() for attempt in lb.attempts(1)],
    "check": lambda lb: lb.report_check("a", CheckResult(passed=True)),
    "stats": lambda lb: lb.stats(),
    "explain": lambda lb: lb.explain(),
    "add": lambda lb: lb.add("b"),
    "drain": lambda lb: lb.drain("a"),
}


@pytest.mark.parametrize("call", list(WAKES))
@pytest.mark.parametrize("how", ["filter", "hook"])
def test_a_warning_turned_into_an_error_fails_no_call(call, how, caplog, monkeypatch):
    """Each lost lease is ended and logged, whichever call finds it.

    This holds if a filter or a hook of the program raises.
    """

    def refuse(*_arguments, **_options):
        raise RuntimeError("no warnings here")

    balancer = LoadBalancer(["a"])
    for _ in range(3):
        balancer.acquire()
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error" if how == "filter" else "always")
        if how == "hook":
            monkeypatch.setattr(warnings, "showwarning", refuse)
        WAKES[call](balancer)
        balancer.stats()
    assert balancer.stats().inflight == 0
    lost = [record for record in caplog.records if "was never released" in record.getMessage()]
    assert len(lost) == 3
    assert all(record.levelname == "ERROR" and record.exc_info for record in lost)


def test_debug_tells_where_the_lease_was_acquired():
    """With ``debug=True`` the warning names file and line."""
    balancer = LoadBalancer(["a"], debug=True)
    balancer.acquire()
    gc.collect()
    with pytest.warns(ResourceWarning, match=r"acquired at .*test_finalizers\.py:\d+"):
        balancer.stats()
