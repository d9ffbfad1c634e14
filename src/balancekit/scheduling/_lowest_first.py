"""A heap that finds the item with the lowest score while requests change the scores.

An entry of the heap has the score that the item had when the entry was made. A request that starts may only raise a score.
This is not reported, so the score in the heap is a lower bound. When an item whose in-flight has changed reaches the
top, it gets a new entry with its present score. Every other change, such as a request that ends, is reported through the
item's :class:`Ranked`. Reported items get new entries before the next pick. So an item at the top whose in-flight is
unchanged has the lowest score.

Items of equal score are in random order. Each new entry draws a number from an exponential distribution that begins at the
number of the last pick. The exponential distribution has no memory, so the older entries of the same score have the
same distribution, and each item is equally likely to be picked next.

An interrupt may leave an item out of the heap. The next pick then rebuilds the heap. It also does so if more changes were
reported than :data:`MAX_REPORTS`.

Cost: O(log n) per start and per end, usually less. A rebuild is O(n); it happens at construction and once per n changes.

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
from balancekit.errors import ConfigurationError
from balancekit.scheduling._score_buckets import MAX_REPORTS

__all__ = ["LowestFirst", "Ranked"]


class RankedItem(Protocol):
    """An item with a score."""

    id: str
    inflight: int


C = TypeVar("C", bound=RankedItem)

Score: TypeAlias = Callable[[], float]

Entry: TypeAlias = tuple[float, float, "Ranked[Any]", int]
"""An entry of the heap: score, random number for ties, the item's ``Ranked``, and the item's in-flight at that time. It is a
plain tuple because the heap makes thousands of comparisons."""


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

    __slots__ = ("changed", "item", "score", "tie")

    def __init__(self, item: C, score: Score, changed: Callable[[Ranked[C]], None]) -> None:
        self.item: C = item
        self.score: Score = score
        self.changed: Callable[[Ranked[C]], None] = changed
        self.tie: float = nan
        """The random number of the item's valid entry, compared by identity. Entries with another one are obsolete."""

    def __lt__(self, other: Ranked[C]) -> bool:
        """Return False. The heap calls this if scores and random numbers are equal; then any order is right."""
        return False


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
        Held while entries change. It must be re-entrant, because a finalizer may pick during a pick. A forked child gets a
        new one.

    Raises
    ------
    ConfigurationError
        If ``items`` is empty.

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
        if not items:
            raise ConfigurationError("items", items, "at least one item")
        self._random = rng.random
        self._lock = lock
        self._busy = False
        self._changed: deque[Ranked[C]] = deque(maxlen=MAX_REPORTS)
        self.ranked: Mapping[C, Ranked[C]] = {
            item: Ranked(item, score, self._changed.append) for item, score in items.items()
        }
        """The ``Ranked`` of each item; call ``ranked.changed(ranked)`` when its score has changed."""
        self._turn = 0.0
        self._limit = 2 * len(items) + 64
        self._heap: list[Entry] = []
        self._whole = False
        """Whether every item has a valid entry, except those whose changes are reported and not yet processed."""
        self._begin()
        self._whole = True
        renew_in_child(lock)
        call_in_child(self)

    def lowest(self, _now: float = 0.0, /) -> C:
        """Return an item with the lowest score. The argument is ignored; it makes the method usable as a picker."""
        with self._lock:
            if self._busy:  # a finalizer has called this during a pick by the same thread
                return min(self.ranked, key=self._current)
            self._busy = True
            try:
                # An inlined copy of _begin.
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
        """Return an item with the lowest score among those whose id is not excluded; ``None`` if all are excluded.

        The cost is that of :meth:`lowest` times the number of excluded ids.
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
        """Unlock picks in a forked child. A thread of the parent may have been picking; it does not exist in the child."""
        if not owned(self._lock):
            self._busy = False

    def _begin(self) -> None:
        """Rebuild the heap if a pick was interrupted or a report was dropped."""
        whole, self._whole = self._whole, False
        if not whole or len(self._changed) == MAX_REPORTS:
            self._changed.clear()
            self._rebuild()

    def _search_except(self, exclude: Collection[str]) -> C | None:
        """Return the lowest item that is not excluded. Entries of excluded items are removed and put back at the end."""
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
        """Process reports, renew the entry at the top until it is up to date, and return its item."""
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
        """Remove obsolete entries from the top."""
        heap = self._heap
        while heap and heap[0][2].tie is not heap[0][1]:
            heappop(heap)

    def _rebuild(self) -> None:
        """Make a new entry for every item, and drop all others."""
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
