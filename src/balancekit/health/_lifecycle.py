"""The default health policy. It combines requests, outlier sweeps and active checks.

An endpoint is judged by three sources: by single *requests*; by *sweeps*, which evaluate rates and compare endpoints
(``_sweep.py``); and by active *checks*. Each source has its own small machine. The machine of the lifecycle converts
their results into the triggers of one state table. It changes its state only by this table.

**The source of an ejection decides about the return.** If requests failed, the endpoint goes on trial when its ejection
ends, and further requests decide: a passing check does not prove that requests succeed. If checks failed, the endpoint
returns when checks pass.

The machines have no I/O and no clock. Each reports the time at which it must be called again. A healthy endpoint has no
cost: the balancer does not report its successes to the machine.
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
    """Health policy that ejects endpoints, suppresses those that flap, probes them, warms them up and restores them.

    Parameters
    ----------
    failures
        The number of failed requests in a row after which an endpoint is ejected.
    rules
        Further rules of ejection, evaluated every ``sweep`` seconds: :class:`SuccessRate`, :class:`LatencyLimit`,
        :class:`SuccessRateOutlier`, :class:`FailurePercentage`, :class:`MedianFailures`,
        :class:`MedianLatency`, or rules of your own.
    sweep
        Seconds between two evaluations of the rules, > 0.
    thresholds
        The number of checks in a row after which an endpoint is up or down, if there are checks
        (``balancekit.checks``). Or :class:`AccruedFailures`, which counts failures that are not consecutive.
    ejection
        The duration of ejections, and the share of endpoints that may be ejected at once.
    damping
        Suppresses endpoints that flap; ``None`` for no damping.
    probation
        The trial of an endpoint after its ejection.
    warm_up
        The growing share of an endpoint that returns; with ``None`` it gets its full share at once. A new endpoint
        warms up only with ``start=Health.WARMING``.
    start
        The state of a new endpoint: ``HEALTHY``; ``PROBING``, in which one failure ejects it; ``WARMING``; or
        ``UNKNOWN``, in which it is not picked until a check has passed.

    Raises
    ------
    ConfigurationError
        If a parameter is of the wrong class, ``sweep`` is not > 0, or ``start`` is another state. If a rule
        cannot be called, or its ``window`` or ``enforcing`` is missing or outside its bounds.

    *When not to use it:* behind a proxy or service mesh that ejects endpoints itself; pass ``health=None``.

    Cost: nothing for a success of a healthy endpoint, O(1) for a failure; O(endpoints) per rule and sweep.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.health import Ejection, FlapDamping, Lifecycle, WarmUp
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
        """Return the machine of one endpoint. Called by the balancer when an endpoint joins, under no lock.

        Parameters
        ----------
        endpoint
            The id of the endpoint.
        may_eject
            Returns whether the pool allows one more ejection.
        rng
            The random generator for jitter.
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
        """Whether a rule uses latencies, so that the balancer must measure them."""
        return any(getattr(rule, "timed", True) for rule in self.rules)

    def outlier_sweep(self, rng: random.Random) -> OutlierSweep | None:
        """Return the sweep of one pool; ``None`` without rules."""
        return OutlierSweep(self.rules, self.sweep, rng) if self.rules else None


_PARTS: Final = {
    "failures": (ConsecutiveFailures,),
    "thresholds": (Thresholds, AccruedFailures),
    "ejection": (Ejection,),
    "probation": (Probation,),
}
