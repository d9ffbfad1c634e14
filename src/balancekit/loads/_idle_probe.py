"""Trial of an endpoint that has gone without requests for long, so that none is given up for what it once was.

An endpoint that went without a request for 24 s *and* for 15 requests per endpoint of the pool is tried once. If it
turns out slow several times in a row, four times if it is very slow, it is tried a sixteenth as often.

Cost: O(1) per sweep; picks do not come here.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, final

__all__ = ["IdleProbe", "Stage"]

AFTER_S: Final = 24.0
AFTER_REQUESTS: Final = 15
"""An endpoint is tried again after so many seconds and requests per endpoint: 30 s and 20, less what a sweep is late."""
SLOW: Final = 2.0
"""An answer that took this many times the least pace of the pool is slow."""
MAX_SLOWNESS: Final = 3.0
"""No answer counts for more: heavy tails give a healthy endpoint one long answer, but hardly four in a row."""
GIVEN_UP: Final = 12.0
BACKOFF: Final = 16
"""If slow answers in a row, each counting for how slow it was, come to so much, the endpoint is tried this many times as rarely.

One as fast as the others comes to it less than once in 1,000 times, if times are exponential.
"""


class Stage(Enum):
    """How far the trial of an endpoint has come."""

    NONE = 0
    WANTED = 1
    SENT = 2


@final
class IdleProbe:
    """When one endpoint is to be tried, and what became of it."""

    __slots__ = ("_since", "_since_pick", "_slowness", "stage")

    def __init__(self) -> None:
        self.stage: Stage = Stage.NONE
        self._since = math.inf
        self._since_pick = 0
        self._slowness = 0.0

    def used(self, *, now: float, picks: int) -> None:
        """Record that a request has begun there since the last sweep, by now after so many picks of the pool."""
        self._since, self._since_pick = now, picks
        if self.stage is Stage.WANTED:
            self.stage = Stage.SENT

    def is_due(self, *, now: float, picks: int, size: int) -> bool:
        """Whether an endpoint of a pool of ``size`` has been idle for long; the time runs from the first question."""
        self._since = min(self._since, now)
        backoff = 1 if self._slowness < GIVEN_UP else BACKOFF
        waited = now - self._since >= AFTER_S * backoff
        return waited and picks - self._since_pick >= AFTER_REQUESTS * backoff * size

    def answered(self, slowness: float) -> None:
        """Record an answer that took so many times the least pace; it ends the trial, if there was one."""
        if self.stage is not Stage.NONE:
            self.stage = Stage.NONE
            self._slowness = self._slowness + min(slowness, MAX_SLOWNESS) if slowness > SLOW else 0.0
