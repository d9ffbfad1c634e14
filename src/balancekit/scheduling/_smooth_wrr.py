"""Smooth weighted round robin, the algorithm of nginx.

Every server has a credit. At each turn, every credit grows by the server's weight. The server with the highest credit gets
the turn; on a tie, the first in the order of declaration. Its credit is then reduced by the sum of all weights. Weights of
5, 1, 1 give the order a a b a c a a.

**Guarantee.** Over any ``sum(weights)`` turns, each server gets exactly its weight. After any number of turns, each server
is less than one turn ahead of its exact share. Proof: the credit is minus the lead in turns times the sum of weights, and
the server that gets a turn had a credit above zero before the reduction.

**Classes.** Servers of equal weight form a class. They get their turns in the order of declaration. So the highest credit
is that of the next server of one of the classes, and a turn costs O(distinct weights) instead of O(servers). The order is
the same.

*When not to use it:* for many distinct weights, because a turn then costs too much; see ``_staggered_edf``.

Source: nginx ``ngx_http_upstream_round_robin.c`` (1.22). The form with classes is our own; tests compare it with the
original algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit.errors import ConfigurationError

__all__ = ["SmoothWrr", "smooth_cycle"]

MAX_TURNS: Final = 100_000
"""The largest number of turns of a cycle that :func:`smooth_cycle` returns."""


@final
class SmoothWrr(StateRepr, prints=()):
    """An endless smooth order over positions 0 to n - 1.

    *Not thread-safe:* if two threads call :meth:`take` at the same time, both may get the same turn. An interrupt leaves
    the state before or after one turn.

    Parameters
    ----------
    weights
        At least one finite number > 0. Integers give the exact order of nginx without end. With other numbers, rounding
        errors may decide ties.

    Raises
    ------
    ConfigurationError
        If ``weights`` is empty, or a weight is not a finite number > 0.

    Example
    -------
    >>> from balancekit.scheduling import SmoothWrr
    >>> turns = SmoothWrr([5, 1, 1])
    >>> [turns.take() for _ in range(7)]
    [0, 0, 1, 0, 2, 0, 0]
    """

    __slots__ = ("_members", "_state", "_total", "_weight")

    @checked_arguments
    def __init__(self, weights: Sequence[float]) -> None:
        if not valid.numbers("weights", weights, minimum=0.0, above=0.0):
            raise ConfigurationError("weights", weights, "at least one weight")
        classes: dict[float, list[int]] = {}
        for position, weight in enumerate(weights):
            classes.setdefault(weight, []).append(position)
        self._weight = list(classes)
        self._members = list(classes.values())
        self._total = sum(weights)
        self._state: tuple[list[float], list[int]] = ([0] * len(classes), [0] * len(classes))
        """The credit of each class, and the index of its next member. The tuple is replaced and never changed."""

    def take(self) -> int:
        """Return the position that gets the next turn. O(distinct weights)."""
        members, (before, upcoming) = self._members, self._state
        credit = [c + w for c, w in zip(before, self._weight, strict=True)]
        richest = max(credit)
        best = credit.index(richest)
        if credit.count(richest) > 1:
            tied = [k for k, c in enumerate(credit) if c == richest]
            best = min(tied, key=lambda k: members[k][upcoming[k]])
        turn = upcoming[best]
        upcoming = upcoming.copy()
        if turn + 1 < len(members[best]):
            upcoming[best] = turn + 1
        else:  # every member of the class has had its turn: the credit is that of the first again
            upcoming[best] = 0
            credit[best] -= self._total
        self._state = credit, upcoming
        return members[best][turn]


@checked_arguments
def smooth_cycle(weights: Sequence[int]) -> list[int]:
    """Return one cycle of ``sum(weights)`` turns, as positions. O(sum * distinct weights).

    Raises
    ------
    ConfigurationError
        If ``weights`` is empty or holds anything but integers > 0, or their sum is above 100,000.

    Example
    -------
    >>> from balancekit.scheduling import smooth_cycle
    >>> smooth_cycle([5, 1, 1])
    [0, 0, 1, 0, 2, 0, 0]
    """
    take, turns = SmoothWrr(weights).take, sum(weights)
    if turns > MAX_TURNS:
        raise ConfigurationError("weights", weights, f"a sum of at most {MAX_TURNS:,}")
    return [take() for _ in range(turns)]
