"""What a balancer does when time has passed, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest

from balancekit import (
    AllIneligibleError,
    AttemptsExhaustedError,
    Endpoint,
    LoadBalancer,
    Outcome,
)
from balancekit.events import Event
from balancekit.health import Lifecycle, SuccessRate
from balancekit.node import Node
from balancekit.outcome import Completion
from balancekit.snapshot import PickContext, Snapshot
from balancekit.testing import ManualClock


class Machine:
    """A health machine that counts how often it is read, and is due when it is told to be."""

    reads = 0
    state = "healthy"
    watching = False

    def __init__(self) -> None:
        self.healthy = True
        self.due: float | None = None
        self.interrupt = False

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked."""
        Machine.reads += 1
        return self.healthy

    @property
    def deadline(self) -> float | None:
        """When ``advance`` is due."""
        return self.due

    def observe(self, completion: Completion, /, *, now: float) -> list[Event]:
        """Go down for ten seconds."""
        self.healthy, self.due = False, now + 10.0
        if self.interrupt:
            raise KeyboardInterrupt
        return []

    def advance(self, *, now: float) -> list[Event]:
        """Come back."""
        self.healthy, self.due = True, None
        return []


class SweptLoads:
    """A load policy whose loads share something that is due every second."""

    timed = False

    def __init__(self) -> None:
        self.deadline = 0.0
        self.sweeps: list[float] = []

    def __call__(self, node: Node) -> Any:
        """Make the load of a node."""
        return _Load()

    def advance(self, *, now: float) -> None:
        """Note when this was called."""
        self.sweeps.append(now)
        self.deadline = now + 1.0


class _Load:
    needs_start = False

    def started(self, *, now: float, cost: float) -> None:
        """Take no note."""

    def finished(self, completion: Completion, /) -> None:
        """Take no note."""

    def value(self, *, now: float) -> float:
        """Return the same load for all."""
        return 0.0


@pytest.fixture
def machines() -> dict[str, Machine]:
    """Return the machines that a balancer makes, by endpoint."""
    Machine.reads = 0
    return {}


def maker(machines: dict[str, Machine]) -> Callable[..., Machine]:
    """Return a health policy that keeps the machines it makes."""

    def make(id: str, *_: object) -> Machine:
        machines[id] = Machine()
        return machines[id]

    return make


def fail(lb: LoadBalancer[str], id: str) -> None:
    """End a request on an endpoint as a failure."""
    lb.acquire(exclude=[e.id for e in lb.endpoints if e.id != id]).release(Outcome.FAILURE)


def test_a_sweep_of_the_loads_reads_no_health_machine(machines: dict[str, Machine]) -> None:
    """If only the loads are due, a request tells them, and looks at no endpoint of the pool."""
    clock, loads = ManualClock(), SweptLoads()
    lb = LoadBalancer([f"e{k}" for k in range(50)], load=loads, health=maker(machines), clock=clock)
    lb.acquire().release()
    sweeps, Machine.reads = len(loads.sweeps), 0
    for second in range(1, 6):
        clock.advance(1.0)
        lb.acquire().release()
        lb.acquire().release()
        assert len(loads.sweeps) == sweeps + second
    assert Machine.reads == 0


def test_time_reads_only_machines_that_are_due(machines: dict[str, Machine]) -> None:
    """When one of fifty machines is due, the other forty-nine are neither read nor told."""
    clock = ManualClock()
    lb = LoadBalancer([f"e{k}" for k in range(50)], health=maker(machines), clock=clock)
    fail(lb, "e7")
    assert lb.stats()["e7"].state == "healthy"
    assert len(lb.ranking()) == 49
    for machine in machines.values():
        machine.interrupt = True
    clock.advance(9.999)
    assert len(lb.ranking()) == 49
    Machine.reads = 0
    clock.advance(0.001)
    assert len(lb.ranking()) == 50
    assert Machine.reads <= 2


@pytest.mark.parametrize("keyed", [False, True])
def test_an_interrupt_after_a_machine_was_told_is_made_good_by_the_next_request(
    machines: dict[str, Machine], keyed: bool
) -> None:
    """The next request shows an ejection that a machine made.

    This holds if an interrupt came before the state showed it.
    """
    lb = LoadBalancer(["a", "b"], health=maker(machines), clock=ManualClock())
    machines["a"].interrupt = True
    lease = lb.acquire(exclude=["b"])
    with pytest.raises(KeyboardInterrupt):
        lease.release(Outcome.FAILURE)
    machines["a"].interrupt = False
    for _ in range(20):
        with lb.acquire("key") if keyed else lb.acquire() as lease:
            assert lease.target == "b"


def test_a_machine_that_was_replaced_is_not_believed_of_its_successor(machines: dict[str, Machine]) -> None:
    """An endpoint with a new target is healthy, whatever the machine of the old one says afterwards."""
    clock = ManualClock()
    lb: LoadBalancer[object] = LoadBalancer(
        [Endpoint("a", 1), Endpoint("b", 2)], health=maker(machines), clock=clock
    )
    old = machines["a"]
    lease = lb.acquire(exclude=["b"])
    lb.update([Endpoint("a", 3), Endpoint("b", 2)])
    lease.release(Outcome.FAILURE)
    old.healthy = False
    clock.advance(60.0)
    assert {endpoint.target for endpoint in lb.ranking()} == {3, 2}


def test_an_ejected_endpoint_is_waited_for_if_none_else_is_left() -> None:
    """When a drain leaves only an ejected endpoint, ``acquire`` names the time when it returns, and then picks it."""
    clock = ManualClock()
    lb = LoadBalancer(["a", "b"], health=Lifecycle(), clock=clock)
    for _ in range(5):
        fail(lb, "a")
    lb.drain("b")
    with pytest.raises(AllIneligibleError) as caught:
        lb.acquire()
    assert caught.value.retry_at is not None
    clock.advance(caught.value.retry_at - clock() - 0.001)
    with pytest.raises(AllIneligibleError):
        lb.acquire()
    clock.advance(0.002)
    with lb.acquire() as lease:
        assert lease.target == "a"


def test_outliers_are_ejected_by_the_sweep_and_the_rest_is_not_read() -> None:
    """A rule that finds an endpoint takes it out when the sweep is due, with its cause in the event."""
    clock, events = ManualClock(), []
    health = Lifecycle(rules=(SuccessRate(),))
    lb = LoadBalancer([f"e{k}" for k in range(6)], health=health, clock=clock, listeners=[events.append])
    for _ in range(40):
        clock.advance(1.0)
        for endpoint in lb.endpoints:
            others = [e.id for e in lb.endpoints if e.id != endpoint.id]
            for number in range(6):
                bad = endpoint.id == "e3" and number % 2
                try:
                    lb.acquire(exclude=others).release(Outcome.FAILURE if bad else Outcome.SUCCESS)
                except AttemptsExhaustedError:
                    break
    causes = [event.cause for event in events if type(event).__name__ == "Ejected"]
    assert {event.endpoint for event in events if type(event).__name__ == "Ejected"} == {"e3"}
    assert all("success" in cause for cause in causes)


def test_outliers_are_looked_for_when_the_sweep_is_due_and_not_before() -> None:
    """While a machine is due each second and the sweep every ten, only each tenth second looks for outliers."""

    class Finder:
        deadline = 0.0

        def __init__(self) -> None:
            self.looks: list[float] = []

        def advance(self, nodes: Iterable[Node], *, now: float) -> dict[str, str]:
            self.looks.append(now)
            self.deadline = now + 10.0
            return {}

    class Restless(Machine):
        def advance(self, *, now: float) -> list[Event]:
            self.due = now + 1.0
            return []

    class Policy:
        def __call__(self, *_: object) -> Restless:
            machine = Restless()
            machine.due = 1.0
            return machine

        def outlier_sweep(self, rng: Random) -> Finder:
            return finder

    finder, clock = Finder(), ManualClock()
    lb = LoadBalancer(["a", "b"], health=Policy(), clock=clock)
    for _ in range(30):
        lb.acquire().release()
        clock.advance(1.0)
    assert finder.looks == [start + 10.0 * k for start in finder.looks[:1] for k in range(3)]


def test_a_selector_that_cannot_prepare_for_a_change_of_health_is_logged_and_picks_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error is logged with its traceback, the change of health happens, and requests ask ``select`` alone."""

    class Picky:
        def prepare(self, snapshot: Snapshot) -> None:
            if len(snapshot.eligible) < 2:
                raise RuntimeError("too few")

        def select(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
            return next(iter(snapshot.candidates(ctx)), None)

    lb = LoadBalancer(["a", "b"], selector=Picky(), clock=ManualClock())
    for _ in range(5):
        fail(lb, "a")
    assert lb.stats()["a"].state == "ejected"
    assert "Picky could not prepare for a new snapshot" in caplog.messages
    assert "too few" in caplog.text
    with lb.acquire() as lease:
        assert lease.target == "b"


def test_a_machine_without_optional_hooks_is_read_without_an_error(
    machines: dict[str, Machine], caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint whose health has no ramp takes its full share, and nothing is logged of what is not there."""
    clock = ManualClock()
    lb = LoadBalancer(["a", "b"], health=maker(machines), clock=clock)
    fail(lb, "a")
    clock.advance(10.0)
    assert len(lb.ranking()) == 2
    assert not caplog.records
