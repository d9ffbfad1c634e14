"""Counts over a sliding window of time, in buckets.

Cost: O(1) per call, amortised; at most ten numbers.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["RecentCount"]

BUCKETS: Final = 10
MIN_WIDTH_S: Final = 1e-9
"""Seconds of the shortest bucket: a shorter one has no number, or none that differs from the next."""


@final
class RecentCount:
    """The number of events in about the last ``length`` seconds, in ten buckets. The oldest bucket expires as a whole.

    *Not thread-safe.* If ``now`` goes back by ``length`` or more, the earlier counts are dropped, because they would
    otherwise not expire until that time.

    Example
    -------
    >>> requests = RecentCount(10.0)
    >>> requests.add(0.5)
    >>> requests.count(9.9), requests.count(10.0)
    (1, 0)
    """

    __slots__ = ("_buckets", "_slot", "_width")

    def __init__(self, length: float) -> None:
        self._width = max(MIN_WIDTH_S, length / BUCKETS)
        self._buckets: dict[int, int] = {}
        self._slot = 0

    def add(self, now: float) -> None:
        """Count one event at the time ``now``."""
        slot, buckets = int(now // self._width), self._buckets
        if slot != self._slot:
            self._forget(slot)
        buckets[slot] = buckets.get(slot, 0) + 1

    def count(self, now: float) -> int:
        """Return the number of events in the window that ends at ``now``."""
        slot = int(now // self._width)
        if slot != self._slot:
            self._forget(slot)
        return sum(self._buckets.values())

    def _forget(self, slot: int) -> None:
        for old in [key for key in list(self._buckets) if abs(key - slot) >= BUCKETS]:
            self._buckets.pop(old, None)
        self._slot = slot  # last: after an interrupt, the next call drops the remaining buckets
