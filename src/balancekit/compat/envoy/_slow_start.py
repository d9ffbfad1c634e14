"""Envoy's slow start: the share of its weight that a host has after it has become healthy.

After t seconds the share is ``max(min_weight_percent / 100, (t / window) ** (1 / aggression))``. It is computed at each pick. With an
aggression of 1, the weight grows linearly. With more, it grows faster at the beginning.

Source: Envoy 1.40, ``SlowStartConfig``.
"""

from __future__ import annotations

import math
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Policy

__all__ = ["SlowStart"]

MIN_AGE_S: Final = 0.001
"""Minimum age of a host in the formula."""


class SlowStart(Policy):
    """Settings of slow start, with Envoy's names and defaults.

    Parameters
    ----------
    slow_start_window
        Seconds until a host has its whole weight, > 0.
    aggression
        Inverse of the exponent of the curve, > 0.
    min_weight_percent
        Minimum share of the weight in percent, 0 to 100. With 0, the minimum is the share after a millisecond.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from balancekit.compat.envoy import SlowStart
    >>> [SlowStart(slow_start_window=8).share(age) for age in (0.0, 2.0, 8.0, 9.0)]
    [0.1, 0.25, 1.0, 1.0]
    """

    slow_start_window: float
    aggression: float = 1.0
    min_weight_percent: float = 10.0

    def _check(self) -> None:
        valid.number("slow_start_window", self.slow_start_window, above=0.0)
        valid.number("aggression", self.aggression, above=0.0)
        valid.number("min_weight_percent", self.min_weight_percent, minimum=0.0, maximum=100.0)

    @checked_arguments
    def share(self, age: float) -> float:
        """Return the share of its weight that a host has ``age`` seconds after it became healthy. ``age`` may be infinity."""
        since = age if age == math.inf else valid.number("age", age)
        part = min(1.0, max(MIN_AGE_S, since) / self.slow_start_window)
        return max(self.min_weight_percent / 100.0, float(part ** (1.0 / self.aggression)))
