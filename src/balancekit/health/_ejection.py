"""Ejection: durations that back off, and caps that leave some endpoints in service.

The ``k``-th ejection in a row lasts ``min(base * factor ** (k - 1), max_duration)`` seconds, lengthened by up
to ``jitter`` of itself so that many clients do not probe at the same moment.

*Why the default maximum is two seconds* where Envoy's is 300: a proxy probes an ejected host by itself,
through active checks, and the 300 s end when it answers. Without active checks only a request can probe the
endpoint, and after its recovery it loses the rest of its ejection. A probe costs one request per client; two
seconds keep a recovered endpoint above 80 % of its share in the 20 s after.

*Why a cap of one half* where Envoy's is 10 %: pools in programs are small. Ten percent of five endpoints
is none.
"""

from __future__ import annotations

import math
import random
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError

__all__ = ["LAST_STAYS", "NONE_STAYS", "Ejection"]


class Ejection(Policy):
    """How long an endpoint stays out, and how many may be out at once.

    Parameters
    ----------
    base
        Seconds of the first ejection, > 0.
    factor
        Growth from one ejection to the next in a row, >= 1.
    max_duration
        Seconds that no ejection exceeds (before jitter), >= base.
    jitter
        The share of its length that an ejection may randomly last longer, in [0, 1].
    max_share
        The share of the pool that failing requests may eject at once, in [0, 1]. At least one endpoint may be
        ejected unless it is 0. Failing checks are not limited: an endpoint that answers no request is useless in the
        pool.
    calm
        Seconds without ejection, >= 0, after which one of the ejections in a row is forgiven; 0 forgives
        all of them with the first proof of health. (Envoy: 10.)
    keep_last
        Whether the last eligible endpoint stays in the pool, even if its checks fail: a request that may fail is better
        than none. False where health decides about something other than requests, such as answers to DNS queries, which
        must show that all are down.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or ``keep_last`` is no bool.

    Example
    -------
    >>> import random
    >>> Ejection(base=1.0, max_duration=3.0, jitter=0.0).duration(3, random.Random(1))
    3.0
    >>> Ejection(max_share=0.1).allows(already_out=0, size=5)
    True
    """

    base: float = 1.0
    factor: float = 2.0
    max_duration: float = 2.0
    jitter: float = 0.1
    max_share: float = 0.5
    calm: float = 0.0
    keep_last: bool = True

    def _check(self) -> None:
        valid.number("base", self.base, above=0.0)
        valid.number("factor", self.factor, minimum=1.0)
        valid.number("max_duration", self.max_duration, above=0.0)
        if self.max_duration < self.base:
            raise ConfigurationError("max_duration", self.max_duration, f"at least base ({self.base:g})")
        valid.number("jitter", self.jitter, minimum=0.0, maximum=1.0)
        valid.number("max_share", self.max_share, minimum=0.0, maximum=1.0)
        valid.number("calm", self.calm, minimum=0.0)
        valid.flag("keep_last", self.keep_last)

    def duration(self, streak: int, rng: random.Random) -> float:
        """Return how long the ``streak``-th ejection in a row lasts, in seconds."""
        length = self.base
        for _ in range(valid.integer("streak", streak, minimum=0) - 1):
            length *= self.factor
            if length >= self.max_duration:
                length = self.max_duration
                break
        return length * (1.0 + self.jitter * rng.random())

    def remaining(self, streak: int, *, calm_for: float) -> int:
        """Return how many ejections in a row still count after some seconds of health; infinity: it never failed."""
        count = valid.integer("streak", streak, minimum=0)
        healthy = calm_for if calm_for == math.inf else valid.number("calm_for", calm_for)
        return count - int(min(count, healthy / self.calm)) if self.calm else 0

    def allows(self, *, already_out: int, size: int) -> bool:
        """Return whether one more of ``size`` endpoints may go out when ``already_out`` are out."""
        out = valid.integer("already_out", already_out, minimum=0) + 1
        count = valid.integer("size", size, minimum=0)
        if self.max_share == 0.0 or (self.keep_last and out >= count):
            return False
        return out <= max(1, int(self.max_share * count))


LAST_STAYS: Final = Ejection(max_share=1.0)
"""All may be ejected but the last: the cap for endpoints whose checks fail."""
NONE_STAYS: Final = LAST_STAYS.replace(keep_last=False)
"""All may be ejected."""
