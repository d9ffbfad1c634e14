"""Slow start: the share of an endpoint that returns grows from a small value to its usual one.

.. code-block:: text

    share(t) = max(min_share, (t / window) ** (1 / aggression)),  1 from t = window on

The present share is ``node.ramp``. Selectors do not use it. A request for which the selector picks a warming endpoint
is sent there with this probability, and otherwise elsewhere. So slow start is the same for round robin, for least-load
selectors and for hashing. It also avoids the starvation of new endpoints in schedulers that lower weights (Envoy issues
19526, 19712, 29259).

Source: Envoy slow start (minimum 10 %, aggression 1.0); HAProxy ``slowstart``, which has 20 steps.
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
"""Steps of a warm-up, as in HAProxy. Each costs one update of the pool's state."""


class Warmth(enum.StrEnum):
    """The state of a warm-up."""

    FULL = "full"
    """The endpoint gets its full share."""
    RAMPING = "ramping"
    """The endpoint gets a growing fraction of its share."""


class WarmthTrigger(enum.StrEnum):
    """The triggers of the table of warm-ups."""

    BEGIN = "begin"
    """The warm-up begins."""
    STEP = "step"
    """A step of the window has passed, but not the last one."""
    DONE = "done"
    """The window has passed."""
    STOP = "stop"
    """The endpoint was ejected."""


WARM_UP: Final[Table[Warmth, WarmthTrigger]] = frozen(
    {
        (Warmth.FULL, WarmthTrigger.BEGIN): Warmth.RAMPING,
        (Warmth.RAMPING, WarmthTrigger.DONE): Warmth.FULL,
        (Warmth.RAMPING, WarmthTrigger.STOP): Warmth.FULL,
    },
)


class WarmUp(Policy):
    """Slow start: an endpoint that returns gets a share that grows over ``window`` seconds.

    Parameters
    ----------
    window
        Seconds until the endpoint gets its full share, > 0.
    aggression
        The shape of the growth, > 0: linear with 1, faster at first with more, slower at first with less.
    min_share
        The share at the beginning, in [0, 1].

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    *Guarantee.* The shares of the other endpoints keep their proportions. If all eligible endpoints are warming, they
    get all requests.

    A new endpoint gets its full share at once, unless ``Lifecycle(start=Health.WARMING)`` is used.

    *When to use it:* for endpoints with cold caches or just-in-time compilers.

    *When not to use it:* against overload. Use a limit such as ``MaxInFlight``.

    Cost: O(n) per step for a pool of n endpoints, 20 steps per warm-up; per request, see ``engine/slow_start.py``.

    Example
    -------
    >>> from balancekit.health import WarmUp
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
        """Return the share, 0 to 1, after ``elapsed`` seconds of warm-up.

        Raises
        ------
        ConfigurationError
            If ``elapsed`` is no finite number.
        """
        elapsed = valid.number("elapsed", elapsed)
        if elapsed >= self.window:
            return 1.0
        return float(max(self.min_share, (max(0.0, elapsed) / self.window) ** (1.0 / self.aggression)))

    def __call__(self) -> WarmUpMachine:
        """Return the machine of one endpoint."""
        return WarmUpMachine(self)


@final
class WarmUpMachine(StateRepr):
    """The warm-up of one endpoint. Created by :class:`WarmUp`."""

    __slots__ = ("_began", "_config", "_steps", "share", "state")

    def __init__(self, config: WarmUp) -> None:
        self._config = config
        self._began = 0.0
        self._steps = 0
        self.state: Warmth = Warmth.FULL
        """The present state."""
        self.share: float = 1.0
        """The fraction of its usual share that the endpoint gets, as of the last step."""

    @property
    def deadline(self) -> float | None:
        """The time of the next step; ``None`` if there is none."""
        if self.state is Warmth.FULL:
            return None
        return self._began + self._config.window * (self._steps + 1) / STEPS

    def begin(self, *, now: float) -> None:
        """Begin a warm-up with the smallest share."""
        self.state = following(WARM_UP, self.state, WarmthTrigger.BEGIN)
        self._began = now
        self._steps = 0
        self.share = self._config.share(0.0)

    def advance(self, *, now: float) -> bool:
        """Update the share to the time ``now``. Return whether the warm-up has ended."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return False
        elapsed = now - self._began
        self._steps = int(elapsed * STEPS / self._config.window)
        # At its deadline a step counts as done, even if the division rounds down.
        self._steps += self.deadline is not None and now >= self.deadline
        done = self._steps >= STEPS
        self.share = 1.0 if done else self._config.share(elapsed)
        self.state = following(WARM_UP, self.state, WarmthTrigger.DONE if done else WarmthTrigger.STEP)
        return done

    def stop(self) -> None:
        """End the warm-up of an endpoint that is ejected."""
        self.state = following(WARM_UP, self.state, WarmthTrigger.STOP)
        self.share = 1.0
