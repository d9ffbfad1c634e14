"""A heap of scores, each with the items that have it. Requests change the scores; the item with the lowest one is found.

Each item is in the bucket of the score that it had when it was last put there. A request that starts may only raise a score.
This is not reported, so the score of the bucket is a lower bound. When an item whose in-flight has changed is drawn from the
lowest bucket, it is put in the bucket of its present score. Every other change, such as a request that ends, is reported
through the item's :class:`Ranked`. Reported items are moved before the next pick. So an item of the lowest bucket whose
in-flight is unchanged has the lowest score.

Items of equal score are in one bucket, and a pick draws one of them at random. Most buckets have one item.

The heap has plain numbers, because two tuples take twice as long to compare. A score whose bucket is empty stays in the heap
until it is the lowest.

An interrupt may leave a move unfinished. The next pick then puts every item in a new bucket. It also does so if more changes
were reported than :data:`MAX_REPORTS`.

Cost: O(log n) per start and per end, usually less. Putting all items in new buckets is O(n); it happens at construction and
at most once per n changes.

Source: own construction; scores are removed lazily, as in the notes of the standard library's ``heapq``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from heapq import heapify, heappop, heappush, heapreplace
from math import nan
from random import Random
from typing import Generic, Protocol, TypeAlias, TypeVar, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, owned, renew_in_child
from balancekit.errors import ConfigurationError
from balancekit.scheduling._score_buckets import MAX_REPORTS, MIN_REDRAWN

__all__ = ["LowestFirst", "Ranked"]


class RankedItem(Protocol):
    """An item with a score."""

    id: str
    inflight: int


C = TypeVar("C", bound=RankedItem)

Score: TypeAlias = Callable[[], float]


@final
class Ranked(StateRepr, Generic[C], prints=("item",)):
    """One item of a :class:`LowestFirst`, through which changes of its score are reported.

    Call ``ranked.changed(ranked)`` when the score has changed for any reason except the start of a request. The call is
    atomic and O(1), and any thread may make it.

    Parameters
    ----------
    item
        The item.
    score
        Returns the present score of the item.
    changed
        Records that a score has changed. It is an attribute and no method, to save a Python call per request.
    """

    __slots__ = ("changed", "found", "item", "key", "place", "score")

    def __init__(self, item: C, score: Score, changed: Callable[[Ranked[C]], None]) -> None:
        self.item: C = item
        self.score: Score = score
        self.changed: Callable[[Ranked[C]], None] = changed
        self.key: float = nan
        """The score whose bucket has the item."""
        self.place: int = 0
        """Its index in the bucket."""
        self.found: int = 0
        """The item's in-flight when it was put there."""


@final
class LowestFirst(StateRepr, Generic[C], prints=()):
    """Items with changing scores, of which the one with the lowest score is found without a scan.

    Threads may pick and report at the same time.

    *When not to use it:* for scores that depend on the time, because their changes are not reported.

    Parameters
    ----------
    items
        At least one item, each with a function that returns its present score. A score must not be NaN.
    rng
        Decides between items of equal score.
    lock
        Held while items move. It must be re-entrant, because a finalizer may pick during a pick. A forked child gets a
        new one.

    Raises
    ------
    ConfigurationError
        If ``items`` is empty.

    Example
    -------
    >>> from random import Random
    >>> from threading import RLock
    >>> from balancekit import Endpoint, Node
    >>> from balancekit.loads import InFlight
    >>> from balancekit.scheduling import LowestFirst
    >>> nodes = [Node(Endpoint(id), InFlight()) for id in "ab"]
    >>> heap = LowestFirst({node: lambda node=node: node.inflight for node in nodes}, Random(1), RLock())
    >>> first = heap.lowest()
    >>> first.inflight += 1
    >>> heap.lowest() is first
    False
    """

    __slots__ = (
        "__weakref__",
        "_bits",
        "_buckets",
        "_busy",
        "_changed",
        "_heap",
        "_limit",
        "_lock",
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
        if not items:
            raise ConfigurationError("items", items, "at least one item")
        self._bits = rng.getrandbits
        self._lock = lock
        self._busy = False
        self._changed: deque[Ranked[C]] = deque(maxlen=MAX_REPORTS)
        self.ranked: Mapping[C, Ranked[C]] = {
            item: Ranked(item, score, self._changed.append) for item, score in items.items()
        }
        """The ``Ranked`` of each item; call ``ranked.changed(ranked)`` when its score has changed."""
        self._limit = 2 * len(items) + 64
        self._heap: list[float] = []
        self._buckets: dict[float, list[Ranked[C]]] = {}
        self._whole = False
        """Whether every item is in the bucket of its key, and no report was dropped."""
        self._begin()
        self._whole = True
        renew_in_child(lock)
        call_in_child(self)

    def lowest(self, _now: float = 0.0, /) -> C:
        """Return an item with the lowest score. The argument is ignored; it makes the method usable as a picker."""
        with self._lock:
            if not self._busy:  # else a finalizer has called this during a pick by the same thread
                self._busy = True
                try:
                    # An inlined copy of _begin.
                    whole, self._whole = self._whole, False
                    if not whole or len(self._heap) > self._limit or len(self._changed) == MAX_REPORTS:
                        self._put_all()
                    found = self._search()
                    self._whole = True
                finally:
                    self._busy = False
                if found is not None:
                    return found
            return min(self.ranked, key=self._current)

    def lowest_except(self, exclude: Collection[str]) -> C | None:
        """Return an item with the lowest score among those whose id is not excluded; ``None`` if all are excluded.

        The cost is that of :meth:`lowest` times the number of excluded ids, at most; O(n) if all are excluded.
        """
        if not exclude:
            return self.lowest()
        with self._lock:
            if not self._busy:
                self._busy = True
                try:
                    self._begin()
                    other = self._search_except(exclude)
                    self._whole = True
                finally:
                    self._busy = False
                if other is not None:
                    return other
            left = (item for item in self.ranked if item.id not in exclude)
            return min(left, key=self._current, default=None)

    def after_fork(self) -> None:
        """Unlock picks in a forked child. A thread of the parent may have been picking; it does not exist in the child."""
        if not owned(self._lock):
            self._busy = False

    def _begin(self) -> None:
        """Put all items in new buckets if a pick was interrupted, a report was dropped, or the heap is long."""
        whole, self._whole = self._whole, False
        if not whole or len(self._heap) > self._limit or len(self._changed) == MAX_REPORTS:
            self._put_all()

    def _put_all(self) -> None:
        """Put every item in a new bucket."""
        heap, buckets = self._heap, self._buckets
        self._changed.clear()
        buckets.clear()
        for ranked in self.ranked.values():
            ranked.found = ranked.item.inflight
            ranked.key = score = ranked.score()
            bucket = buckets.setdefault(score, [])
            ranked.place = len(bucket)
            bucket.append(ranked)
        heap[:] = buckets
        heapify(heap)

    def _search(self) -> C | None:
        """Move items that were reported or that are drawn and have changed, until one is drawn that has not. Return it."""
        heap, buckets, changed = self._heap, self._buckets, self._changed
        while heap:
            if changed:
                ranked = changed.popleft()
                item, found = ranked.item, ranked.item.inflight
            else:
                bucket = buckets[heap[0]]
                size = len(bucket)
                if not size:
                    del buckets[heappop(heap)]
                    continue
                ranked = bucket[0] if size == 1 else bucket[self._bits(30) % size]
                item, found = ranked.item, ranked.item.inflight
                if ranked.found == found:
                    return item
            ranked.found = found
            key, score = ranked.key, ranked.score()
            if score == key:
                continue
            bucket = buckets[key]
            last = bucket.pop()
            if last is not ranked:
                bucket[ranked.place] = last
                last.place = ranked.place
            ranked.key = score
            if score in buckets:
                other = buckets[score]
                ranked.place = len(other)
                other.append(ranked)
                continue
            ranked.place = 0
            if not bucket and heap[0] == key:
                bucket.append(ranked)
                del buckets[key]
                buckets[score] = bucket
                heapreplace(heap, score)
            else:
                buckets[score] = [ranked]
                heappush(heap, score)
        return None

    def _search_except(self, exclude: Collection[str]) -> C | None:
        """Return the lowest item that is not excluded. Scores that only excluded items have are put back at the end."""
        heap, buckets = self._heap, self._buckets
        aside: list[float] = []
        found: C | None = None
        while heap and found is None:
            item = self._search()
            if item is None or item.id not in exclude:
                found = item
                break
            bucket = buckets[heap[0]]
            if len(bucket) > MIN_REDRAWN + 2 * len(exclude):  # at least half are not excluded
                continue
            free = [ranked for ranked in bucket if ranked.item.id not in exclude]
            if free:
                ranked = free[self._bits(30) % len(free)]
                if ranked.found == ranked.item.inflight:
                    found = ranked.item
                else:
                    self._changed.append(ranked)
            else:
                aside.append(heappop(heap))
                while heap and not buckets[heap[0]]:
                    del buckets[heappop(heap)]
        for score in aside:
            heappush(heap, score)
        return found

    def _current(self, item: C) -> float:
        return self.ranked[item].score()
