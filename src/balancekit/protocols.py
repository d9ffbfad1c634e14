"""What does balancekit ask of the code you write, and what does it promise the code that embeds it?

Everything here is structural: no base classes. The whole architecture in one page:

- An application embeds a :class:`Balancer` and calls :meth:`~Balancer.acquire` once per request.
- A :class:`Selector` is an algorithm: one method from a snapshot and a context to a node.
- A :class:`Load` says how busy a node is, a :class:`HealthPolicy` whether it may be picked. Both are
  told ``now``; neither reads a clock.
- Three optional protocols make a selector faster or smarter: :class:`SupportsPrepare`,
  :class:`SupportsPicker`, :class:`SupportsFeedback`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from balancekit.errors import Reason
from balancekit.events import Event
from balancekit.lease import Lease
from balancekit.outcome import CheckResult, Completion
from balancekit.snapshot import Key, Load, Node, PickContext, Snapshot

__all__ = [
    "Balancer",
    "Clock",
    "HealthPolicy",
    "Load",
    "LoadPolicy",
    "Selector",
    "SupportsCheckResults",
    "SupportsFeedback",
    "SupportsOutlierEjection",
    "SupportsPicker",
    "SupportsPrepare",
    "SupportsReasons",
    "SupportsRetryAt",
    "SupportsUneject",
]

T_co = TypeVar("T_co", covariant=True)

Clock: TypeAlias = Callable[[], float]
"""Answers seconds from any fixed point; never goes back."""

LoadPolicy: TypeAlias = Callable[[Node], Load]
"""Makes the load of a node, once per node. A class whose constructor takes the node is one.

Optional attributes, read once when a balancer is made. On the policy: ``timed = False`` says its loads
never look at a completion's times, which spares two clock readings a request; ``for_pool()`` returns the
policy to use for one pool, if its loads share something. On a load: ``hears_start = False`` says that
``started`` does nothing; ``succeeded(latency, now)`` takes a plain success without a completion.
"""


class Balancer(Protocol[T_co]):
    """What other software embeds."""

    def acquire(
        self,
        key: Key | None = None,
        /,
        *,
        cost: float = 1.0,
        exclude: Collection[str] = (),
    ) -> Lease[T_co]:
        """Pick an endpoint and account for the request until the lease is released. Never waits."""
        ...


class Selector(Protocol):
    """An algorithm. Implement this one method and nothing else.

    The answer depends on the selector's own small state (a cursor, credits by node id), the snapshot and
    the context, and on nothing else: no clock, no module-level randomness, nothing remembered of an
    older snapshot but ids. ``balancekit.testing.check_selector`` checks it.

    Calls are serialised by the balancer unless the selector has a true attribute ``thread_safe``. An
    attribute ``default_load`` names the load policy a balancer uses when it is given none.
    """

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return one of ``snapshot.candidates(ctx)``, or ``None`` iff there are none."""
        ...


@runtime_checkable
class SupportsPrepare(Protocol):
    """A selector with tables to build before a snapshot is published, outside every lock."""

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build what ``select`` will look for with ``derive``; the result is not used."""
        ...


@runtime_checkable
class SupportsPicker(Protocol):
    """A selector with a fast lane: everything a plain pick needs, bound once per snapshot.

    ``keyed`` says whether picks hash the request's key. The balancer asks for a picker only when some
    node is eligible and uses it for requests that name no exclusion and no cost: it calls
    ``pick(now)``, or ``pick(key, now)`` if keyed. Arguments may be left out by those who need none:
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
        """Return the picker for a snapshot; it draws from ``rng`` if it needs randomness."""
        ...


@runtime_checkable
class SupportsFeedback(Protocol):
    """A selector that learns from how requests end."""

    def learn(self, node: Node, completion: Completion, /) -> None:
        """Hear of a finished lease. Called for every one, without a lock."""
        ...


@runtime_checkable
class SupportsReasons(Protocol):
    """A selector that may pick nobody although there are candidates, and can say why."""

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return, by id, why candidates would not be picked. Asked only after a pick has failed."""
        ...


@runtime_checkable
class SupportsRetryAt(Protocol):
    """A selector that may pick nobody for a while, and knows for how long."""

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when it would pick somebody, by the balancer's clock. Asked only after a pick has failed."""
        ...


class HealthPolicy(Protocol):
    """May this endpoint be picked? A sans-IO machine, one per endpoint.

    The balancer calls :meth:`observe` under its writer lock for every request that did not plainly
    succeed, and for every request at all while :attr:`watching`; and :meth:`advance` once
    :attr:`deadline` has passed.

    Optional attributes, read after each call: ``ramp``, the part of its share that the endpoint takes (0 to
    1), and ``trial``, how many requests at a time it takes whatever the ramp is. Optional protocols:
    :class:`SupportsCheckResults`, :class:`SupportsOutlierEjection`, :class:`SupportsUneject`.
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
        """Hear how a request ended; return what that led to."""
        ...

    def advance(self, *, now: float) -> Sequence[Event]:
        """Let time pass up to ``now``; return what that led to."""
        ...


@runtime_checkable
class SupportsCheckResults(Protocol):
    """A health machine that hears how active checks end."""

    @property
    def changing(self) -> bool:
        """Whether the last checks disagree with what is believed, so that it is worth checking faster."""
        ...

    def checked(self, result: CheckResult, /, *, now: float) -> Sequence[Event]:
        """Hear how a check ended; return what that led to."""
        ...


@runtime_checkable
class SupportsOutlierEjection(Protocol):
    """A health machine that hears what a sweep over the pool found."""

    def on_outlier(self, cause: str, /, *, now: float) -> Sequence[Event]:
        """Hear that the endpoint did badly; return what that led to."""
        ...


@runtime_checkable
class SupportsUneject(Protocol):
    """A health machine that can let its endpoint back before its time."""

    def uneject(self, *, now: float) -> Sequence[Event]:
        """Hear that nobody else is left; return what that led to."""
        ...
