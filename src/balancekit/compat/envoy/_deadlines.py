"""Envoy's earliest-deadline-first schedule over hosts of different weight.

A host of weight w has the period ``1 / w``. The host with the earliest deadline is picked, and its deadline moves on by its
period. The weight is read when the host is picked, so it determines the next deadline of the host. With weights 5/1/1 the picks
are a a a a b c a; with 4/2/1 they are a b a a c b a.

If deadlines are equal, the host that had the smaller weight when the schedule was made comes first, then the one that has waited
longer. Envoy computes deadlines in doubles from a large random start, so the order of ties can vary by rounding. Here, deadlines
are whole numbers, and ties are exact.

Cost: O(log n) per pick; O(n log n) to make a schedule, whatever its start.
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
"""Number of binary places of periods that are multiplied by a factor that is no whole number."""

ANY_SUM: Final = 1 << 8192
"""A bound above all sums of floats that are scaled to whole numbers."""


class Deadlines:
    """A schedule over the indices of ``weights``.

    Parameters
    ----------
    weights
        Weights, finite numbers > 0.
    stretch
        Function that returns the current factor on a host's period, which is the inverse of the factor on its weight.
    start
        Number of picks that are skipped at the beginning.

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
        """Return the host with the earliest deadline, and set its next deadline. Hosts in ``skip`` keep their deadlines."""
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
    """Return a number of picks of each host within the first ``picks`` picks; fewer than n picks are not included.

    At the time at which the periods of all hosts together amount to ``picks``, each host has been picked ``time // period`` times.
    """
    common = math.lcm(*periods)
    time = picks * common // sum(common // period for period in periods)
    return [time // period for period in periods]
