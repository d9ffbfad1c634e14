"""Changes of the pool that what comes fast must not overtake for ever, and what waits in line meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from balancekit import LoadBalancer, Outcome, RoundRobin
from balancekit.engine.locks import EngineLocks
from balancekit.engine.turn import PART, Turn
from balancekit.events import Event
from balancekit.health import CheckResult
from balancekit.loads import ExpectedDelay, InFlight
from balancekit.node import Node
from balancekit.testing import ManualClock


class Acting:
    """A selector that acts while it prepares."""

    keyed, thread_safe = False, True

    def __init__(self) -> None:
        self.act: Callable[[], object] = int

    def select(self, snapshot: Any, ctx: Any) -> Node | None:
        """Return the first candidate."""
        return next(iter(snapshot.candidates(ctx)), None)

    def picker(self, snapshot: Any, *, rng: Any) -> Callable[[float], Node]:
        """Return what picks the first candidate."""
        return lambda now: snapshot.eligible[0]

    def prepare(self, snapshot: Any) -> None:
        """Act."""
        self.act()


def elsewhere(work: Callable[[], object]) -> None:
    """Do something in another thread, and wait for it."""
    thread = Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("times", [1, 40])
def test_a_change_is_made_once_although_time_passes(times: int) -> None:
    """That loads are due and postponed while a change is prepared does not make the change again."""
    clock, selector = ManualClock(), Acting()
    lb = LoadBalancer(["a", "b"], selector=selector, load=ExpectedDelay(), clock=clock)
    lb.acquire().release()

    def request() -> None:
        clock.advance(1.0)
        lb.acquire().release()

    def pass_time() -> None:
        for _ in range(times):
            before = lb._runtime.current.published
            elsewhere(request)
            assert lb._runtime.current.published is not before

    version, selector.act = lb.stats().version, pass_time
    lb.add("c")
    assert lb.stats().version == version + 1
    assert lb._runtime.current.published.deadline <= clock() + 1.0
    assert [endpoint.id for endpoint in lb.endpoints] == ["a", "b", "c"]


def test_a_change_is_made_although_endpoints_fail_all_the_time() -> None:
    """With checks that eject an endpoint or let it back during every attempt, the second attempt is through."""
    selector = Acting()
    lb = LoadBalancer(["a", "b", "c"], selector=selector, load=InFlight())
    told: list[str] = []
    lb.on_event(lambda event: told.append(type(event).__name__))
    attempts: list[bool] = []

    def report() -> None:
        for _ in range(3):
            lb.report_check("a", CheckResult(passed=len(attempts) % 2 == 0))

    def act() -> None:
        if len(lb.endpoints) == 3:
            selector.act = int  # for what the checks lead to
            attempts.append(True)
            elsewhere(report)
            selector.act = act

    selector.act = act
    lb.add("d")
    selector.act = int
    assert len(attempts) == 2
    assert told.index("Added") < len(told) - 1
    state = {endpoint.id: endpoint.state for endpoint in lb.stats().endpoints}
    assert state == dict.fromkeys("abcd", "healthy")
    assert not lb._runtime._dispatch.turn.queue


def test_what_waits_while_a_change_is_refused_is_done_by_the_next_request() -> None:
    """Checks that were reported while a change was made again, and then refused, count with the next request."""
    selector = Acting()
    lb = LoadBalancer(["a", "b"], selector=selector, load=InFlight())

    def fail() -> None:
        for _ in range(3):
            lb.report_check("a", CheckResult(passed=False))

    def refuse() -> None:
        selector.act = int
        elsewhere(fail)
        raise ValueError("not that one")

    def overtaken() -> None:
        selector.act = int
        lb.add("early")
        selector.act = refuse

    selector.act = overtaken
    with pytest.raises(ValueError, match="not that one"):
        lb.add("late")
    assert lb._runtime._dispatch.turn.pending
    with lb.acquire() as lease:
        assert lease.target == "b"
    assert not lb._runtime._dispatch.turn.pending


def test_what_is_left_in_line_is_done_by_the_next_plain_request() -> None:
    """Checks that are left in line count with the next plain request, also if nothing else is due."""
    lb = LoadBalancer(["a", "b"], selector=RoundRobin())
    turn = lb._runtime._dispatch.turn
    turn.changing.add(1)
    turn.delay(1)
    for _ in range(3):
        lb.report_check("a", CheckResult(passed=False))
    turn.resume(1)
    assert [lb.acquire().target for _ in range(4)] == ["b"] * 4


def test_only_what_was_postponed_is_no_reason_to_make_a_change_again() -> None:
    """A swap fits if the time of what is due has changed, not if the state has, or if something is due now."""
    clock = ManualClock()
    lb = LoadBalancer(["a", "b"], load=ExpectedDelay(), clock=clock)
    publisher, transitions = lb._runtime._publisher, lb._runtime._transitions

    def postpone() -> None:
        clock.advance(1.0)
        lb.acquire().release()

    def cool() -> None:
        lb.acquire().release(Outcome.FAILURE, retry_after=9.0)

    fits = []
    for act in (postpone, transitions.make_due, postpone, cool):
        base = lb._runtime.current.published
        act()
        assert lb._runtime.current.published is not base
        fits.append(publisher.swap(base, base))
    assert fits == [True, False, True, False]


def test_a_thread_does_its_part_of_what_is_in_line() -> None:
    """One input leads to eight that are dispatched, oldest first. What is left is seen, and read-outs do all of it."""
    turn, done = Turn(EngineLocks()), list[int]()

    def task(number: int) -> Callable[[], list[Event]]:
        def run() -> list[Event]:
            done.append(number)
            return []

        return run

    turn.changing.add(1)
    turn.delay(1)
    for number in range(30):
        assert turn.run(task(number)) == []
    assert turn.run_if_free(task(99)) == []
    assert done == []
    turn.resume(1)
    assert turn.pending
    turn.run(task(30))
    assert done == list(range(PART))
    turn.run_if_free(task(31), whole=True)
    assert done == list(range(32))
    assert not turn.pending


def test_a_delay_ends_with_the_change() -> None:
    """A delay that was not ended, as an interrupt may bring about, holds nothing up once its thread has left the change."""
    turn, done = Turn(EngineLocks()), list[str]()
    turn.changing.add(1)
    turn.delay(1)
    turn.run(lambda: done.append("first") or [])
    assert done == []
    turn.changing.discard(1)
    turn.run(lambda: done.append("second") or [])
    assert done == ["first", "second"]


def test_a_delay_begins_after_the_input_that_is_being_dispatched() -> None:
    """A task during which the turn is delayed ends; what is in line behind it waits."""
    turn, done = Turn(EngineLocks()), list[str]()

    def outer() -> list[Event]:
        turn.run(lambda: done.append("inner") or [])
        turn.changing.add(1)
        turn.delay(1)
        done.append("outer")
        return []

    turn.run(outer)
    assert done == ["outer"]
    turn.resume(1)
    turn.run_if_free(list)
    assert done == ["outer", "inner"]


def test_statistics_show_every_end_that_is_in_line() -> None:
    """Failures that were reported while the turn was delayed are all in the next read-out."""
    lb = LoadBalancer(["a", "b"], load=InFlight())
    turn = lb._runtime._dispatch.turn
    turn.changing.add(1)
    turn.delay(1)
    for _ in range(5 * PART):
        lb.acquire().release(Outcome.FAILURE)
    waiting = len(turn.queue)
    turn.resume(1)
    assert waiting > PART
    assert lb.stats().outcomes[Outcome.FAILURE] == 5 * PART
    assert not turn.queue
