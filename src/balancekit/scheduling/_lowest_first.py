"""The lowest of many scores, of which requests that begin raise some unseen.

Items lie in a heap by the score they had when last looked at. What raises a score (a request that begins) is not
reported: a score in the heap is a lower bound, and an item whose in-flight has changed sinks when it comes to the top.
What else changes one (a request that ends) is reported by the item's :class:`Ranked` and looked at before the next
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
from math import log, nan
from random import Random
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, owned, renew_in_child
from balancekit.scheduling._score_buckets import MAX_REPORTS

__all__ = ["LowestFirst", "Ranked"]


class RankedItem(Protocol):
    """What lies in the heap."""

    id: str
    inflight: int


C = TypeVar("C", bound=RankedItem)

Score: TypeAlias = Callable[[], float]

Entry: TypeAlias = tuple[float, float, "Ranked[Any]", int]
"""How an item lies in the heap: its score, a random number for ties, what knows the item, and the in-flight it had. A plain
tuple, for the heap compares thousands."""


@final
class Ranked(StateRepr, Generic[C], prints=("item",)):
    """An item among the others, and the way to report that its score has changed.

    Parameters
    ----------
    item
        The item.
    score
        Returns its score now.
    changed
        Call ``ranked.changed(ranked)`` when the score has changed, other than by requests that began. Atomic, O(1).
        No method, which would be another Python call per request.
    """

    __slots__ = ("changed", "item", "score", "tie")

    def __init__(self, item: C, score: Score, changed: Callable[[Ranked[C]], None]) -> None:
        self.item: C = item
        self.score: Score = score
        self.changed: Callable[[Ranked[C]], None] = changed
        self.tie: float = nan
        """The random number of its entry in the heap, the very object; an entry with another one has been replaced."""

    def __lt__(self, other: Ranked[C]) -> bool:
        """Return False: the heap compares these if scores and random numbers are equal, and either may be first."""
        return False


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
        "_heap",
        "_limit",
        "_lock",
        "_random",
        "_turn",
        "_whole",
        "ranked",
    )

    @checked_arguments
    def __init__(
        self,
        items: Mapping[C, Score],
        rng: Random,
        lock: AbstractContextManager[object],
    ) -> None:
        self._random = rng.random
        self._lock = lock
        self._busy = False
        self._changed: deque[Ranked[C]] = deque(maxlen=MAX_REPORTS)
        self.ranked: Mapping[C, Ranked[C]] = {
            item: Ranked(item, score, self._changed.append) for item, score in items.items()
        }
        """Where each item lies; call ``ranked.changed(ranked)`` when its score has changed."""
        self._turn = 0.0
        self._limit = 2 * len(items) + 64
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
                return min(self.ranked, key=self._current)
            self._busy = True
            try:
                # What follows is _begin, written out.
                whole, self._whole = self._whole, False
                if not whole or len(self._changed) == MAX_REPORTS:
                    self._changed.clear()
                    self._rebuild()
                found = self._search()
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
                left = (item for item in self.ranked if item.id not in exclude)
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
            item = self._search()
            if item.id not in exclude:
                found = item
            else:
                aside.append(heappop(self._heap))
                self._drop_replaced()
        for entry in aside:
            heappush(self._heap, entry)
        return found

    def _search(self) -> C:
        """Return the item at the top, once it has been put in its place."""
        heap, changed = self._heap, self._changed
        random, turn = self._random, self._turn
        while changed:
            ranked = changed.popleft()
            replaced, inflight = ranked.tie, ranked.item.inflight
            ranked.tie = tie = turn - log(1.0 - random())
            if heap[0][1] is replaced:
                heapreplace(heap, (ranked.score(), tie, ranked, inflight))
            else:
                heappush(heap, (ranked.score(), tie, ranked, inflight))
        if len(heap) > self._limit:
            self._rebuild()
        while True:
            _, tie, ranked, found = heap[0]
            if ranked.tie is not tie:
                heappop(heap)
                continue
            item: C = ranked.item
            inflight = item.inflight
            if found == inflight:
                if tie > turn:
                    self._turn = tie
                return item
            ranked.tie = tie = turn - log(1.0 - random())
            heapreplace(heap, (ranked.score(), tie, ranked, inflight))

    def _drop_replaced(self) -> None:
        """Leave no entry at the top that has been replaced."""
        heap = self._heap
        while heap and heap[0][2].tie is not heap[0][1]:
            heappop(heap)

    def _rebuild(self) -> None:
        """Look at all items, and leave out entries that have been replaced."""
        turn, random = self._turn, self._random
        entries: list[Entry] = []
        for ranked in self.ranked.values():
            inflight = ranked.item.inflight
            ranked.tie = tie = turn - log(1.0 - random())
            entries.append((ranked.score(), tie, ranked, inflight))
        heapify(entries)
        self._heap[:] = entries

    def _current(self, item: C) -> float:
        return self.ranked[item].score()
