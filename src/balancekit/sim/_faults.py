"""Faults of simulated endpoints.

=================  =====================================================================
:class:`Crash`     requests in progress break, new ones are refused at once
:class:`Hang`      nothing is answered until it is over; callers run into their time-out
:class:`FailFast`  answers at once, wrongly: the black hole
:class:`FailSlow`  answers late, wrongly: what waits for a dead database
:class:`Partial`   a share of the requests fails, after being worked on as usual
:class:`Slow`      everything takes several times as long
:class:`Flap`      down and up again, over and over
=================  =====================================================================

And what operators do: :class:`Add`, :class:`Remove`, :class:`Drain`.

Factors of slowness multiply while they overlap on one endpoint; of two crashes or two kinds of failure that do, what
happens later counts. A fault that ends when another one begins ends first.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from math import inf
from typing import Final, NamedTuple

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = [
    "Add",
    "Crash",
    "Drain",
    "FailFast",
    "FailSlow",
    "Fault",
    "Flap",
    "Hang",
    "Partial",
    "Remove",
    "Slow",
    "Step",
    "What",
    "absent_at_first",
]

MAX_CYCLES: Final = 1_000_000
"""Crashes of a flap."""


class What(enum.Enum):
    """The things that can happen to an endpoint."""

    CRASH = "crash"
    RECOVER = "recover"
    SLOW = "slow"
    SLOW_NO_MORE = "slow no more"
    FAIL = "fail"
    ADD = "add"
    REMOVE = "remove"
    DRAIN = "drain"


class Step(NamedTuple):
    """One thing that happens at one time."""

    at: float
    what: What
    factor: float = 1.0
    """How many times as long everything takes, infinity for a standstill (SLOW and SLOW_NO_MORE)."""
    share: float = 0.0
    """Which part of the requests fails (FAIL)."""
    after: float | None = None
    """After how many seconds they fail; ``None`` when they would have been served (FAIL)."""


class Fault(Record, ABC):
    """Something that happens to one endpoint.

    Parameters
    ----------
    endpoint
        Its id.
    at
        Seconds, >= 0.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, or ``at`` is negative.
    """

    endpoint: str
    at: float

    def _check(self) -> None:
        valid.text("endpoint", self.endpoint)
        valid.number("at", self.at, minimum=0.0)

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """Yield what happens when."""


class _Spell(Fault):
    """A fault that ends, ``seconds`` later."""

    seconds: float

    def _check(self) -> None:
        super()._check()
        valid.number("seconds", self.seconds, above=0.0)
        if not self.at < self.at + self.seconds < inf:
            raise ConfigurationError(
                "seconds", self.seconds, f"a time that counts beside at={self.at!r}, and ends"
            )


class Crash(_Spell):
    """The process dies, and is started again."""

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, What.CRASH)
        yield Step(self.at + self.seconds, What.RECOVER)


class Hang(_Spell):
    """The process is stopped; requests wait, and are worked on when it goes on."""

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, What.SLOW, factor=inf)
        yield Step(self.at + self.seconds, What.SLOW_NO_MORE, factor=inf)


class FailFast(_Spell):
    """A share of the answers are failures that come after ``after`` seconds of the server's time, before any work.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``share`` is outside [0, 1], ``seconds`` is not > 0, or another time is
        negative.
    """

    share: float = 1.0
    after: float = 0.001

    def _check(self) -> None:
        super()._check()
        valid.number("share", self.share, minimum=0.0, maximum=1.0)
        valid.number("after", self.after, minimum=0.0)

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, What.FAIL, share=self.share, after=self.after)
        yield Step(self.at + self.seconds, What.FAIL)


class FailSlow(FailFast):
    """As :class:`FailFast`, but late."""

    after: float = 5.0


class Partial(_Spell):
    """A share of the requests fails after being worked on as usual.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``at`` is negative, ``seconds`` is not > 0, or ``share`` is outside [0, 1].
    """

    share: float = 0.3

    def _check(self) -> None:
        super()._check()
        valid.number("share", self.share, minimum=0.0, maximum=1.0)

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, What.FAIL, share=self.share)
        yield Step(self.at + self.seconds, What.FAIL)


class Slow(_Spell):
    """Everything takes ``factor`` times as long, a billionth to a billion, also what is queued.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``at`` is negative, ``seconds`` is not > 0, or ``factor`` is outside its
        bounds.
    """

    factor: float = 3.0

    def _check(self) -> None:
        super()._check()
        valid.number("factor", self.factor, minimum=1e-9, maximum=1e9)

    def steps(self) -> Iterator[Step]:
        """Yield the beginning and the end."""
        yield Step(self.at, What.SLOW, factor=self.factor)
        yield Step(self.at + self.seconds, What.SLOW_NO_MORE, factor=self.factor)


class Flap(_Spell):
    """Down for ``down`` seconds, up for ``up``, until ``seconds`` have passed, a million times at most.

    Raises
    ------
    ConfigurationError
        If ``endpoint`` is empty, ``at`` is negative, or another time is not > 0. If ``seconds`` is more than
        a million times down and up.
    """

    down: float = 1.0
    up: float = 1.0

    def _check(self) -> None:
        super()._check()
        valid.number("down", self.down, above=0.0)
        valid.number("up", self.up, above=0.0)
        if self.seconds > MAX_CYCLES * (self.down + self.up):
            raise ConfigurationError("seconds", self.seconds, f"at most {MAX_CYCLES} times down and up")

    def steps(self) -> Iterator[Step]:
        """Yield every crash and recovery."""
        period = self.down + self.up
        for number in range(math.ceil(self.seconds / period)):
            begin = number * period
            yield Step(self.at + begin, What.CRASH)
            yield Step(self.at + min(begin + self.down, self.seconds), What.RECOVER)


class Add(Fault):
    """The endpoint joins the pool; until then it is not there."""

    def steps(self) -> Iterator[Step]:
        """Yield the one step."""
        yield Step(self.at, What.ADD)


class Remove(Fault):
    """The endpoint is taken out of the pool; what it works on is finished."""

    def steps(self) -> Iterator[Step]:
        """Yield the one step."""
        yield Step(self.at, What.REMOVE)


class Drain(Fault):
    """The endpoint is drained."""

    def steps(self) -> Iterator[Step]:
        """Yield the one step."""
        yield Step(self.at, What.DRAIN)


def absent_at_first(faults: Iterable[Fault]) -> frozenset[str]:
    """Return the ids of endpoints that are not in the pool at the beginning: those that are added before anything else.

    Raises
    ------
    ConfigurationError
        If an endpoint is added that is there, or removed or drained while it is not.
    """
    there: dict[str, bool] = {}
    absent = set[str]()
    for fault in sorted(faults, key=lambda fault: fault.at):
        if not isinstance(fault, Add | Remove | Drain):
            continue
        id, adds = fault.endpoint, isinstance(fault, Add)
        if adds and id not in there:
            absent.add(id)
        elif there.get(id, True) is adds:
            raise ConfigurationError(
                "faults", fault, f"an endpoint that is {'not ' * adds}there at that time"
            )
        there[id] = not isinstance(fault, Remove)
    return frozenset(absent)
