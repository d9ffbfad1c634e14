"""The least score per weight without a scan: items in buckets of equal score.

Items stand on buckets by the score ``(inflight + 1) / weight`` of the in-flight they had when last looked at,
their *level*. That is a lower bound, because the end of a request below the level is reported
(:meth:`ScoreBuckets.fell`); an item that has taken requests since stands too low, and is moved up when it is
met. So the lowest bucket holds every true minimum, and an item met there whose in-flight equals its
level *is* one.

A pick is one uniform draw from the lowest bucket. It reads only; a lock is taken to move items, at most one
move per request that started and one per request that ended.

An interrupt in the middle of a move leaves a part undone; the next pick that has to move items then puts all of them
in their places again. It does the same if more ends have been reported than are kept, so that reports which no pick
reads take no more than half a megabyte.

Cost: O(1) per pick and per end while loads hold still, O(log buckets) amortised when they move. The number
of buckets is at most the number of different scores: 2 or 3 with equal weights, at any number of items.

Source: own construction. The buckets are those of an LFU cache; the lazy lower bound is what lets
acquire leave them alone.
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

__all__ = ["ScoreBuckets"]

MIN_REDRAWN: Final = 8
"""Larger buckets are drawn from again and again until the item is not excluded; smaller ones are filtered."""
MAX_REPORTS: Final = 1 << 16
"""Reports that are kept until they are looked at; of more, the oldest are dropped, and all items are looked at."""


class BucketItem(Protocol):
    """What can stand in a bucket."""

    id: str
    inflight: int
    low_water: int

    @property
    def weight(self) -> float:
        """Greater than zero; looked at once."""
        ...

    def notify_below(self, low_water: int) -> None:
        """Set ``low_water``; from now on say when in-flight falls below it."""
        ...


C = TypeVar("C", bound=BucketItem)


@final
class ScoreBuckets(StateRepr, Generic[C], prints=()):
    """Items by score, lowest first.

    Parameters
    ----------
    items
        At least one, all of weight > 0. Their levels are set.
    rng
        Draws among equals.
    lock
        Held while items move. Re-entrant: a finalizer may pick in the middle of a pick. New in a forked child.

    Example
    -------
    >>> from threading import RLock
    >>> from balancekit import Endpoint, Node
    >>> from balancekit.loads import InFlight
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
        "fell",
    )

    @checked_arguments
    def __init__(self, items: Sequence[C], rng: Random, lock: AbstractContextManager[object]) -> None:
        self._items = items
        self._bits = rng.getrandbits
        self._lock = lock
        self._moving = False
        self._retired = False
        self._fallen: deque[C] = deque(maxlen=MAX_REPORTS)
        self.fell: Callable[[C], None] = self._fallen.append
        """Record that an item's in-flight fell below its level. Atomic, O(1)."""
        self._weight: dict[C, float] = {item: item.weight for item in items}
        self._put_all()
        self._low = self._lowest_bucket()
        self._whole = True  # every item is in a bucket, and every report is either kept or has been followed
        renew_in_child(lock)
        call_in_child(self)

    def lowest(self) -> C:
        """Return an item of the least score, all of those equally likely."""
        low = self._low
        try:
            item = low[self._bits(30) % len(low)]
        except (IndexError, ZeroDivisionError):  # another thread is moving items
            return self._settle()
        if item.inflight == item.low_water and not self._fallen:
            return item
        return self._settle()

    def lowest_except(self, exclude: Collection[str]) -> C | None:
        """Return an item of the least score of those whose id is not excluded; ``None`` if all are.

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
        """Stop moving items: they are about to be put in other buckets."""
        with self._lock:
            self._retired = True
            self._low = []  # what is read there counts for the other buckets now

    def after_fork(self) -> None:
        """Let picks move items again in a forked child, if another thread moved some: it is not there."""
        if not owned(self._lock):
            self._moving = False

    def _settle(self) -> C:
        """Move misplaced items until one of the lowest bucket is in its place."""
        with self._lock:
            if self._moving or self._retired:  # moving: a finalizer came here from the loop below
                return min(self._items, key=self._score)
            self._moving = True
            try:
                return self._search()
            finally:
                self._moving = False

    def _search(self) -> C:
        # What follows is _begin, written out.
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
        """Send other threads here, and make good what was interrupted, or not kept."""
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
        """Draw until what is drawn is in its place."""
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
        if item.inflight < level:  # a request ended before the level was there to see
            self._fallen.append(item)

    def _score(self, item: C) -> float:
        return (item.inflight + 1) / self._weight[item]

    def _check(self) -> None:
        """Audit: each item is once in the bucket of its level, at the place noted for it."""
        assert sum(map(len, self._buckets.values())) == len(self._items)
        assert sorted(self._scores) == sorted(self._buckets)
        for score, bucket in self._buckets.items():
            for place, item in enumerate(bucket):
                assert (self._level[item] + 1) / self._weight[item] == score
                assert self._place[item] == place
