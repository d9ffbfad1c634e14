"""Interleaved timing of statements. Results are ratios to the cost of an empty method call in the same run.

A case is a statement that is compiled inside a counted loop, with its names bound as local variables. In each round, all
cases run one after the other. So a time in which the machine is slow affects all cases.

The measured time is the processor time of the thread, and the cost of a case is the minimum over the rounds. Both reduce
the effect of other programs. Each timed run follows an untimed run of the same case, so its data are in the caches.

Ratios are reported because absolute times depend mostly on the machine.
"""

from __future__ import annotations

import ast
import gc
import itertools
import keyword
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["Timer", "Timing", "machine"]

MIN_MILLISECONDS: Final = 0.001
MAX_MILLISECONDS: Final = 60_000.0
BUSY_FACTOR: Final = 2.0
MAX_WAITING: Final = 1.25
"""Maximum ratio of elapsed time to processor time. If it is higher, other programs have run on the same processor. They also
replace data in its caches, which makes large structures slower."""

LOOP: Final = """\
def timed(__turns, __clock, {names}):
    __begin = __clock()
    for _ in __turns:
        pass
    return __clock() - __begin
"""
"""The source of a timing function. The measured statement replaces ``pass``."""

Timed: TypeAlias = Callable[[Iterator[None], Callable[[], float]], float]


class Empty:
    """An object with a method that does nothing. A call of it is the unit of all ratios."""

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
    """The cost of a case.

    Parameters
    ----------
    label
        Name of the case.
    nanoseconds
        Processor time of one execution in nanoseconds, the minimum over the rounds.
    ratio
        This time divided by that of an empty method call.
    """

    label: str
    nanoseconds: float
    ratio: float


class Timer(ConstructorRepr):
    """Timer of several cases that run interleaved.

    Parameters
    ----------
    rounds
        Number of timed runs of each case, >= 1.
    milliseconds
        Approximate length of each run, 0.001 to 60,000.
    cold
        Whether to leave out the untimed runs. Then the caches hold the data of the previous case.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from balancekit.bench import Timer
    >>> timer = Timer(rounds=3, milliseconds=1.0)
    >>> timer.add("a sum", "add(numbers)", add=sum, numbers=range(100))
    >>> timer.run()["a sum"].ratio > 1.0
    True
    """

    @checked_arguments
    def __init__(self, *, rounds: int = 9, milliseconds: float = 10.0, cold: bool = False) -> None:
        self._rounds = valid.integer("rounds", rounds, minimum=1)
        self._cold = valid.flag("cold", cold)
        self._target = (
            valid.number("milliseconds", milliseconds, minimum=MIN_MILLISECONDS, maximum=MAX_MILLISECONDS)
            / 1e3
        )
        self._cases: list[Case] = []
        self._waiting = 1.0
        self.add("empty method call", "call()", call=Empty().call)

    def add(self, label: str, statement: str, /, **names: object) -> None:
        """Add a case: Python statements, and the objects that their names refer to.

        Raises
        ------
        ConfigurationError
            If another case has the label, a name is not an identifier, or the statements cannot be repeated by a loop, as
            ``return`` and ``break`` cannot.
        """
        if valid.text("label", label) in [case.label for case in self._cases]:
            raise ConfigurationError("label", label, "a label that no other case has")
        for name in names:
            if not name.isidentifier() or keyword.iskeyword(name):
                raise ConfigurationError("names", name, "names of variables")
        self._cases.append(Case(label, _loop(statement, names)))

    def run(self) -> dict[str, Timing]:
        """Time all cases; return the results by label, in the order in which the cases were added."""
        enabled = gc.isenabled()
        gc.disable()
        on_the_wall, at_work = time.perf_counter(), time.thread_time()
        try:
            for case in self._cases:
                self._time(case, 1)  # the first call may fill caches or import modules
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
        """Whether the machine was too busy in the last run to judge its results.

        It was if other programs had the processor for a fifth of the time or more, or if the empty call took more than twice
        its minimum in most rounds.
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


def _loop(statement: str, names: Mapping[str, object]) -> Timed:
    """Return a function that repeats a statement and returns the time that took."""
    try:
        compile(statement, "statement", "exec")  # refuses a return, and a break without a loop of its own
        body = ast.parse(statement).body
    except (SyntaxError, ValueError, TypeError) as error:
        raise ConfigurationError("statement", statement, f"statements of Python ({error})") from None
    tree = ast.parse(LOOP.format(names=", ".join(f"{name}={name}" for name in names)))
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    loop = function.body[1]
    assert isinstance(loop, ast.For)
    loop.body = body or loop.body
    scope = dict(names)
    exec(compile(tree, "statement", "exec"), scope)  # noqa: S102 - the statement is the caller's; timeit does the same
    timed: Timed = scope["timed"]  # type: ignore[assignment]  # made by exec
    return timed


def machine() -> dict[str, str | int | bool]:
    """Return facts about this machine: interpreter, interpreter lock, architecture, system and number of processors."""
    locked = getattr(sys, "_is_gil_enabled", lambda: True)
    return {
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "interpreter lock": bool(locked()),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count() or 1,
    }
