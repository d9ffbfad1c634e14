"""Waiting requests: a single one, those of a tenant, and all in the order of service."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar, final

from balancekit._support.display import StateRepr
from balancekit._support.functions import refuse_coroutine

__all__ = ["Ranking", "TenantLine", "Waiter", "is_let"]

T = TypeVar("T")


@final
class Waiter(StateRepr, Generic[T]):
    """One request in a queue; created by :meth:`WaitingQueue.offer`."""

    __slots__ = ("arrived", "cost", "criticality", "deadline", "queue", "request", "tenant", "waiting")

    def __init__(
        self, request: T, *, arrived: float, deadline: float, criticality: int, tenant: str, cost: float
    ) -> None:
        self.request: T = request
        """The caller's own value."""
        self.arrived: float = arrived
        self.deadline: float = deadline
        self.criticality: int = criticality
        self.tenant: str = tenant
        self.cost: float = cost
        self.waiting: bool = False
        """Whether it is in the queue."""
        self.queue: object = None
        """The identity of its queue."""


def is_let(may: Callable[[Waiter[T]], bool], waiter: Waiter[T]) -> bool:
    """Return the result of the application's function for a waiter; refuse a coroutine, which is always true."""
    answer = may(waiter)
    refuse_coroutine(answer)
    return answer


@final
class TenantLine(Generic[T]):
    """The waiting requests of one tenant, in order of arrival; those that have left are skipped."""

    __slots__ = ("cost", "count", "line", "served")

    def __init__(self, served: float) -> None:
        self.line: deque[Waiter[T]] = deque()
        self.count = 0
        self.cost = 0.0
        self.served = served
        """The virtual start time of its next request."""

    def trim(self) -> None:
        """Drop departed requests from both ends, and from the middle if most have left."""
        line = self.line
        while line and not line[0].waiting:
            line.popleft()
        while line and not line[-1].waiting:
            line.pop()
        if len(line) > 2 * self.count + 8:
            self.line = deque([waiter for waiter in line if waiter.waiting])


@final
class Ranking(Generic[T]):
    """All waiting requests, in the order of service.

    This is not a generator, because a generator that is dropped half way swallows a signal.
    """

    __slots__ = ("_first", "_lines", "_others")

    def __init__(self, lines: list[tuple[TenantLine[T], bool]]) -> None:
        self._lines = lines  # the next one last
        self._first: Waiter[T] | None = None  # of the last line, if it has been returned
        self._others: list[Waiter[T]] = []  # of the line before, the next one last

    def __iter__(self) -> Ranking[T]:
        return self

    def __next__(self) -> Waiter[T]:
        while self._others or self._lines:
            if self._others:
                waiter = self._others.pop()
                if waiter.waiting:
                    return waiter
                continue
            line, newest_first = self._lines[-1]
            line.trim()
            first, self._first = self._first, None
            if first is not None and first.waiting:
                self._lines.pop()
                others = list(line.line if newest_first else reversed(line.line))
                self._others = [other for other in others if other is not first]
            elif line.line:
                self._first = line.line[-1 if newest_first else 0]
                return self._first
            else:
                self._lines.pop()
        raise StopIteration
