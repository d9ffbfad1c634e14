"""The optional hooks of selectors, loads and health policies.

Each hook is a protocol of :mod:`balancekit.protocols`. The hooks of an object are looked up once: when a balancer is
created, or when an endpoint joins. ``requirements.py`` lists the members that an object must have. ``guard.py`` calls
the hooks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias, cast, final, runtime_checkable

from balancekit._support.functions import require_arguments
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
    "reset_load",
]

HealthMaker: TypeAlias = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]
"""The type of ``health=``: a callable that creates the health machine of one endpoint (see ``Lifecycle.__call__``)."""
CHECKED_POLICY: Final = "a policy that takes check results, such as Lifecycle()"
"""The allowed values of ``health=`` for a balancer with active checks, as errors state them."""


@final
class SelectorHooks:
    """The optional hooks of one selector."""

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
        """Whether picks need the time."""
        self.learner: SupportsFeedback | None = selector if isinstance(selector, SupportsFeedback) else None
        self.learns_from_successes: bool = bool(getattr(selector, "learns_from_successes", True))
        """Whether ``learn`` is to be called for successes too."""
        self.learns_from_latency: bool = self.learner is not None and self.learns_from_successes
        """Whether the balancer must measure latency for the selector."""
        self.shared: bool = bool(getattr(selector, "thread_safe", False))
        """Whether threads may call the selector at the same time."""
        self.trusted: bool = is_shipped(selector)
        """Whether the selector is part of this library, so that its picks are not checked."""
        self._reasons = selector if isinstance(selector, SupportsReasons) else None
        self._retry = selector if isinstance(selector, SupportsRetryAt) else None

    @property
    def name(self) -> str:
        """The name of the selector in errors and explanations: that of its class."""
        return type(self.selector).__name__

    def default_load(self) -> LoadPolicy | None:
        """Return the load policy that the selector declares as its default, or ``None``."""
        return self.selector.default_load if isinstance(self.selector, SupportsDefaultLoad) else None

    def refusals(self, snapshot: Snapshot, ctx: PickContext) -> Mapping[str, Reason]:
        """Return, by id, the reasons for which the selector refuses candidates.

        Raises
        ------
        TypeError
            If ``refusals`` of the selector, or of one that it wraps, returns a value that is no ``Reason``.
        """
        found: Mapping[str, Reason] = {} if self._reasons is None else self._reasons.refusals(snapshot, ctx)
        if not all([isinstance(reason, Reason) for reason in found.values()]):
            raise TypeError(
                f"refusals() of {self.name} returned {brief(found)}: expected a Reason for each id"
            )
        return found

    def retry_at(self, snapshot: Snapshot, ctx: PickContext) -> float | None:
        """Return the time at which the selector expects to pick an endpoint again, or ``None`` if it is unknown.

        Raises
        ------
        TypeError
            If ``retry_at`` of the selector, or of one that it wraps, returns neither a finite number nor ``None``.
        """
        found = None if self._retry is None else self._retry.retry_at(snapshot, ctx)
        if found is not None and not math.isfinite(found):  # isfinite() may raise TypeError
            raise TypeError(
                f"retry_at() of {self.name} returned {brief(found)}: expected a finite number or None"
            )
        return found


@runtime_checkable
class SupportsJoiningOrder(Protocol):
    """A load policy that states the order in which to create its loads. Used for policies of this library only."""

    def joining_order(self, count: int, rng: Random) -> Sequence[int]:
        """Return a permutation of ``range(count)``."""
        ...


@final
class LoadHooks:
    """The load policy of one pool and its optional hooks."""

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
        """The time at which :meth:`advance` is due; infinity if it never is."""
        return math.inf if self._shared is None else self._shared.deadline

    def joining_order(self, count: int, rng: Random) -> Sequence[int]:
        """Return the order, as indices, in which to create the loads of ``count`` endpoints that join together."""
        return self._order(count, rng)

    def advance(self, *, now: float) -> None:
        """Call the load policy if it is due."""
        if self._shared is not None and now >= self._shared.deadline:
            self._guard.call("load policy", self._shared.advance, default=None, now=now)

    def forget(self, nodes: Iterable[Node]) -> None:
        """Make the load policy release the loads of nodes that have left the pool."""
        if self._forget is not None:
            for node in nodes:
                self._guard.call("load policy", self._forget, node, default=None)


def _as_listed(count: int, _: Random) -> Sequence[int]:
    return range(count)


def load_is_timed(policy: LoadPolicy) -> bool:
    """Return whether the loads of a policy use times. Without the ``timed`` attribute they are assumed to."""
    return bool(policy.timed) if isinstance(policy, SupportsTiming) else True


def health_is_timed(policy: HealthMaker | None) -> bool:
    """Return whether a health policy uses latencies. Without the ``timed`` attribute it is assumed not to."""
    given: object = policy
    return bool(given.timed) if isinstance(given, SupportsTiming) else False


def reset_load(load: Load, guard: Guard) -> None:
    """Notify a load that its endpoint returns from an ejection."""
    if isinstance(load, SupportsReset):
        guard.call("load", load.reset, default=None)


def load_answering(load: Load, guard: Guard, *, now: float, cost: float) -> None:
    """Notify a load that the answer of a request has begun."""
    answering: Any = getattr(load, "answering", None)  # a test of the protocol costs a hundred times as much
    if answering is not None:
        guard.call("load", answering, default=None, now=now, cost=cost)


class Reading(NamedTuple):
    """The values of a health machine at one moment, as a state of the pool stores them."""

    healthy: bool = True
    ramping: bool = False
    deadline: float = math.inf


@final
class HealthHooks:
    """The health machine of one endpoint."""

    __slots__ = ("_guard", "_open_before", "_own", "_ramp", "policy")

    def __init__(self, policy: HealthPolicy, guard: Guard) -> None:
        require_health(policy)
        self.policy: HealthPolicy = policy
        self._guard = guard
        self._ramp = cast("SupportsRamp", policy) if supports(policy, SupportsRamp) else None
        self._own: bool = is_shipped(policy)  # machines of this library are called without the guard
        self._open_before: int | None = None

    @classmethod
    def made_by(
        cls, maker: HealthMaker, id: str, may_eject: Callable[[Ejection], bool], rng: Random, guard: Guard
    ) -> Self:
        """Return the hooks of a new machine, for one endpoint.

        Raises
        ------
        ConfigurationError
            If the maker takes other arguments, as a part of a policy such as ``Thresholds()`` does.
        """
        try:
            policy = maker(id, may_eject, rng)
        except TypeError:
            require_arguments("health", maker, 3, "a health policy such as Lifecycle(), or None")
            raise
        return cls(policy, guard)

    def read(self) -> Reading:
        """Return the present values of the machine."""
        return Reading(self.eligible, self.ramp < 1.0, self.deadline)

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked."""
        if self._own:
            return self.policy.eligible
        return self._guard.call("health policy", lambda: bool(self.policy.eligible), default=True)

    @property
    def watching(self) -> bool:
        """Whether the machine must be notified of successes."""
        if self._own:
            return self.policy.watching
        return self._guard.call("health policy", lambda: bool(self.policy.watching), default=False)

    @property
    def state(self) -> str:
        """The name of the present state."""
        return self._guard.call("health policy", lambda: str(self.policy.state), default="unknown")

    @property
    def deadline(self) -> float:
        """The time at which :meth:`advance` is due; infinity if it is not."""
        if self._own:
            return self._due()
        return self._guard.call("health policy", self._due, default=math.inf)

    @property
    def ramp(self) -> float:
        """The fraction of its usual share that the endpoint receives, 0 to 1."""
        ramp = self._ramp
        if ramp is not None and self._own:
            return ramp.ramp
        return (
            1.0 if ramp is None else self._guard.call("health policy", lambda: float(ramp.ramp), default=1.0)
        )

    @property
    def trial(self) -> int:
        """The number of concurrent requests that the endpoint receives whatever the ramp is."""
        ramp = self._ramp
        if ramp is not None and self._own:
            return ramp.trial
        return 0 if ramp is None else self._guard.call("health policy", lambda: int(ramp.trial), default=0)

    def places(self, inflight: int) -> int:
        """Return how many requests may be on the endpoint while it is on trial, 0 when it is not.

        These are the places of the trial, and those of the requests that were open when it began: a stream that was
        opened before the ejection may stay for hours, and says nothing of the endpoint's health.
        """
        trial = self.trial
        before = self._open_before
        self._open_before = open_before = (
            None if not trial else inflight if before is None else min(before, inflight)
        )
        return 0 if open_before is None else trial + open_before

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
        """Report to the machine that a sweep has found the endpoint to be an outlier, if the machine supports it."""
        if not isinstance(self.policy, SupportsOutlierEjection):
            return []
        return self._guard.events("health policy", self.policy.on_outlier, cause, now=now)

    def uneject(self, *, now: float) -> list[Event]:
        """End the ejection of the endpoint early, if the machine supports it."""
        if not isinstance(self.policy, SupportsUneject):
            return []
        return self._guard.events("health policy", self.policy.uneject, now=now)

    def checks(self) -> SupportsCheckResults:
        """Return the machine, which takes the results of checks.

        Raises
        ------
        ConfigurationError
            If the machine takes no results of checks.
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
        """The time at which :meth:`advance` is due; infinity if it never is."""
        return math.inf if self._finder is None else self._finder.deadline

    def advance(self, nodes: Iterable[Node], *, now: float) -> Mapping[str, str]:
        """Return the causes of ejection of the endpoints that are outliers, by id."""
        nothing: Mapping[str, str] = {}
        if self._finder is None:
            return nothing
        return self._guard.call("outlier sweep", self._finder.advance, nodes, default=nothing, now=now)
