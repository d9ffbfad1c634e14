"""Counts of the recent past, in buckets.

Cost: O(1) a call, amortised; ten numbers.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["RecentCount"]

BUCKETS: Final = 10


@final
class RecentCount:
    """A count of the last ``length`` seconds, in ten buckets: the oldest goes as a whole. One thread at a time.

    If time goes back by more than ``length``, what was counted before that goes too: it would be recent until then.

    Example
    -------
    >>> requests = RecentCount(10.0)
    >>> requests.add(0.5)
    >>> requests.count(9.9), requests.count(10.0)
    (1, 0)
    """

    __slots__ = ("_buckets", "_slot", "_width")

    def __init__(self, length: float) -> None:
        self._width = length / BUCKETS
        self._buckets: dict[int, int] = {}
        self._slot = 0

    def add(self, now: float) -> None:
        """Count one."""
        slot = self._forget(now)
        self._buckets[slot] = self._buckets.get(slot, 0) + 1

    def count(self, now: float) -> int:
        """Return how many there were."""
        self._forget(now)
        return sum(self._buckets.values())

    def _forget(self, now: float) -> int:
        slot = int(now // self._width)
        if slot != self._slot:
            for old in [key for key in list(self._buckets) if abs(key - slot) >= BUCKETS]:
                self._buckets.pop(old, None)
            self._slot = slot  # last: what an interrupt left is forgotten by the next call
        return slot
