"""The item with the lowest in-flight per weight, found without a scan: items in buckets of equal score.

The score of an item is ``(inflight + 1) / weight``. Its bucket is that of the in-flight that it had when it was last read,
its *level*. A fall of in-flight below the level is reported (:attr:`ScoreBuckets.record_fall`), so the score of the bucket is
a lower bound. A request that starts is not reported: the item is then in a bucket that is too low, and it is moved when a
pick draws it. So the lowest bucket holds every item with the lowest score. An item in that bucket whose in-flight equals
its level has the lowest score.

A pick is one uniform draw from the lowest bucket, which only reads. A lock is taken to move items. There is at most one
move per request that starts and one per request that ends.

An interrupt may leave a move unfinished. The next pick that moves items then puts every item in a new bucket. It also does
so if more than :data:`MAX_REPORTS` ends were reported. So reports use at most half a megabyte.

Cost: O(1) per pick and per end while the loads do not change, O(log buckets) amortised when they do. The number of buckets
is at most the number of different scores: 2 or 3 with equal weights, for any number of items.

Source: own construction. The buckets are those of an LFU cache. The lower bound is what lets an acquire leave them
unchanged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from heapq import heappop, heappush
from random import Random
from typing import Final, Generic, Protocol, TypeVar, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import StateRepr
from balancekit._support.fork import call_in_child, owned, renew_in_child
from balancekit.errors import ConfigurationError

__all__ = ["ScoreBuckets"]

MIN_REDRAWN: Final = 8
"""Items of a bucket, plus 2 per excluded id, up to which it is filtered. A larger bucket is drawn from repeatedly, until the
drawn item is not excluded."""
MAX_REPORTS: Final = 1 << 16
"""Reports that are kept until a pick processes them. If there are more, the next pick reads every item."""


class BucketItem(Protocol):
    """An item that :class:`ScoreBuckets` or :class:`OpenTotal` can hold."""

    id: str
    inflight: int
    low_water: int

    @property
    def weight(self) -> float:
        """The weight, > 0. It is read once."""
        ...

    def notify_below(self, low_water: int) -> None:
        """Set ``low_water``, and from now on report when in-flight falls below it."""
        ...


C = TypeVar("C", bound=BucketItem)


@final
class ScoreBuckets(StateRepr, Generic[C], prints=()):
    """Items in buckets of equal ``(inflight + 1) / weight``.

    Threads may pick and report at the same time.

    *When not to use it:* for scores other than in-flight per weight; use :class:`LowestFirst`.

    Parameters
    ----------
    items
        At least one item, all of weight > 0. The constructor sets their ``low_water``. Each must call :attr:`record_fall` with
        itself when its in-flight falls below its ``low_water``.
    rng
        Decides between items of equal score.
    lock
        Held while items move. It must be re-entrant, because a finalizer may pick during a pick. A forked child gets a new
        one.

    Raises
    ------
    ConfigurationError
        If ``items`` is empty, or an item's weight is not > 0.

    Example
    -------
    >>> from random import Random
    >>> from threading import RLock
    >>> from balancekit import Endpoint, Node
    >>> from balancekit.loads import InFlight
    >>> from balancekit.scheduling import ScoreBuckets
    >>> nodes = [Node(Endpoint(id, weight=weight), InFlight()) for id, weight in (("a", 1), ("b", 4))]
    >>> ScoreBuckets(nodes, Random(1), RLock()).lowest().id      # 1 / 1 against 1 / 4
    'b'
    """

    __slots__ = (
        "__weakref__",
        "_bits",
        "_buckets",
        "_fallen",
        "_items",
        "_level",
        "_lock",
        "_low",
        "_moving",
        "_place",
        "_retired",
        "_scores",
        "_weight",
        "_whole",
        "record_fall",
    )

    @checked_arguments
    def __init__(self, items: Sequence[C], rng: Random, lock: AbstractContextManager[object]) -> None:
        if not items or any(not item.weight > 0.0 for item in items):
            raise ConfigurationError("items", items, "at least one item, each of weight > 0")
        self._items = items
        self._bits = rng.getrandbits
        self._lock = lock
        self._moving = False
        self._retired = False
        self._fallen: deque[C] = deque(maxlen=MAX_REPORTS)
        self.record_fall: Callable[[C], None] = self._fallen.append
        """Record that an item's in-flight fell below its level. Atomic, O(1)."""
        self._weight: dict[C, float] = {item: item.weight for item in items}
        self._put_all()
        self._low = self._lowest_bucket()
        self._whole = True  # every item is in the bucket of its level, and no report was dropped
        renew_in_child(lock)
        call_in_child(self)

    def lowest(self) -> C:
        """Return an item with the lowest score. All items with that score are equally likely."""
        low = self._low
        try:
            item = low[self._bits(30) % len(low)]
        except (IndexError, ZeroDivisionError):  # another thread is moving items
            return self._settle()
        if item.inflight == item.low_water and not self._fallen:
            return item
        return self._settle()

    def lowest_except(self, exclude: Collection[str]) -> C | None:
        """Return an item with the lowest score among those whose id is not excluded; ``None`` if all are excluded.

        O(excluded) plus the cost of :meth:`lowest`.
        """
        low = self._low
        if low and not self._fallen:
            try:
                item = low[self._bits(30) % len(low)]
            except (IndexError, ZeroDivisionError):  # another thread is moving items
                return self._settle_except(exclude)
            if item.inflight == item.low_water and item.id not in exclude:
                return item
        return self._settle_except(exclude)

    def retire(self) -> None:
        """Stop moving items, because other buckets are about to take them over. Later picks scan all items."""
        with self._lock:
            self._retired = True
            self._low = []  # the other buckets change the levels, so a draw would be wrong

    def after_fork(self) -> None:
        """Unlock moves in a forked child. A thread of the parent may have been moving items; it does not exist there."""
        if not owned(self._lock):
            self._moving = False

    def _settle(self) -> C:
        """Move misplaced items until an item drawn from the lowest bucket is in the right one. Return it."""
        with self._lock:
            if (
                self._moving or self._retired
            ):  # moving: a finalizer has called this during a move by the same thread
                return min(self._items, key=self._score)
            self._moving = True
            try:
                return self._search()
            finally:
                self._moving = False

    def _search(self) -> C:
        # An inlined copy of _begin.
        whole, self._whole, self._low = self._whole, False, []
        if not whole or len(self._fallen) == MAX_REPORTS:
            self._put_all()
        while True:
            self._take_falls()
            low = self._lowest_bucket()
            item = low[self._bits(30) % len(low)]
            if item.inflight == self._level[item]:
                self._low, self._whole = low, True
                return item
            self._move(item)

    def _begin(self) -> None:
        """Make other threads wait for the lock. Rebuild the buckets if a move was interrupted or a report was dropped."""
        whole, self._whole, self._low = self._whole, False, []
        if not whole or len(self._fallen) == MAX_REPORTS:
            self._put_all()

    def _put_all(self) -> None:
        """Put every item in a new bucket."""
        self._fallen.clear()
        self._buckets: dict[float, list[C]] = {}
        self._scores: list[float] = []
        self._level: dict[C, int] = {}
        self._place: dict[C, int] = {}
        for item in self._items:
            self._put(item)

    def _take_falls(self) -> None:
        while self._fallen:
            item = self._fallen.popleft()
            if item.inflight < self._level[item]:
                self._move(item)

    def _settle_except(self, exclude: Collection[str]) -> C | None:
        with self._lock:
            if self._moving or self._retired:
                left = (one for one in self._items if one.id not in exclude)
                return min(left, key=self._score, default=None)
            self._moving = True
            try:
                return self._settled_draw(exclude)
            finally:
                self._moving = False

    def _settled_draw(self, exclude: Collection[str]) -> C | None:
        """Draw, and move the drawn item, until it is in the right bucket."""
        self._begin()
        while True:
            self._take_falls()
            low = self._lowest_bucket()
            item = self._draw_except(exclude)
            if item is None or item.inflight == self._level[item]:
                self._low, self._whole = low, True
                return item
            self._move(item)

    def _draw_except(self, exclude: Collection[str]) -> C | None:
        """Draw from the lowest bucket that holds an item that is not excluded."""
        bits = self._bits
        for score in (self._scores[0], *sorted(self._scores)):
            bucket = self._buckets[score]
            if len(bucket) > MIN_REDRAWN + 2 * len(exclude):  # at least half are not excluded
                while True:
                    item = bucket[bits(30) % len(bucket)]
                    if item.id not in exclude:
                        return item
            free = [item for item in bucket if item.id not in exclude]
            if free:
                return free[bits(30) % len(free)]
        return None

    def _lowest_bucket(self) -> list[C]:
        while True:
            bucket = self._buckets[self._scores[0]]
            if bucket:
                return bucket
            del self._buckets[heappop(self._scores)]

    def _move(self, item: C) -> None:
        bucket = self._buckets[(self._level[item] + 1) / self._weight[item]]
        last = bucket.pop()
        if last is not item:
            place = self._place[item]
            bucket[place] = last
            self._place[last] = place
        self._put(item)

    def _put(self, item: C) -> None:
        self._level[item] = level = item.inflight
        item.notify_below(level)
        score = (level + 1) / self._weight[item]
        bucket = self._buckets.get(score)
        if bucket is None:
            self._buckets[score] = bucket = []
            heappush(self._scores, score)
        self._place[item] = len(bucket)
        bucket.append(item)
        if item.inflight < level:  # a request has ended before the level was set
            self._fallen.append(item)

    def _score(self, item: C) -> float:
        return (item.inflight + 1) / self._weight[item]

    def _check(self) -> None:
        """Assert that each item is in the bucket of its level exactly once, at its recorded place."""
        assert sum(map(len, self._buckets.values())) == len(self._items)
        assert sorted(self._scores) == sorted(self._buckets)
        for score, bucket in self._buckets.items():
            for place, item in enumerate(bucket):
                assert (self._level[item] + 1) / self._weight[item] == score
                assert self._place[item] == place
