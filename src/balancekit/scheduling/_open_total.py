"""The sum of requests in flight over many items, without a scan.

Each item has a *level*: the in-flight that it had when it was last read. :meth:`OpenTotal.starting` announces a request, and
sets the level to the in-flight that the item will have when the request has begun. A fall of in-flight below the level is
reported. The structure keeps the sum of all levels. Each change replaces one level by the item's present in-flight, so
errors do not add up: a change that was missed, or a request that was announced and did not begin, is corrected the next
time that the item is read.

Cost: O(1) per start and per end, O(n) at construction.

Source: own construction, after the levels of ``_score_buckets.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, owned, renew_in_child
from balancekit.scheduling._score_buckets import MAX_REPORTS, BucketItem

__all__ = ["OpenTotal"]

C = TypeVar("C", bound=BucketItem)


@final
class OpenTotal(StateRepr, Generic[C], prints=()):
    """The number of requests in flight on all of some items.

    Threads may use it at the same time.

    Parameters
    ----------
    items
        The items. Each must call :attr:`record_fall` with itself when its in-flight falls below its ``low_water``.
    lock
        Held while levels change. It must be re-entrant, because a finalizer may pick during a pick. A forked child gets a
        new one.

    Example
    -------
    >>> from threading import RLock
    >>> from balancekit import Endpoint, Node
    >>> from balancekit.loads import InFlight
    >>> from balancekit.scheduling import OpenTotal
    >>> nodes = [Node(Endpoint(id), InFlight()) for id in "ab"]
    >>> total = OpenTotal(nodes, RLock())
    >>> total.starting(nodes[0])
    >>> nodes[0].inflight += 1
    >>> total.read()
    1
    >>> nodes[0].inflight -= 1
    >>> total.record_fall(nodes[0])
    >>> total.read()
    0
    """

    __slots__ = ("__weakref__", "_fallen", "_levels", "_lock", "_sum", "record_fall")

    @checked_arguments
    def __init__(self, items: Iterable[C], lock: AbstractContextManager[object]) -> None:
        self._fallen: deque[C] = deque(maxlen=MAX_REPORTS)
        self.record_fall: Callable[[C], None] = self._fallen.append
        """Record that an item's in-flight fell below its level. Atomic, O(1)."""
        self._lock = lock
        renew_in_child(lock)
        self._sum = 0
        self._levels: dict[C, int] = {}
        for item in items:
            self._levels[item] = 0
            self._set(item)
        call_in_child(self)

    def read(self) -> int:
        """Return the sum of requests in flight. O(1), and O(1) for each report since the last call."""
        if self._fallen:
            with self._lock:
                self._take_falls()
        return self._sum

    def starting(self, item: C) -> None:
        """Count a request that is about to begin on an item. An unknown item is ignored."""
        with self._lock:
            if self._fallen:
                self._take_falls()
            levels = self._levels
            if item in levels:  # an inlined copy of _set, for a level above zero
                level = item.inflight + 1
                self._sum += level - levels[item]
                levels[item] = item.low_water = level
                if item.inflight < level - 1:
                    self._fallen.append(item)

    def after_fork(self) -> None:
        """Add up all levels in a forked child. A thread of the parent may have been changing the sum."""
        if not owned(self._lock):
            self._sum = sum(self._levels.values())

    def _take_falls(self) -> None:
        if len(self._fallen) == MAX_REPORTS:  # some may have been dropped
            self._fallen.clear()
            for item in self._levels:
                self._set(item)
        while self._fallen:
            item = self._fallen.popleft()
            if item in self._levels:
                self._set(item)

    def _set(self, item: C) -> None:
        levels, level = self._levels, item.inflight
        self._sum += level - levels[item]
        levels[item] = level
        item.notify_below(max(1, level))  # also while idle, so that a start need only raise it
        if item.inflight < level:  # requests have ended before the level was set
            self._fallen.append(item)
