"""Ejections: their durations, which grow from one to the next, and the share of endpoints that may be ejected at once.

The ``k``-th ejection in a row lasts ``min(base * factor ** (k - 1), max_duration)`` seconds. A random share of up to
``jitter`` is added, so that clients do not all probe an endpoint at the same time.

*Why is the default maximum 2 seconds?* Envoy's is 300 seconds. A proxy with active checks probes an ejected host, and
ends the ejection when the host answers. Without active checks, only a request can probe the endpoint. If it recovers,
it still gets no requests until its ejection ends. A probe costs one request per client. With 2 seconds, a recovered
endpoint gets more than 80 % of its usual share in the next 20 seconds.

*Why is the default cap one half?* Envoy's is 10 %. Pools in programs are small; 10 % of five endpoints is none.
"""

from __future__ import annotations

import math
import random
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError

__all__ = ["LAST_STAYS", "NONE_STAYS", "Ejection"]

MAX_STREAK: Final = 2**53
"""Ejections in a row after which none lasts longer. Each whole number up to this one is a float."""


class Ejection(Policy):
    """The duration of ejections, and the share of endpoints that may be ejected at once.

    Parameters
    ----------
    base
        The duration of the first ejection in seconds, > 0.
    factor
        The factor from the duration of one ejection to that of the next in a row, >= 1.
    max_duration
        The longest duration in seconds, before jitter, >= ``base``.
    jitter
        The largest random increase of a duration, as a share of it, in [0, 1].
    max_share
        The share of the pool that may be ejected at once because of failing requests, in [0, 1]. Unless it is 0, at
        least one endpoint may be ejected. Ejections because of failing checks are not limited.
    calm
        Seconds, >= 0. For each such time without an ejection, the number of ejections in a row is reduced by one. With
        0, the next ejection after a return is the first in a row again. (Envoy: 10.)
    keep_last
        Whether the last eligible endpoint stays eligible, even if its checks fail, because a request that may fail is
        better than no request. Use ``False`` if health decides about other things than requests. DNS answers, for
        example, must show that all endpoints are down.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, or ``keep_last`` is no bool.

    Example
    -------
    >>> import random
    >>> from balancekit.health import Ejection
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
        """Return the duration of the ``streak``-th ejection in a row, in seconds, with jitter.

        Raises
        ------
        ConfigurationError
            If ``streak`` is no integer >= 0.
        """
        before = float(min(max(0, valid.integer("streak", streak, minimum=0) - 1), MAX_STREAK))
        try:
            length = min(self.max_duration, self.base * float(self.factor**before))
        except OverflowError:
            length = self.max_duration
        return length * (1.0 + self.jitter * rng.random())

    def remaining(self, streak: int, *, calm_for: float) -> int:
        """Return the number of ejections in a row that remains after ``calm_for`` seconds without an ejection.

        Raises
        ------
        ConfigurationError
            If ``streak`` is no integer >= 0, or ``calm_for`` is neither a finite number nor infinity.
        """
        count = valid.integer("streak", streak, minimum=0)
        healthy = calm_for if calm_for == math.inf else valid.number("calm_for", calm_for)
        return count - int(min(count, healthy / self.calm)) if self.calm else 0

    def allows(self, *, already_out: int, size: int) -> bool:
        """Return whether one more of ``size`` endpoints may be ejected if ``already_out`` are ejected.

        Raises
        ------
        ConfigurationError
            If one of the numbers is no integer >= 0.
        """
        out = valid.integer("already_out", already_out, minimum=0) + 1
        count = valid.integer("size", size, minimum=0)
        if self.max_share == 0.0 or (self.keep_last and out >= count):
            return False
        return out <= max(1, int(self.max_share * count))


LAST_STAYS: Final = Ejection(max_share=1.0)
"""All endpoints may be ejected except the last one. Used for endpoints whose checks fail."""
NONE_STAYS: Final = LAST_STAYS.replace(keep_last=False)
"""All endpoints may be ejected."""
