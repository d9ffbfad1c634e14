"""The health policy of a pool: it joins requests, sweeps and checks.

An endpoint is judged by three sources: *requests* (their ends, one by one), *sweeps* (rates and peers, see
``_sweep.py``) and *checks*. Each has its own small machine; this one turns their results into the triggers
of one table and moves by nothing else.

**The source of an ejection decides about the return.** An endpoint that failed requests comes back on trial when its
time is over, and requests decide: a health page that says 200 proves nothing about an endpoint that answers
requests with 503. An endpoint that failed checks comes back when checks pass.

Sans-IO: it receives what happened and the time, and states when it is due again. A healthy
endpoint costs nothing: while nothing is known against it, successes are not even reported.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Policy
from balancekit.errors import ConfigurationError
from balancekit.health._accrued import AccruedFailures
from balancekit.health._damping import FlapDamping
from balancekit.health._ejection import Ejection
from balancekit.health._failures import ConsecutiveFailures
from balancekit.health._machine import LifecycleMachine, Parts
from balancekit.health._probation import Probation
from balancekit.health._states import START_STATES, Health
from balancekit.health._sweep import OutlierSweep, Rule, check_rules
from balancekit.health._threshold import Thresholds
from balancekit.health._warmup import WarmUp

__all__ = ["Lifecycle"]


class Lifecycle(Policy):
    """Health policy: eject endpoints, suppress those that flap, probe them, warm them up, restore them.

    Parameters
    ----------
    failures
        How many failed requests in a row eject an endpoint.
    rules
        What else ejects one, evaluated every ``sweep`` seconds: :class:`SuccessRate`, :class:`LatencyLimit`,
        :class:`SuccessRateOutlier`, :class:`FailurePercentage`, :class:`MedianFailures`,
        :class:`MedianLatency`, or rules of your own.
    sweep
        Seconds between two evaluations of the rules, > 0.
    thresholds
        How many checks in a row must agree, if there are checks (``balancekit.checks``); or
        :class:`AccruedFailures`, which does not forget failures between passes.
    ejection
        How long an ejection lasts, and how many endpoints may be ejected at a time.
    damping
        Suppresses endpoints that flap; ``None`` for no damping.
    probation
        What an endpoint must pass when its ejection has ended.
    warm_up
        Gives a returning endpoint a growing share; with ``None`` it gets its whole share at once. For new ones see
        ``start``.
    start
        The state of a new endpoint: ``HEALTHY``; ``PROBING`` (one failure is enough); ``WARMING``;
        or ``UNKNOWN``, not picked until a check has passed.

    Raises
    ------
    ConfigurationError
        If a parameter is of the wrong class, ``sweep`` is not > 0, or ``start`` is another state. If a rule
        cannot be called, or its ``window`` or ``enforcing`` is missing or outside its bounds.

    *When not to use it:* behind a proxy or service mesh that does all this; pass ``health=None``.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> careful = Lifecycle(damping=FlapDamping(), warm_up=WarmUp(window=10.0), ejection=Ejection(max_duration=30.0))
    >>> lb = LoadBalancer(["a", "b"], health=careful)
    """

    failures: ConsecutiveFailures = ConsecutiveFailures()
    rules: tuple[Rule, ...] = ()
    sweep: float = 1.0
    thresholds: Thresholds | AccruedFailures = Thresholds()
    ejection: Ejection = Ejection()
    damping: FlapDamping | None = None
    probation: Probation = Probation()
    warm_up: WarmUp | None = None
    start: Health = Health.HEALTHY

    def _check(self) -> None:
        for name, kinds in _PARTS.items():
            if not isinstance(getattr(self, name), kinds):
                allowed = " or ".join([f"an instance: {kind.__name__}(...)" for kind in kinds])
                raise ConfigurationError(name, getattr(self, name), allowed)
        for name, optional in (("damping", FlapDamping), ("warm_up", WarmUp)):
            part = getattr(self, name)
            if part is not None and not isinstance(part, optional):
                raise ConfigurationError(name, part, f"an instance: {optional.__name__}(...), or None")
        check_rules(self.rules)
        valid.number("sweep", self.sweep, above=0.0)
        if not isinstance(self.start, Health) or self.start not in START_STATES:
            allowed = ", ".join(sorted([state.name for state in START_STATES]))
            raise ConfigurationError("start", self.start, f"one of Health's {allowed}")

    def __call__(
        self,
        endpoint: str,
        may_eject: Callable[[Ejection], bool],
        rng: random.Random,
    ) -> LifecycleMachine:
        """Make the machine of one endpoint.

        Parameters
        ----------
        endpoint
            Its id.
        may_eject
            Answers whether the pool can spare one more endpoint.
        rng
            For jitter.
        """
        parts = Parts(
            self.start,
            self.failures,
            self.thresholds,
            self.ejection,
            self.damping,
            self.probation,
            self.warm_up,
        )
        return LifecycleMachine(endpoint, parts, may_eject, rng)

    @property
    def timed(self) -> bool:
        """Whether a rule looks at latencies, so that the balancer must measure them."""
        return any(getattr(rule, "timed", True) for rule in self.rules)

    def outlier_sweep(self, rng: random.Random) -> OutlierSweep | None:
        """Make the sweeps of one pool; ``None`` if there are no rules."""
        return OutlierSweep(self.rules, self.sweep, rng) if self.rules else None


_PARTS: Final = {
    "failures": (ConsecutiveFailures,),
    "thresholds": (Thresholds, AccruedFailures),
    "ejection": (Ejection,),
    "probation": (Probation,),
}
