"""Schedule of checks: the next endpoint that is due and its time. The caller passes the time.

The interval runs from the start of one check to the start of the next, so a slow endpoint is not
checked less often. **Jitter only shortens it**: the interval is the longest time between two checks. A failed
endpoint is therefore detected within ``interval * fall + timeout``, whatever the jitter. While an endpoint is
*changing* (its last checks disagree with its state), the fast interval applies.

Cost: O(log n) per check.

Source: HAProxy ``inter``, ``fastinter``, ``spread-checks``; Envoy ``initial_jitter``.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable
from typing import final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.record import Record, field
from balancekit.errors import ConfigurationError

__all__ = ["CheckTimer", "Schedule"]


class Schedule(Record):
    """The intervals and the timeout of checks.

    Parameters
    ----------
    interval
        Seconds from one check of an endpoint to the next, > 0.
    timeout
        The longest duration of a check in seconds, > 0, at most ``interval``. In threads, a name lookup by the system's
        resolver cannot be interrupted.
    jitter
        The share of the interval by which a check may come earlier at random, in [0, 1).
    fast
        The interval while an endpoint is changing, > 0, at most ``interval``; a fifth of ``interval`` if left out.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from balancekit.checks import Schedule
    >>> Schedule(interval=10.0).holds_for
    22.0
    """

    interval: float = field(default=5.0, kw_only=False)
    timeout: float = 2.0
    jitter: float = 0.1
    fast: float | None = None

    def _check(self) -> None:
        interval = valid.seconds("interval", self.interval, above=0.0)
        valid.seconds("timeout", self.timeout, above=0.0)
        if self.timeout > interval:
            raise ConfigurationError("timeout", self.timeout, f"at most the interval ({interval:g})")
        valid.number("jitter", self.jitter, minimum=0.0, maximum=1.0)
        if self.jitter == 1.0:
            raise ConfigurationError("jitter", self.jitter, "a number < 1")
        if self.fast is not None and valid.number("fast", self.fast, above=0.0) > interval:
            raise ConfigurationError("fast", self.fast, f"at most the interval ({interval:g})")

    @property
    def holds_for(self) -> float:
        """The validity of a result in seconds: until the check after the next one must have ended."""
        return 2.0 * self.interval + self.timeout

    def period(self, *, changing: bool) -> float:
        """Return the longest time until the next check."""
        if not changing:
            return self.interval
        return self.interval / 5.0 if self.fast is None else self.fast


@final
class CheckTimer(ConstructorRepr):
    """The time of the next check of each endpoint; one timer per runner.

    Parameters
    ----------
    schedule
        The intervals.
    rng
        The source of jitter.

    Example
    -------
    >>> import random
    >>> from balancekit.checks import CheckTimer, Schedule
    >>> timer = CheckTimer(Schedule(interval=5.0, jitter=0.0), random.Random(1))
    >>> timer.update(["a", "b"], now=0.0)
    >>> timer.begin(now=0.0), timer.begin(now=0.0), timer.begin(now=0.0)
    ('a', 'b', None)
    >>> timer.done("a", now=0.5, changing=False)
    >>> timer.next_at
    5.0
    """

    __slots__ = ("_due", "_heap", "_rng", "_schedule", "_started")

    def __init__(self, schedule: Schedule, rng: random.Random) -> None:
        self._schedule = schedule
        self._rng = rng
        self._due: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    @property
    def next_at(self) -> float:
        """The time of the next check; infinity if there is none."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else math.inf

    def update(self, ids: Iterable[str], *, now: float) -> None:
        """Set the endpoints to check. New ones are due at once, spread by jitter."""
        wanted = dict.fromkeys(ids)
        for known in (self._due, self._started):
            for id in [id for id in known if id not in wanted]:
                del known[id]
        for id in wanted:
            if id not in self._due and id not in self._started:
                spread = self._schedule.interval * self._schedule.jitter
                self._expect(id, now + spread * self._rng.random())

    def begin(self, *, now: float) -> str | None:
        """Return an endpoint that is due and mark it as being checked; ``None`` if none is due."""
        if self.next_at > now:
            return None
        _, id = self._heap[0]
        self._started[id] = now
        del self._due[
            id
        ]  # last, with nothing that an interrupt could follow: the item of the heap is dropped as a stale one
        return id

    def done(self, id: str, *, now: float, changing: bool) -> None:
        """Record the end of a check; a removed endpoint is dropped."""
        started = self._started.get(id)
        if started is None:
            return
        period = self._schedule.period(changing=changing)
        period *= 1.0 - self._schedule.jitter * self._rng.random()
        self._expect(id, max(now, started + period))

    def _expect(self, id: str, at: float) -> None:
        heapq.heappush(self._heap, (at, id))  # stale until the time is noted
        self._due[id] = at
        self._started.pop(id, None)

    def _drop_stale(self) -> None:
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
