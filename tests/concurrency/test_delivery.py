"""Listeners and observers that use their balancer: told of all in order, never endlessly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.concurrency._interrupts import Injector

from balancekit import LoadBalancer
from balancekit.engine.delivery import MAX_CAUSING_CALLS
from balancekit.events import Added, Draining, Event, Retried

Told = list[tuple[object, ...]]


def on_event(lb: LoadBalancer[str], act: Callable[..., object]) -> None:
    """Listen to events."""
    lb.on_event(lambda event: act("event", event))


def on_start(lb: LoadBalancer[str], act: Callable[..., object]) -> None:
    """Observe leases that begin."""
    lb.on_start(lambda endpoint: act("start", endpoint.id))


def on_completion(lb: LoadBalancer[str], act: Callable[..., object]) -> None:
    """Observe leases that end."""
    lb.on_completion(lambda endpoint, completion: act("end", endpoint.id))


def emit(lb: LoadBalancer[str]) -> None:
    """Cause an event."""
    lb.emit(Retried(endpoint="a", at=0.0, reason="test"))


def request(lb: LoadBalancer[str]) -> None:
    """Begin a lease and end it."""
    assert lb.acquire().release()


KINDS = {"listener": (on_event, emit), "start": (on_start, request), "completion": (on_completion, request)}

every_kind = pytest.mark.parametrize(("join", "cause"), KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.parametrize("callers", [1, 2, 5])
def test_callbacks_that_cause_what_they_are_told_of_end(
    join: Any, cause: Any, callers: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that causes what it is told of is called a bounded number of times, and logged once.

    One that causes nothing is told of all.
    """
    lb = LoadBalancer(["a"])
    calls = [0] * callers
    told: Told = []

    def act(number: int) -> None:
        calls[number] += 1
        cause(lb)

    for number in range(callers):
        join(lb, lambda *_, number=number: act(number))
    join(lb, lambda *what: told.append(what))
    for _ in range(2):  # the next request is told as the first was
        caplog.clear()
        calls[:], told[:] = [0] * callers, []
        cause(lb)
        assert calls == [1 + MAX_CAUSING_CALLS] * callers
        assert len(told) == 1 + sum(calls)
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * callers
        assert lb.stats().inflight == 0


def test_observers_that_cause_each_others_calls_end() -> None:
    """Observers and listeners that cause each other's calls end: those of starts, of ends and of events."""
    lb = LoadBalancer(["a"])
    on_event(lb, lambda *_: request(lb))
    on_start(lb, lambda *_: emit(lb))
    on_completion(lb, lambda *_: request(lb))
    told: Told = []
    for join, _ in KINDS.values():
        join(lb, lambda *what: told.append(what))
    request(lb)
    assert lb.stats().inflight == 0
    assert len([what for what in told if what[0] == "start"]) == lb.stats().completed
    assert len([what for what in told if what[0] == "end"]) == lb.stats().completed


def test_listeners_are_told_in_the_order_in_which_things_happened() -> None:
    """Listeners are told of events in the order in which they happened.

    All are told of a cause before any is told of what it caused.
    """
    lb = LoadBalancer(["a"])
    told: list[type[Event]] = []
    lb.on_event(lambda event: lb.drain(event.endpoint) if isinstance(event, Added) else None)
    lb.on_event(lambda event: told.append(type(event)))
    held = lb.acquire()
    lb.add("b")
    held.release()
    assert told[:2] == [Added, Draining]


def test_observers_are_told_of_starts_before_ends() -> None:
    """If an observer acquires from its balancer, no other observer is told of an end before its start."""
    lb = LoadBalancer(["a"])
    told: Told = []
    left = [1]

    def once(*_: object) -> None:
        if left:
            left.pop()
            request(lb)

    on_start(lb, once)
    on_start(lb, lambda *what: told.append(what))
    on_completion(lb, lambda *what: told.append(what))
    lease = lb.acquire()
    assert told == [("start", "a"), ("start", "a"), ("end", "a")]
    lease.release()
    assert told[3:] == [("end", "a")]


def test_a_callback_may_cause_as_much_as_it_likes_in_answer_to_what_it_did_not_cause() -> None:
    """A listener that drains each of many endpoints that one update added is told of each, and of all that follows."""
    lb = LoadBalancer(["a"])
    count = MAX_CAUSING_CALLS + 10
    told: list[type[Event]] = []

    def drain(event: Event) -> None:
        told.append(type(event))
        if isinstance(event, Added):
            lb.emit(Draining(endpoint=event.endpoint, at=event.at, inflight=0, deadline=None))

    lb.on_event(drain)
    lb.update(["a", *[f"b{number}" for number in range(count)]])
    assert told == [Added] * count + [Draining] * count


@every_kind
def test_an_interrupted_callback_leaves_what_waits_to_the_next(join: Any, cause: Any) -> None:
    """If an interrupt ends a callback, what it had caused is told, in order, with what happens next."""
    lb = LoadBalancer(["a"])
    told: Told = []
    left = [1]

    def interrupted(*_: object) -> None:
        if left:
            left.pop()
            cause(lb)
            raise KeyboardInterrupt

    join(lb, interrupted)
    join(lb, lambda *what: told.append(what))
    with pytest.raises(KeyboardInterrupt):
        cause(lb)
    assert told == []
    cause(lb)
    assert len(told) == 2


ADDERS = {"on_event": emit, "on_start": request, "on_completion": request}

every_adder = pytest.mark.parametrize(("add", "cause"), ADDERS.items(), ids=ADDERS)


@every_adder
def test_a_callback_that_another_has_stopped_is_not_called(add: str, cause: Any) -> None:
    """A callback that was stopped receives nothing, not even what others have received already."""
    lb = LoadBalancer(["a"])
    told: Told = []
    stops: list[Callable[[], None]] = []
    getattr(lb, add)(lambda *_: stops[0]())
    stops.append(getattr(lb, add)(lambda *what: told.append(what)))
    cause(lb)
    assert told == []


@every_adder
def test_a_callback_that_was_stopped_receives_nothing_of_what_waits(add: str, cause: Any) -> None:
    """What an interrupted callback has left waiting is not for callbacks that were stopped since."""
    lb = LoadBalancer(["a"])
    told: Told = []

    def interrupted(*_: object) -> None:
        cause(lb)
        raise KeyboardInterrupt

    stop = getattr(lb, add)(interrupted)
    with pytest.raises(KeyboardInterrupt):
        cause(lb)
    stop()
    getattr(lb, add)(lambda *what: told.append(what))
    cause(lb)
    assert len(told) == 1


def test_a_listener_may_stop_itself_at_the_first_of_several_events() -> None:
    """A listener that ends itself receives none of the events that the same change caused."""
    lb = LoadBalancer(["a"])
    told: list[Event] = []

    def first(event: Event) -> None:
        told.append(event)
        stop()

    stop = lb.on_event(first)
    lb.update(["a", "b", "c", "d"])
    assert len(told) == 1


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
@every_kind
def test_a_signal_handler_anywhere_may_cause_what_callbacks_are_told_of(
    join: Any, cause: Any, jumps: bool
) -> None:
    """A signal handler may interrupt the thread anywhere.

    All that it and the thread cause has been told when both are done.
    """
    place = places = 0
    while True:
        place += 1
        lb = LoadBalancer(["a"])
        told: Told = []
        for _ in range(2):
            join(lb, lambda *what, told=told: told.append(what))
        injector = Injector(place, jumps=jumps, handler=lambda lb=lb: cause(lb))
        with injector:
            cause(lb)
        if not injector.where:
            break
        places += 1
        assert len(told) == 4, injector.where
    assert jumps or places > 3
