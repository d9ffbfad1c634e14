"""Who opens a lease, and who is told when it ends?

The ledger opens leases the general way, and hears from them when they end: it counts the outcome, lets
the load and a learning selector know, and passes on what health should hear. A plain success on a healthy
endpoint takes the short way through :meth:`Ledger.succeeded`: one clock reading, one call into the load.

Built-in loads may hear of several ends at once (a lost update of an average is harmless); loads and
selectors of the user are told one at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias, final
from warnings import warn

from balancekit._support.log import log_error
from balancekit.endpoint import Endpoint
from balancekit.events import LeaseLost
from balancekit.lease import Keeper, Lease
from balancekit.outcome import FAILURES, Completion, Outcome
from balancekit.protocols import Clock, SupportsFeedback
from balancekit.snapshot import Node
from balancekit.stats import RecentWindow

__all__ = ["Ledger", "Observer"]

SAMPLED_WHOLE: Final = 64
"""So many successes of an endpoint go into its latency window one by one, then one in eight: the window
lies apart from all else that a release touches, which costs a tenth of a request at 10 000 endpoints."""


Observer: TypeAlias = Callable[[Endpoint[Any], Completion], None]
"""Told of every lease that ends: where, and how. In the thread that ended it, with no lock held."""


class Hearing(Protocol):
    """Where the ledger passes on what health should hear."""

    def __call__(self, node: Node, completion: Completion, /) -> None:
        """Hear how a request ended on a node."""
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
    hearing
        Told of failures, and of every end on a node that is on alert.
    counting, serial
        Locks: around counters of outcomes, and around code that must not run twice at once.
    """

    __slots__ = (
        "_clock",
        "_counting",
        "_hearing",
        "_learner",
        "_observers",
        "_plain",
        "_serial",
        "_thorough",
        "hears_start",
        "keeper",
        "lost",
        "timed",
    )

    def __init__(
        self,
        clock: Clock,
        *,
        timed: bool,
        learner: SupportsFeedback | None,
        hearing: Hearing,
    ) -> None:
        self.timed = timed
        self.lost: deque[Lease[object]] = deque()
        """Leases that were garbage-collected open. Finalizers append here, :meth:`collect` empties it."""
        self.hears_start = False
        """Whether some load wants to hear of requests that start."""
        self._clock = clock
        self._learner = learner
        self._hearing = hearing
        self._observers: tuple[Observer, ...] = ()
        self._plain = learner is None
        self._thorough = _Thorough(self)
        self.keeper: Keeper = self
        """What undisturbed leases report to."""
        self._counting: AbstractContextManager[object]
        self._serial: AbstractContextManager[object]

    def use_locks(
        self,
        counting: AbstractContextManager[object],
        serial: AbstractContextManager[object],
    ) -> None:
        """Take new locks: at the start, and in a forked child."""
        self._counting = counting
        self._serial = serial

    def adopt(self, node: Node) -> Node:
        """Prepare the node of a new endpoint for its leases."""
        thrifty = hasattr(node.load, "succeeded")
        self._plain = self._plain and thrifty
        self._choose_keeper()
        self.hears_start = self.hears_start or getattr(node.load, "hears_start", True)
        node.reports = self.timed or self._learner is not None or not thrifty or bool(self._observers)
        if self.timed:
            node.latency = RecentWindow()
        node.attend(alert=False)
        return node

    def observe(self, observers: tuple[Observer, ...], nodes: Iterable[Node]) -> None:
        """Tell these of every lease that ends from now on."""
        self._observers = observers
        self._choose_keeper()
        if observers:
            for node in nodes:
                node.reports = True
                node.attend(alert=node.alert)

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who is told of every lease that ends."""
        return self._observers

    def _choose_keeper(self) -> None:
        """A plain success may go the short way only if nobody has to hear of it."""
        self.keeper = self if self._plain and not self._observers else self._thorough

    def open(self, node: Node, *, now: float, cost: float, site: str | None) -> Lease[object]:
        """Open a lease with everything that may belong to one."""
        lease: Lease[object] = Lease()
        if self.timed:
            lease._started_at = now
        lease._keeper = self.keeper
        lease._node = node
        if cost != 1.0:
            lease.details.cost = cost
            lease._keeper = self._thorough
        if site is not None:
            lease.details.site = site
        if self.hears_start:
            with self._serial:
                node.load.started(now=now, cost=cost)
        with node.lock:
            node.inflight += 1
            lease._open = node
        return lease

    def succeeded(self, lease: Lease[object], node: Node) -> None:
        """Hear of a plain success that has been counted."""
        if node.inflight < node.level:
            node.freed(node)
        if node.alert:
            self.finish(lease, node, Outcome.SUCCESS, None)
            return
        if not self.timed:
            return
        now = self._clock()
        latency = now - lease._started_at
        if not node.successes & 7 or node.successes < SAMPLED_WHOLE:
            node.latency.record(latency)  # type: ignore[union-attr]  # timed: adopt() made one
        node.load.succeeded(latency, now)  # type: ignore[attr-defined]  # `_plain` says it is there

    def ended(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Count any other end, and tell whoever should know."""
        with self._counting:
            if outcome is Outcome.SUCCESS:
                node.successes += 1
            else:
                node.outcomes[outcome] = node.outcomes.get(outcome, 0) + 1
        if node.watch or outcome in FAILURES or retry_after:
            self.finish(lease, node, outcome, retry_after)

    def reached(self, lease: Lease[object]) -> None:
        """Note when the answer began."""
        lease.details.first_byte_at = self._clock()
        lease._keeper = self._thorough

    def finish(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Tell load, selector and health how a lease ended."""
        now = self._clock()
        completion = Completion(
            outcome,
            started_at=lease.started_at,
            ended_at=now,
            cost=lease.cost,
            first_byte_at=lease.details.first_byte_at,
            retry_after=retry_after,
        )
        if outcome is Outcome.SUCCESS and node.latency is not None:
            node.latency.record(completion.latency)
        if self._plain:
            node.load.finished(completion)
        else:
            with self._serial:
                node.load.finished(completion)
                if self._learner is not None:
                    self._learner.learn(node, completion)
        if node.alert or outcome in FAILURES or retry_after:
            self._hearing(node, completion)
        for observer in self._observers:
            try:
                observer(node.endpoint, completion)
            except Exception:
                log_error("observer %r failed on %r", observer, completion)

    def collect(self, tell: Callable[[LeaseLost], None]) -> None:
        """End the leases that were never released, and warn of each. To be called without a lock."""
        warnings: list[tuple[str, Lease[object]]] = []
        while self.lost:
            lease = self.lost.popleft()
            if not lease.release(Outcome.CANCELLED):
                continue
            site = lease.details.site
            tell(LeaseLost(endpoint=lease.endpoint.id, at=self._clock(), site=site))
            where = f"acquired at {site}" if site else "make the balancer with debug=True to see where"
            text = f"a lease of endpoint {lease.endpoint.id!r} was never released; {where}"
            warnings.append((text, lease))
        for text, lease in warnings:
            warn(text, ResourceWarning, stacklevel=2, source=lease)


@final
class _Thorough:
    """The keeper of leases with a cost or a first byte: their success is more than plain."""

    __slots__ = ("_ledger", "lost")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.lost = ledger.lost

    def succeeded(self, lease: Lease[object], node: Node) -> None:
        if node.inflight < node.level:
            node.freed(node)
        self._ledger.finish(lease, node, Outcome.SUCCESS, None)

    def ended(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        self._ledger.ended(lease, node, outcome, retry_after)

    def reached(self, lease: Lease[object]) -> None:
        self._ledger.reached(lease)
