"""The owners of leases whose success is no plain one: it has a first byte, a cost, a load report or an observer.

A lease calls its owner when it ends. The owner of a plain lease is the ledger itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, final

from balancekit._support.log import contain_error
from balancekit.lease import Lease, LeaseOwner
from balancekit.node import LOAD_CALLBACK, Node
from balancekit.outcome import Outcome
from balancekit.protocols import Clock

__all__ = ["FirstByteOwner", "SlowPathOwner"]


class Books(LeaseOwner, Protocol):
    """What these owners need of the ledger."""

    timed: bool

    @property
    def observers(self) -> tuple[Any, ...]:
        """The observers of leases that end."""
        ...

    def finish(self, lease: Lease[object], node: Node, outcome: Outcome, retry_after: float | None) -> None:
        """Report the end of a lease to load, selector, health and observers."""


class SlowPathOwner:
    """The owner of leases whose success takes the slow path: with a cost, a load report or an observer."""

    __slots__ = ("_ledger", "lost")

    def __init__(self, ledger: Books) -> None:
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
        """Record the time at which the answer began."""
        self._ledger.reached(lease)

    def reported(self, lease: Lease[object]) -> None:
        """Do nothing: a lease of this owner takes the slow path already."""

    def counted(self, lease: Lease[object], tokens: int) -> None:
        """Record the number of tokens of the answer."""
        self._ledger.counted(lease, tokens)


@final
class FirstByteOwner(SlowPathOwner):
    """The owner of leases that are plain but for a first byte, if all loads are of this library.

    To such a load, the first byte is the end of the latency and nothing else, so that it needs no completion.
    """

    __slots__ = ("_clock",)

    def __init__(self, ledger: Books, clock: Clock) -> None:
        super().__init__(ledger)
        self._clock = clock

    def succeeded(self, lease: Lease[object], node: Node) -> None:
        """Record a success that has been counted."""
        if node.callbacks != LOAD_CALLBACK or self._ledger.observers or not self._ledger.timed:
            super().succeeded(lease, node)
            return
        try:
            now = self._clock()
            latency = lease._extras.first_byte_at - lease._started_at  # type: ignore[operator]  # reached() has set it
            node.latency.record(latency)  # type: ignore[union-attr]  # timed: adopt() made one
            node.load.succeeded(latency, now)  # type: ignore[attr-defined]  # the ledger was the owner: the load has it
        except Exception:
            contain_error("load of %r failed to record a success", node.id)

    def reported(self, lease: Lease[object]) -> None:
        """Make the end of this lease take the slow path."""
        self._ledger.reported(lease)
