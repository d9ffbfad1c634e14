"""Envoy's earliest-deadline-first schedule over hosts of different weight.

Earliest deadline first: a host of weight w is due every ``1 / w``; the earliest deadline is picked and set
one period on. The weight is read when the host is picked, so what it is at that moment decides when the host
comes next. With 5/1/1 the picks go a a a a b c a, with 4/2/1 a b a a c b a.

Of equal deadlines the host goes first that had the smaller weight when the schedule was made, then the one
that has waited longer. Envoy counts in doubles from a large random start, so there ties may swap now and
then; here deadlines are whole numbers and ties are ties.

Cost: O(log n) a pick, O(n log n) a schedule however far in it starts.
Source: Envoy 1.40, ``EdfScheduler``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from balancekit.scheduling import whole_weights

__all__ = ["Deadlines"]

FRACTION_BITS: Final = 32
"""Binary places kept of a period that is no whole multiple of another; whole ones stay exact."""

ANY_SUM: Final = 1 << 8192
"""Above the sum of any whole proportion of floats."""


class Deadlines:
    """A schedule over the indices of ``weights``.

    Parameters
    ----------
    weights
        Finite numbers > 0.
    stretch
        Answers by what a host's period is to be multiplied now: one over the factor on its weight.
    start
        How many picks the schedule is already in.

    Example
    -------
    >>> schedule = Deadlines([5, 1, 1], stretch=lambda host: 1.0)
    >>> "".join("abc"[schedule.pick()] for _ in range(14))
    'aaaabcaaaaabca'
    """

    __slots__ = ("_heap", "_periods", "_stretch", "_turn")

    def __init__(self, weights: Sequence[float], *, stretch: Callable[[int], float], start: int = 0) -> None:
        whole = whole_weights(weights, limit=ANY_SUM)
        if whole is None:
            raise AssertionError(weights)
        common = math.lcm(*whole) << FRACTION_BITS
        self._periods = [common // weight for weight in whole]
        self._stretch = stretch
        self._turn = len(whole)
        periods = [self._period(host) for host in range(len(whole))]
        made = _picks_made(periods, start)
        # The rank is the period, negated: the longer it is, the smaller the weight.
        self._heap = [
            ((picks + 1) * period, -period, host, host)
            for host, (picks, period) in enumerate(zip(made, periods, strict=True))
        ]
        heapify(self._heap)
        for _ in range(start - sum(made)):
            self.pick()

    def pick(self, skip: Collection[int] = ()) -> int:
        """Return the host whose turn it is and set its next deadline; those to skip keep their turns."""
        if skip:
            return self._pick_beside(skip)
        deadline, rank, _, host = self._heap[0]
        self._turn += 1
        heapreplace(self._heap, (deadline + self._period(host), rank, self._turn, host))
        return host

    def _pick_beside(self, skip: Collection[int]) -> int:
        passed = []
        while self._heap[0][3] in skip:
            passed.append(heappop(self._heap))
        host = self.pick()
        for entry in passed:
            heappush(self._heap, entry)
        return host

    def _period(self, host: int) -> int:
        stretch = self._stretch(host)
        period = self._periods[host]
        if stretch == 1:
            return period
        numerator, denominator = float(stretch).as_integer_ratio()
        return max(1, period * numerator // denominator)


def _picks_made(periods: Sequence[int], picks: int) -> list[int]:
    """Return how often each host was picked for certain, if ``picks`` were made: fewer than n are left out.

    By the time at which all hosts together are due ``picks`` times, host i was due ``time // period`` times.
    """
    common = math.lcm(*periods)
    time = picks * common // sum(common // period for period in periods)
    return [time // period for period in periods]
