"""Flap damping: a penalty that every failure adds to and that decays with time.

.. code-block:: text

    penalty(t) = penalty(t0) * 2 ** -((t - t0) / half_life)
    a fall adds `flap`, up to the ceiling = reuse * 2 ** (max_suppress / half_life)
    suppressed from the fall that lifts it to `suppress` or more, until it has decayed to `reuse`
    time to reuse = half_life * log2(penalty / reuse), at most `max_suppress` after the last fall

*Worked example* with the defaults (1000 a fall, suppress 2000, reuse 750, half-life 60 s). Falls at 0, 20
and 40 s make 1000, then 794 + 1000 = 1794, then 1424 + 1000 = 2424: suppressed, for
``60 * log2(2424 / 750) = 101.5`` seconds. During that time it is not picked, however often its checks pass.

Rise and fall thresholds alone do not help: an endpoint that flaps more slowly than they count takes its share of
the traffic, and of the failures, each time it returns.

Source: RFC 2439 sections 4.2 and 4.8.2. Figures of Cisco (1000, 2000, 750, 15 min, 60 min) with the time
scale of requests instead of routes: half-life 60 s, at most 5 min. RFC 7196 advises higher thresholds for
routes, where a prefix flaps once for every path that is tried; a fall here is a fall.
"""

from __future__ import annotations

import enum
import math
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError
from balancekit.health._table import Table, following, frozen

__all__ = ["DAMPING", "Damper", "Damping", "DampingTrigger", "FlapDamping"]


class Damping(enum.StrEnum):
    """How an endpoint stands with damping."""

    CALM = "calm"
    """It has not fallen of late."""
    PENALIZED = "penalized"
    """It has, not often enough."""
    SUPPRESSED = "suppressed"
    """It has, too often."""


class DampingTrigger(enum.StrEnum):
    """What can happen to a penalty."""

    FLAP = "flap"
    """The endpoint fell."""
    SUPPRESS = "suppress"
    """The fall that just came lifted the penalty to the threshold."""
    REUSE = "reuse"
    """The penalty has decayed to ``reuse``."""
    FORGET = "forget"
    """The penalty has decayed to half of ``reuse``."""


DAMPING: Final[Table[Damping, DampingTrigger]] = frozen(
    {
        (Damping.CALM, DampingTrigger.FLAP): Damping.PENALIZED,
        (Damping.PENALIZED, DampingTrigger.SUPPRESS): Damping.SUPPRESSED,
        (Damping.PENALIZED, DampingTrigger.FORGET): Damping.CALM,
        (Damping.SUPPRESSED, DampingTrigger.REUSE): Damping.PENALIZED,
    },
)


class FlapDamping(Policy):
    """Suppress an endpoint that flaps, until its penalty has decayed.

    Parameters
    ----------
    flap
        What one fall adds, > 0.
    suppress
        From this penalty on the endpoint is suppressed, > ``reuse``.
    reuse
        At this penalty it is let back, > 0.
    half_life
        Seconds in which a penalty halves, > 0.
    max_suppress
        Seconds after its last fall that an endpoint is suppressed at most, > 0. It fixes the ceiling.

    Raises
    ------
    ConfigurationError
        If the ceiling cannot reach ``suppress``, so that none would ever be suppressed (RFC 7196 found
        such configurations deployed).

    *Guarantee.* An endpoint that stops falling returns after ``half_life * log2(penalty / reuse)``
    seconds, at most ``max_suppress``. One that falls every ``period`` seconds is suppressed at some time if
    ``flap / (1 - 2 ** (-period / half_life)) > suppress``, and otherwise never.

    *When not to use it:* where falls are planned (nightly restarts of the whole pool, one after the other):
    raise ``suppress`` above what one restart causes, or drain instead.

    Example
    -------
    >>> FlapDamping().ceiling, FlapDamping().time_to_reuse(3000.0)
    (24000.0, 120.0)
    """

    flap: float = 1000.0
    suppress: float = 2000.0
    reuse: float = 750.0
    half_life: float = 60.0
    max_suppress: float = 300.0

    def _check(self) -> None:
        for name in ("flap", "suppress", "reuse", "half_life", "max_suppress"):
            valid.number(name, getattr(self, name), above=0.0)
        if self.suppress <= self.reuse:
            raise ConfigurationError("suppress", self.suppress, f"a number > reuse ({self.reuse:g})")
        if self.max_suppress / self.half_life > 1000.0:
            raise ConfigurationError("max_suppress", self.max_suppress, "at most 1000 half-lives")
        if self.suppress >= self.ceiling:
            least = self.half_life * math.log2(self.suppress / self.reuse)
            allowed = f"a number < {self.ceiling:g}, the ceiling reuse * 2 ** (max_suppress / half_life)"
            raise ConfigurationError("suppress", self.suppress, f"{allowed}, or max_suppress > {least:g}")

    @property
    def ceiling(self) -> float:
        """The penalty that is never exceeded."""
        return float(self.reuse * 2.0 ** (self.max_suppress / self.half_life))

    def time_to_reuse(self, penalty: float) -> float:
        """Return the seconds a penalty takes to decay to ``reuse``, 0 if it is there already."""
        worth = valid.number("penalty", penalty)
        return max(0.0, self.half_life * math.log2(worth / self.reuse)) if worth > 0.0 else 0.0

    def steady_penalty(self, period: float) -> float:
        """Return what the penalty tends to, without a ceiling, for a fall every ``period`` seconds.

        Example
        -------
        >>> round(FlapDamping(half_life=15.0, max_suppress=60.0).steady_penalty(1.0))
        22144
        """
        return float(self.flap / (1.0 - 2.0 ** (-valid.number("period", period, above=0.0) / self.half_life)))

    @property
    def slowest_period(self) -> float:
        """The seconds between falls from which on an endpoint is never suppressed; infinity if one is enough."""
        if self.flap >= self.suppress:
            return math.inf
        return self.half_life * math.log2(self.suppress / (self.suppress - self.flap))

    def __call__(self) -> Damper:
        """Make the machine of one endpoint."""
        return Damper(self)


@final
class Damper(StateRepr):
    """The penalty of one endpoint. Made by :class:`FlapDamping`."""

    __slots__ = ("_at", "_config", "_penalty", "state")

    def __init__(self, config: FlapDamping) -> None:
        self._config = config
        self._penalty = 0.0
        self._at = 0.0
        self.state: Damping = Damping.CALM
        """How the endpoint stands."""

    @property
    def reuse_at(self) -> float:
        """When the penalty has decayed to ``reuse``, in seconds of the clock that ``now`` is read from."""
        return self._at + self._config.time_to_reuse(self._penalty)

    @property
    def deadline(self) -> float | None:
        """When :meth:`advance` is due; ``None`` if nothing is."""
        if self.state is Damping.CALM:
            return None
        if self.state is Damping.SUPPRESSED:
            return self.reuse_at
        return self._at + max(
            0.0, self._config.half_life * math.log2(2.0 * self._penalty / self._config.reuse)
        )

    def penalty(self, *, now: float) -> float:
        """Return the penalty at ``now``."""
        return float(self._penalty * 2.0 ** ((self._at - now) / self._config.half_life))

    def flap(self, *, now: float) -> bool:
        """Record that the endpoint fell; return whether it is to be suppressed."""
        self.advance(now=now)
        self._penalty = min(self._config.ceiling, self.penalty(now=now) + self._config.flap)
        self._at = now
        self._step(DampingTrigger.FLAP)
        if self._penalty >= self._config.suppress:
            self._step(DampingTrigger.SUPPRESS)
        return self.state is Damping.SUPPRESSED

    def advance(self, *, now: float) -> None:
        """Let time pass."""
        if self.state is Damping.SUPPRESSED and now >= self.reuse_at:
            self._step(DampingTrigger.REUSE)
        if self.state is Damping.PENALIZED and self.deadline is not None and now >= self.deadline:
            self._step(DampingTrigger.FORGET)

    def release(self, *, now: float) -> None:
        """Let the endpoint back before its time: the pool has no other. Its penalty stays."""
        self.advance(now=now)
        self._step(DampingTrigger.REUSE)

    def _step(self, trigger: DampingTrigger) -> None:
        self.state = following(DAMPING, self.state, trigger)
