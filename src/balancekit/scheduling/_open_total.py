"""The sum of requests in flight over many items, without a scan.

Each item is held at a *level*: the in-flight it had when it was last looked at, or will have when the request that was
announced (:meth:`OpenTotal.starting`) has begun. Ends are reported when in-flight falls below the level. The sum of
levels is kept, and each change replaces one level by what is true of that item, so nothing can drift: what was missed,
or announced and did not come, is put right when the item is next met.

Cost: O(1) per start and per end, O(n) once.

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
    """The requests in flight of some items, added up.

    Parameters
    ----------
    items
        Whose ends are reported to :attr:`fell`.
    lock
        Held while levels change. Re-entrant: a finalizer may pick in the middle of a pick. New in a forked child.

    Example
    -------
    >>> from threading import RLock
    >>> from balancekit import Endpoint, Node
    >>> from balancekit.loads import InFlight
    >>> nodes = [Node(Endpoint(id), InFlight()) for id in "ab"]
    >>> total = OpenTotal(nodes, RLock())
    >>> total.starting(nodes[0])
    >>> nodes[0].inflight += 1
    >>> total.read()
    1
    >>> nodes[0].inflight -= 1
    >>> total.fell(nodes[0])
    >>> total.read()
    0
    """

    __slots__ = ("__weakref__", "_fallen", "_levels", "_lock", "_sum", "fell")

    @checked_arguments
    def __init__(self, items: Iterable[C], lock: AbstractContextManager[object]) -> None:
        self._fallen: deque[C] = deque(maxlen=MAX_REPORTS)
        self.fell: Callable[[C], None] = self._fallen.append
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
        """Return the sum."""
        if self._fallen:
            with self._lock:
                self._take_falls()
        return self._sum

    def starting(self, item: C) -> None:
        """Count a request that is about to begin on an item."""
        with self._lock:
            if self._fallen:
                self._take_falls()
            levels = self._levels
            if item in levels:  # what follows is _set, written out for a level above zero
                level = item.inflight + 1
                self._sum += level - levels[item]
                levels[item] = item.low_water = level
                if item.inflight < level - 1:
                    self._fallen.append(item)

    def after_fork(self) -> None:
        """Add up again in a forked child what another thread may have been about to add: it is not there."""
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
        if item.inflight < level:  # requests ended before the level was there to see
            self._fallen.append(item)
