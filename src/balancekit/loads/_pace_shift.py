"""Detection of a lasting change of an endpoint's pace, so that the average does not need minutes to follow it.

The pace is an average over 200 s, because single answers vary much. An endpoint that becomes three times as slow would be
taken for a fast one for half a minute. So the answers of about a second, a *window*, are compared with the average before
it, in standard errors. What exceeds two standard errors is summed up over windows that differ in the same direction, at
most three per window. When the sum reaches six, and the mean of these windows differs from the average by a fifth, the average
starts again with them.

One long answer is in one window only, and no window reaches six alone, so heavy tails rarely start an average again. The
*noise*, the variance of one answer, is estimated from the windows themselves: the square of the difference times the number of
answers. So it contains what makes answers of the same time similar, such as queues that come and go; and the steadier an
endpoint is, the smaller the changes that are noticed. At first the noise is that of exponential times.

Nothing is stored per answer: average and count before and after give the mean of the answers between.

Cost: O(1) per sweep, one or two exponentials; answers and picks do not come here.

Source: a cumulative sum after Page, *Continuous inspection schemes*, Biometrika 41 (1954), over windows; the limit on each is our own.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, final

from balancekit._support.display import StateRepr

__all__ = ["PaceAverage", "PaceShift"]

MIN_ANSWERS: Final = 4.5
"""A window has at least this weight: five answers, or a little less for what has been forgotten meanwhile."""
SLACK: Final = 2.0
"""Standard errors of a window that are not summed up."""
MAX_ERRORS: Final = 5.0
"""The most standard errors of one window."""
LIMIT: Final = 6.0
"""The sum at which the pace is taken to have changed: twice the most that one window adds."""
MIN_CHANGE: Final = 0.2
"""The least change of the average root, as a share of it: paces that differ by 44 % up or 36 % down."""
EXPONENTIAL: Final = 0.28
"""The variance of the root of an exponential time, over the square of its mean: nearly ``4 / pi - 1``."""
NOISE_SHARE: Final = 0.1
"""The weight of a window in the noise."""


class PaceAverage(NamedTuple):
    """An average of the roots of answers, as of the last of them."""

    root: float
    weight: float
    """How many answers it counts as."""
    at: float
    """When the last answer came, in seconds."""


NONE: Final = PaceAverage(0.0, 0.0, -math.inf)
"""The average before any answer."""


@final
class PaceShift(StateRepr, prints=("noise", "excess")):
    """Whether the pace of one endpoint has changed for good.

    Parameters
    ----------
    memory
        Time constant of the average in seconds.
    """

    __slots__ = ("_last", "_level", "_memory", "_since", "_squares", "_windows", "excess", "noise")

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._last = self._since = NONE
        self._level = 0.0
        self._squares = 0.0
        self._windows = 0
        self.noise: float | None = None
        """Variance of the root of one answer; ``None`` until there are answers."""
        self.excess: float = 0.0
        """The sum of standard errors, negative if the endpoint has become faster."""

    def restart(self, average: PaceAverage) -> None:
        """Begin again at this average: something other than answers has changed it."""
        self._last = self._since = average
        self._level = average.root
        self._squares, self._windows = 0.0, 0
        self.excess = 0.0

    def look(self, average: PaceAverage) -> PaceAverage | None:
        """Take the average of now; return the one to go on with if the pace has changed, else ``None``."""
        window = self._between(self._last, average)
        if window is None:
            return None
        self._last = average
        noise, level = self.noise, self._level
        if noise is None or level <= 0.0:
            self.noise = EXPONENTIAL * average.root * average.root
            self.restart(average)
            return None
        change = window.root - level
        square = window.weight * change * change
        self._squares += square
        self._windows += 1
        self.excess = excess = self._summed(
            math.copysign(math.sqrt(square / noise) if noise else MAX_ERRORS, change)
        )
        if 0.0 < abs(excess) < LIMIT:
            return None
        recent = self._between(self._since, average) if excess else None
        if recent is None or abs(recent.root - level) < MIN_CHANGE * level:
            share = min(0.5, NOISE_SHARE * self._windows)
            self.noise = noise + share * (self._squares / self._windows - noise)
            self.restart(average)
            return None
        self.noise = noise * (recent.root / level) * (recent.root / level)
        self.restart(recent)
        return recent

    def _summed(self, errors: float) -> float:
        """Return the sum with one more window; it stops at 0 before it changes its sign."""
        excess = self.excess
        sign = math.copysign(1.0, excess or errors)
        return sign * max(0.0, sign * excess + max(-MAX_ERRORS, min(MAX_ERRORS, sign * errors)) - SLACK)

    def _between(self, before: PaceAverage, after: PaceAverage) -> PaceAverage | None:
        """Return the average of the answers between two moments; ``None`` if they are few."""
        if not after.at > before.at:
            return None
        kept = before.weight * math.exp((before.at - after.at) / self._memory)
        seen = after.weight - kept
        if seen < MIN_ANSWERS:
            return None
        root = max(0.0, (after.root * after.weight - before.root * kept) / seen)
        return PaceAverage(root, seen, after.at)
