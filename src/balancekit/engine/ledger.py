"""The open and ended leases of one balancer.

The ledger opens leases on the slow path and is called when leases end: it counts the outcome, calls the load and a
selector that learns, and passes on what health must know. A plain success on a healthy endpoint takes the short way
through :meth:`Ledger.succeeded`: one clock reading, one call into the load.

Loads are called by the thread that ends the request, several at once, under no lock. A selector of the user that is not
``thread_safe`` learns under its own lock. Whatever one of them raises is logged; the request has its answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias, final
from warnings import warn

from balancekit._support.log import contain_error
from balancekit.endpoint import Endpoint
from balancekit.engine.capabilities import supports
from balancekit.engine.delivery import Delivery, Entry
from balancekit.engine.fast_path import open_cost_lease, open_lease
from balancekit.engine.guard import Guard
from balancekit.engine.hooks import load_answering, needs_start
from balancekit.engine.locks import EngineLocks
from balancekit.engine.requirements import require_load
from balancekit.events import LeaseLost
from balancekit.lease import Lease, LeaseOwner
from balancekit.node import LOAD_CALLBACK, AnswerFigures, Node
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.protocols import Clock, SupportsFastSuccess, SupportsFeedback
from balancekit.snapshot import DEFAULT_COST
from balancekit.stats import RecentWindow

__all__ = ["CompletionSink", "Ledger", "Observer", "StartObserver"]

FULLY_SAMPLED_SUCCESSES: Final = 64
"""So many successes of an endpoint go into its latency window one by one, then one in eight: the window
lies apart from all else that a release touches, which costs a tenth of a request at 10 000 endpoints."""

Observer: TypeAlias = Callable[[Endpoint[Any], Completion], None]
"""Called with every lease that ends: where, and how. In the thread that ended it, with no lock held."""
StartObserver: TypeAlias = Callable[[Endpoint[Any]], None]
"""Called with every lease that begins: where. In the thread that opened it, with no lock held."""


class CompletionSink(Protocol):
    """Where the ledger passes on what health must know."""

    def __call__(self, node: Node, completion: Completion, /) -> None:
        """Record how a request ended on a node."""
        ...


@final
class Ledger:
    """The open and ended leases of one balancer.

    Parameters
    ----------
    clock
        Seconds, monotonic.
    timed
        Whether latencies are wanted.
    learner
        The selector, if it learns from how requests end.
    successes
        Whether it learns from plain successes too.
    serial
        Whether it learns one completion at a time.
    locks, guard, delivery
        Of the balancer.
    """

    __slots__ = (
        "_clock",
        "_delivery",
        "_guard",
        "_learner",
        "_locks",
        "_plain",
        "_serial",
        "_sink",
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
        """Leases that were garbage-collected open. Finalizers append here, :meth:`collect` empties it."""
        self.needs_start: bool = False
        """Whether some load wants to know of requests that start."""
        self.observers: tuple[Entry[Observer], ...] = ()
        """Called with every lease that ends."""
        self.start_observers: tuple[Entry[StartObserver], ...] = ()
        """The same for leases that begin."""
        self._clock = clock
        self._learner = learner
        self._serial = serial
        self._locks = locks
        self._guard = guard
        self._delivery = delivery
        self._sink = sink
        self._plain = learner is None or not successes

    @property
    def lean(self) -> bool:
        """Whether a lease may be opened without a call of anything that must know of it."""
        return not self.needs_start and not self.start_observers

    @property
    def observed(self) -> bool:
        """Whether every start is reported."""
        return bool(self.start_observers)

    @property
    def owner(self) -> LeaseOwner:
        """What ordinary leases report to: a plain success may go the short way only if nothing else must know of it."""
        return self if self._plain and not self.observers else SlowPathOwner(self)

    def adopt(self, node: Node) -> Node:
        """Prepare the node of a new endpoint for its leases."""
        load = node.load
        require_load(load)
        fast = supports(load, SupportsFastSuccess)
        self._plain = self._plain and fast
        self.needs_start = self.needs_start or needs_start(load)
        node.needs_completion = self.timed or self._learner is not None or not fast or bool(self.observers)
        if self.timed:
            node.latency = RecentWindow()
        node.set_watch(health_watching=False)
        return node

    def watch(self, nodes: Iterable[Node]) -> None:
        """Have nodes report every end if there are observers."""
        if self.observers:
            for node in nodes:
                node.needs_completion = True
                node.set_watch(health_watching=node.health_watching)

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease with everything that may belong to one."""
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
            lease = open_cost_lease(node, SlowPathOwner(self), started_at, cost)
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
        if not self.timed:
            return
        try:
            now = self._clock()
            latency = now - lease._started_at
            if not node.successes & 7 or node.successes < FULLY_SAMPLED_SUCCESSES:
                node.latency.record(latency)  # type: ignore[union-attr]  # timed: adopt() made one
            node.load.succeeded(latency, now)  # type: ignore[attr-defined]  # `_plain` says it is there
        except Exception:
            contain_error("load of %r failed to record a success", node.id)

    def ended(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Count any other end, and pass it on to whatever must know."""
        with self._locks.writer:
            if outcome is Outcome.SUCCESS:
                node.successes += 1
            else:
                node.outcomes[outcome] = node.outcomes.get(outcome, 0) + 1
        if node.callbacks or outcome in FAILURES or retry_after:
            self.finish(lease, node, outcome, retry_after)

    def reached(self, lease: Lease[object]) -> None:
        """Note when the answer began."""
        now = self._read_clock()
        if now is None:
            return
        lease.extras.first_byte_at = now
        waited = now - lease.started_at
        if waited >= 0.0:  # not NaN
            self._answers(lease.node).first_byte.record(waited)
        lease._owner = SlowPathOwner(self)
        if lease.active:
            load_answering(lease.node.load, self._guard, now=now, cost=lease.cost)

    def reported(self, lease: Lease[object]) -> None:
        """Let the end of this lease take the slow path: its answer carries a load report."""
        lease._owner = SlowPathOwner(self)

    def counted(self, lease: Lease[object], tokens: int) -> None:
        """Note how many tokens an answer had, and how fast they came if it has just ended."""
        answers, begun = self._answers(lease.node), lease.extras.first_byte_at
        with self._locks.writer:
            answers.tokens += tokens
        if lease.active and begun is not None and tokens > 1:
            now = self._read_clock()
            if now is not None and now > begun:
                speed = (tokens - 1) / (now - begun)
                if speed < math.inf:  # not of a clock in the smallest steps that there are
                    answers.speed.record(speed)

    def _read_clock(self) -> float | None:
        """Return the time; ``None`` if the clock raises, for a request that goes on has no use for its error."""
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
        """Notify load, selector and health how a lease ended."""
        now = self._read_clock()
        if now is None:
            return
        completion = Completion(
            outcome,
            started_at=lease.started_at,
            ended_at=now,
            cost=lease.cost,
            first_byte_at=lease.extras.first_byte_at,
            retry_after=retry_after,
            load_report=lease.extras.load_report,
        )
        if outcome is Outcome.SUCCESS and node.latency is not None:
            node.latency.record(completion.latency)
        self._guard.call("load", node.load.finished, completion, default=None)
        if self._learner is not None:
            self._learn(self._learner, node, completion)
        if node.health_watching or outcome in FAILURES or retry_after:
            self._sink(node, completion)
        self._delivery.deliver("observer %r failed on %r", self.observers, [(node.endpoint, completion)])

    def collect(self, emit: Callable[[LeaseLost], None]) -> None:
        """End the leases that were never released, and warn of each. To be called without a lock.

        A program may turn warnings into errors: those are logged, for the request that finds a lost lease did not lose it.
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
        except Exception:  # outside the lock, for handlers of the log are the application's
            contain_error("selector %r failed", learner)


@final
class SlowPathOwner:
    """The owner of leases whose success is more than plain: with a cost, a first byte or an observer."""

    __slots__ = ("_ledger", "lost")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.lost: deque[Lease[object]] = ledger.lost

    def succeeded(self, lease: Lease[object], node: Node) -> None:
        """Record a success that has been counted."""
        if node.inflight < node.low_water:
            node.on_low_water(node)
        self._ledger.finish(lease, node, Outcome.SUCCESS, None)

    def ended(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Count any other end."""
        self._ledger.ended(lease, node, outcome, retry_after)

    def reached(self, lease: Lease[object]) -> None:
        """Note when the answer began."""
        self._ledger.reached(lease)

    def reported(self, lease: Lease[object]) -> None:
        """Note that the answer carries a load report: its lease takes the slow path already."""

    def counted(self, lease: Lease[object], tokens: int) -> None:
        """Note how many tokens the answer had."""
        self._ledger.counted(lease, tokens)
