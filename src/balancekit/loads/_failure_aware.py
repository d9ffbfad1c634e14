"""Expected time to a successful answer; the default load of ``PowerOfChoices``.

Loads that use only requests in flight or latency favour an endpoint that fails fast, because it looks idle and fast.
Measured on ten hosts, of which one fails in 1 ms while the others take 50 ms (fair share 0.10): power of two choices
over in-flight, EWMA or Peak EWMA sends the failing host 0.20 of all traffic, and a full scan of in-flight 0.66. This
load sends it 0.003, and 0.09 in the 20 s after it has recovered.

.. code-block:: text

    value = latency * (inflight / capacity + 1) / max(floor, success) ** exponent

    latency   Peak EWMA of successes (decay 10 s); idle, it fades to the pool's median, not to 0
    success   EWMA of succeeding (decay 1 s); idle, it heals towards 1 (5 s)

Both halves are needed. Ignoring failures alone does not help, because idle decay to 0 attracts traffic. A success factor
alone does not help, because the latency still learns from 1 ms failures. An endpoint that has not answered yet counts as
free while it is idle, and as very slow while its first request is in flight. So one request tries a new endpoint, not all
requests. An endpoint without requests for a long time counts as new again (see ``loads/_idle_probe.py``), so that one slow
answer, which may have raised the median too, does not starve it.

*Worked example.* Median 50 ms. An endpoint failed all its requests of the last second: success fell to
``exp(-1) = 0.37``, and its load rose by ``0.37 ** -3 = 20``. Without requests for 5 s it heals to
``1 - 0.63 * exp(-1) = 0.77``, a factor of 2.2, and is tried again.

A pick compares ``node.latency_estimate``, the latency as of the last answer or the last sweep, so picks need neither ``exp``
nor a clock. A sweep fades idle endpoints once a second, or less often in large pools, and finds those to be tried;
``value(now)`` fades them exactly. NaN in ``latency_estimate`` means that ``value`` must be called.

Cost: one ``exp`` per success (three after a recent failure), none per comparison; a sweep is O(n log n).

*When not to use it:* for durations that differ by design (streams), where you should report ``lease.first_byte()``; or
without a clock, where :class:`InFlight` suits. Requests that end ignored or cancelled teach nothing: an endpoint with only
such requests keeps its last estimate. A new endpoint then counts as slow for a while, and is tried again. A new endpoint
whose first request does not end is not tried again, so set a time-out; the default load and selector do try it.

Source: own construction and measurement; the parts are Finagle's Peak EWMA, MOSN's success factor,
ingress-nginx's seeding with the mean of the peers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import exp
from typing import TYPE_CHECKING, ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.loads._idle_probe import IdleProbe, Stage
from balancekit.loads._latency import measured
from balancekit.loads._success_rate import SuccessRate, check_exponent
from balancekit.outcome import FAILURES, Completion

if TYPE_CHECKING:
    from balancekit.snapshot import Node

__all__ = ["FailureAware", "FailureAwareLoad", "FailureAwarePool"]

UNMEASURED_FACTOR: Final = 1000.0
"""The latency, in medians, assumed while an endpoint's very first request is in flight."""
UNSUCCESSFUL_FACTOR: Final = 20.0
"""The latency, in medians, assumed of a new endpoint after a request without information; it decays to 0."""
TRIAL_REQUESTS: Final = 100
"""The requests per endpoint, besides 30 s, before an idle endpoint is tried: too few trials to set the 99th percentile."""
SWEEP_S: Final = 1.0
"""Seconds between two sweeps."""
SWEPT_PER_S: Final = 2500
"""The most endpoints per second that sweeps visit: a two-hundredth of a processor."""


class FailureAware(Policy):
    """Load policy: Peak EWMA of successes, times in-flight, divided by the success rate cubed.

    Parameters
    ----------
    decay
        Time constant of the latency average in seconds, > 0.
    success_decay
        Time constant of the success average in seconds, > 0.
    healing
        Time constant, in seconds, with which an idle endpoint's success goes back to 1, > 0.
    floor
        The lower bound of the success rate, in (0, 1].
    exponent
        The weight of failures, > 0; ``floor ** exponent`` must not be 0 as a float.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.loads import FailureAware
    >>> lb = LoadBalancer(["a", "b"], load=FailureAware(decay=30.0))
    """

    timed: ClassVar[bool] = True

    decay: float = 10.0
    success_decay: float = 1.0
    healing: float = 5.0
    floor: float = 0.05
    exponent: float = 3.0

    def _check(self) -> None:
        valid.number("decay", self.decay, above=0.0)
        valid.number("success_decay", self.success_decay, above=0.0)
        valid.number("healing", self.healing, above=0.0)
        valid.number("floor", self.floor, above=0.0, maximum=1.0)
        check_exponent(valid.number("exponent", self.exponent, above=0.0), self.floor)

    def for_pool(self) -> FailureAwarePool:
        """Return the shared state for the loads of one pool."""
        return FailureAwarePool(self)

    def __call__(self, node: Node) -> FailureAwareLoad:
        """Return the load of a node without a pool."""
        return self.for_pool()(node)


@final
class FailureAwarePool:
    """The shared state of the failure-aware loads of one pool: the median of their latencies."""

    __slots__ = ("_loads", "config", "deadline", "median", "picks", "rate")

    def __init__(self, config: FailureAware) -> None:
        self.config: FailureAware = config
        self.rate: float = 1.0 / config.decay
        self.median: float = 0.0
        """Seconds; 0 until some endpoint has answered."""
        self.picks: int = 0
        """The number of requests counted by sweeps."""
        self.deadline: float = -math.inf
        """The time at which :meth:`advance` is due."""
        self._loads: dict[Node, FailureAwareLoad] = {}

    def __call__(self, node: Node) -> FailureAwareLoad:
        """Return the load of one node."""
        load = FailureAwareLoad(self, node)
        self._loads[node] = load
        return load

    @property
    def size(self) -> int:
        """The number of endpoints."""
        return len(self._loads)

    @property
    def round_s(self) -> float:
        """Seconds between two sweeps, if there are enough requests."""
        return max(SWEEP_S, len(self._loads) / SWEPT_PER_S)

    def forget(self, node: Node) -> None:
        """Remove a node from the median."""
        self._loads.pop(node, None)

    def advance(self, *, now: float) -> None:
        """Recompute the median, fade endpoints that have been idle since the last sweep, and have some tried."""
        loads = list(self._loads.values())
        known = sorted([load.latency for load in loads if load.tried])
        if known:
            self.median = known[(len(known) - 1) // 2]
        self.picks += sum([load.sweep(now) for load in loads])
        self.deadline = now + self.round_s

    def comparer(self, *, weighted: bool) -> Callable[[Node, Node, float], Node]:
        """Return a function that returns the less loaded of two nodes of this pool.

        On a tie it returns the first. ``weighted`` is true if capacities differ.
        """
        return _lighter_by_weight if weighted else _lighter


def _lighter(a: Node, b: Node, now: float) -> Node:
    left = a.latency_estimate * (a.inflight + 1)
    right = b.latency_estimate * (b.inflight + 1)
    if left <= right:
        return a
    if right < left:
        return b
    return b if b.load.value(now=now) < a.load.value(now=now) else a


def _lighter_by_weight(a: Node, b: Node, now: float) -> Node:
    left = a.latency_estimate * (a.inflight / a.capacity + 1)
    right = b.latency_estimate * (b.inflight / b.capacity + 1)
    if left <= right:
        return a
    if right < left:
        return b
    return b if b.load.value(now=now) < a.load.value(now=now) else a


@final
class FailureAwareLoad(StateRepr, prints=("tried",)):
    """The failure-aware load of one endpoint; created by :class:`FailureAware`."""

    __slots__ = (
        "_at",
        "_latency",
        "_node",
        "_probe",
        "_rate",
        "_started",
        "_success",
        "_unsuccessful_at",
        "pool",
        "tried",
    )

    needs_start: ClassVar[bool] = False

    def __init__(self, pool: FailureAwarePool, node: Node) -> None:
        self.pool: FailureAwarePool = pool
        self.tried: bool = False
        """Whether there has been a success, or a wait long enough to learn from."""
        self._node = node
        self._rate = pool.rate
        self._latency = 0.0  # while node.latency_estimate is NaN; otherwise that is the latency
        self._at = -math.inf
        self._unsuccessful_at = -math.inf  # when a request last ended without success
        self._success: SuccessRate | None = None  # from a failure until it has healed
        self._started = 0
        self._probe = IdleProbe(TRIAL_REQUESTS)
        node.latency_estimate = math.nan

    @property
    def latency(self) -> float:
        """Peak EWMA of successes as of the last answer or sweep, in seconds."""
        estimate = self._node.latency_estimate
        return self._latency if math.isnan(estimate) else estimate

    def success(self, *, now: float) -> float:
        """Return the share of requests that succeed, 0 to 1, as of ``now``: healing while idle."""
        success = self._success
        return 1.0 if success is None else success.value(now=now)

    def value(self, *, now: float) -> float:
        """Return the expected wait for a success, in seconds (in medians before any is known)."""
        node, success = self._node, self._success
        latency = self._expected(now)
        if not self.tried and success is None:
            latency *= (
                UNMEASURED_FACTOR
                if node.inflight
                else UNSUCCESSFUL_FACTOR * _kept(self._unsuccessful_at - now, self._rate)
            )
        value = latency * (node.inflight / node.capacity + 1.0)
        if success is not None:
            config = self.pool.config
            value /= max(config.floor, success.value(now=now)) ** config.exponent
        return value

    def started(self, *, now: float, cost: float) -> None:
        """Do nothing: the node counts."""

    def finished(self, completion: Completion, /) -> None:
        """Learn from the end of a request, with any outcome."""
        now = completion.ended_at
        latency, exact = measured(completion)
        if exact:
            self.succeeded(latency, now)
            return
        if completion.outcome in FAILURES:
            self._judge(0.0, now)
        if latency > self._expected(now):
            self._measure(latency, now)
        self._unsuccessful_at = now
        self._probe.ended()

    def succeeded(self, latency: float, now: float) -> None:
        """Learn from a plain success of ``latency`` seconds."""
        node = self._node
        before = node.latency_estimate
        if latency < before:
            latency += (before - latency) * (exp((self._at - now) * self._rate) if now > self._at else 1.0)
        elif not latency >= before:  # NaN: untried, or failing recently
            self._judge(1.0, now)
            self._measure(latency, now)
            median = self.pool.median  # 0 if no answer took a tick of the clock
            self._probe.answered(latency / median if median else 1.0)
            return
        node.latency_estimate = latency
        self._at = now

    def sweep(self, now: float) -> int:
        """Fade towards the median if idle for a round, and have the endpoint tried if idle for long.

        Return the number of requests started there since the last sweep.
        """
        node, pool, probe = self._node, self.pool, self._probe
        started = node.successes + sum(node.outcomes.values()) + node.inflight
        begun = max(0, started - self._started)
        self._started = started
        if begun:
            # After a recent failure each request counts in full, because healing has the endpoint tried.
            probe.used(
                begun if self._success is None else math.inf, now=now, picks=pool.picks, size=pool.size
            )
        if self.tried and now - self._at >= pool.round_s:
            self._learn(self._expected(now), now)
        due = probe.is_due(now=now, picks=pool.picks, size=pool.size, round_s=pool.round_s, soon=False)
        if due and self.tried and probe.stage is Stage.NONE and not node.inflight:
            probe.stage = Stage.WANTED
            self.reset()
        return begun

    def reset(self) -> None:
        """Treat the endpoint as new, to be tried by one request, after an ejection or a long idle time."""
        self._success = None
        self._unsuccessful_at = -math.inf
        self.tried = False
        self._node.latency_estimate = math.nan

    def _expected(self, now: float) -> float:
        rest = self.pool.median or 1.0
        if not self.tried:
            return rest
        return rest + (self.latency - rest) * _kept(self._at - now, self._rate)

    def _measure(self, latency: float, now: float) -> None:
        if not self.pool.median:
            self.pool.median = latency
        before = self.latency
        if self.tried and latency < before:
            latency += (before - latency) * _kept(self._at - now, self._rate)
        self.tried = True
        self._learn(latency, now)

    def _judge(self, sample: float, now: float) -> None:
        """Average in a success (1) or a failure (0)."""
        success = self._success
        if success is None:
            if sample:
                return
            config = self.pool.config
            success = SuccessRate(decay=config.success_decay, healing=config.healing)
        latency = self.latency
        success.record(sample, now=now, since=self._at)
        self._success = None if success.clean else success
        self._learn(latency, self._at)

    def _learn(self, latency: float, at: float) -> None:
        self._latency = latency
        self._at = at
        self._node.latency_estimate = latency if self.tried and self._success is None else math.nan


def _kept(since: float, rate: float) -> float:
    """Return the remaining weight, 0 to 1, of an estimate ``-since`` seconds old; 1 if the clock was set back."""
    return exp(since * rate) if since < 0.0 else 1.0
