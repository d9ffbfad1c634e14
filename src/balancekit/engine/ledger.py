"""The open and ended leases of one balancer.

The ledger opens leases on the slow path. It is also called when a lease ends: it counts the outcome, calls the load and the
selector's ``learn``, and passes failures on to the health machines. A plain success on a healthy endpoint takes the fast
path, :meth:`Ledger.succeeded`: one clock reading and one call of the load.

The thread that ends a request calls the load. Several threads may call a load at once, and no lock is held. ``learn`` of
a selector that is not ``thread_safe`` is called under the ``serial`` lock. An exception of any of them is logged; it does
not reach the request.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias, final
from warnings import warn

from balancekit._support.log import contain_error
from balancekit.endpoint import Endpoint
from balancekit.engine.capabilities import is_shipped, needs_end, needs_start, supports
from balancekit.engine.delivery import Delivery, Entry
from balancekit.engine.fast_path import open_cost_lease, open_lease
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import load_answering
from balancekit.engine.lease_owners import FirstByteOwner, SlowPathOwner
from balancekit.engine.locks import EngineLocks
from balancekit.engine.requirements import require_load
from balancekit.events import LeaseLost
from balancekit.lease import Lease, LeaseOwner
from balancekit.node import LOAD_CALLBACK, AnswerFigures, Node
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.protocols import Clock, SupportsAnswering, SupportsFastSuccess, SupportsFeedback
from balancekit.snapshot import DEFAULT_COST
from balancekit.stats import RecentWindow

__all__ = ["CompletionSink", "Ledger", "Observer", "StartObserver"]

FULLY_SAMPLED_SUCCESSES: Final = 64
"""Successes of an endpoint that are all recorded in its latency window; later, one in eight is recorded. Recording costs
a tenth of a request at 10 000 endpoints, because the window is in memory that a release does not use otherwise."""

Observer: TypeAlias = Callable[[Endpoint[Any], Completion], None]
"""Called with the endpoint and the completion of every lease that ends, in the thread that ends it, under no lock."""
StartObserver: TypeAlias = Callable[[Endpoint[Any]], None]
"""Called with the endpoint of every lease that is opened, in the thread that opens it, under no lock."""


class CompletionSink(Protocol):
    """The receiver of completions that health machines need."""

    def __call__(self, node: Node, completion: Completion, /) -> None:
        """Record how a request ended on a node."""
        ...


@final
class Ledger:
    """The bookkeeper of the open and ended leases of one balancer.

    Parameters
    ----------
    clock
        Returns seconds; monotonic.
    timed
        Whether latencies are measured.
    learner
        The selector, if it has ``learn``.
    successes
        Whether ``learn`` is called for plain successes too.
    serial
        Whether ``learn`` is called under the ``serial`` lock.
    locks, guard, delivery
        The locks, the guard and the delivery of the balancer.
    sink
        Called with the completions that health machines need.
    """

    __slots__ = (
        "_answering",
        "_clock",
        "_delivery",
        "_first_byte",
        "_guard",
        "_learner",
        "_locks",
        "_plain",
        "_serial",
        "_sink",
        "_slow",
        "lost",
        "needs_start",
        "observers",
        "start_observers",
        "timed",
    )

    def __init__(
        self,
        clock: Clock,
        *,
        timed: bool,
        learner: SupportsFeedback | None,
        successes: bool,
        serial: bool,
        locks: EngineLocks,
        guard: Guard,
        delivery: Delivery,
        sink: CompletionSink,
    ) -> None:
        self.timed: bool = timed
        self.lost: deque[Lease[object]] = deque()
        """Leases that were garbage-collected while open. Their finalizers append here; :meth:`collect` empties it."""
        self.needs_start: bool = False
        """Whether ``started`` of at least one load must be called."""
        self.observers: tuple[Entry[Observer], ...] = ()
        """The observers of leases that end."""
        self.start_observers: tuple[Entry[StartObserver], ...] = ()
        """The observers of leases that are opened."""
        self._clock = clock
        self._learner = learner
        self._serial = serial
        self._locks = locks
        self._guard = guard
        self._delivery = delivery
        self._sink = sink
        self._plain = learner is None or not successes
        self._slow: Final = SlowPathOwner(self)
        self._first_byte: LeaseOwner = FirstByteOwner(self, clock)
        self._answering = False  # whether a load has the hook

    @property
    def lean(self) -> bool:
        """Whether opening a lease calls neither a load nor an observer."""
        return not self.needs_start and not self.start_observers

    @property
    def observed(self) -> bool:
        """Whether there are observers of leases that are opened."""
        return bool(self.start_observers)

    @property
    def owner(self) -> LeaseOwner:
        """The owner of new leases: the ledger, or a slow-path owner if a selector or an observer needs every success."""
        return self if self._plain and not self.observers else self._slow

    def adopt(self, node: Node) -> Node:
        """Prepare the node of a new endpoint for its leases and return it.

        Raises
        ------
        ConfigurationError
            If the load of the node lacks a method, or has a misspelt hook.
        """
        load = node.load
        require_load(load)
        fast = supports(load, SupportsFastSuccess) and (self.timed or not needs_end(load))
        self._plain = self._plain and fast
        self.needs_start = self.needs_start or needs_start(load)
        self._answering = self._answering or supports(load, SupportsAnswering)
        if self._answering or not is_shipped(load):
            self._first_byte = self._slow
        node.needs_completion = self.timed or self._learner is not None or not fast or bool(self.observers)
        if self.timed:
            node.latency = RecentWindow()
        node.set_watch(health_watching=False)
        return node

    def watch(self, nodes: Iterable[Node]) -> None:
        """Make nodes report every end of a lease if there are observers."""
        if self.observers:
            for node in nodes:
                node.needs_completion = True
                node.set_watch(health_watching=node.health_watching)

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease on the slow path: call the load and the observers of starts, and record cost and site."""
        if self.needs_start:
            self._guard.check()
            try:
                node.load.started(now=now, cost=cost)
            except Exception:
                contain_error("load of %r failed to record a start", node.id)
        started_at = now if self.timed else math.nan
        if cost == DEFAULT_COST:
            lease = open_lease(node, self.owner, started_at)
        else:
            lease = open_cost_lease(node, self._slow, started_at, cost)
        if site is not None:
            lease.extras.site = site
        self._delivery.deliver(
            "observer %r failed on a start at %r", self.start_observers, [(node.endpoint,)]
        )
        return lease

    # ------------------------------------------------------------------ what leases call

    def succeeded(self, lease: Lease[object], node: Node) -> None:
        """Record a plain success that has been counted."""
        if node.callbacks != LOAD_CALLBACK:
            if node.inflight < node.low_water:
                node.on_low_water(node)
            if node.health_watching:
                self.finish(lease, node, Outcome.SUCCESS, None)
                return
        if self.observers:  # added after the lease was opened
            self.finish(lease, node, Outcome.SUCCESS, None)
            return
        if not self.timed:
            return
        try:
            now = self._clock()
            latency = now - lease._started_at
            if not node.successes & 7 or node.successes < FULLY_SAMPLED_SUCCESSES:
                node.latency.record(latency)  # type: ignore[union-attr]  # timed: adopt() made one
            node.load.succeeded(latency, now)  # type: ignore[attr-defined]  # `_plain` is true: the load has it
        except Exception:
            contain_error("load of %r failed to record a success", node.id)

    def ended(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Count any other end of a lease, and call :meth:`finish` if load, selector, health or observers need it."""
        with self._locks.writer:
            if outcome is Outcome.SUCCESS:
                node.successes += 1
            else:
                node.outcomes[outcome] = node.outcomes.get(outcome, 0) + 1
        if node.callbacks or outcome in FAILURES or retry_after:
            self.finish(lease, node, outcome, retry_after)

    def reached(self, lease: Lease[object]) -> None:
        """Record the time at which the answer began."""
        try:
            now = self._clock()
        except Exception:
            contain_error("clock %r failed", self._clock)
            return
        node, extras = lease.node, lease.extras
        extras.first_byte_at = now
        if self.timed:
            waited = now - lease._started_at
            if waited >= 0.0:  # not NaN
                answers = node.answers
                (self._answers(node) if answers is None else answers).first_byte.record(waited)
        lease._owner = self._first_byte if lease._owner is self else self._slow
        if self._answering and lease.active:
            load_answering(node.load, self._guard, now=now, cost=extras.cost)

    def reported(self, lease: Lease[object]) -> None:
        """Make the end of this lease take the slow path, because its answer has a load report."""
        lease._owner = self._slow

    def counted(self, lease: Lease[object], tokens: int) -> None:
        """Record the number of tokens of an answer and, if the lease is open, their rate since the first byte."""
        answers, begun = self._answers(lease.node), lease.extras.first_byte_at
        with self._locks.writer:
            answers.tokens += tokens
        if lease.active and begun is not None and tokens > 1:
            now = self._read_clock()
            if now is not None and now > begun:
                speed = (tokens - 1) / (now - begun)
                if speed < math.inf:  # the division overflows if the difference is denormal
                    answers.speed.record(speed)

    def _read_clock(self) -> float | None:
        """Return the time, or ``None`` if the clock raises. The error is logged, so that the request continues."""
        try:
            return self._clock()
        except Exception:
            contain_error("clock %r failed", self._clock)
            return None

    def _answers(self, node: Node) -> AnswerFigures:
        found = node.answers
        if found is None:
            with self._locks.writer:
                found = node.answers
                if found is None:
                    found = node.answers = AnswerFigures()
        return found

    def finish(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Report the end of a lease to load, selector, health and observers; if the clock failed, to observers alone."""
        now, extras = self._read_clock(), lease.extras
        completion = Completion(
            outcome,
            started_at=lease.started_at,
            ended_at=math.nan if now is None else now,
            cost=extras.cost,
            first_byte_at=extras.first_byte_at,
            retry_after=retry_after,
            load_report=extras.load_report,
        )
        if now is not None:
            self._learn_end(node, completion)
        if self.observers:
            self._delivery.deliver("observer %r failed on %r", self.observers, [(node.endpoint, completion)])

    def _learn_end(self, node: Node, completion: Completion) -> None:
        """Report the end of a lease to load, selector and health."""
        outcome = completion.outcome
        if outcome is Outcome.SUCCESS and node.latency is not None:
            node.latency.record(completion.latency)
        self._guard.call("load", node.load.finished, completion, default=None)
        if self._learner is not None:
            self._learn(self._learner, node, completion)
        if node.health_watching or outcome in FAILURES or completion.retry_after:
            self._sink(node, completion)

    def collect(self, emit: Callable[[LeaseLost], None]) -> None:
        """End the leases that were never released, and emit a ``ResourceWarning`` for each. Call it under no lock.

        A program may turn warnings into errors. Such an error is logged and not raised, because the request that collects
        a lost lease is not the one that lost it.
        """
        warnings: list[tuple[str, Lease[object]]] = []
        while self.lost:
            try:
                lease = self.lost.popleft()
            except IndexError:  # another thread has taken the last one
                break
            if not lease.release(Outcome.CANCELLED):
                continue
            site = lease.extras.site
            emit(LeaseLost(endpoint=lease.endpoint.id, at=self._clock(), site=site))
            where = f"acquired at {site}" if site else "make the balancer with debug=True to see where"
            text = f"a lease of endpoint {lease.endpoint.id!r} was never released; {where}"
            warnings.append((text, lease))
        for text, lease in warnings:
            try:
                warn(text, ResourceWarning, stacklevel=2, source=lease)
            except Exception:
                contain_error("%s", text)

    def _learn(self, learner: SupportsFeedback, node: Node, completion: Completion) -> None:
        if not self._serial:
            self._guard.call("selector", learner.learn, node, completion, default=None)
            return
        try:
            with self._locks.serial:
                learner.learn(node, completion)
        except Exception:  # logged after the lock is released: log handlers are user code
            contain_error("selector %r failed", learner)
