"""Waiting rooms: no wake-up and no slot is lost, whatever gives up and when.

Nothing but wake-ups wakes here: the look that a waiting request makes by itself now and then is switched off, so that a lost
wake-up shows as a patient request that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from random import Random

import pytest
from tests.concurrency._interrupts import Injector, Interrupt

from balancekit import LoadBalancer, Outcome
from balancekit.errors import SaturatedError
from balancekit.events import Restored
from balancekit.routing import Gradient, MaxInFlight
from balancekit.sim import Recorder
from balancekit.testing import ManualClock
from balancekit.waiting import (
    RoomClosedError,
    WaitingQueue,
    WaitingRoom,
    WaitingTimeoutError,
    _handover,
)

SLOTS = 4
PATIENT_S = 60.0


@pytest.fixture(autouse=True)
def _wake_ups_alone(monkeypatch):
    """Switch the looks of waiting requests off."""
    monkeypatch.setattr(_handover, "POLL_S", 3600.0)


def balancer(slots=SLOTS):
    """Return a balancer of that many slots at two endpoints."""
    return LoadBalancer(["a", "b"], selector=MaxInFlight(slots // 2))


def queue():
    """Return a queue without bound, first in, first out."""
    return WaitingQueue(max_waiting=None, order="fifo")


def left_nothing(lb, room):
    """Check that no slot is taken, none waits, and all slots can be had at once."""
    gc.collect()
    handover = room._handover
    assert len(room) == 0
    assert not any(handover.queue._levels)
    assert handover._looker == _handover.NO_THREAD
    assert lb.stats().inflight == 0
    leases = [lb.acquire() for _ in range(SLOTS)]
    with pytest.raises(SaturatedError):
        lb.acquire()
    for lease in leases:
        lease.release()


def wait_until(condition):
    """Let other threads run until something is so."""
    while not condition():
        time.sleep(0.0005)


# ---------------------------------------------------------------------- a million cancellations


def threads_give_up(cancellations, workers=8):
    """Give up at about the moment at which slots become free; return how many gave up, were served, and were patient."""
    lb = balancer()
    room = WaitingRoom(lb, queue())
    counts = {"gave up": [0] * workers, "served": [0] * workers, "patient": [0] * workers}
    failed = []

    def work(number):
        random = Random(number)
        while sum(counts["gave up"]) < cancellations and not failed:
            patient = random.random() < 0.02
            timeout = PATIENT_S if patient else random.random() * 2e-4
            try:
                with room.acquire(timeout=timeout, tenant=str(number % 3), criticality=number % 2):
                    counts["served"][number] += 1
                    counts["patient"][number] += patient
                    if random.random() < 0.2:
                        time.sleep(random.random() * 1e-4)
            except WaitingTimeoutError:
                counts["gave up"][number] += 1
                if patient:
                    failed.append(number)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, "a patient request waited for a minute beside slots that became free"
    left_nothing(lb, room)
    return [sum(numbers) for numbers in counts.values()]


async def tasks_are_cancelled(cancellations):
    """Cancel tasks before they wait, while they wait and when they have just been given a slot; return the same counts."""
    lb = balancer()
    room = WaitingRoom(lb, queue())
    random = Random(1)
    cancelled = served = patient = handed = 0

    async def ask():
        nonlocal served
        with await room.acquire_async(timeout=PATIENT_S, tenant=str(random.randrange(3))):
            served += 1
            for _ in range(random.randrange(3)):
                await asyncio.sleep(0)

    while cancelled < cancellations:
        tasks = [asyncio.create_task(ask()) for _ in range(44)]
        for _ in range(random.randrange(5)):
            await asyncio.sleep(0)
        doomed = set(random.sample(range(44), 40))
        for number in doomed:
            tasks[number].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        given_up = [isinstance(result, asyncio.CancelledError) for result in results]
        cancelled += sum(given_up)
        assert not any(given_up[number] for number in range(44) if number not in doomed)
        assert [
            result
            for result in results
            if result is not None and not isinstance(result, asyncio.CancelledError)
        ] == []
        patient += 4
    handed = sum(endpoint.outcomes.get(Outcome.CANCELLED, 0) for endpoint in lb.stats().endpoints)
    left_nothing(lb, room)
    return cancelled, served, patient, handed


def test_threads_that_give_up_lose_no_slot():
    """After 20,000 requests of threads that gave up, no slot is taken, none waits, and each patient request was served."""
    gave_up, served, patient = threads_give_up(20_000)
    assert gave_up >= 20_000
    assert served > 1_000
    assert patient > 100


def test_tasks_that_are_cancelled_lose_no_slot():
    """After 20,000 tasks that were cancelled, no slot is lost.

    A slot given to a cancelled task goes on to the next.
    """
    cancelled, served, patient, handed = asyncio.run(tasks_are_cancelled(20_000))
    assert cancelled >= 20_000
    assert served > patient > 1_000
    assert handed > 100


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_million_requests_of_threads_give_up():
    """10**6 requests of threads give up: no wake-up is lost and nothing is left."""
    gave_up, served, patient = threads_give_up(1_000_000)
    print(f"threads: {gave_up} gave up, {served} served, {patient} of these patient")
    assert gave_up >= 1_000_000
    assert served > patient > 1_000


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_million_tasks_are_cancelled():
    """10**6 tasks are cancelled: no wake-up is lost and nothing is left."""
    cancelled, served, patient, handed = asyncio.run(tasks_are_cancelled(1_000_000))
    print(f"tasks: {cancelled} cancelled, {handed} with a slot, {served} served, {patient} of these patient")
    assert cancelled >= 1_000_000
    assert served > patient
    assert handed > 10_000


# ---------------------------------------------------------------------- what wakes, and which


class Caller:
    """A thread that asks a room for a lease."""

    def __init__(self, room, *key, **options):
        self.answer = None
        waiting = len(room) if len(room) < room._handover.queue.max_waiting else 0
        self.thread = threading.Thread(target=self._ask, args=(room, key, options), daemon=True)
        self.thread.start()
        wait_until(lambda: self.answer is not None or len(room) > waiting)

    def _ask(self, room, key, options):
        try:
            self.answer = room.acquire(*key, **{"timeout": PATIENT_S} | options)
        except Exception as error:
            self.answer = error

    def result(self):
        """Return the lease, or the error."""
        self.thread.join()
        return self.answer


def test_one_request_is_woken_for_each_slot_in_order():
    """Each lease that ends wakes the one request that came first, and no other."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    leases = [room.acquire(), room.acquire()]
    callers = [Caller(room) for _ in range(5)]
    woken = []
    for number, caller in enumerate(callers):
        leases.pop(0).release()
        leases.append(caller.result())
        woken.append(number)
        assert [one.answer is not None for one in callers] == [n <= number for n in range(5)]
    for lease in leases:
        lease.release()
    assert woken == list(range(5))
    assert len(room) == 0


def test_a_slot_is_acquired_once_for_each_release():
    """A release that nothing can use costs one refused acquire; one that is handed over, one more that succeeds."""
    lb = balancer(2)
    asked = []

    class Counting:
        def __getattr__(self, name):
            return getattr(lb, name)

        def acquire(self, *key, **options):
            asked.append(1)
            return lb.acquire(*key, **options)

    room = WaitingRoom(Counting(), queue())
    leases = [lb.acquire(), lb.acquire()]
    callers = [Caller(room) for _ in range(3)]
    asked.clear()
    leases[0].release()
    callers[0].result().release()
    for caller in callers[1:]:
        caller.result().release()
    leases[1].release()
    assert len(asked) == 3 + 2, (
        "three were handed over; the first two looks were refused, the last found none waiting"
    )


def test_a_newcomer_takes_no_slot_from_those_that_wait():
    """While any request waits, a request that comes later gets no slot before it."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    held = [room.acquire(), room.acquire()]
    caller = Caller(room, exclude={"b"})
    next(lease for lease in held if lease.target == "b").release()
    late = Caller(room, exclude={"b"})
    with pytest.raises(WaitingTimeoutError):
        room.acquire(timeout=0.001, exclude={"b"})
    next(lease for lease in held if lease.target == "a").release()
    lease = caller.result()
    assert lease.target == "a"
    assert late.answer is None
    lease.release()
    late.result().release()


def test_an_exclusion_does_not_stop_those_behind():
    """A slot of no use to the first request goes to the next one that can use it, and the first keeps its place."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    held = {lease.target: lease for lease in (room.acquire(), room.acquire())}
    not_a, any_one = Caller(room, exclude={"a"}), Caller(room)
    held["a"].release()
    assert any_one.result().target == "a"
    held["b"].release()
    assert not_a.result().target == "b"
    any_one.answer.release()
    not_a.answer.release()


def test_a_request_that_has_tried_all_does_not_wait():
    """AttemptsExhaustedError comes at once, to a newcomer, and to a request whose last other endpoint is removed."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    with pytest.raises(Exception, match="tried"):
        room.acquire(exclude={"a", "b"})
    held = [room.acquire(), room.acquire()]
    caller = Caller(room, exclude={"a"})
    lb.remove("b")
    assert type(caller.result()).__name__ == "AttemptsExhaustedError"
    for lease in held:
        lease.release()


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        pytest.param(
            lambda: LoadBalancer(["a"], selector=MaxInFlight(1)), lambda lb: lb.add("c"), id="added"
        ),
        pytest.param(
            lambda: LoadBalancer([], allow_empty=True), lambda lb: lb.update(["a", "b"]), id="first"
        ),
        pytest.param(
            lambda: LoadBalancer(["a"], selector=MaxInFlight(1)),
            lambda lb: lb.update(["a", "b", "c"]),
            id="several",
        ),
    ],
)
def test_a_change_of_the_pool_wakes(make, cause):
    """Requests that wait are served at once when an endpoint is added, or may be picked again."""
    lb = make()
    room = WaitingRoom(lb, queue())
    held = []
    with contextlib.suppress(Exception):
        held.append(lb.acquire())
    caller = Caller(room)
    assert caller.answer is None
    cause(lb)
    lease = caller.result()
    for one in (lease, *held):
        one.release()
    assert lb.stats().inflight == 0


def test_a_limit_that_rises_wakes_as_many_as_it_allows():
    """When the end of a lease raises an adaptive limit, the requests that now have room are all served at once."""
    selector = MaxInFlight(Gradient(min_rtt=0.02, interval=0.001))
    clock = ManualClock()
    lb = LoadBalancer(["a"], selector=selector, timed=True, clock=clock)
    room = WaitingRoom(lb, queue())
    leases = [room.acquire() for _ in range(3)]
    callers = [Caller(room) for _ in range(20)]
    for _ in range(2):  # the first tells the time, the second ends an interval
        clock.advance(0.005)
        leases.pop().release()
    assert selector.limits["a"] > 3
    wait_until(lambda: sum(caller.answer is not None for caller in callers) >= selector.limits["a"] - 1)
    assert lb.stats().inflight == selector.limits["a"] > len(leases) + 2
    room.close()
    for caller in callers:
        result = caller.result()
        assert isinstance(result, RoomClosedError) or result.release()


def test_a_full_room_refuses_at_once_and_a_closed_one_all():
    """Beyond its places a room refuses without waiting; when it is closed, it refuses what waits and what comes."""
    lb = balancer(2)
    room = WaitingRoom(lb, WaitingQueue(max_waiting=1))
    held = [room.acquire(), room.acquire()]
    caller = Caller(room)
    with pytest.raises(SaturatedError, match="1 requests wait already"):
        room.acquire()
    critical = Caller(room, criticality=1)
    assert "1 requests wait already" in str(caller.result())
    room.close()
    room.close()
    assert isinstance(critical.result(), RoomClosedError)
    with pytest.raises(RoomClosedError):
        room.acquire()
    with pytest.raises(RoomClosedError):
        asyncio.run(room.acquire_async())
    for lease in held:
        lease.release()
    assert lb._runtime.ledger.observers == ()
    assert lb._runtime.listeners._listeners == ()
    assert lb.stats().inflight == 0


def test_a_slot_that_time_frees_is_noticed(monkeypatch):
    """An endpoint that has cooled down is used although no lease ends: requests look by themselves now and then."""
    monkeypatch.setattr(_handover, "POLL_S", 0.02)
    lb = LoadBalancer(["a"])
    room = WaitingRoom(lb, queue())
    lb.acquire().release(Outcome.FAILURE, retry_after=0.1)
    with room.acquire(timeout=PATIENT_S) as lease:
        assert lease.target == "a"

    async def wait():
        lb.acquire().release(Outcome.FAILURE, retry_after=0.1)
        with await room.acquire_async(timeout=PATIENT_S) as lease:
            assert lease.target == "a"

    asyncio.run(wait())


def test_an_error_of_a_request_is_raised_where_it_was_made():
    """A selector that raises for one request fails that request, wherever the slot was acquired, and the next is served."""

    class Moody(MaxInFlightOne):
        def select(self, snapshot, ctx):
            if ctx.key == "poison" and not snapshot.eligible[0].inflight:
                raise ZeroDivisionError("poison")
            return super().select(snapshot, ctx)

    lb = LoadBalancer(["a"], selector=Moody())
    room = WaitingRoom(lb, queue())
    held = room.acquire()
    poison, good = Caller(room, "poison"), Caller(room)
    held.release()
    assert isinstance(poison.result(), ZeroDivisionError)
    good.result().release()


class MaxInFlightOne:
    """A selector of the user: one request at a time, and no reasons."""

    thread_safe = True

    def select(self, snapshot, ctx):
        """Return the first idle node."""
        return next((node for node in snapshot.candidates(ctx) if not node.inflight), None)


def test_a_balancer_that_changes_whenever_it_is_asked_is_not_asked_for_ever():
    """A refused acquire that causes an event, each time, ends a look; requests behind still get slots."""
    lb = balancer(2)

    class Restless:
        def __getattr__(self, name):
            return getattr(lb, name)

        def acquire(self, *key, **options):
            try:
                return lb.acquire(*key, **options)
            except SaturatedError:
                lb.emit(Restored(endpoint="a", at=0.0))
                raise

    room = WaitingRoom(Restless(), queue())
    held = [room.acquire(), room.acquire()]
    caller = Caller(room)
    held[0].release()
    caller.result().release()
    held[1].release()


def test_a_room_takes_whatever_observes_like_a_balancer(tmp_path):
    """A Recorder has leases of its own: they are handed over, and released if the request has gone."""
    lb = balancer(2)
    with Recorder(lb, tmp_path / "requests.jsonl") as recorder:
        room = WaitingRoom(recorder, queue())
        held = [room.acquire(), room.acquire()]
        caller = Caller(room)
        held[0].release()
        caller.result().release()
        held.append(room.acquire())
        with pytest.raises(WaitingTimeoutError):
            room.acquire(timeout=0.001)
        for lease in held[1:]:
            lease.release()
    assert lb.stats().inflight == 0


def test_threads_and_loops_share_a_room():
    """Threads and the tasks of two loops wait in one room; each slot goes to the next, wherever that is."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    held = [room.acquire(), room.acquire()]
    order = []

    async def ask(name):
        with await room.acquire_async(timeout=PATIENT_S):
            order.append(name)

    def ask_thread(name):
        with room.acquire(timeout=PATIENT_S):
            order.append(name)

    starts = [
        ("loop 1", lambda: asyncio.run(ask("loop 1"))),
        ("thread", lambda: ask_thread("thread")),
        ("loop 2", lambda: asyncio.run(ask("loop 2"))),
    ]
    threads = []
    for number, (_, target) in enumerate(starts, 1):
        threads.append(threading.Thread(target=target, daemon=True))
        threads[-1].start()
        wait_until(lambda number=number: len(room) == number)
    held[0].release()
    for thread in threads:
        thread.join()
    assert order == [name for name, _ in starts]
    held[1].release()


def test_a_loop_that_ended_keeps_no_slot():
    """A task that waited in a loop that was closed without cancelling it gets nothing; its slot goes on."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    held = [room.acquire(), room.acquire()]
    loop = asyncio.new_event_loop()
    task = loop.create_task(room.acquire_async(timeout=PATIENT_S))
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    assert len(room) == 1
    caller = Caller(room)
    held[0].release()
    caller.result().release()
    held[1].release()
    assert lb.stats().inflight == 0
    task._log_destroy_pending = False


# ---------------------------------------------------------------------- interrupts


def interrupted(place, *, jumps, act):
    """Run an act with an interrupt at a place while another request waits; check that nothing is lost. Return whether it came."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    held = [room.acquire(), room.acquire()]
    caller = Caller(room)
    injector = Injector(place, jumps=jumps)
    with contextlib.suppress(Interrupt, WaitingTimeoutError), injector:
        act(room, held)
    for lease in held:
        lease.release()
    assert caller.result().release(), injector.where
    lb._runtime.wake()
    assert (lb.stats().inflight, len(room)) == (0, 0), injector.where
    assert not any(room._handover.queue._levels), injector.where
    assert [lb.acquire().release() for _ in range(3)] == [True] * 3
    return bool(injector.where)


def release(_room, held):
    """End a lease, for which a request waits."""
    held[0].release()


def acquire(room, held):
    """Wait, and get nothing."""
    room.acquire(timeout=1e-6)


def acquire_beside(room, held):
    """Wait behind the other, with a slot free."""
    held[0].release()
    with contextlib.suppress(WaitingTimeoutError):
        room.acquire(timeout=1e-6, tenant="other")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # generators inside typing.Protocol
@pytest.mark.parametrize("act", [release, acquire, acquire_beside])
@pytest.mark.parametrize(("jumps", "minimum"), [(False, 40), (True, 1)])
def test_an_interrupt_anywhere_loses_nothing(act, jumps, minimum, monkeypatch):
    """After a KeyboardInterrupt at any place of a release or of a wait, slots and requests meet as before and nothing is left.

    The thread that was interrupted may have been about to wake another: that one looks by itself, here every 10 ms.
    """
    monkeypatch.setattr(_handover, "POLL_S", 0.01)
    place = 0
    while interrupted(place + 1, jumps=jumps, act=act):
        place += 1
    assert place >= minimum


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_begins_with_an_empty_room():
    """Requests that wait in the parent do not wait in a forked child, and the child can wait in its own."""
    lb = balancer(2)
    room = WaitingRoom(lb, queue())
    held = [room.acquire(), room.acquire()]
    caller = Caller(room)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            assert len(room) == 0
            with room.acquire(timeout=5.0):
                os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held[0].release()
    caller.result().release()
    held[1].release()
