"""A queue of waiting requests is what it was or what it is to be, wherever a change of it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.concurrency._interrupts import Injector, Interrupt

from balancekit import LoadBalancer, SaturatedError
from balancekit.routing import MaxInFlight
from balancekit.waiting import Waiter, WaitingQueue, WaitingRoom
from balancekit.waiting._handover import Request

MAX_PLACES = 500
Queue = WaitingQueue[str]


def state(queue: Queue) -> Any:
    """Return what a queue knows, without what has left and is still to be tidied up."""
    lines = [
        {
            tenant: ([one.request for one in line.line if one.waiting], line.count, line.cost, line.served)
            for tenant, line in level.items()
        }
        for level in queue._levels
    ]
    ahead = {tenant: at for tenant, at in queue._served.items() if at > queue._virtual}
    return len(queue), lines, ahead, queue._virtual


def is_whole(queue: Queue) -> bool:
    """Return whether all counts are those of what waits, and no more than may."""
    lines = [line for level in queue._levels for line in level.values()]
    waiting = [[one for one in line.line if one.waiting] for line in lines]
    return (
        len(queue) == sum(map(len, waiting)) <= queue.max_waiting
        and [line.count for line in lines] == [len(own) for own in waiting]
        and [line.cost for line in lines] == [sum(one.cost for one in own) for own in waiting]
        and all(waiting)
    )


def filled() -> tuple[Queue, dict[str, Waiter[str]]]:
    """Return a full queue of two criticalities and three tenants, some of which have been served before, and its waiters."""
    queue: Queue = WaitingQueue(max_waiting=6)
    waiters = {}
    for name, tenant, criticality, deadline in (
        ("a1", "a", 0, 100.0),
        ("a2", "a", 0, 100.0),
        ("b1", "b", 0, 100.0),
        ("c1", "c", 1, 5.0),
        ("b2", "b", 1, 100.0),
        ("c2", "c", 1, 5.5),
    ):
        waiters[name], _ = queue.offer(
            name, now=0.0, tenant=tenant, criticality=criticality, deadline=deadline
        )
    queue.served("d", 3.0)
    queue.served("e", 2.0)
    return queue, waiters


CHANGES: dict[str, Callable[[Queue, dict[str, Waiter[str]]], object]] = {
    "one that takes another's place": lambda queue, _: queue.offer("new", now=1.0, tenant="d", criticality=1),
    "one that takes its own tenant's place": lambda queue, _: queue.offer(
        "new", now=1.0, tenant="a", criticality=1
    ),
    "one that finds no place": lambda queue, _: queue.offer("new", now=1.0, tenant="a"),
    "one that finds a place": lambda queue, waiters: (
        queue.withdraw(waiters["a1"]) and queue.offer("new", now=1.0, tenant="e", criticality=2)
    ),
    "withdraw": lambda queue, waiters: queue.withdraw(waiters["a2"]),
    "withdraw the last of a tenant": lambda queue, waiters: queue.withdraw(waiters["b1"]),
    "take": lambda queue, waiters: queue.take(waiters["a1"]),
    "take the last of a tenant": lambda queue, waiters: queue.take(waiters["b2"]),
    "served": lambda queue, _: queue.served("f", 2.0),
    "next": lambda queue, _: queue.next(now=1.0),
}


@pytest.mark.parametrize("jumps", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupt_anywhere_leaves_the_queue_before_or_after(name: str, jumps: bool) -> None:
    """A change of a queue that is interrupted has been made whole, or not at all: counts, places and turns of tenants."""
    queue, waiters = filled()
    before = [state(queue)]
    if name == "one that finds a place":
        queue.withdraw(waiters["a1"])
        before.append(state(queue))
        queue.offer("new", now=1.0, tenant="e", criticality=2)
    else:
        CHANGES[name](queue, waiters)
    allowed = [*before, state(queue)]
    for place in range(1, MAX_PLACES):
        queue, waiters = filled()
        injector = Injector(place, jumps=jumps)
        try:
            with injector:
                CHANGES[name](queue, waiters)
        except Interrupt:
            assert is_whole(queue), injector.where
            assert state(queue) in allowed, injector.where
        if not injector.where:
            break
    else:
        raise AssertionError("there is no end of places")
    assert state(queue) == allowed[-1]
    assert jumps or place > 1


@pytest.mark.parametrize("jumps", [False, True])
def test_an_interrupt_loses_none_of_those_that_next_takes_out(jumps: bool) -> None:
    """Every request that leaves the queue in an interrupted call is returned by the next one, once; none is lost."""
    for place in range(1, MAX_PLACES):
        queue, _ = filled()
        injector = Injector(place, jumps=jumps)
        told: list[str] = []
        try:
            with injector:
                chosen, refused = queue.next(now=6.0)
        except Interrupt:
            assert is_whole(queue), injector.where
        else:
            told = [one.request for one in (chosen, *refused) if one is not None]
        while True:
            chosen, refused = queue.next(now=6.0)
            told += [one.request for one in refused]
            if chosen is None:
                break
            told.append(chosen.request)
        assert sorted(told) == ["a1", "a2", "b1", "b2", "c1", "c2"], injector.where
        if not injector.where:
            break
    else:
        raise AssertionError("there is no end of places")


@pytest.mark.parametrize("jumps", [False, True])
def test_an_interrupt_leaves_no_request_in_a_room_without_its_answer(jumps: bool) -> None:
    """A request whose place another takes has the error at the moment it loses the place, wherever the other is interrupted."""
    for place in range(1, MAX_PLACES):
        lb = LoadBalancer(["a"], selector=MaxInFlight(1))
        room = WaitingRoom(lb, WaitingQueue(max_waiting=1))
        handover, lease = room._handover, lb.acquire()
        first, second = (
            Silent(lb.acquire, alike=True, excluding=False),
            Silent(lb.acquire, alike=True, excluding=False),
        )
        handover.enter(first, deadline=1e9, criticality=0, tenant="", cost=1.0)
        injector = Injector(place, jumps=jumps)
        try:
            with injector:
                handover.enter(second, deadline=1e9, criticality=1, tenant="", cost=1.0)
        except Interrupt:
            handover.give_back(second)
        assert first.waits or isinstance(first.answer, SaturatedError), injector.where
        assert len(room) == (first.waits or second.waits), injector.where
        lease.release()
        room.close()
        if not injector.where:
            assert isinstance(first.answer, SaturatedError)
            break
    else:
        raise AssertionError("there is no end of places")


class Silent(Request[str]):
    """A request that nothing wakes."""

    __slots__ = ()

    def wake(self) -> bool:
        """Do nothing."""
        return True


def test_the_places_of_a_queue_are_seen() -> None:
    """A full queue that takes one more has more than ten places at which a signal is delivered."""
    queue, _ = filled()
    seen = Injector(MAX_PLACES, jumps=False)
    with seen:
        queue.offer("new", now=1.0, tenant="d", criticality=1)
    assert seen._seen > 10
