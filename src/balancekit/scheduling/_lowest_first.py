"""The lowest of many scores, of which requests that begin raise some unseen.

Items lie in a heap by the score they had when last looked at. What raises a score (a request that begins) is not
reported: a score in the heap is a lower bound, and an item whose in-flight has changed sinks when it comes to the top.
What else changes one (a request that ends) is reported to :attr:`LowestFirst.changed` and looked at before the next
pick. So an item at the top that has not changed is a true minimum.

Equal scores lie in random order. An item that is put in its place draws from an exponential distribution that begins where
the last pick was: what is left of the others' draws is distributed alike, so each is as likely to be next.

An interrupt may leave an item out of the heap; the next pick then looks at all items. It does the same if more changes
have been reported than are kept.

Cost: O(log n) per start and per end, mostly less; O(n) once, and after n changes that left the top alone.

Source: own construction; entries are replaced lazily, as in the notes of the standard library's ``heapq``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from math import log
from random import Random
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, owned, renew_in_child
from balancekit.scheduling._score_buckets import MAX_REPORTS

__all__ = ["LowestFirst"]


class RankedItem(Protocol):
    """What lies in the heap."""

    id: str
    inflight: int


C = TypeVar("C", bound=RankedItem)

Score: TypeAlias = Callable[[], float]

Entry: TypeAlias = tuple[float, float, int, Any, int, Score]
"""How an item lies in the heap: its score, a random and a unique number for ties, the item, the in-flight it had, and the
function for its score. A plain tuple, for the heap compares thousands."""


@final
class LowestFirst(StateRepr, Generic[C], prints=()):
    """Items by score, lowest first.

    Parameters
    ----------
    items
        At least one, each with a function that returns its score now; not NaN.
    rng
        Draws among equals.
    lock
        Held while items move. Re-entrant: a finalizer may pick in the middle of a pick. New in a forked child.

    Example
    -------
    >>> from threading import RLock
    >>> from balancekit import Endpoint, Node
    >>> from balancekit.loads import InFlight
    >>> nodes = [Node(Endpoint(id), InFlight()) for id in "ab"]
    >>> heap = LowestFirst({node: lambda node=node: node.inflight for node in nodes}, Random(1), RLock())
    >>> first = heap.lowest()
    >>> first.inflight += 1
    >>> heap.lowest() is first
    False
    """

    __slots__ = (
        "__weakref__",
        "_busy",
        "_changed",
        "_entries",
        "_heap",
        "_limit",
        "_lock",
        "_number",
        "_random",
        "_scores",
        "_turn",
        "_whole",
        "changed",
    )

    @checked_arguments
    def __init__(
        self,
        items: Mapping[C, Score],
        rng: Random,
        lock: AbstractContextManager[object],
    ) -> None:
        self._scores = dict(items)
        self._random = rng.random
        self._lock = lock
        self._busy = False
        self._number = count().__next__  # keeps two items from being compared
        self._changed: deque[C] = deque(maxlen=MAX_REPORTS)
        self.changed: Callable[[C], None] = self._changed.append
        """Record that an item's score has changed, other than by requests that began. Atomic, O(1)."""
        self._turn = 0.0
        self._limit = 2 * len(items) + 64
        self._entries: dict[C, Entry] = {}
        self._heap: list[Entry] = []
        self._whole = False
        """Whether every item is in the heap, and every change is either kept or has been looked at."""
        self._begin()
        self._whole = True
        renew_in_child(lock)
        call_in_child(self)

    def lowest(self, _now: float = 0.0, /) -> C:
        """Return an item of the least score, whatever the time is."""
        with self._lock:
            if self._busy:  # a finalizer came here from the lines below
                return min(self._scores, key=self._current)
            self._busy = True
            try:
                # What follows is _begin, written out.
                whole, self._whole = self._whole, False
                if not whole or len(self._changed) == MAX_REPORTS:
                    self._changed.clear()
                    self._rebuild()
                found: C = self._search()[3]
                self._whole = True
                return found
            finally:
                self._busy = False

    def lowest_except(self, exclude: Collection[str]) -> C | None:
        """Return an item of the least score of those whose id is not excluded; ``None`` if all are.

        O(excluded) times what :meth:`lowest` costs.
        """
        if not exclude:
            return self.lowest()
        with self._lock:
            if self._busy:
                left = (item for item in self._scores if item.id not in exclude)
                return min(left, key=self._current, default=None)
            self._busy = True
            try:
                self._begin()
                other = self._search_except(exclude)
                self._whole = True
                return other
            finally:
                self._busy = False

    def after_fork(self) -> None:
        """Let picks move items again in a forked child, if another thread moved some: it is not there."""
        if not owned(self._lock):
            self._busy = False

    def _begin(self) -> None:
        """Make good what was interrupted, or not kept."""
        whole, self._whole = self._whole, False
        if not whole or len(self._changed) == MAX_REPORTS:
            self._changed.clear()
            self._rebuild()

    def _search_except(self, exclude: Collection[str]) -> C | None:
        """Return what is lowest of the others; what stands before it is put aside meanwhile."""
        aside: list[Entry] = []
        found: C | None = None
        while self._heap and found is None:
            entry = self._search()
            if entry[3].id not in exclude:
                found = entry[3]
            else:
                aside.append(heappop(self._heap))
                self._drop_replaced()
        for entry in aside:
            heappush(self._heap, entry)
        return found

    def _search(self) -> Entry:
        """Put items in their places until the one at the top is in its place."""
        heap, entries, changed = self._heap, self._entries, self._changed
        random, number, turn = self._random, self._number, self._turn
        while changed:
            item = changed.popleft()
            entry = entries.get(item)
            if entry is not None:
                inflight, current = item.inflight, entry[5]
                entries[item] = new = (
                    current(),
                    turn - log(1.0 - random()),
                    number(),
                    item,
                    inflight,
                    current,
                )
                if entry is heap[0]:
                    heapreplace(heap, new)
                else:
                    heappush(heap, new)
        if len(heap) > self._limit:
            self._rebuild()
            entries = self._entries
        while True:
            entry = heap[0]
            item = entry[3]
            if entries[item] is not entry:
                heappop(heap)
                continue
            inflight = item.inflight
            if entry[4] == inflight:
                if entry[1] > turn:
                    self._turn = entry[1]
                return entry
            current = entry[5]
            entries[item] = new = (current(), turn - log(1.0 - random()), number(), item, inflight, current)
            heapreplace(heap, new)

    def _drop_replaced(self) -> None:
        """Leave no entry at the top that has been replaced."""
        heap, entries = self._heap, self._entries
        while heap and entries[heap[0][3]] is not heap[0]:
            heappop(heap)

    def _rebuild(self) -> None:
        """Look at all items, and leave out entries that have been replaced."""
        self._entries = {
            item: (
                current(),
                self._turn - log(1.0 - self._random()),
                self._number(),
                item,
                item.inflight,
                current,
            )
            for item, current in self._scores.items()
        }
        self._heap[:] = self._entries.values()
        heapify(self._heap)

    def _current(self, item: C) -> float:
        return self._scores[item]()
