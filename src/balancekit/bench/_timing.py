"""Interleaved timing: every figure is a ratio to an empty method call of the same run.

A case is a statement compiled inside a counted loop, its names bound as locals. The cases of a group are run in
turns, round after round, so that a slow spell of the machine hits all of them. Time is the processor time of the
thread, and a case costs the least of its rounds: both leave out what other programs do. Each timed run follows one that
is not timed, so that a case finds its own data in the caches and not those of the others, as in a program that does the
same all the time. Absolute times say more about the machine than about the code.
"""

from __future__ import annotations

import gc
import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from balancekit._support.display import ConstructorRepr
from balancekit._support.record import Record

__all__ = ["Timer", "Timing", "machine"]

BUSY_FACTOR: Final = 2.0
MAX_WAITING: Final = 1.25
"""Seconds on the wall for each of processor time at most, on a machine that has a processor to spare for the timed loops.
Above, other programs take turns with them, and what these leave in the caches makes large structures slower."""

Timed: TypeAlias = Callable[[Iterator[None], Callable[[], float]], float]


class Empty:
    """The floor: a bound method that does nothing."""

    __slots__ = ()

    def call(self) -> None:
        """Do nothing."""


class Case:
    """One statement to be timed."""

    __slots__ = ("label", "loops", "run", "seconds")

    def __init__(self, label: str, run: Timed) -> None:
        self.label: str = label
        self.run: Timed = run
        self.loops: int = 1
        self.seconds: list[float] = []


class Timing(Record):
    """What a case cost.

    Parameters
    ----------
    label
        Its name.
    nanoseconds
        Processor time, the least over the rounds.
    ratio
        The same over that of the empty method call.
    """

    label: str
    nanoseconds: float
    ratio: float


class Timer(ConstructorRepr):
    """Cases to be run interleaved.

    Parameters
    ----------
    rounds
        How often each case is run.
    milliseconds
        About how long each run takes.
    cold
        Whether to leave out the run that is not timed: a case then finds in the caches what the others have left there.

    Example
    -------
    >>> timer = Timer(rounds=3, milliseconds=1.0)
    >>> timer.add("a sum", "add(numbers)", add=sum, numbers=range(100))
    >>> timer.run()["a sum"].ratio > 1.0
    True
    """

    def __init__(self, *, rounds: int = 9, milliseconds: float = 10.0, cold: bool = False) -> None:
        self._rounds = rounds
        self._cold = cold
        self._target = milliseconds / 1e3
        self._cases: list[Case] = []
        self._waiting = 1.0
        self.add("empty method call", "call()", call=Empty().call)

    def add(self, label: str, statement: str, **names: object) -> None:
        """Add a case; ``names`` are the locals of its statement."""
        arguments = ", ".join(f"{name}={name}" for name in names)
        body = "\n        ".join(statement.splitlines())
        source = (
            f"def timed(turns, clock, {arguments}):\n"
            "    begin = clock()\n"
            "    for _ in turns:\n"
            f"        {body}\n"
            "    return clock() - begin\n"
        )
        scope = dict(names)
        exec(source, scope)  # noqa: S102 - the statement is ours; timeit does the same
        self._cases.append(Case(label, scope["timed"]))  # type: ignore[arg-type]  # made by exec

    def run(self) -> dict[str, Timing]:
        """Time every case; return the results by label, in order."""
        enabled = gc.isenabled()
        gc.disable()
        on_the_wall, at_work = time.perf_counter(), time.thread_time()
        try:
            for case in self._cases:
                self._time(case, 1)  # whatever is made by the first call
                case.loops = self._calibrate(case)
            for _ in range(self._rounds):
                for case in self._cases:
                    if not self._cold:
                        self._time(case, case.loops)
                    case.seconds.append(self._time(case, case.loops) / case.loops)
                gc.collect()
        finally:
            if enabled:
                gc.enable()
        self._waiting = (time.perf_counter() - on_the_wall) / max(time.thread_time() - at_work, 1e-9)
        floor = min(self._cases[0].seconds)
        return {
            case.label: Timing(
                label=case.label,
                nanoseconds=min(case.seconds) * 1e9,
                ratio=min(case.seconds) / floor,
            )
            for case in self._cases
        }

    @property
    def busy(self) -> bool:
        """Whether the machine was too busy to judge.

        It was if other programs had the processor for a fifth of the time, or if the empty call took more than twice its
        least in most rounds.
        """
        floor = self._cases[0].seconds
        if self._waiting > MAX_WAITING:
            return True
        return bool(floor) and statistics.median(floor) > BUSY_FACTOR * min(floor)

    def _calibrate(self, case: Case) -> int:
        loops = 1
        while True:
            spent = self._time(case, loops)
            if spent >= self._target / 4 or loops >= 1 << 26:
                return max(1, int(loops * self._target / spent))
            loops *= 4

    @staticmethod
    def _time(case: Case, loops: int) -> float:
        return case.run(itertools.repeat(None, loops), time.thread_time)


def machine() -> dict[str, str | int | bool]:
    """Return the machine of the measurements."""
    locked = getattr(sys, "_is_gil_enabled", lambda: True)
    return {
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "interpreter lock": bool(locked()),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count() or 1,
    }
