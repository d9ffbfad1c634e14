"""An interrupt inside a step of the timer of checks leaves no endpoint that is never checked again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from tests.concurrency._interrupts import Interrupt, at_every_place

from balancekit.checks import CheckTimer, Schedule

SCHEDULE = Schedule(interval=5.0, jitter=0.0)


def timer() -> CheckTimer:
    """Return a timer of one endpoint that is being checked and of one that is due."""
    made = CheckTimer(SCHEDULE, Random(1))
    made.update(["a", "b"], now=0.0)
    assert made.begin(now=0.0) == "a"
    return made


STEPS: dict[str, Callable[[CheckTimer], object]] = {
    "the begin of a check": lambda one: one.begin(now=1.0),
    "the end of a check": lambda one: one.done("a", now=1.0, changing=False),
    "another list": lambda one: one.update(["a", "b", "c"], now=1.0),
    "the time of the next check": lambda one: one.next_at,
}


@pytest.mark.parametrize("jumps", [False, True], ids=["calls", "jumps"])
@pytest.mark.parametrize("name", STEPS)
def test_an_interrupted_step_loses_no_endpoint(name: str, jumps: bool) -> None:
    """After an interrupt at any place, the step that was interrupted can be made again, and each endpoint is due in time."""
    for injector in at_every_place(jumps=jumps):
        one = timer()
        with suppress(Interrupt), injector:
            STEPS[name](one)
        if injector.where:
            STEPS[name](one)
        one.update(["a", "b", "c"], now=2.0)
        begun: list[str | None] = []
        if name != "the begin of a check":
            begun.append(one.begin(now=2.0))
        one.done("a", now=2.0, changing=False)
        one.done("b", now=2.0, changing=False)
        begun += [one.begin(now=20.0) for _ in range(4)]
        assert set(begun) == {"a", "b", "c", None}, injector.where
        assert one.begin(now=20.0) is None
    assert injector.place > (0 if jumps else 2)
