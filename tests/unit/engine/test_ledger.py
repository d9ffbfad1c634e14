"""The ledger: what it counts, what it tells, and what it says of leases that were lost."""

from __future__ import annotations

import gc
import math
from collections import deque
from typing import Any

import pytest

from balancekit import LoadBalancer, Outcome
from balancekit.engine.ledger import FULLY_SAMPLED_SUCCESSES
from balancekit.events import Event, LeaseLost
from balancekit.node import Node
from balancekit.outcome import Completion
from balancekit.testing import ManualClock


class Told:
    """A load that notes what it is told."""

    def __init__(self, node: Node) -> None:
        self.starts: list[tuple[float, float]] = []
        self.ends: list[Completion] = []

    def started(self, *, now: float, cost: float) -> None:
        """Note a start."""
        self.starts.append((now, cost))

    def finished(self, completion: Completion, /) -> None:
        """Note an end."""
        self.ends.append(completion)

    def value(self, *, now: float) -> float:
        """Return the same for all."""
        return 0.0


def pool(**options: Any) -> tuple[LoadBalancer[str], ManualClock, list[Told]]:
    """Return a balancer of one endpoint, its clock, and its load."""
    clock, loads = ManualClock(), []

    def make(node: Node) -> Told:
        loads.append(Told(node))
        return loads[-1]

    return LoadBalancer(["a"], load=make, clock=clock, **options), clock, loads


def test_a_load_is_told_of_every_start_with_its_time_and_cost() -> None:
    """A load without ``needs_start = False`` hears of each lease when it is opened, and of its cost."""
    lb, clock, (load,) = pool()
    lb.acquire().release()
    clock.advance(2.0)
    lb.acquire(cost=3.0).release()
    assert load.starts == [(clock() - 2.0, 1.0), (clock(), 3.0)]
    assert [completion.cost for completion in load.ends] == [1.0, 3.0]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_load_is_told_how_each_lease_ended(outcome: Outcome) -> None:
    """A completion has the outcome, both times, and the time to the first byte if that was noted."""
    lb, clock, (load,) = pool()
    began = clock()
    lease = lb.acquire()
    clock.advance(0.5)
    lease.first_byte()
    clock.advance(1.0)
    assert lease.release(outcome)
    (completion,) = load.ends
    assert (completion.outcome, completion.started_at, completion.ended_at) == (outcome, began, began + 1.5)
    assert completion.first_byte_at == began + 0.5
    assert lb.stats()["a"].outcomes[outcome] == 1
    assert lb.stats().completed == 1


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.CANCELLED, Outcome.FAILURE])
def test_a_wish_to_be_left_alone_is_passed_on_whatever_the_outcome(outcome: Outcome) -> None:
    """``retry_after`` of any end cools the endpoint down, and is in the completion."""
    lb, clock, (load,) = pool(health=None)
    lb.acquire().release(outcome, retry_after=4.0)
    assert load.ends[0].retry_after == 4.0
    assert lb.stats()["a"].state == "cooling"
    clock.advance(4.0)
    assert lb.stats()["a"].state == "healthy"


def test_the_first_successes_are_sampled_one_by_one_and_later_ones_by_eights() -> None:
    """Of the default load's successes, 64 enter the latency window each, and then every eighth."""
    clock = ManualClock()
    lb = LoadBalancer(["a"], clock=clock)
    for number in range(FULLY_SAMPLED_SUCCESSES - 1 + 80):
        with lb.acquire():
            clock.advance(float(number + 1))
    window = lb._runtime.state.members["a"].node.latency
    assert window is not None
    seen = sorted(window.values())
    assert seen[: FULLY_SAMPLED_SUCCESSES - 1] == [float(n) for n in range(1, FULLY_SAMPLED_SUCCESSES)]
    assert seen[FULLY_SAMPLED_SUCCESSES - 1 :] == [float(n) for n in range(64, 64 + 80, 8)]


def test_an_observer_is_called_until_it_is_taken_away() -> None:
    """Observers of ends and of starts see every lease from then on, each until its function is called."""
    lb = LoadBalancer(["a"], clock=ManualClock())
    lb.acquire().release()
    ends: list[Outcome] = []
    starts: list[str] = []
    stop = lb.on_completion(lambda _, completion: ends.append(completion.outcome))
    stop_starts = lb.on_start(lambda endpoint: starts.append(endpoint.id))
    lb.acquire().release()
    lb.acquire().release(Outcome.IGNORED)
    assert ends == [Outcome.SUCCESS, Outcome.IGNORED]
    assert starts == ["a", "a"]
    stop()
    lb.acquire().release()
    assert len(ends) == 2
    assert len(starts) == 3
    stop_starts()
    lb.acquire().release()
    assert len(starts) == 3


@pytest.mark.parametrize("debug", [False, True])
def test_a_lost_lease_is_ended_as_cancelled_and_said_so(debug: bool) -> None:
    """The next request ends it, an event and a warning name the endpoint, and with ``debug`` the place."""
    events: list[Event] = []
    clock = ManualClock()
    lb = LoadBalancer(["a"], clock=clock, debug=debug, listeners=[events.append])
    lb.acquire()
    gc.collect()
    clock.advance(3.0)
    with pytest.warns(ResourceWarning, match="a lease of endpoint 'a' was never released") as warned:
        lb.acquire().release()
    (lost,) = [event for event in events if isinstance(event, LeaseLost)]
    assert (lost.endpoint, lost.at) == ("a", clock())
    assert (lost.site is not None and "test_ledger.py" in lost.site) is debug
    text = str(warned[0].message)
    assert ("test_ledger.py" in text) is debug
    assert ("debug=True" in text) is not debug
    counts = {outcome: count for outcome, count in lb.stats()["a"].outcomes.items() if count}
    assert counts == {Outcome.SUCCESS: 1, Outcome.CANCELLED: 1}


def test_a_released_lease_that_was_lost_is_not_reported() -> None:
    """A lease in the queue of lost ones that was released meanwhile leads to no event and no warning."""
    events: list[Event] = []
    lb = LoadBalancer(["a", "b"], clock=ManualClock(), listeners=[events.append])
    lease = lb.acquire()
    lease.release()
    lb._runtime.ledger.lost.append(lease)
    lb.acquire().release()
    assert events == []
    assert lb.stats().completed == 2


def test_an_untimed_balancer_reads_no_clock_for_a_plain_request() -> None:
    """With a load that is not timed, a plain request asks for no time, and its lease has none."""
    reads = [0]

    def clock() -> float:
        reads[0] += 1
        return 5.0

    from balancekit.loads import InFlight

    lb = LoadBalancer(["a", "b"], load=InFlight(), clock=clock)
    lb.acquire().release()
    before = reads[0]
    lease = lb.acquire()
    assert math.isnan(lease.started_at)
    lease.release()
    assert reads[0] == before
    assert lb.stats().latency is None


def test_a_selector_that_learns_is_told_of_every_end() -> None:
    """``learn`` gets the node and the completion of plain successes, too; one that raises loses no answer."""

    class Learner:
        thread_safe = True

        def __init__(self) -> None:
            self.learned: list[tuple[str, Outcome]] = []

        def select(self, snapshot: Any, ctx: Any) -> Node | None:
            return next(iter(snapshot.candidates(ctx)), None)

        def learn(self, node: Node, completion: Completion) -> None:
            self.learned.append((node.id, completion.outcome))
            raise ValueError("boom")

    learner = Learner()
    lb = LoadBalancer(["a"], selector=learner, clock=ManualClock())
    lb.acquire().release()
    lb.acquire().release(Outcome.IGNORED)
    assert learner.learned[:1] == [("a", Outcome.SUCCESS)]
    assert lb.stats().completed == 2


def test_a_lost_lease_that_another_thread_takes_first_is_no_error() -> None:
    """Between the question whether there is one and taking it, another thread may have taken the last one."""

    class TakenMeanwhile(deque[Any]):
        def popleft(self) -> Any:
            self.clear()  # the other thread
            return super().popleft()

    lb, _, _ = pool()
    lb._runtime.ledger.lost = TakenMeanwhile([lb.acquire()])
    assert lb.stats().inflight == 1
    assert lb.acquire().release()


@pytest.mark.parametrize(
    ("debug", "where"),
    [(True, r"acquired at .*test_ledger\.py"), (False, "make the balancer with debug=True")],
)
def test_where_a_lost_lease_was_opened_is_known_for_debugging_only(*, debug: bool, where: str) -> None:
    """The place where a lost lease was opened is known with ``debug`` only.

    Finding it takes longer than a request.
    """
    lb: LoadBalancer[str] = LoadBalancer(["a", "b"], debug=debug)
    lb.on_start(lambda endpoint: None)  # so that all requests go the long way
    lb.acquire(exclude={"b"})
    gc.collect()
    with pytest.warns(ResourceWarning, match=where):
        lb.acquire(exclude={"b"}).release()


@pytest.mark.parametrize("during", ["the first byte", "tokens", "the end"])
def test_a_clock_that_raises_during_an_answer_takes_it_from_no_caller(
    during: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a clock raises after the request was sent is logged; the lease goes on, and ends as it would have."""
    failing = False

    def clock() -> float:
        if failing:
            raise OSError("no time")
        return 5.0

    lb = LoadBalancer(["a"], clock=clock)
    lease = lb.acquire()
    if during == "tokens":
        lease.first_byte()
    failing = True
    if during == "the first byte":
        lease.first_byte()
    elif during == "tokens":
        lease.report_tokens(20)
    else:
        lease.release(Outcome.FAILURE)
    assert ["clock" in record.getMessage() for record in caplog.records] == [True]
    lease.release()
    failing = False
    stats = lb.stats()["a"]
    assert (stats.inflight, stats.tokens) == (0, 20 if during == "tokens" else 0)


class Counting:
    """A load that counts open requests itself, and needs no times."""

    timed = False

    def __init__(self) -> None:
        self.open = self.ended = 0

    def __call__(self, node: Node) -> Counting:
        """Be the load of the only node."""
        return self

    def started(self, *, now: float, cost: float) -> None:
        """Count one more."""
        self.open += 1

    def finished(self, completion: Completion, /) -> None:
        """Count one less."""
        self.open -= 1
        self.ended += 1

    def value(self, *, now: float) -> float:
        """Return the count."""
        return self.open


class CountingFast(Counting):
    """The same, which also takes successes without a completion."""

    def succeeded(self, latency: float, now: float) -> None:
        """Count one less."""
        self.open -= 1
        self.ended += 1


@pytest.mark.parametrize("timed", [None, True, False])
@pytest.mark.parametrize("needs_start", [True, False])
@pytest.mark.parametrize("kind", [Counting, CountingFast])
def test_a_load_without_times_receives_each_end(
    kind: type[Counting], needs_start: bool, timed: bool | None
) -> None:
    """A plain success reaches a load as ``succeeded`` or ``finished``, whether or not times are measured."""
    load = kind()
    vars(load)["needs_start"] = needs_start
    lb = LoadBalancer(["a"], load=load, timed=timed)
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE):
        lb.acquire().release(outcome)
    assert load.ended == 3
    assert load.open == (0 if needs_start else -3)


def test_a_load_that_needs_no_end_receives_no_plain_success() -> None:
    """With ``needs_end = False`` and without times, plain successes are counted by the balancer only."""
    load = CountingFast()
    vars(load)["needs_end"] = False
    lb = LoadBalancer(["a"], load=load, health=None)
    lb.acquire().release()
    assert (load.open, load.ended, lb.stats().completed) == (1, 0, 1)
