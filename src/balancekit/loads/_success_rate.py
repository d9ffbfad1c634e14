"""Moving average of success, kept only for an endpoint that has failed recently.

An endpoint that never fails has no average, so that nothing is computed for it. An endpoint that has failed heals while it
is idle, so that it is tried again. The longer ago the last answer, the more the next success or failure counts.

Cost: one ``exp`` to read, two to record. Source: the success factor of MOSN; the healing is our own.
"""

from __future__ import annotations

from math import exp
from typing import Final, NamedTuple, final

from balancekit.errors import ConfigurationError

__all__ = ["FailurePenalty", "SuccessRate", "check_exponent"]

MIN_MISSING: Final = 1e-3
"""The largest missing success that is ignored; its factor would be under 0.3 %."""


class FailurePenalty(NamedTuple):
    """The penalty of failures: a load is divided by a power of the success rate."""

    decay: float
    """Time constant of the success rate in seconds."""
    healing: float
    """Time constant, in seconds, with which the rate of an idle endpoint returns to 1."""
    floor: float
    """The lower bound of the success rate."""
    exponent: float


def check_exponent(exponent: float, floor: float) -> None:
    """Refuse an exponent by which the floor has a power of zero. The load of a failing endpoint is divided by it."""
    if not (floor**exponent):
        raise ConfigurationError(
            "exponent", exponent, f"one by which the floor, {floor:g}, has a power above 0"
        )


@final
class SuccessRate:
    """Share of requests that succeed, 0 to 1.

    Parameters
    ----------
    decay
        Time constant of the average in seconds, > 0.
    healing
        Time constant, in seconds, with which the rate of an idle endpoint returns to 1, > 0.

    Example
    -------
    >>> rate = SuccessRate(decay=1.0, healing=5.0)
    >>> rate.record(0.0, now=10.0, since=9.0)
    >>> round(rate.value(now=10.0), 3), round(rate.value(now=15.0), 3)
    (0.368, 0.767)
    """

    __slots__ = ("_at", "_decay", "_healing", "_missing")

    def __init__(self, *, decay: float, healing: float) -> None:
        self._decay = decay
        self._healing = healing
        self._missing = 0.0
        self._at = 0.0

    @property
    def clean(self) -> bool:
        """Whether the rate is so close to 1 that it can be dropped."""
        return self._missing < MIN_MISSING

    def value(self, *, now: float) -> float:
        """Return the rate at ``now``."""
        return 1.0 - self._missing * exp(min(0.0, self._at - now) / self._healing)

    def record(self, sample: float, *, now: float, since: float) -> None:
        """Average in a success (1) or a failure (0); the answer before it came at ``since``."""
        healed = 1.0 - self.value(now=now)
        last = max(self._at, since) if self._missing else since
        keep = exp(min(0.0, last - now) / self._decay)
        self._missing = healed * keep + (1.0 - sample) * (1.0 - keep)
        self._at = now
