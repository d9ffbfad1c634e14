"""Flap damping: each ejection adds to a penalty, and the penalty decays with time.

A *fall* is the change from up to down, such as an ejection.

.. code-block:: text

    penalty(t) = penalty(t0) * 2 ** -((t - t0) / half_life)
    a fall adds `flap`, up to the ceiling = reuse * 2 ** (max_suppress / half_life)
    a fall with a penalty >= `suppress` suppresses the endpoint until the penalty has decayed to `reuse`
    time to reuse = half_life * log2(penalty / reuse), at most `max_suppress` after the last fall

*Worked example* with the defaults (1000 per fall, suppress 2000, reuse 750, half-life 60 s). Falls at 0, 20 and 40 s give
penalties of 1000, then 794 + 1000 = 1794, then 1424 + 1000 = 2424. So the endpoint is suppressed for
``60 * log2(2424 / 750) = 101.5`` seconds. During that time it is not picked, even if its checks pass.

Rise and fall thresholds alone do not help against an endpoint that flaps slowly: each time it returns, it receives its
share of the traffic and fails it.

Source: RFC 2439, sections 4.2 and 4.8.2. The penalties are those of Cisco (1000, 2000, 750). Cisco's times (15 min, 60
min) are for routes; for requests, the half-life is 60 s and the maximum 5 min. RFC 7196 recommends higher thresholds
for routes, because a prefix flaps once for each path that is tried. An endpoint has no such paths.
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
    """The state of an endpoint by its penalty."""

    CALM = "calm"
    """There was no fall, or the penalty has decayed to half of ``reuse``."""
    PENALIZED = "penalized"
    """There is a penalty, but the endpoint is not suppressed."""
    SUPPRESSED = "suppressed"
    """The endpoint is suppressed."""


class DampingTrigger(enum.StrEnum):
    """The triggers of the table of damping."""

    FLAP = "flap"
    """The endpoint has fallen."""
    SUPPRESS = "suppress"
    """A fall has raised the penalty to ``suppress`` or more."""
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
    """Suppression of endpoints that flap: an endpoint that is often ejected stays out until its penalty has decayed.

    Parameters
    ----------
    flap
        The penalty of one fall, > 0.
    suppress
        The penalty from which the endpoint is suppressed, > ``reuse``.
    reuse
        The penalty at which the suppression ends, > 0.
    half_life
        The time in seconds in which a penalty halves, > 0.
    max_suppress
        The longest suppression after the last fall in seconds, > 0. It determines the ceiling of the penalty.

    Raises
    ------
    ConfigurationError
        If a parameter is not > 0, ``suppress`` is not > ``reuse``, ``max_suppress`` is above 1000 half-lives, or
        ``suppress`` is not below the ceiling. In the last case no endpoint would ever be suppressed; RFC 7196 reports
        such configurations.

    *Guarantee.* A suppressed endpoint without further falls returns after ``half_life * log2(penalty / reuse)``
    seconds, at most ``max_suppress``. An endpoint that falls every ``period`` seconds is suppressed at some time if
    ``flap / (1 - 2 ** (-period / half_life)) > suppress``, and otherwise never.

    *When not to use it:* for planned restarts of the endpoints, for example every night. Set ``suppress`` above the
    penalty of one restart, or drain the endpoints instead.

    Cost: O(1) per fall.

    Example
    -------
    >>> from balancekit.health import FlapDamping
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
        """The largest possible penalty."""
        return float(self.reuse * 2.0 ** (self.max_suppress / self.half_life))

    def time_to_reuse(self, penalty: float) -> float:
        """Return the seconds until a penalty has decayed to ``reuse``; 0 if it is not above ``reuse``.

        Raises
        ------
        ConfigurationError
            If ``penalty`` is no finite number.
        """
        worth = valid.number("penalty", penalty)
        return max(0.0, self.half_life * math.log2(worth / self.reuse)) if worth > 0.0 else 0.0

    def steady_penalty(self, period: float) -> float:
        """Return the limit of the penalty after many falls, one every ``period`` seconds, if there were no ceiling.

        Raises
        ------
        ConfigurationError
            If ``period`` is no finite number > 0.

        Example
        -------
        >>> from balancekit.health import FlapDamping
        >>> round(FlapDamping(half_life=15.0, max_suppress=60.0).steady_penalty(1.0))
        22144
        """
        return float(self.flap / (1.0 - 2.0 ** (-valid.number("period", period, above=0.0) / self.half_life)))

    @property
    def slowest_period(self) -> float:
        """The time between falls in seconds from which an endpoint is never suppressed; infinity if one fall suppresses."""
        if self.flap >= self.suppress:
            return math.inf
        return self.half_life * math.log2(self.suppress / (self.suppress - self.flap))

    def __call__(self) -> Damper:
        """Return the machine of one endpoint."""
        return Damper(self)


@final
class Damper(StateRepr):
    """The penalty of one endpoint. Created by :class:`FlapDamping`."""

    __slots__ = ("_at", "_config", "_penalty", "state")

    def __init__(self, config: FlapDamping) -> None:
        self._config = config
        self._penalty = 0.0
        self._at = 0.0
        self.state: Damping = Damping.CALM
        """The present state."""

    @property
    def reuse_at(self) -> float:
        """The time at which the penalty will have decayed to ``reuse``, on the clock of ``now``."""
        return self._at + self._config.time_to_reuse(self._penalty)

    @property
    def deadline(self) -> float | None:
        """The time at which :meth:`advance` is due; ``None`` if it is not."""
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
        """Record a fall. Return whether the endpoint is suppressed."""
        self.advance(now=now)
        self._penalty = min(self._config.ceiling, self.penalty(now=now) + self._config.flap)
        self._at = now
        self._step(DampingTrigger.FLAP)
        if self._penalty >= self._config.suppress:
            self._step(DampingTrigger.SUPPRESS)
        return self.state is Damping.SUPPRESSED

    def advance(self, *, now: float) -> None:
        """Update the state to the time ``now``."""
        if self.state is Damping.SUPPRESSED and now >= self.reuse_at:
            self._step(DampingTrigger.REUSE)
        if self.state is Damping.PENALIZED and self.deadline is not None and now >= self.deadline:
            self._step(DampingTrigger.FORGET)

    def release(self, *, now: float) -> None:
        """End the suppression early, because the pool has no other endpoint. The penalty does not change."""
        self.advance(now=now)
        self._step(DampingTrigger.REUSE)

    def _step(self, trigger: DampingTrigger) -> None:
        self.state = following(DAMPING, self.state, trigger)
