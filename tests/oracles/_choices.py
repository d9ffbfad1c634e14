"""What a recorded run does not tell, tried depth first: only what mattered before the answers parted is varied."""

from __future__ import annotations

import math
from collections.abc import Hashable

__all__ = ["Choices"]


class _Choice:
    __slots__ = ("count", "since", "value")

    def __init__(self, count: int, since: float) -> None:
        self.value = 0
        self.count = count
        self.since = since


class Choices:
    """The choices of one run after another.

    A run asks for each choice by name and says from when on it matters. Told when its answer and the recorded one
    parted, :meth:`advance` goes on to the next value of the last choice that mattered by then, and forgets the later ones.

    Cost: O(choices) a run; runs that differ only in what did not matter are not made.

    Example
    -------
    >>> choices = Choices()
    >>> choices.of("start", 3, since=0.0), choices.of("tick", 30, since=5.0)
    (0, 0)
    >>> choices.advance(until=2.0), choices.of("start", 3, since=0.0), choices.of("tick", 30, since=5.0)
    (True, 1, 0)
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, _Choice] = {}

    def of(self, name: Hashable, count: int, *, since: float = math.inf) -> int:
        """Return which of so many options this run takes."""
        return self._made.setdefault(name, _Choice(count, since)).value

    def matters(self, name: Hashable, *, since: float) -> None:
        """Say that a choice of this run matters from then on, if it did not before."""
        made = self._made[name]
        made.since = min(made.since, since)

    def advance(self, *, until: float = math.inf) -> bool:
        """Go on to the next run, given when the last one parted; whether there is one."""
        mattered = {
            name: made for name, made in self._made.items() if made.since <= until and made.since < math.inf
        }
        for name in sorted(mattered, key=lambda name: mattered[name].since)[::-1]:
            made = mattered[name]
            if made.value + 1 < made.count:
                made.value += 1
                self._made = mattered
                return True
            del mattered[name]
        return False
