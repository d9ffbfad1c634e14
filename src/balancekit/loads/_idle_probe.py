"""Trial of an endpoint that has had no requests for long, so that an old estimate never excludes an endpoint for good.

No healthy endpoint goes without a request for 30 s *and* 20 requests per endpoint of the pool. A trial is due earlier, by the
time that may pass until its request begins: one sweep sees the last request, a later one sees that the trial is due, and
both wait for requests. This leaves 19 s in a pool of two, 25 s in a pool of twenty and 20 s in a pool of ten thousand, and the
same part of the requests. An endpoint with fewer than four answers waits for only 3 s and for as many requests: a first
answer is often cold, and one answer says little. Less than a twentieth of an even share counts as no requests: from so few, an
endpoint that was slow for a while would need minutes to lower its estimate. An endpoint that is slow in trial after trial (six
of them if it is very slow) is tried a sixteenth as often.

*Slowness* is summed over the trials of an endpoint: the time of each answer in excess of two and a half times the least pace of
the pool, less the time that others stay below it (a cumulative sum after Page, *Continuous inspection schemes*, Biometrika 41,
1954). The sum of an endpoint that is as fast as the others hardly ever reaches 20: not once in 4,800 pools of 3 to 10 endpoints
with exponential times and 4,000 requests each, although the least pace is the least of several estimates. A count of slow answers
in a row, which starts again after each fast one, reached its limit in one pool of a hundred.

Cost: O(1) per sweep; picks do not come here.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, final

__all__ = ["NEW", "IdleProbe", "Stage"]

MAX_GAP_S: Final = 30.0
MAX_GAP_REQUESTS: Final = 20
"""No healthy endpoint goes without a request for so many seconds *and* requests per endpoint of the pool."""
IDLE_SHARE: Final = 0.05
"""Requests up to this part of an even share count as none."""
LATE_S: Final = 2.0
LATE_REQUESTS: Final = 9
"""A trial is due earlier by these: the second sweep, and the pick after it, wait for requests, which come irregularly."""
MIN_WAIT: Final = 0.5
"""The least wait for a trial, as a part of that gap: in very large pools, sweeps take longer than the rest."""
NEW: Final = 4
EARLY_S: Final = 3.0
"""An endpoint with at least one answer and fewer than ``NEW`` waits for ``EARLY_S`` seconds."""
SLOW: Final = 2.5
"""Answers that take longer than this many times the least pace of the pool raise the slowness, others lower it."""
MAX_SLOWNESS: Final = 6.0
"""The most that one answer counts: heavy tails give a healthy endpoint one long answer, but hardly seven."""
GIVEN_UP: Final = 20.0
BACKOFF: Final = 16
"""An endpoint whose slowness reaches ``GIVEN_UP`` is tried only once in ``BACKOFF`` times."""

RETURN_REQUESTS: Final = 100
"""Requests of the pool that must have begun elsewhere since the last failure for a trial as soon as an ejection ends."""


class Stage(Enum):
    """How far the trial of an endpoint has come."""

    NONE = 0
    WANTED = 1
    SENT = 2


@final
class IdleProbe:
    """When one endpoint is to be tried, and what became of it.

    Parameters
    ----------
    requests
        Per endpoint of the pool, how many may pass it by.
    """

    __slots__ = ("_begun", "_requests", "_since", "_since_pick", "_slowness", "stage")

    def __init__(self, requests: int = MAX_GAP_REQUESTS) -> None:
        self.stage: Stage = Stage.NONE
        self._requests = requests
        self._since = math.inf
        self._since_pick = 0
        self._begun = 0.0
        self._slowness = 0.0

    def used(self, begun: float, *, now: float, picks: int, size: int) -> None:
        """Record how many requests have begun there since the last sweep, by now after so many picks of a pool of ``size``."""
        self._begun += begun
        if self.stage is Stage.WANTED:
            self.stage = Stage.SENT
        elif self._begun * size <= IDLE_SHARE * (picks - self._since_pick):
            return
        self._since, self._since_pick, self._begun = now, picks, 0.0

    def is_due(self, *, now: float, picks: int, size: int, round_s: float, soon: bool) -> bool:
        """Whether an endpoint of a pool of ``size`` has been idle for long; the time runs from the first question.

        One sweep every ``round_s`` seconds sees its last request, and another that it is due: each may be late by a round.
        A ``new`` one has answered, fewer than ``NEW`` times, and neither failed of late nor said nothing.
        """
        self._since = min(self._since, now)
        most = self._requests * max(1, size)
        late = (2.0 * round_s + LATE_S) / MAX_GAP_S + LATE_REQUESTS / most
        wait = max(MIN_WAIT, 1.0 - late) * (1 if self._slowness < GIVEN_UP else BACKOFF)
        idle_s, idle_picks = now - self._since, picks - self._since_pick
        return idle_s >= (EARLY_S if soon else MAX_GAP_S * wait) and idle_picks >= most * wait

    def may_return(self, picks: int) -> bool:
        """Whether an endpoint may be tried as soon as an ejection ends: then at most one request in a hundred fails there."""
        return picks - self._since_pick >= RETURN_REQUESTS

    def answered(self, slowness: float) -> None:
        """Record an answer that took so many times the least pace; it ends the trial, if there was one."""
        if self.stage is not Stage.NONE:
            self.ended()
            self._slowness = min(GIVEN_UP, max(0.0, self._slowness + min(slowness, MAX_SLOWNESS) - SLOW))

    def ended(self) -> None:
        """Record that a request ended without an answer: the trial, if it was one, has said nothing of how slow it is."""
        if self.stage is not Stage.NONE:
            self.stage = Stage.NONE
            self._begun = math.inf
