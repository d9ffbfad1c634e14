"""Smooth weighted round robin, as nginx does it.

At each turn every server's credit grows by its weight; the richest one serves (the first declared on a tie) and
pays the sum of all weights. With 5, 1, 1: a a b a c a a.

**Guarantee.** Over any ``sum(weights)`` turns each server gets exactly its weight. After any number of
turns, no server is a whole turn ahead of its exact share: its credit is minus its lead times the sum, and
the one picked had a credit above zero before paying.

**Classes.** Servers of equal weight take turns among themselves in the order of declaration, so only one
per distinct weight, the head of its class, can be the richest. That makes a step O(distinct weights)
instead of O(servers), with the same result.

*When not to use it:* with many distinct weights over many servers, where a step is too dear; see
``_staggered_edf``.

Source: nginx ``ngx_http_upstream_round_robin.c`` (1.22); the class form is our own, checked against the
plain one.
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
"""Of a cycle."""


@final
class SmoothWrr(StateRepr, prints=()):
    """An endless smooth order over positions 0 to n - 1.

    Parameters
    ----------
    weights
        Finite numbers > 0. Whole ones give the exact nginx order for ever; with others, rounding may
        decide ties.

    Raises
    ------
    ConfigurationError
        If a weight is not a finite number > 0.

    One thread at a time: of two that take at once, both may get the same turn. An interrupt takes a turn or none.

    Example
    -------
    >>> turns = SmoothWrr([5, 1, 1])
    >>> [turns.take() for _ in range(7)]
    [0, 0, 1, 0, 2, 0, 0]
    """

    __slots__ = ("_members", "_state", "_total", "_weight")

    @checked_arguments
    def __init__(self, weights: Sequence[float]) -> None:
        valid.numbers("weights", weights, minimum=0.0, above=0.0)
        classes: dict[float, list[int]] = {}
        for position, weight in enumerate(weights):
            classes.setdefault(weight, []).append(position)
        self._weight = list(classes)
        self._members = list(classes.values())
        self._total = sum(weights)
        self._state: tuple[list[float], list[int]] = ([0] * len(classes), [0] * len(classes))
        """The credit of each class, and which of its members comes next; replaced, not changed."""

    def take(self) -> int:
        """Return the position whose turn it is. O(distinct weights)."""
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
        else:  # each of this weight has had one turn more: the head pays for its own
            upcoming[best] = 0
            credit[best] -= self._total
        self._state = credit, upcoming
        return members[best][turn]


@checked_arguments
def smooth_cycle(weights: Sequence[int]) -> list[int]:
    """Return one whole cycle of ``sum(weights)`` turns, as positions. O(sum * distinct weights).

    Raises
    ------
    ConfigurationError
        For weights that are no numbers above 0, or with a sum above 100,000.
    """
    take, turns = SmoothWrr(weights).take, sum(weights)
    if turns > MAX_TURNS:
        raise ConfigurationError("weights", weights, f"a sum of at most {MAX_TURNS:,}")
    return [take() for _ in range(turns)]
