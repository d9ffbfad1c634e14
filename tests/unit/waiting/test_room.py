"""Arguments of waiting rooms: the same values are refused whether a slot is free or not."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.routing import MaxInFlight
from balancekit.waiting import WaitingQueue, WaitingRoom, WaitingTimeoutError


@pytest.mark.parametrize("asynchronous", [False, True], ids=["thread", "task"])
@pytest.mark.parametrize("busy", [False, True], ids=["free", "busy"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("criticality", value) for value in (4, -1, 1.0, True, "1", None, math.nan)],
        *[("tenant", value) for value in (None, 3, [], b"shop")],
        *[("cost", value) for value in (0.0, -1.0, 1.1e12, math.nan, True, "1")],
        *[("timeout", value) for value in (0.0, -1.0, math.nan, True, "1")],
    ],
)
def test_wrong_arguments_are_refused_whether_a_slot_is_free_or_not(name, value, busy, asynchronous):
    """The error names the argument, none waits after it, and no slot is taken."""
    lb = LoadBalancer(["a"], selector=MaxInFlight(1))
    room = WaitingRoom(lb, WaitingQueue(max_waiting=8), timeout=0.01)
    lease = room.acquire() if busy else None
    with pytest.raises(ConfigurationError, match=name):
        _ = (
            asyncio.run(room.acquire_async(**{name: value}))
            if asynchronous
            else room.acquire(**{name: value})
        )
    assert len(room) == 0
    assert lb.stats().inflight == busy
    if lease is not None:
        lease.release()
    with room.acquire(criticality=3, tenant="\ud800") as last:
        assert last.target == "a"


@pytest.mark.parametrize("in_loop", [True, False])
def test_a_wait_that_blocks_a_loop_says_so(in_loop):
    """The error of a time-out has a note if a loop of asyncio had to wait, and only then."""
    with WaitingRoom(LoadBalancer(["a"], selector=MaxInFlight(1)), WaitingQueue(max_waiting=8)) as room:

        async def blocked():
            room.acquire(timeout=0.01)

        with room.acquire(), pytest.raises(WaitingTimeoutError) as caught:
            asyncio.run(blocked()) if in_loop else room.acquire(timeout=0.01)
    assert any("acquire_async" in note for note in getattr(caught.value, "__notes__", [])) is in_loop


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_room_takes_exclusions_and_tenants_as_its_balancer_does(asynchronous):
    """An array of ids excludes, what is empty excludes nothing, and a tenant of any class of strings is the one that it spells."""

    class Name(str):
        __slots__ = ()
        __hash__ = None

        def __eq__(self, other):
            raise RuntimeError("compared")

    room = WaitingRoom(LoadBalancer(["a", "b"], selector=MaxInFlight(1)), WaitingQueue(max_waiting=2))
    for exclude, target in (
        (np.array(["a", "x"]), "b"),
        (np.array(["b", "a"])[1:], "b"),
        (np.array([]), None),
        (None, None),
        ("", None),
    ):
        given = {"exclude": exclude, "tenant": Name("shop")}
        lease = asyncio.run(room.acquire_async(**given)) if asynchronous else room.acquire(**given)
        assert target in {None, lease.target}
        lease.release()
    for wrong in (np.array(1.0), np.array([1.0, 2.0]), "a"):
        with pytest.raises(ConfigurationError, match=r"^exclude="):
            room.acquire(exclude=wrong)
    with pytest.raises(ConfigurationError, match=r"^tenant="):
        room.acquire(tenant=np.array(["a", "b"]))


@pytest.mark.parametrize("count", ["offer", "served"])
def test_a_tenant_is_the_one_that_it_spells(count):
    """A queue counts a tenant by its characters, whatever class of strings it is of."""

    class Name(str):
        __slots__ = ()
        __hash__ = None

    queue = WaitingQueue(max_waiting=2)
    queue.offer("first", now=0.0, tenant="shop")
    if count == "offer":
        waiter, _ = queue.offer("second", now=0.0, tenant=Name("shop"))
        assert type(waiter.tenant) is str
    else:
        queue.served(Name("shop"), 5.0)
