"""A change of a table of flows, ports, buckets or counts that is interrupted has been made whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from tests.concurrency._interrupts import Interrupt, at_every_place
from tests.fuzz._calls import state_of

from balancekit.health import CheckResult, Health, Lifecycle
from balancekit.l4 import DsrBook, FlowTable, Nat, ResilientGroup
from balancekit.l7 import Request, Route, RouteTable, exact
from balancekit.outcome import Completion, Outcome
from balancekit.waiting import ClientThrottle

Change = Callable[[Any], object]
BOTH = {"a", "b"}


def flow(number: int) -> bytes:
    """Return a flow of TCP."""
    return b"%d\x06" % number


def steer(number: int, now: float, alive: set[str] = BOTH, **flags: bool) -> Change:
    """Return the change that a packet makes."""
    return lambda table: table.steer(flow(number), now=now, owner=lambda _: "b", alive=alive, **flags)


def flows(count: int, capacity: int = 4) -> Callable[[], FlowTable]:
    """Return a table in which so many flows were opened, one a second."""

    def make() -> FlowTable:
        table = FlowTable(capacity=capacity)
        for number in range(count):
            table.steer(
                flow(number), now=float(number), owner=lambda _, home="ab"[number % 2]: home, alive=BOTH
            )
        return table

    return make


def ports(count: int, *closed: int) -> Callable[[], Nat]:
    """Return three ports of which so many were leased, and some given back."""

    def make() -> Nat:
        nat = Nat(["10.0.0.1"], ports=range(5000, 5003), time_wait=10.0)
        for number in range(count):
            nat.open(flow(number), "a", now=0.0)
        for number in closed:
            nat.close(flow(number), now=1.0)
        return nat

    return make


def group() -> ResilientGroup:
    """Return a group some of whose buckets are in use."""
    made = ResilientGroup(["a", "b"], buckets=16, idle_timer=10.0)
    for bucket in range(0, 16, 3):
        made.pick(bucket, 19.0)
    return made


def unbalanced() -> ResilientGroup:
    """Return a group that waits for buckets in use."""
    made = group()
    made.replace(["b", "c"], now=20.0)
    return made


def book() -> DsrBook:
    """Return counts of two endpoints in both directions."""
    made = DsrBook(direct=[])
    for owner in ("a", "b"):
        made.received(owner, 10, opened=True)
        made.sent(owner, 20)
    return made


def routes(*names: str) -> list[Route[str]]:
    """Return routes whose pools have their names, for the paths of their names."""
    return [Route(name, name, path=exact(f"/{name}")) for name in names]


def throttle() -> ClientThrottle:
    """Return a throttle with counts in all its buckets."""
    made = ClientThrottle(window=100.0)
    for second in range(0, 100, 10):
        made.allow(Random(1), now=float(second))
        for _ in range(4 if second < 40 else second // 90):  # one bucket that is dropped too late shows
            made.accepted(now=float(second))
    return made


CHANGES: dict[str, tuple[Callable[[], Any], Change]] = {
    "a new flow": (flows(2), steer(9, 5.0)),
    "a new flow in the newest generation": (flows(40, 64), steer(99, 50.0)),
    "a new flow in a full table": (flows(12, 12), steer(99, 20.0)),
    "a new flow in a new generation": (flows(40, 40), steer(99, 41.0)),
    "a packet of an old flow": (flows(40, 64), steer(0, 50.0)),
    "a packet of an old flow begins a generation": (flows(12, 12), steer(0, 20.0)),
    "a flow that moves": (flows(4), steer(0, 9.0, {"b"})),
    "the end of a flow": (flows(4), steer(0, 9.0, fin=True)),
    "flows of an endpoint that are forgotten": (flows(4), lambda table: table.forget("a")),
    "a port": (ports(2), lambda nat: nat.open(flow(8), "a", now=2.0)),
    "a port that has rested": (ports(3, 0), lambda nat: nat.open(flow(8), "a", now=50.0)),
    "a port given back": (ports(2), lambda nat: nat.close(flow(0), now=2.0)),
    "other next hops": (group, lambda one: one.replace(["b", "c"], now=20.0, idle_timer=5.0)),
    "counts of a connection": (book, lambda counts: counts.received("a", 7, opened=True)),
    "counts that are forgotten": (book, lambda counts: counts.forget("a")),
    "other routes": (lambda: RouteTable(routes("a", "b")), lambda table: table.replace(routes("b", "c"))),
    "buckets that have become idle": (unbalanced, lambda one: one.advance(29.0)),
}  # fmt: skip

EVICTING = {"a new flow in a full table", "a new flow in a new generation"}
"""What makes room first: an interrupt may come between that and the new flow."""


def seen(thing: Any) -> list[Any]:
    """Return the state of a table, without what is only to be looked at sooner."""
    if isinstance(thing, FlowTable):
        kept = [
            [
                (key, stamp.owner, stamp.state, stamp.idle_at, stamp.pin.forgotten)
                for key, stamp in one.items()
            ]
            for one in (thing._newest, *thing._closed)
            if one
        ]
        return [kept, repr(thing.stats()), sorted(pin for pin in thing._pins if any(flows for flows in kept))]
    if isinstance(thing, Nat):
        spaces = {name: (space.next, tuple(space.resting)) for name, space in thing._spaces.items()}
        return [thing._flows, thing._bound, spaces]
    if isinstance(thing, RouteTable):
        taken = [thing.match(Request(f"/{name}")) is not None for name in "abc"]
        return [taken, [route.name for route in thing.routes], len(thing), repr(thing)]
    return state_of(thing)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_an_interrupt_anywhere_leaves_a_table_as_it_was_or_changed(name, jumps):
    """A KeyboardInterrupt at every place where CPython delivers a signal leaves the old table or the new one."""
    make, change = CHANGES[name]
    old, new = make(), make()
    change(new)
    for injector in at_every_place(jumps=jumps):
        table = make()
        with suppress(Interrupt, TypeError), injector:
            change(table)
        if isinstance(table, FlowTable):
            generations = [table._newest, *table._closed]
            stored = [key for flows in generations for key in flows]
            assert len(stored) == len(set(stored)) == len(table), injector.where
            assert len(table._closed) == len(table._closed_since), injector.where
        if name not in EVICTING or len(table) >= min(len(old), len(new)):
            assert seen(table) in (seen(old), seen(new)), injector.where
    assert injector.place > (0 if jumps else 4)


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_an_interrupted_count_forgets_old_requests_once(jumps):
    """KeyboardInterrupt while the oldest counts are dropped: the next look drops the rest, and one is counted or not."""
    after = throttle()
    after.accepted(now=135.0)
    either = [one.probability(now=135.0) for one in (throttle(), after)]
    assert either == [pytest.approx((6 - 2 * accepted) / 7) for accepted in (1, 2)]
    for injector in at_every_place(jumps=jumps):
        made = throttle()
        with suppress(Interrupt, TypeError), injector:
            made.accepted(now=135.0)
        assert made.probability(now=135.0) in either, injector.where
    assert injector.place > 3


def failing(machine: Any, number: int) -> None:
    """Tell a health machine of a failure."""
    now = 100.0 + number
    machine.observe(Completion(Outcome.FAILURE, started_at=now, ended_at=now), now=now)


def probing() -> Any:
    """Return the machine of an endpoint on trial."""
    machine = Lifecycle()("a", lambda _: True, Random(1))
    for number in range(-50, -40):
        failing(machine, number)
    machine.advance(now=99.0)
    assert machine.health is Health.PROBING
    return machine


def ejected() -> Any:
    """Return the machine of an endpoint whose time out is over."""
    machine = Lifecycle()("a", lambda _: True, Random(1))
    for number in range(-50, -40):
        failing(machine, number)
    return machine


def checked() -> Any:
    """Return the machine of an endpoint that checks keep out."""
    machine = Lifecycle()("a", lambda _: True, Random(1))
    for second in range(90, 100):
        machine.checked(CheckResult(passed=False, holds_for=1e9), now=float(second))
    machine.checked(CheckResult(passed=True), now=100.0)
    return machine


def passing(machine: Any) -> None:
    """Tell a health machine of a check that passed."""
    machine.checked(CheckResult(passed=True), now=101.0)


MACHINES: dict[str, tuple[Callable[[], Any], Change]] = {
    "a failure on trial": (probing, lambda machine: failing(machine, 1)),
    "the end of the time out": (ejected, lambda machine: machine.advance(now=101.0)),
    "the check that lets back": (checked, passing),
}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_an_endpoint_whose_health_was_interrupted_returns(name, jumps):
    """KeyboardInterrupt at every place of a change of health: an endpoint that answers well is healthy again."""
    make, change = MACHINES[name]
    for injector in at_every_place(jumps=jumps):
        machine = make()
        with suppress(Interrupt, TypeError), injector:
            change(machine)
        for second in range(200, 220):
            now = float(second)
            machine.advance(now=now)
            passing(machine)
            if machine.eligible:
                machine.observe(Completion(Outcome.SUCCESS, started_at=now, ended_at=now), now=now)
        assert machine.health is Health.HEALTHY, injector.where
    assert injector.place > (0 if jumps else 5)
