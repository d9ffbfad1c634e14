"""The protocols of balancekit: its requirements of your code, and its guarantees for code that embeds it.

Everything here is structural: no base classes. The whole architecture in one page:

- An application embeds a :class:`Balancer` and calls :meth:`~Balancer.acquire` once per request. Code that carries
  requests or watches a balancer takes an :class:`ObservableBalancer`.
- A :class:`Selector` is an algorithm: one method from a snapshot and a context to a node.
- A :class:`Load` measures how busy a node is, a :class:`HealthPolicy` decides whether it may be picked. Both
  receive the time as ``now``; neither reads a clock.
- The rest are optional hooks. What an object supports is resolved once, when a balancer is made or an endpoint joins.

*Hooks.* The docstring of each states when it is called. Unless it states otherwise, the thread that caused the call
makes it, several threads may call at the same time, and no lock is held. A hook may use the balancer, and must not wait
for long. If it raises, the error is logged and nothing else changes. A wrapper must define each hook that it passes on:
on CPython 3.12 and later, ``isinstance`` does not call ``__getattr__``, so a hook found only by it is not used.

A class that derives from :class:`Selector`, :class:`Load` or :class:`HealthPolicy` and has a public name that is
nearly, but not quite, an optional hook is refused with :class:`~balancekit.errors.ConfigurationError`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, Reason
from balancekit.events import Event, EventSink
from balancekit.lease import Lease
from balancekit.node import Load, Node
from balancekit.outcome import CheckResult, Completion
from balancekit.snapshot import Key, PickContext, Snapshot
from balancekit.statistics_view import BalancerStats

__all__ = [
    "Balancer",
    "Clock",
    "HealthPolicy",
    "Load",
    "LoadPolicy",
    "ObservableBalancer",
    "OutlierFinder",
    "Selector",
    "SupportsAnswering",
    "SupportsCheckResults",
    "SupportsComparer",
    "SupportsDefaultLoad",
    "SupportsFastSuccess",
    "SupportsFeedback",
    "SupportsForget",
    "SupportsOutlierEjection",
    "SupportsPicker",
    "SupportsPickers",
    "SupportsPoolLoad",
    "SupportsPrepare",
    "SupportsRamp",
    "SupportsReasons",
    "SupportsRefusalObservers",
    "SupportsReset",
    "SupportsRetryAt",
    "SupportsSweep",
    "SupportsTiming",
    "SupportsUneject",
    "Sweep",
    "UpdatableBalancer",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Clock: TypeAlias = Callable[[], float]
"""Returns seconds from any fixed point. For a balancer it never goes back, whatever it does."""

LoadPolicy: TypeAlias = Callable[[Node], Load]
"""Makes the load of a node, once per node. A class whose constructor takes the node is one.

Optional: :class:`SupportsTiming`, :class:`SupportsPoolLoad`; and on what ``for_pool`` returns, :class:`Sweep`,
:class:`SupportsForget`, :class:`SupportsComparer`.
"""


# ---------------------------------------------------------------------- balancers


class Balancer(Protocol[T_co]):
    """A balancer as other software embeds it."""

    def acquire(
        self,
        key: Key | None = None,
        /,
        *,
        cost: float = 1.0,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Lease[T_co]:
        """Pick an endpoint and account for the request until the lease is released. Never waits."""
        ...


@runtime_checkable
class ObservableBalancer(Protocol[T_co]):
    """A balancer as adapters, checks, exporters and hedging see it.

    ``LoadBalancer`` is one, ``balancekit.sim.Recorder`` another, and so is whatever wraps one of them and passes these
    on. ``LoadBalancer`` documents each.
    """

    @property
    def endpoints(self) -> tuple[Endpoint[T_co], ...]:
        """The endpoints in the pool, in the order of configuration."""
        ...

    def acquire(
        self,
        key: Key | None = None,
        /,
        *,
        cost: float = 1.0,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Lease[T_co]:
        """Pick an endpoint and open a lease on it."""
        ...

    def attempts(
        self,
        limit: int,
        key: Key | None = None,
        /,
        *,
        cost: float = 1.0,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Iterator[Lease[T_co]]:
        """Yield leases for one request, each on an endpoint not tried before."""
        ...

    def on_event(self, listener: EventSink, /) -> Callable[[], None]:
        """Call ``listener`` with each event; return a function that ends that."""
        ...

    def on_completion(self, observer: Callable[[Endpoint[T_co], Completion], None], /) -> Callable[[], None]:
        """Call ``observer`` whenever a lease ends; return a function that ends that."""
        ...

    def on_start(self, observer: Callable[[Endpoint[T_co]], None], /) -> Callable[[], None]:
        """Call ``observer`` whenever a lease begins; return a function that ends that."""
        ...

    def emit(self, event: Event, /) -> None:
        """Hand an event to the listeners."""
        ...

    def report_check(self, id: str, result: CheckResult, /) -> bool:
        """Report how an active check of an endpoint ended."""
        ...

    def stats(self) -> BalancerStats:
        """Return one immutable view of states, counters and latencies."""
        ...


@runtime_checkable
class SupportsRefusalObservers(Protocol):
    """A balancer that reports requests for which no endpoint can be picked; any other counts them in ``stats`` alone."""

    def on_refusal(self, observer: Callable[[str], object], /) -> Callable[[], None]:
        """Call ``observer`` with each kind of refusal; return a function that ends that."""
        ...


@runtime_checkable
class UpdatableBalancer(ObservableBalancer[T], Protocol[T]):
    """A balancer as discovery sees it: it takes the list of endpoints."""

    def update(
        self,
        endpoints: Iterable[str | Endpoint[T]] | Mapping[str, T],
        /,
        *,
        keep_history: bool = False,
    ) -> None:
        """Make the pool contain exactly these endpoints, or raise and change nothing."""
        ...


def require_balancer(balancer: object, kind: type = ObservableBalancer) -> None:
    """Refuse what is not a balancer of a kind; one that passes calls on by ``__getattr__`` is.

    Raises
    ------
    ConfigurationError
        Naming ``balancer``, and what it lacks if it has some of what is wanted.
    """
    names = [name for base in kind.__mro__ for name in vars(base) if not name.startswith("_")]
    missing = names if isinstance(balancer, type) else [name for name in names if not hasattr(balancer, name)]
    if missing:
        lacks = "" if len(missing) == len(names) else f"; this one lacks {', '.join(sorted(missing))}"
        raise ConfigurationError("balancer", balancer, f"a LoadBalancer, or another {kind.__name__}{lacks}")


def require_takes_checks(balancer: object) -> None:
    """Refuse a balancer whose health policy takes no check results; a wrapper need not say whether it does.

    Raises
    ------
    ConfigurationError
        Naming ``balancer``.
    """
    if not getattr(balancer, "takes_checks", True):
        allowed = "one whose health policy takes check results, such as health=Lifecycle()"
        raise ConfigurationError("balancer", balancer, allowed)


# ---------------------------------------------------------------------- selectors


class Selector(Protocol):
    """An algorithm. Implement this one method and nothing else.

    The answer depends on the selector's own small state (a cursor, credits by node id), the snapshot and
    the context only. It uses no clock, no module-level randomness, and nothing of an older snapshot but
    ids. ``balancekit.testing.check_selector`` checks it.

    Calls are serialised by the balancer unless the selector has a true attribute ``thread_safe``. A selector that is
    not is called under one lock of its own; so is each of its hooks. A selector may be prepared for snapshots that
    are never published, because another change came first.
    """

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return one of ``snapshot.candidates(ctx)``, or ``None`` iff there are none.

        Any other answer makes ``acquire`` raise :class:`~balancekit.errors.SelectorError`; what this raises is
        raised by ``acquire``.
        """
        ...


@runtime_checkable
class SupportsDefaultLoad(Protocol):
    """A selector that names the load policy to use when the balancer is given none."""

    default_load: Any
    """A :data:`LoadPolicy`."""


@runtime_checkable
class SupportsPrepare(Protocol):
    """A selector with tables to build before a snapshot is published."""

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build what ``select`` will look for with ``derive``; the result is not used.

        Called with each new snapshot, by the thread that caused the change; requests go on meanwhile, however long
        it takes. They pick from the snapshot before, by ``select`` and by its pickers: keep what those need. What it raises is raised by the change of membership, which then has not happened; for a change of
        health it is logged.
        """
        ...


@runtime_checkable
class SupportsPicker(Protocol):
    """A selector with a fast path: everything a plain pick needs, bound once per snapshot.

    ``keyed`` says whether picks hash the request's key. The balancer makes a picker only when some
    node is eligible and uses it for requests that name no exclusion and no cost: it calls
    ``pick(now)``, or ``pick(key, now)`` if keyed. Arguments may be left out by those that need none:
    ``picker(snapshot)()`` picks. A picker must be callable from many threads at once, and answer as
    ``select`` would.
    """

    keyed: bool

    def picker(
        self,
        snapshot: Snapshot,
        /,
        *,
        rng: random.Random | None = None,
    ) -> Callable[..., Node]:
        """Return the picker for a snapshot; it draws from ``rng`` if it needs randomness.

        Called right after ``prepare``, and again for the same endpoints if a change was dropped after its picker had
        been made: the picker made last is the one in use.
        """
        ...


@runtime_checkable
class SupportsPickers(Protocol):
    """A selector with two fast paths: one for requests without a key, one for those with a key.

    Called in place of :class:`SupportsPicker`, at the same time and with the same meaning. A true attribute ``timed``
    says that picks need the time; without it, ``now`` may be NaN.
    """

    def pickers(
        self,
        snapshot: Snapshot,
        /,
        *,
        rng: random.Random,
    ) -> tuple[Callable[..., Node | None] | None, Callable[..., Node | None] | None]:
        """Return ``pick(now)`` and ``pick(key, now)``; either may return ``None`` to have ``select`` called instead.

        Without the second, keys do not matter. Without the first, requests without a key call ``select``.
        """
        ...


@runtime_checkable
class SupportsFeedback(Protocol):
    """A selector that learns from how requests end.

    With an attribute ``learns_from_successes = False`` it need not receive plain successes, which makes requests
    cheaper: it receives those that carry a load report and all that did not succeed, and may receive others. Without it, the
    balancer measures latency, whatever the load.
    """

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Record a finished lease. Called for every one.

        It runs in the thread that ends the lease, under the lock of the selector unless that is ``thread_safe``, and must
        not wait. What it raises is logged; the request has its answer.
        """
        ...


@runtime_checkable
class SupportsReasons(Protocol):
    """A selector that may pick none although there are candidates, and reports the reasons."""

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return, by id, why candidates would not be picked.

        Called only after a pick has failed, in the thread of that request, under the lock of the selector unless that is
        ``thread_safe``.
        """
        ...


@runtime_checkable
class SupportsRetryAt(Protocol):
    """A selector that may pick none for a while, and knows for how long."""

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when it would pick one, by the balancer's clock; called as :meth:`SupportsReasons.refusals` is."""
        ...


# ---------------------------------------------------------------------- loads


@runtime_checkable
class SupportsTiming(Protocol):
    """A load or health policy that states whether it reads times.

    ``timed = False`` of a load policy saves two clock readings a request, ``timed = True`` of a health policy requests
    them. By default, a load reads times and a health policy does not. Read once, when a balancer is made.
    """

    timed: bool


@runtime_checkable
class SupportsPoolLoad(Protocol):
    """A load policy whose loads share something in each pool."""

    def for_pool(self) -> LoadPolicy:
        """Return the policy to use for one pool. Called once, when a balancer is made."""
        ...


@runtime_checkable
class Sweep(Protocol):
    """A pool's load policy that wants to be called once in a while."""

    @property
    def deadline(self) -> float:
        """When :meth:`advance` is due, in seconds of the balancer's clock."""
        ...

    def advance(self, *, now: float) -> None:
        """Let time pass up to ``now``.

        Called by the first call of the balancer after :attr:`deadline`, one thread at a time, under no lock. It must not wait.
        """
        ...


@runtime_checkable
class SupportsForget(Protocol):
    """A pool's load policy that keeps nodes."""

    def forget(self, node: Node, /) -> None:
        """Forget a node that has left, in the thread that removed it, under no lock.

        May be called more than once, and for a node that never joined.
        """
        ...


@runtime_checkable
class SupportsComparer(Protocol):
    """The common part of the loads of a pool, if it compares them faster than by ``value``.

    Found by selectors as the attribute ``pool`` of a load. A load whose comparison counts on the request that it leads to says so
    by an attribute ``start_compared``: plain requests that were picked by one then do without ``started``.
    """

    def comparer(self, *, weighted: bool) -> Callable[[Node, Node, float], Node]:
        """Return a function that returns the less loaded of two nodes at a time; the first on a tie."""
        ...


@runtime_checkable
class SupportsFastSuccess(Protocol):
    """A load that takes a plain success without a completion."""

    def succeeded(self, latency: float, now: float, /) -> None:
        """Record a success of ``latency`` seconds.

        Called in place of ``finished`` if nothing else needs a completion and times are measured, under the same conditions:
        see :class:`~balancekit.node.Load`.
        """
        ...


@runtime_checkable
class SupportsAnswering(Protocol):
    """A load that wants to know when an answer begins."""

    def answering(self, *, now: float, cost: float) -> None:
        """Record that the answer of a request of this cost has begun. Called by ``lease.first_byte()``."""
        ...


@runtime_checkable
class SupportsReset(Protocol):
    """A load that can forget what it holds against its endpoint."""

    def reset(self) -> None:
        """Treat the endpoint as a new one. Called when it is back from an ejection."""
        ...


# ---------------------------------------------------------------------- health


class HealthPolicy(Protocol):
    """Whether an endpoint may be picked: a sans-IO machine, one per endpoint.

    The balancer calls :meth:`observe` for every request that did not plainly succeed, and for every request at all
    while :attr:`watching`; and :meth:`advance` once :attr:`deadline` has passed. One thread at a time: what other threads
    report meanwhile is queued, and those threads go on. It runs under no lock and may use the balancer. If it raises,
    the error is logged; its properties then count as those of a healthy endpoint.

    Optional protocols: :class:`SupportsRamp`, :class:`SupportsCheckResults`, :class:`SupportsOutlierEjection`,
    :class:`SupportsUneject`. ``balancekit.testing.check_health`` checks a policy.
    """

    @property
    def eligible(self) -> bool:
        """Whether the endpoint may be picked."""
        ...

    @property
    def state(self) -> str:
        """The name of the present state, for people."""
        ...

    @property
    def watching(self) -> bool:
        """Whether successes matter now; while false they are not reported."""
        ...

    @property
    def deadline(self) -> float | None:
        """When :meth:`advance` is due, in seconds of the balancer's clock; ``None`` if nothing is."""
        ...

    def observe(self, completion: Completion, /, *, now: float) -> Sequence[Event]:
        """Record how a request ended; return what that led to."""
        ...

    def advance(self, *, now: float) -> Sequence[Event]:
        """Let time pass up to ``now``; return what that led to."""
        ...


@runtime_checkable
class SupportsRamp(Protocol):
    """A health machine that gives its endpoint less than its share for a while. Read after each call."""

    @property
    def ramp(self) -> float:
        """The part of its share that the endpoint takes, 0 to 1."""
        ...

    @property
    def trial(self) -> int:
        """How many requests at a time it takes whatever the ramp is."""
        ...


@runtime_checkable
class SupportsCheckResults(Protocol):
    """A health machine that takes the results of active checks."""

    @property
    def changing(self) -> bool:
        """Whether the last checks disagree with the present state, so that it is worth checking faster."""
        ...

    def checked(self, result: CheckResult, /, *, now: float) -> Sequence[Event]:
        """Record how a check ended; return what that led to."""
        ...


@runtime_checkable
class SupportsOutlierEjection(Protocol):
    """A health machine that takes what a sweep over the pool found."""

    def on_outlier(self, cause: str, /, *, now: float) -> Sequence[Event]:
        """Record that the endpoint is an outlier; return what that led to."""
        ...


@runtime_checkable
class SupportsUneject(Protocol):
    """A health machine that can let its endpoint back before its time."""

    def uneject(self, *, now: float) -> Sequence[Event]:
        """Let the endpoint back if its state allows it, because no other is left; return what that led to."""
        ...


class OutlierFinder(Protocol):
    """A sweep over the endpoints of a pool that finds outliers."""

    @property
    def deadline(self) -> float:
        """When :meth:`advance` is due, in seconds of the balancer's clock."""
        ...

    def advance(self, nodes: Iterable[Node], *, now: float) -> Mapping[str, str]:
        """Look at the eligible nodes; return the ids of outliers, each with a cause. One thread at a time."""
        ...


@runtime_checkable
class SupportsSweep(Protocol):
    """A health policy with sweeps over the pool."""

    def outlier_sweep(self, rng: random.Random, /) -> OutlierFinder | None:
        """Make the sweep of one pool; ``None`` if it has none. Called once, when a balancer is made."""
        ...
