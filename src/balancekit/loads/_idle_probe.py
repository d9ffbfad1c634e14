"""Trial of an endpoint that has gone without requests for long, so that none is given up for what it once was.

An endpoint that went without a request for 24 s *and* for 15 requests per endpoint of the pool is tried once. If it is
slow four times in a row, it is tried a sixteenth as often.

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
STRIKES: Final = 4
BACKOFF: Final = 16
"""An endpoint that was slow so many times in a row when it was tried is tried this many times as rarely.

With slowness at twice the mean, one that is not slow has a chance of e^-8 to fall under this, if times are exponential.
"""


class Stage(Enum):
    """How far the trial of an endpoint has come."""

    NONE = 0
    WANTED = 1
    SENT = 2


@final
class IdleProbe:
    """When one endpoint is to be tried, and what became of it."""

    __slots__ = ("_since", "_since_pick", "_strikes", "stage")

    def __init__(self) -> None:
        self.stage: Stage = Stage.NONE
        self._since = math.inf
        self._since_pick = 0
        self._strikes = 0

    def used(self, *, now: float, picks: int) -> None:
        """Record that a request has begun there since the last sweep, by now after so many picks of the pool."""
        self._since, self._since_pick = now, picks
        if self.stage is Stage.WANTED:
            self.stage = Stage.SENT

    def is_due(self, *, now: float, picks: int, size: int) -> bool:
        """Whether an endpoint of a pool of ``size`` has been idle for long; the time runs from the first question."""
        self._since = min(self._since, now)
        backoff = 1 if self._strikes < STRIKES else BACKOFF
        waited = now - self._since >= AFTER_S * backoff
        return waited and picks - self._since_pick >= AFTER_REQUESTS * backoff * size

    def answered(self, *, slow: bool) -> None:
        """Record an answer; it ends the trial, if there was one."""
        if self.stage is not Stage.NONE:
            self.stage = Stage.NONE
            self._strikes = self._strikes + 1 if slow else 0
