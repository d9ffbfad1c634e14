"""What goes wrong, where and when? Faults of a simulated endpoint.

=================  ==================================================================================
:class:`Crash`     requests in progress break, new ones are refused at once
:class:`Hang`      nothing is answered until it is over; callers run into their time-out
:class:`FailFast`  answers at once, wrongly: the black hole
:class:`Slow`      everything takes several times as long
:class:`Flap`      down and up again, over and over
=================  ==================================================================================

And what operators do: :class:`Remove`, :class:`Add`, :class:`Drain`.
"""

from __future__ import annotations

from collections.abc import Iterator

from balancekit import _validation as valid
from balancekit._record import Record

__all__ = ["Add", "Crash", "Drain", "FailFast", "Fault", "Flap", "Hang", "Remove", "Slow"]


class Fault(Record):
    """Something that happens to one endpoint.

    Parameters
    ----------
    endpoint
        Its id.
    at
        Seconds, >= 0.
    """

    endpoint: str
    at: float

    def _check(self) -> None:
        valid.text("endpoint", self.endpoint)
        valid.number("at", self.at, minimum=0.0)

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield what to do when: a time, a name, a number."""
        raise NotImplementedError


class _Spell(Fault):
    """A fault that ends, ``seconds`` later."""

    seconds: float

    def _check(self) -> None:
        super()._check()
        valid.number("seconds", self.seconds, above=0.0)


class Crash(_Spell):
    """The process dies, and is started again."""

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the beginning and the end."""
        yield self.at, "crash", 0.0
        yield self.at + self.seconds, "recover", 0.0


class Hang(_Spell):
    """The process is stopped; requests wait, and are worked on when it goes on."""

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the beginning and the end."""
        yield self.at, "hang", self.at + self.seconds


class FailFast(_Spell):
    """A share of the answers are failures that come after ``after`` seconds."""

    share: float = 1.0
    after: float = 0.001

    def _check(self) -> None:
        super()._check()
        valid.number("share", self.share, minimum=0.0, maximum=1.0)
        valid.number("after", self.after, minimum=0.0)

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the beginning and the end."""
        yield self.at, "fail after", self.after
        yield self.at, "fail", self.share
        yield self.at + self.seconds, "fail", 0.0


class Slow(_Spell):
    """Service times are multiplied by ``factor``, > 0."""

    factor: float = 3.0

    def _check(self) -> None:
        super()._check()
        valid.number("factor", self.factor, above=0.0)

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the beginning and the end."""
        yield self.at, "slow", self.factor
        yield self.at + self.seconds, "slow", 1.0


class Flap(_Spell):
    """Down for ``down`` seconds, up for ``up``, until ``seconds`` have passed."""

    down: float = 1.0
    up: float = 1.0

    def _check(self) -> None:
        super()._check()
        valid.number("down", self.down, above=0.0)
        valid.number("up", self.up, above=0.0)

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield every crash and recovery."""
        now = self.at
        while now < self.at + self.seconds:
            yield now, "crash", 0.0
            yield now + self.down, "recover", 0.0
            now += self.down + self.up


class Add(Fault):
    """The endpoint joins the pool; until then it is not there."""

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the one step."""
        yield self.at, "add", 0.0


class Remove(Fault):
    """The endpoint is taken out of the pool; what it works on is finished."""

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the one step."""
        yield self.at, "remove", 0.0


class Drain(Fault):
    """The endpoint is drained."""

    def steps(self) -> Iterator[tuple[float, str, float]]:
        """Yield the one step."""
        yield self.at, "drain", 0.0
