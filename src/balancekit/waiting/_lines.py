"""The data structures of the queue: a waiting request, the requests of a tenant, and the order of service."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar, final

from balancekit._support.display import StateRepr
from balancekit._support.functions import refuse_coroutine

__all__ = ["MIN_KEPT", "Ranking", "TenantLine", "Waiter", "ahead_of", "is_let"]

T = TypeVar("T")

MIN_KEPT: Final = 64
"""Idle tenants that are kept without checking whether they still have a lead."""
MAX_AHEAD: Final = 10_000
"""Idle tenants whose lead over the others is kept. If there are more, those with the smallest lead are dropped."""


@final
class Waiter(StateRepr, Generic[T]):
    """One request in a queue. Created by :meth:`WaitingQueue.offer`."""

    __slots__ = ("arrived", "cost", "criticality", "deadline", "queue", "request", "tenant", "waiting")

    def __init__(
        self, request: T, *, arrived: float, deadline: float, criticality: int, tenant: str, cost: float
    ) -> None:
        self.request: T = request
        """The value that was passed to ``offer``."""
        self.arrived: float = arrived
        """The time of ``offer`` in seconds."""
        self.deadline: float = deadline
        """The time at which the caller gives up."""
        self.criticality: int = criticality
        self.tenant: str = tenant
        self.cost: float = cost
        self.waiting: bool = False
        """Whether the request is in the queue."""
        self.queue: object = None
        """The identity of the queue."""


def is_let(may: Callable[[Waiter[T]], bool], waiter: Waiter[T]) -> bool:
    """Return the result of the application's function for a waiter. Raise ``TypeError`` if it is a coroutine."""
    answer = may(waiter)
    refuse_coroutine(answer)
    return answer


def ahead_of(served: Mapping[str, float], virtual: float) -> dict[str, float]:
    """Return the virtual start times of tenants that are later than ``virtual``; at most :data:`MAX_AHEAD`."""
    ahead = {name: at for name, at in served.items() if at > virtual}
    if len(ahead) > MAX_AHEAD:
        latest = sorted(ahead, key=ahead.__getitem__)[-(MAX_AHEAD // 2) :]
        ahead = {name: ahead[name] for name in latest}
    return ahead


@final
class TenantLine(Generic[T]):
    """The waiting requests of one tenant, in the order of arrival. It may hold requests that have left the queue."""

    __slots__ = ("cost", "count", "line", "served")

    def __init__(self, served: float) -> None:
        self.line: deque[Waiter[T]] = deque()
        self.count = 0
        self.cost = 0.0
        self.served = served
        """The virtual start time of the tenant's next request (start-time fair queueing)."""

    def trim(self) -> None:
        """Drop requests that have left from both ends; from the middle too, if most have left."""
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

    This is a class and no generator, because a generator that is dropped before its end swallows a signal.
    """

    __slots__ = ("_first", "_lines", "_others")

    def __init__(self, lines: list[tuple[TenantLine[T], bool]]) -> None:
        self._lines = lines  # in reverse order
        self._first: Waiter[T] | None = None  # the first request of the present tenant, if it was returned
        self._others: list[Waiter[T]] = []  # the other requests of a tenant, in reverse order

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
