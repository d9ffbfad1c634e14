"""Limits of requests in flight of endpoints that are removed and added again while leases are open."""

from __future__ import annotations

import os

import pytest

from balancekit import Endpoint, LoadBalancer, Outcome, SaturatedError
from balancekit.routing import Aimd, Gradient, MaxInFlight, Priority, Subsetting


class Unequal:
    """A target that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None


def fill(lb, key=None):
    """Pick until none has room; return the open leases."""
    leases = []
    while True:
        try:
            leases.append(lb.acquire(key))
        except SaturatedError:
            return leases


LIMITS = {
    "number": lambda: MaxInFlight(3),
    "per weight": lambda: MaxInFlight(3, per_weight=True),
    "Aimd": lambda: MaxInFlight(Aimd(initial=3)),
    "Gradient": lambda: MaxInFlight(Gradient(min_limit=3)),
    "below a router": lambda: Priority(lambda: MaxInFlight(3)),
}
every_limit = pytest.mark.parametrize("limit", LIMITS)


@every_limit
@pytest.mark.parametrize("key", [None, "a key"])
def test_leases_of_a_removed_endpoint_count_when_it_returns(limit, key):
    """The server still serves them: it gets no more until some have ended, however often it leaves and returns."""
    lb = LoadBalancer(["a", "b"], selector=LIMITS[limit](), health=None)
    leases = fill(lb, key)
    for _ in range(3):
        lb.remove("a")
        lb.add(Endpoint("a", bytes([97]).decode()))  # an equal text, and not the same one
        assert not fill(lb, key)
    for lease in leases:
        lease.release(Outcome.IGNORED)
    leases = fill(lb, key)
    assert len(leases) == 6
    lb.remove("a")
    leases.pop(next(k for k, lease in enumerate(leases) if lease.target == "a")).release(Outcome.IGNORED)
    lb.add("a")
    again = fill(lb, key)
    assert [lease.target for lease in again] == ["a"]
    for lease in (*leases, *again):
        lease.release(Outcome.IGNORED)


@every_limit
@pytest.mark.parametrize("target", ["other", Unequal()], ids=["other", "not comparable"])
def test_leases_on_another_server_do_not_count(limit, target):
    """An endpoint that gets a new target has the whole limit: its old leases are on another server."""
    lb = LoadBalancer([Endpoint("a", Unequal()), Endpoint("b", "b")], selector=LIMITS[limit](), health=None)
    old = fill(lb)
    lb.update([Endpoint("a", target), Endpoint("b", "b")])
    new = fill(lb)
    assert [lease.endpoint.id for lease in new] == ["a"] * 3
    for lease in (*old, *new):
        lease.release(Outcome.IGNORED)


def test_a_change_that_is_refused_counts_nothing_twice():
    """If a removal does not happen, because another selector refuses it, the leases of the endpoint count once."""

    def choose(ids):
        if len(ids) == 1:
            raise RuntimeError("refused")
        return ids

    lb = LoadBalancer(["a", "b"], selector=MaxInFlight(3, child=lambda: Subsetting(choose)), health=None)
    first = lb.acquire(exclude=["b"])
    with pytest.raises(RuntimeError):
        lb.remove("a")
    others = fill(lb)
    assert len(others) == 5
    for lease in (first, *others):
        lease.release(Outcome.IGNORED)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("change", ["before", "after"])
def test_leases_of_the_parent_do_not_count_in_a_forked_child(change):
    """A forked child has the whole limit, also for an endpoint that returns before or after the fork."""
    lb = LoadBalancer(["a", "b"], selector=MaxInFlight(3), health=None)
    leases = fill(lb)
    if change == "before":
        lb.remove("a")
        lb.add("a")
    child = os.fork()
    if not child:
        try:
            if change == "after":
                lb.remove("a")
                lb.add("a")
            own = fill(lb)
            os._exit(len(own))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
    for lease in leases:
        lease.release(Outcome.IGNORED)
