"""The optional hooks of selectors, loads and health policies, resolved once and called with care.

Each hook is a protocol of :mod:`balancekit.protocols`. What an object supports is resolved when a balancer is made or
an endpoint joins, never again; nothing else in the engine looks with ``getattr``. ``requirements.py`` says what an object
must have, ``guard.py`` calls what it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple, Protocol, TypeAlias, cast, final, runtime_checkable

from balancekit.engine.capabilities import is_shipped, supports
from balancekit.engine.guard import Guard
from balancekit.engine.requirements import require_health, require_selector
from balancekit.errors import ConfigurationError, Reason, brief
from balancekit.events import Event
from balancekit.health import Ejection
from balancekit.node import Load, Node
from balancekit.outcome import CheckResult, Completion
from balancekit.protocols import (
    HealthPolicy,
    LoadPolicy,
    Selector,
    SupportsAnswering,
    SupportsCheckResults,
    SupportsDefaultLoad,
    SupportsFeedback,
    SupportsForget,
    SupportsOutlierEjection,
    SupportsPoolLoad,
    SupportsPrepare,
    SupportsRamp,
    SupportsReasons,
    SupportsReset,
    SupportsRetryAt,
    SupportsSweep,
    SupportsTiming,
    SupportsUneject,
    Sweep,
)
from balancekit.snapshot import PickContext, Snapshot

__all__ = [
    "CHECKED_POLICY",
    "HealthHooks",
    "HealthMaker",
    "LoadHooks",
    "Reading",
    "SelectorHooks",
    "SweepHooks",
    "health_is_timed",
    "load_answering",
    "load_is_timed",
    "needs_start",
    "reset_load",
    "start_compared",
]

HealthMaker: TypeAlias = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]
"""What ``health=`` takes: makes the health machine of one endpoint (see ``Lifecycle.__call__``)."""
CHECKED_POLICY: Final = "a policy that takes check results, such as Lifecycle()"
"""What is allowed as ``health=`` where results of checks arrive."""


@final
class SelectorHooks:
    """What a selector offers besides ``select``."""

    __slots__ = (
        "_reasons",
        "_retry",
        "learner",
        "learns_from_latency",
        "learns_from_successes",
        "prepare",
        "selector",
        "shared",
        "timed",
        "trusted",
    )

    def __init__(self, selector: Selector) -> None:
        require_selector(selector)
        self.selector: Selector = selector
        self.prepare: Callable[[Snapshot], object] | None = (
            selector.prepare if isinstance(selector, SupportsPrepare) else None
        )
        self.timed: bool = bool(getattr(selector, "timed", False))
        """Whether plain picks need the time."""
        self.learner: SupportsFeedback | None = selector if isinstance(selector, SupportsFeedback) else None
        self.learns_from_successes: bool = bool(getattr(selector, "learns_from_successes", True))
        """Whether a selector that learns wants plain successes too."""
        self.learns_from_latency: bool = self.learner is not None and self.learns_from_successes
        """Whether the balancer is to measure latency for it."""
        self.shared: bool = bool(getattr(selector, "thread_safe", False))
        """Whether threads may call the selector at the same time."""
        self.trusted: bool = is_shipped(selector)
        """Whether its picks need no check."""
        self._reasons = selector if isinstance(selector, SupportsReasons) else None
        self._retry = selector if isinstance(selector, SupportsRetryAt) else None

    @property
    def name(self) -> str:
        """The selector, as errors and explanations call it."""
        return type(self.selector).__name__

    def default_load(self) -> LoadPolicy | None:
        """Return the load policy that the selector would choose by, if it says so."""
        return self.selector.default_load if isinstance(self.selector, SupportsDefaultLoad) else None

    def refusals(self, snapshot: Snapshot, ctx: PickContext) -> Mapping[str, Reason]:
        """Return, by id, why the selector passes over candidates.

        Raises
        ------
        TypeError
            If the selector, or one that it wraps, answers anything but reasons.
        """
        found: Mapping[str, Reason] = {} if self._reasons is None else self._reasons.refusals(snapshot, ctx)
        if not all([isinstance(reason, Reason) for reason in found.values()]):
            raise TypeError(
                f"refusals() of {self.name} returned {brief(found)}: expected a Reason for each id"
            )
        return found

    def retry_at(self, snapshot: Snapshot, ctx: PickContext) -> float | None:
        """Return when the selector would pick an endpoint, if it knows.

        Raises
        ------
        TypeError
            If the selector, or one that it wraps, answers anything but a finite number or ``None``.
        """
        found = None if self._retry is None else self._retry.retry_at(snapshot, ctx)
        if found is not None and not math.isfinite(found):  # raises TypeError for what is not a number
            raise TypeError(
                f"retry_at() of {self.name} returned {brief(found)}: expected a finite number or None"
            )
        return found


@runtime_checkable
class SupportsJoiningOrder(Protocol):
    """What the loads of one pool share, if it says in what order to make them; for this library's own alone."""

    def joining_order(self, count: int, rng: Random) -> Sequence[int]:
        """Return a permutation of ``range(count)``."""
        ...


@final
class LoadHooks:
    """The loads of one pool, and what their policy offers besides making them."""

    __slots__ = ("_forget", "_guard", "_order", "_shared", "make")

    def __init__(self, policy: LoadPolicy, guard: Guard) -> None:
        self._guard = guard
        made: LoadPolicy = policy.for_pool() if isinstance(policy, SupportsPoolLoad) else policy
        self.make: LoadPolicy = made
        shared: object = made
        self._shared = shared if isinstance(shared, Sweep) else None
        self._forget = shared.forget if isinstance(shared, SupportsForget) else None
        self._order = (
            shared.joining_order
            if is_shipped(shared) and isinstance(shared, SupportsJoiningOrder)
            else _as_listed
        )

    @property
    def deadline(self) -> float:
        """When :meth:`advance` is due, infinity if it never is."""
        return math.inf if self._shared is None else self._shared.deadline

    def joining_order(self, count: int, rng: Random) -> Sequence[int]:
        """Return in what order to make endpoints that join together, by their numbers."""
        return self._order(count, rng)

    def advance(self, *, now: float) -> None:
        """Let time pass for what the loads share."""
        if self._shared is not None and now >= self._shared.deadline:
            self._guard.call("load policy", self._shared.advance, default=None, now=now)

    def forget(self, nodes: Iterable[Node]) -> None:
        """Leave nodes that have gone out of what the loads share."""
        if self._forget is not None:
            for node in nodes:
                self._guard.call("load policy", self._forget, node, default=None)


def _as_listed(count: int, _: Random) -> Sequence[int]:
    return range(count)


def load_is_timed(policy: LoadPolicy) -> bool:
    """Return whether the loads of a policy look at times."""
    return bool(policy.timed) if isinstance(policy, SupportsTiming) else True


def health_is_timed(policy: HealthMaker | None) -> bool:
    """Return whether a health policy looks at times: one with a rule for latencies does."""
    given: object = policy
    return bool(given.timed) if isinstance(given, SupportsTiming) else False


def needs_start(load: Load) -> bool:
    """Return whether a load wants to know of requests that start."""
    return bool(getattr(load, "needs_start", True))


def start_compared(load: Load) -> bool:
    """Return whether a load knows of requests that were picked by a comparison of its pool's, without ``started``."""
    return bool(getattr(load, "start_compared", False))


def reset_load(load: Load, guard: Guard) -> None:
    """Notify a load that its endpoint is back from an ejection: health judges it from here on."""
    if isinstance(load, SupportsReset):
        guard.call("load", load.reset, default=None)


def load_answering(load: Load, guard: Guard, *, now: float, cost: float) -> None:
    """Notify a load that the answer of a request has begun."""
    if isinstance(load, SupportsAnswering):
        guard.call("load", load.answering, default=None, now=now, cost=cost)


class Reading(NamedTuple):
    """What a health machine says at one moment, as far as a state of the pool shows it."""

    well: bool = True
    ramping: bool = False
    deadline: float = math.inf


@final
class HealthHooks:
    """The health machine of one endpoint."""

    __slots__ = ("_guard", "_own", "_ramp", "policy")

    def __init__(self, policy: HealthPolicy, guard: Guard) -> None:
        require_health(policy)
        self.policy: HealthPolicy = policy
        self._guard = guard
        self._ramp = cast("SupportsRamp", policy) if supports(policy, SupportsRamp) else None
        self._own: bool = is_shipped(policy)  # ours need no guard

    def read(self) -> Reading:
        """Return what the machine says now."""
        return Reading(self.eligible, self.ramp < 1.0, self.deadline)

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked."""
        if self._own:
            return self.policy.eligible
        return self._guard.call("health policy", lambda: bool(self.policy.eligible), default=True)

    @property
    def watching(self) -> bool:
        """Whether the machine wants to know of successes."""
        if self._own:
            return self.policy.watching
        return self._guard.call("health policy", lambda: bool(self.policy.watching), default=False)

    @property
    def state(self) -> str:
        """The name of the present state."""
        return self._guard.call("health policy", lambda: str(self.policy.state), default="unknown")

    @property
    def deadline(self) -> float:
        """When :meth:`advance` is due, infinity if it is not."""
        if self._own:
            return self._due()
        return self._guard.call("health policy", self._due, default=math.inf)

    @property
    def ramp(self) -> float:
        """The part of its share that the endpoint takes."""
        ramp = self._ramp
        if ramp is not None and self._own:
            return ramp.ramp
        return (
            1.0 if ramp is None else self._guard.call("health policy", lambda: float(ramp.ramp), default=1.0)
        )

    @property
    def trial(self) -> int:
        """How many requests at a time the endpoint takes whatever the ramp is."""
        ramp = self._ramp
        if ramp is not None and self._own:
            return ramp.trial
        return 0 if ramp is None else self._guard.call("health policy", lambda: int(ramp.trial), default=0)

    def observe(self, completion: Completion, *, now: float) -> list[Event]:
        """Record how a request ended."""
        if self._own:
            return list(self.policy.observe(completion, now=now))
        return self._guard.events("health policy", self.policy.observe, completion, now=now)

    def advance(self, *, now: float) -> list[Event]:
        """Let time pass."""
        if self._own:
            return list(self.policy.advance(now=now))
        return self._guard.events("health policy", self.policy.advance, now=now)

    def on_outlier(self, cause: str, *, now: float) -> list[Event]:
        """Record that a sweep found the endpoint to be an outlier, if the machine takes that."""
        if not isinstance(self.policy, SupportsOutlierEjection):
            return []
        return self._guard.events("health policy", self.policy.on_outlier, cause, now=now)

    def uneject(self, *, now: float) -> list[Event]:
        """Let the endpoint back before its time, if the machine can."""
        if not isinstance(self.policy, SupportsUneject):
            return []
        return self._guard.events("health policy", self.policy.uneject, now=now)

    def checks(self) -> SupportsCheckResults:
        """Return the machine as one that takes the results of checks.

        Raises
        ------
        ConfigurationError
            If it takes none.
        """
        if not supports(self.policy, SupportsCheckResults):
            raise ConfigurationError("health", self.policy, CHECKED_POLICY)
        return self.policy  # type: ignore[return-value]  # checked above

    def checked(self, result: CheckResult, *, now: float) -> list[Event]:
        """Record how an active check ended."""
        return self._guard.events("health policy", self.checks().checked, result, now=now)

    def _due(self) -> float:
        due = self.policy.deadline
        return math.inf if due is None else float(due)


@final
class SweepHooks:
    """The outlier sweep of a pool, if its health policy has one."""

    __slots__ = ("_finder", "_guard")

    def __init__(self, health: HealthMaker | None, rng: Random, guard: Guard) -> None:
        policy: object = health
        self._finder = policy.outlier_sweep(rng) if isinstance(policy, SupportsSweep) else None
        self._guard = guard

    @property
    def deadline(self) -> float:
        """When :meth:`advance` is due, infinity if it never is."""
        return math.inf if self._finder is None else self._finder.deadline

    def advance(self, nodes: Iterable[Node], *, now: float) -> Mapping[str, str]:
        """Return the ids of outliers, each with a cause."""
        nothing: Mapping[str, str] = {}
        if self._finder is None:
            return nothing
        return self._guard.call("outlier sweep", self._finder.advance, nodes, default=nothing, now=now)
