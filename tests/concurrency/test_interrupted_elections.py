"""A call of a VRRP machine that is interrupted has changed nothing, so that calling again gives the effects that were lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.concurrency._interrupts import Interrupt, at_every_place

from balancekit.ha import (
    SyncGroup,
    SyncGroupMachine,
    TrackedCheck,
    Tracking,
    VirtualRouter,
    VrrpMachine,
)

INSIDE = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", interval=0.5)
OUTSIDE = VirtualRouter(vrid=52, addresses=("198.51.100.100",), source="198.51.100.12", interval=0.5)
MIN_PLACES = 5


def active() -> VrrpMachine:
    """Return a machine that holds its addresses."""
    machine = INSIDE()
    machine.start(now=0.0)
    machine.advance(now=machine.deadline or 0.0)
    return machine


def both() -> SyncGroupMachine:
    """Return a group whose members hold their addresses."""
    group = SyncGroup(routers={"inside": INSIDE, "outside": OUTSIDE})()
    group.start(now=0.0)
    group.advance(now=2.0)
    return group


class Tracked:
    """A machine, and what its checks say."""

    def __init__(self, machine: VrrpMachine | SyncGroupMachine) -> None:
        self.machine: Any = machine
        checks = {"disk": TrackedCheck(fall=1), "web": TrackedCheck(weight=-20, fall=1)}
        self.tracking = Tracking(checks=checks)(INSIDE)
        for check in checks:
            self.tracking.report(check, passed=False)

    def apply(self) -> tuple[Any, ...]:
        """Bring the machine to what they say."""
        return self.tracking.apply(self.machine, now=2.5)


CALLS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "start": (INSIDE, lambda machine: machine.start(now=0.0)),
    "a fault": (active, lambda machine: machine.fault("link", now=2.5)),
    "stop": (active, lambda machine: machine.stop(now=2.5)),
    "a better router": (active, lambda machine: machine.receive(INSIDE.advert(200), "192.0.2.13", now=2.1)),
    "a pause": (active, lambda machine: machine.advance(now=90.0)),
    "a priority after a pause": (active, lambda machine: machine.set_priority(50, now=90.0)),
    "a fault of a group": (both, lambda group: group.fault("link", now=2.5, member="inside")),
    "a better router in a group": (both, lambda group: group.receive(INSIDE.advert(200), "192.0.2.13", now=2.1)),
    "stop of a group": (both, lambda group: group.stop(now=2.5)),
    "tracked checks": (lambda: Tracked(active()), Tracked.apply),
    "tracked checks of a group": (lambda: Tracked(both()), Tracked.apply),
    "start of a group": (SyncGroup(routers={"a": INSIDE, "b": OUTSIDE}), lambda group: group.start(now=0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
def test_a_call_after_an_interrupted_one_gives_its_effects(name: str, jumps: bool) -> None:
    """After a KeyboardInterrupt at any place of a call, the same call returns every effect.

    Withdrawals of addresses are included.
    """
    make, call = CALLS[name]
    wanted = call(make())
    assert wanted
    for injector in at_every_place(jumps=jumps):
        machine = make()
        found = None
        # A TypeError is what CPython 3.11 makes of an exception at the entry of a `__call__`.
        with suppress(Interrupt, TypeError), injector:
            found = call(machine)
        if found is None:
            found = call(machine)
        assert found == wanted, injector.where
    assert injector.place > (1 if jumps else MIN_PLACES)


def deep(frames: int, function: Callable[[], Any]) -> Any:
    """Call a function from that many frames further down."""
    return function() if frames <= 0 else deep(frames - 1, function)


@pytest.mark.parametrize("name", CALLS)
def test_a_stack_that_ends_inside_a_call_changes_nothing(name: str) -> None:
    """RecursionError at every depth of a call: the same call with more room returns every effect."""
    make, call = CALLS[name]
    wanted = call(make())
    limit, frame, here = sys.getrecursionlimit(), sys._getframe(), 0
    while frame is not None:
        frame, here = frame.f_back, here + 1
    errors = 0
    for room in range(1, 40):
        machine = make()
        try:
            sys.setrecursionlimit(here + 60)
            found = deep(60 - room - 4, lambda machine=machine: call(machine))
        except RecursionError:
            errors += 1
            sys.setrecursionlimit(limit)
            found = call(machine)
        finally:
            sys.setrecursionlimit(limit)
        assert found == wanted, room
    assert errors > 2
