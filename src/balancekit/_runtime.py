"""What happens behind a balancer when something changes?

One place owns the pool and the locks.

- The **writer lock** guards the pool; no foreign code runs under it.
- The **membership lock** makes membership operations exclude each other, so that one whose tables cannot
  be built is taken back whole.
- The **serial lock** keeps selectors and loads of the user from running twice at once.

Listeners are called last, with none of the three held. A forked child starts over: new locks, new
generator state, new nodes (leases of threads that do not exist there would never end).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar, cast, final

from balancekit._ledger import Ledger, Observer
from balancekit._publisher import Publisher
from balancekit._support.log import log_error
from balancekit._unavailable import refused
from balancekit.endpoint import Endpoint
from balancekit.errors import (
    AllIneligibleError,
    AttemptsExhaustedError,
    PoolEmptyError,
    SaturatedError,
    UnavailableError,
)
from balancekit.events import Event, EventSink
from balancekit.exhaustion import ExhaustionPolicy
from balancekit.health import Ejection
from balancekit.outcome import CheckResult, Completion
from balancekit.pool import Pool
from balancekit.protocols import (
    Clock,
    HealthPolicy,
    LoadPolicy,
    Selector,
    SupportsFeedback,
    SupportsReasons,
    SupportsRetryAt,
)
from balancekit.snapshot import Node, PickContext

__all__ = ["HealthMaker", "Runtime"]

D = TypeVar("D")

REFUSALS: Final[Mapping[type[UnavailableError], str]] = MappingProxyType(
    {
        PoolEmptyError: "empty",
        AllIneligibleError: "ineligible",
        SaturatedError: "saturated",
        AttemptsExhaustedError: "exhausted",
    },
)
"""What an error about nobody being picked is called where such errors are counted."""

HealthMaker: TypeAlias = Callable[[str, Callable[[Ejection], bool], Random], HealthPolicy]
"""What ``health=`` takes: makes the health machine of one endpoint (see ``Lifecycle.__call__``)."""


@final
class Runtime:
    """The inside of one ``LoadBalancer``."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_forked",
        "_listeners",
        "_load",
        "_membership",
        "_own_rng",
        "_pool",
        "_refused",
        "_serial",
        "_writer",
        "ledger",
        "publisher",
        "rng",
    )

    def __init__(
        self,
        selector: Selector,
        load: LoadPolicy,
        health: HealthMaker | None,
        exhaustion: ExhaustionPolicy,
        clock: Clock,
        rng: Random | None,
        *,
        timed: bool,
        debug: bool,
    ) -> None:
        self._clock = clock
        for_pool = getattr(load, "for_pool", None)
        self._load: LoadPolicy = load if for_pool is None else for_pool()
        self._own_rng = rng is None
        self.rng = Random() if rng is None else rng
        self._listeners: tuple[EventSink, ...] = ()
        self._forked = False
        self._refused: dict[str, int] = dict.fromkeys(REFUSALS.values(), 0)
        survey = getattr(health, "outlier_sweep", None)
        self._pool = Pool(
            self._make_node,
            self._health_factory(health),
            survey=None if survey is None else survey(self.rng),
            exhaustion=exhaustion,
        )
        learner = selector if isinstance(selector, SupportsFeedback) else None
        self.ledger = Ledger(clock, timed=timed, learner=learner, hearing=self._hear)
        self.publisher = Publisher(
            selector,
            self.rng,
            clock,
            self.ledger,
            self._pool.snapshot,
            deadline=self._deadline,
            lean=not debug,
        )
        self._new_locks()
        _ALIVE.add(self)

    # -------------------------------------------------------------------- time and requests

    def wake(self) -> float:
        """Do what is due and return the time: what a request does that goes the general way."""
        if self._forked:
            self._start_over()
        if self.ledger.lost:
            self.ledger.collect(self._tell)
        now = self._clock()
        if now >= self.publisher.deadline:
            self._advance(now)
        return now

    def unavailable(self, ctx: PickContext) -> UnavailableError:
        """Say why nobody was picked: the error to raise. Counted by kind."""
        error = self._why(ctx)
        with self._writer:
            self._refused[REFUSALS[type(error)]] += 1
        return error

    @property
    def refused(self) -> Mapping[str, int]:
        """How often nobody was picked, by kind of error."""
        return MappingProxyType(dict(self._refused))

    def _why(self, ctx: PickContext) -> UnavailableError:
        selector, snapshot = self.publisher.selector, self.publisher.snapshot
        missed = len(snapshot.candidates(ctx))
        if missed:
            refusals = selector.refusals(snapshot, ctx) if isinstance(selector, SupportsReasons) else {}
            retry_at = selector.retry_at(snapshot, ctx) if isinstance(selector, SupportsRetryAt) else None
            return refused(type(selector).__name__, missed, refusals.values(), retry_at, now=ctx.now)
        return self.read(lambda pool: pool.unavailable(ctx.exclude, now=ctx.now))

    def read(self, look: Callable[[Pool], D]) -> D:
        """Read the pool under the writer lock."""
        with self._writer:
            return look(self._pool)

    # -------------------------------------------------------------------- changes

    def change(
        self,
        wanted: Callable[[Pool], Iterable[Endpoint[object]]],
        *,
        keep_history: bool = False,
    ) -> None:
        """Make the pool contain what is wanted, whole or not at all."""
        with self._membership:
            change = self._pool.propose(wanted(self._pool), keep_history=keep_history)
            if change.empty:
                return
            with self._writer:
                events = self._pool.apply(change, now=self._clock())
            try:
                self.publisher.publish(self._pool.snapshot)
            except BaseException:
                with self._writer:
                    self._pool.revert(change)
                self.publisher.publish_anyway(self._pool.snapshot)
                raise
            with self._writer:
                events += self._pool.settle(now=self._clock())
            self._forget(change.gone)
        self.dispatch(events)

    def drain(self, id: str, seconds: float) -> None:
        """Send nothing new to an endpoint."""
        with self._membership:
            with self._writer:
                events = self._pool.drain(id, now=self._clock(), deadline=seconds)
            self._follow(events)

    def undrain(self, id: str) -> None:
        """Let a draining endpoint be picked again."""
        with self._membership:
            with self._writer:
                self._pool.undrain(id)
            self._follow([])

    def check(self, id: str, result: CheckResult) -> bool:
        """Hear how an active check ended; answer whether the endpoint is changing."""
        now = self.wake()
        with self._writer:
            events, changing = self._pool.check(id, result, now=now)
        self._follow(events)
        return changing

    def listen(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; return a function that takes it away again."""
        with self._membership:
            self._listeners = (*self._listeners, listener)

        def stop() -> None:
            with self._membership:
                self._listeners = tuple([one for one in self._listeners if one is not listener])

        return stop

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Add one who is told of every lease that ends; return a function that takes it away again."""
        self._observe((*self.ledger.observers, observer))

        def stop() -> None:
            self._observe(tuple([one for one in self.ledger.observers if one is not observer]))

        return stop

    def _observe(self, observers: tuple[Observer, ...]) -> None:
        with self._membership:
            with self._writer:
                nodes = [member.node for member in [*self._pool.members.values(), *self._pool.leaving]]
                self.ledger.observe(observers, nodes)
            self.publisher.publish_anyway(self._pool.snapshot)

    def dispatch(self, events: Iterable[Event]) -> None:
        """Hand events to the listeners; one that raises is logged."""
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception:
                    log_error("listener %r failed on %r", listener, event)

    # -------------------------------------------------------------------- internals

    def _deadline(self) -> float:
        due = getattr(self._load, "deadline", None)
        return self._pool.deadline if due is None else min(self._pool.deadline, due)

    def _tell(self, event: Event) -> None:
        self.dispatch([event])

    def _hear(self, node: Node, completion: Completion, /) -> None:
        with self._writer:
            events = self._pool.observe(node, completion, now=completion.ended_at)
        self._follow(events)

    def _advance(self, now: float) -> None:
        with self._writer:
            events = self._pool.advance(now=now)
        due = getattr(self._load, "deadline", None)
        if due is not None and now >= due:
            with self._serial:
                cast("Any", self._load).advance(now=now)
        self._follow(events)

    def _follow(self, events: Iterable[Event]) -> None:
        """Publish what a transition led to, then tell."""
        self.publisher.publish_anyway(self._pool.snapshot)
        self.dispatch(events)

    def _make_node(self, endpoint: Endpoint[object]) -> Node:
        return self.ledger.adopt(Node(endpoint, self._load, lock=threading.Lock()))

    def _health_factory(
        self,
        health: HealthMaker | None,
    ) -> Callable[[str, Callable[[Ejection], bool]], HealthPolicy] | None:
        if health is None:
            return None
        return lambda endpoint, may_eject: health(endpoint, may_eject, self.rng)

    def _forget(self, gone: Iterable[Node]) -> None:
        forget = getattr(self._load, "forget", None)
        if forget is not None:
            for node in gone:
                forget(node)

    # -------------------------------------------------------------------- forking

    def after_fork(self) -> None:
        """Mark a forked child's copy: the locks may have been held by threads that are not there."""
        self._forked = True
        self._new_locks()
        self.publisher.cool()
        if self._own_rng:
            self.rng.seed()

    def _new_locks(self) -> None:
        self._writer = threading.Lock()
        self._membership = threading.RLock()
        self._serial = threading.RLock()
        self.ledger.use_locks(counting=self._writer, serial=self._serial)
        self.publisher.use_locks(swapping=self._writer, serial=self._serial)

    def _start_over(self) -> None:
        with self._membership:
            if self._forked:
                self._forked = False
                with self._writer:
                    self._pool.start_over()
                self._follow([])


_ALIVE: Final[weakref.WeakSet[Runtime]] = weakref.WeakSet()


def _after_fork() -> None:
    for runtime in list(_ALIVE):
        runtime.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
