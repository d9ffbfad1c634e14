"""Slow start: a ramp from a small share of the traffic to the whole.

.. code-block:: text

    share(t) = max(min_share, (t / window) ** (1 / aggression)),  1 from t = window on

The ramp is one number of the node, ``node.ramp``. Selectors do not know of it: a request that was to go to a
warming endpoint is let through with that probability and sent elsewhere otherwise. So it is the same for round
robin, for least loads and for hashing, and a scheduler cannot park the newcomer in a far future, as those do
that lower its weight (Envoy issues 19526, 19712, 29259).

Source: Envoy slow start (minimum 10 %, aggression 1.0); HAProxy ``slowstart``, which moves in 20 steps.
"""

from __future__ import annotations

import enum
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy, field
from balancekit.health._table import Table, following, frozen

__all__ = ["WARM_UP", "WarmUp", "WarmUpMachine", "Warmth", "WarmthTrigger"]

STEPS: Final = 20
"""The ramp moves in so many steps (HAProxy), each of which costs one look at the pool."""


class Warmth(enum.StrEnum):
    """How a warm-up stands."""

    FULL = "full"
    """The endpoint takes its full share."""
    RAMPING = "ramping"
    """It takes a growing part of it."""


class WarmthTrigger(enum.StrEnum):
    """What can happen to a warm-up."""

    BEGIN = "begin"
    STEP = "step"
    """A twentieth of the window has passed, and not the last one."""
    DONE = "done"
    """The window has passed."""
    STOP = "stop"
    """The endpoint was taken out again."""


WARM_UP: Final[Table[Warmth, WarmthTrigger]] = frozen(
    {
        (Warmth.FULL, WarmthTrigger.BEGIN): Warmth.RAMPING,
        (Warmth.RAMPING, WarmthTrigger.DONE): Warmth.FULL,
        (Warmth.RAMPING, WarmthTrigger.STOP): Warmth.FULL,
    },
)


class WarmUp(Policy):
    """Give an endpoint that is back a share that grows over ``window`` seconds.

    Parameters
    ----------
    window
        Seconds until the endpoint takes its full share, > 0.
    aggression
        The shape, > 0: 1 is a straight line, more begins steeper, less begins flatter.
    min_share
        The least share, in [0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *Guarantee.* Shares among the endpoints that are not warming stay in proportion. If every endpoint that is left
    is warming, requests go to them all the same.

    An endpoint that is added takes its whole share at once, unless ``Lifecycle(start=Health.WARMING)`` has it begin warm.

    *When to use it:* for endpoints with cold caches or code that is compiled as it runs. *When not:* as a
    cure for overload.

    Example
    -------
    >>> [round(WarmUp(window=10.0, aggression=2.0).share(t), 2) for t in (0.0, 1.0, 2.5, 5.0, 10.0)]
    [0.1, 0.32, 0.5, 0.71, 1.0]
    """

    window: float = field(default=30.0, kw_only=False)
    aggression: float = 1.0
    min_share: float = 0.1

    def _check(self) -> None:
        valid.number("window", self.window, above=0.0)
        valid.number("aggression", self.aggression, above=0.0)
        valid.number("min_share", self.min_share, minimum=0.0, maximum=1.0)

    def share(self, elapsed: float) -> float:
        """Return the share after so many seconds of warm-up."""
        elapsed = valid.number("elapsed", elapsed)
        if elapsed >= self.window:
            return 1.0
        return float(max(self.min_share, (max(0.0, elapsed) / self.window) ** (1.0 / self.aggression)))

    def __call__(self) -> WarmUpMachine:
        """Make the machine of one endpoint."""
        return WarmUpMachine(self)


@final
class WarmUpMachine(StateRepr):
    """The warm-up of one endpoint. Made by :class:`WarmUp`."""

    __slots__ = ("_began", "_config", "_steps", "share", "state")

    def __init__(self, config: WarmUp) -> None:
        self._config = config
        self._began = 0.0
        self._steps = 0
        self.state: Warmth = Warmth.FULL
        """How the warm-up stands."""
        self.share: float = 1.0
        """The part of its share that the endpoint takes, as of the last step."""

    @property
    def deadline(self) -> float | None:
        """When the next step is due; ``None`` if none is."""
        if self.state is Warmth.FULL:
            return None
        return self._began + self._config.window * (self._steps + 1) / STEPS

    def begin(self, *, now: float) -> None:
        """Begin at the least share."""
        self.state = following(WARM_UP, self.state, WarmthTrigger.BEGIN)
        self._began = now
        self._steps = 0
        self.share = self._config.share(0.0)

    def advance(self, *, now: float) -> bool:
        """Let time pass; return whether the warm-up is over."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return False
        elapsed = now - self._began
        self._steps = int(elapsed * STEPS / self._config.window)
        # At its own deadline a step has come, whatever the division made of the last bit.
        self._steps += self.deadline is not None and now >= self.deadline
        done = self._steps >= STEPS
        self.share = 1.0 if done else self._config.share(elapsed)
        self.state = following(WARM_UP, self.state, WarmthTrigger.DONE if done else WarmthTrigger.STEP)
        return done

    def stop(self) -> None:
        """End the warm-up of an endpoint that was taken out."""
        self.state = following(WARM_UP, self.state, WarmthTrigger.STOP)
        self.share = 1.0
