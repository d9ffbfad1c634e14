"""A bounded queue of requests that wait for a slot: which is next, and which is refused.

Under overload, waiting is what makes answers late. So the queue is short, and its order changes with the pressure:

- Of what waits, the highest **criticality** is first. When the queue is full, a newcomer takes the place of the newest request
  of the lowest criticality, if that is lower than its own.
- Inside a criticality, **tenants** are served in proportion to nothing but their number: the one that has been served the least
  cost is next (start-time fair queueing). When the queue is full, the newest request of the tenant with the most waiting
  yields to one of a tenant with less.
- A tenant's requests are served **first in, first out** until the oldest has waited for half its patience, then **last in,
  first out**: under pressure the oldest are lost in any case, and the newest can still be answered in time.
- A request whose deadline is nearer than ``min_time`` is **hopeless**, and refused.

Sans-IO, one thread at a time; ``now`` is the caller's. An interrupt at any instruction leaves a queue whose counts are right and
which has, or has not, what was added or taken. Cost: O(tenants that wait) a step, amortised.

Source: bound and adaptive order: Facebook, *Fail at scale* (ACM Queue, 2015), with its controlled delay as an option; fair
queueing: Goyal, Vin, Cheng (1996); criticality: *Site Reliability Engineering*, chapter 21.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, Literal, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError

__all__ = ["Order", "Waiter", "WaitingQueue"]

T = TypeVar("T")

Order = Literal["adaptive", "fifo", "lifo"]
"""How the requests of a tenant follow each other."""
ORDERS: Final = ("adaptive", "fifo", "lifo")
MAX_CRITICALITIES: Final = 1_000
"""Levels of criticality; each takes memory, whether anything waits in it or not."""
MIN_KEPT: Final = 64
"""Tenants with nothing waiting that are kept without a look at whether they are ahead."""
MAX_AHEAD: Final = 10_000
"""Tenants with nothing waiting of which is known how far they are ahead; of more, those that are least ahead are forgotten."""


@final
class Waiter(Generic[T]):
    """One request in a queue. Made by :meth:`WaitingQueue.offer`."""

    __slots__ = ("arrived", "cost", "criticality", "deadline", "request", "tenant", "waiting")

    def __init__(
        self, request: T, *, arrived: float, deadline: float, criticality: int, tenant: str, cost: float
    ) -> None:
        self.request: T = request
        """Whatever the caller wants to have back."""
        self.arrived: float = arrived
        self.deadline: float = deadline
        self.criticality: int = criticality
        self.tenant: str = tenant
        self.cost: float = cost
        self.waiting: bool = False
        """Whether it is in the queue."""


@final
class _Tenant(Generic[T]):
    """What waits of one tenant, in order of arrival; those that have left are skipped."""

    __slots__ = ("cost", "count", "line", "served")

    def __init__(self, served: float) -> None:
        self.line: deque[Waiter[T]] = deque()
        self.count = 0
        self.cost = 0.0
        self.served = served
        """The virtual time at which its next request begins."""

    def trim(self) -> None:
        """Drop what has left from both ends, and from within if most of it has."""
        line = self.line
        while line and not line[0].waiting:
            line.popleft()
        while line and not line[-1].waiting:
            line.pop()
        if len(line) > 2 * self.count + 8:
            self.line = deque([waiter for waiter in line if waiter.waiting])


@final
class _Ranking(Generic[T]):
    """What waits, in the order in which it is to be served. No generator: one that is dropped half way swallows a signal."""

    __slots__ = ("_first", "_lines", "_others")

    def __init__(self, lines: list[tuple[_Tenant[T], bool]]) -> None:
        self._lines = lines  # the next one last
        self._first: Waiter[T] | None = None  # of the last line, if it has been returned
        self._others: list[Waiter[T]] = []  # of the line before, the next one last

    def __iter__(self) -> _Ranking[T]:
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


@final
class WaitingQueue(ConstructorRepr, Generic[T]):
    """Requests that wait for a slot.

    Parameters
    ----------
    max_waiting
        How many may wait, >= 0; as many as there are slots is a good choice. ``None`` for no bound, which collapses under
        overload.
    order
        ``"adaptive"``, ``"fifo"`` or ``"lifo"``.
    criticalities
        How many levels there are, 1 to 1,000; the highest number is the most critical.
    min_time
        Seconds that an answer takes at least, >= 0: what has less left is hopeless.
    controlled_delay
        ``(target, interval)`` in seconds: a request that has waited longer than ``interval`` is refused, or longer than
        ``target`` if the queue has not been empty for ``interval``. ``None`` for none.

    *When not to use it:* a caller can go elsewhere at once; then refuse.

    Example
    -------
    >>> queue = WaitingQueue(max_waiting=2)
    >>> for name in ("first", "second"):
    ...     waiter, refused = queue.offer(name, now=0.0)
    >>> waiter, refused = queue.offer("urgent", now=0.1, criticality=1)
    >>> [one.request for one in refused]
    ['second']
    >>> chosen, hopeless = queue.next(now=0.2)
    >>> chosen.request
    'urgent'
    """

    @checked_arguments
    def __init__(
        self,
        *,
        max_waiting: int | None,
        order: Order = "adaptive",
        criticalities: int = 4,
        min_time: float = 0.0,
        controlled_delay: tuple[float, float] | None = None,
    ) -> None:
        self.max_waiting: float = (
            math.inf if max_waiting is None else valid.integer("max_waiting", max_waiting, minimum=0)
        )
        if order not in ORDERS:
            raise ConfigurationError("order", order, f"one of {', '.join(ORDERS)}")
        self._order = order
        levels = valid.integer("criticalities", criticalities, minimum=1, maximum=MAX_CRITICALITIES)
        self._min_time = valid.number("min_time", min_time, minimum=0.0)
        if controlled_delay is not None:
            if len(controlled_delay) != 2:
                raise ConfigurationError(
                    "controlled_delay", controlled_delay, "(target, interval) in seconds"
                )
            target, interval = controlled_delay
            controlled_delay = (
                valid.number("controlled_delay", target, minimum=0.0),
                valid.number("controlled_delay", interval, minimum=0.0),
            )
        self._delay = controlled_delay
        self._levels: list[dict[str, _Tenant[T]]] = [{} for _ in range(levels)]
        self._virtual = 0.0  # of the request served last
        self._served: dict[str, float] = {}  # of tenants that are ahead of it and have nothing waiting
        self._max_served = MIN_KEPT
        self._count = 0
        self._empty_at = -math.inf

    def __len__(self) -> int:
        """Return how many requests wait."""
        return self._count

    @property
    def criticalities(self) -> int:
        """How many levels there are."""
        return len(self._levels)

    # ------------------------------------------------------------------ coming and going

    def offer(
        self,
        request: T,
        *,
        now: float,
        deadline: float = math.inf,
        criticality: int = 0,
        tenant: str = "",
        cost: float = 1.0,
    ) -> tuple[Waiter[T], list[Waiter[T]]]:
        """Let a request wait.

        Parameters
        ----------
        deadline
            When its caller gives up, on the clock of ``now``; infinite for never.
        criticality
            0 to ``criticalities - 1``.
        tenant
            On whose behalf it is.
        cost
            What it takes of a slot, > 0.

        Returns
        -------
        tuple
            The waiter, and those that are refused because the queue is full: it may be this one.

        Raises
        ------
        ConfigurationError
            For a value that is not allowed; the queue is as it was.
        """
        now = valid.number("now", now)
        if deadline != math.inf:
            deadline = valid.number("deadline", deadline)
        criticality = valid.integer("criticality", criticality, minimum=0, maximum=len(self._levels) - 1)
        valid.text("tenant", tenant, empty=True, any_text=True)
        cost = valid.number("cost", cost, above=0.0)
        waiter = Waiter(
            request, arrived=now, deadline=deadline, criticality=criticality, tenant=tenant, cost=cost
        )
        if not self._count:
            self._empty_at = now
        tenants = self._levels[criticality]
        line = tenants.get(tenant)
        if line is None:
            line = _Tenant(max(self._virtual, self._served.get(tenant, 0.0)))
        # Nothing is called from here to the last count, so no interrupt comes in between.
        line.line += (waiter,)
        waiter.waiting = True
        tenants[tenant] = line
        line.count += 1
        line.cost += cost
        self._count += 1
        self._served.pop(tenant, None)
        refused: list[Waiter[T]] = []
        while self._count > self.max_waiting:
            victim = self._victim()
            self.withdraw(victim)
            refused.append(victim)
        return waiter, refused

    def _victim(self) -> Waiter[T]:
        """Return the newest request of the tenant with the most waiting, in the lowest criticality that waits."""
        tenants = next(tenants for tenants in self._levels if tenants)
        line = max(tenants.values(), key=lambda one: one.cost)
        line.trim()
        return line.line[-1]

    def withdraw(self, waiter: Waiter[T]) -> bool:
        """Take a request out; answer whether it was waiting. O(1) amortised."""
        if not waiter.waiting:
            return False
        waiter.waiting = False
        tenants = self._levels[waiter.criticality]
        line = tenants[waiter.tenant]
        line.count -= 1
        line.cost -= waiter.cost
        self._count -= 1
        if line.count:
            line.trim()
        else:
            del tenants[waiter.tenant]
            if line.served > self._virtual:
                self._remember(waiter.tenant, line.served)
        return True

    def _remember(self, tenant: str, at: float) -> None:
        """Note where a tenant with nothing waiting stands; from time to time, forget those that are not ahead. O(1) amortised."""
        self._served[tenant] = at
        if len(self._served) > self._max_served:
            ahead = {name: at for name, at in self._served.items() if at > self._virtual}
            if len(ahead) > MAX_AHEAD:
                most = sorted(ahead, key=ahead.__getitem__)[-(MAX_AHEAD // 2) :]
                ahead = {name: ahead[name] for name in most}
            self._max_served = 2 * len(ahead) + MIN_KEPT
            self._served = ahead

    # ------------------------------------------------------------------ the next one

    @checked_arguments
    def next(
        self, *, now: float, may: Callable[[Waiter[T]], bool] | None = None
    ) -> tuple[Waiter[T] | None, list[Waiter[T]]]:
        """Take out the request to serve now, and those that are refused because they are hopeless.

        Parameters
        ----------
        may
            Answers whether a request could use the free slot; others are passed over and keep their place.

        Returns
        -------
        tuple
            The request, or ``None``; and the refused ones.
        """
        refused: list[Waiter[T]] = []
        for waiter in self.ranking(now=now):
            if self.hopeless(waiter, now=now):
                self.withdraw(waiter)
                refused.append(waiter)
            elif may is None or may(waiter):
                self.take(waiter)
                return waiter, refused
        return None, refused

    def take(self, waiter: Waiter[T]) -> bool:
        """Take out a request because it is served now; answer whether it was waiting. Its tenant is charged."""
        if not waiter.waiting:
            return False
        line = self._levels[waiter.criticality][waiter.tenant]
        self._virtual = max(self._virtual, line.served)
        line.served = max(line.served, self._virtual) + waiter.cost
        self.withdraw(waiter)
        return True

    def served(self, tenant: str, cost: float = 1.0) -> None:
        """Count a request that did not have to wait, so that its tenant yields to others later.

        Raises
        ------
        ConfigurationError
            For a tenant that is no string, and a cost that is no finite number > 0.
        """
        if tenant.__class__ is not str:
            valid.text("tenant", tenant, empty=True, any_text=True)
        if cost.__class__ is not float or not 0.0 < cost < math.inf:
            cost = valid.number("cost", cost, above=0.0)
        if self._count or tenant in self._served:
            self._remember(tenant, max(self._virtual, self._served.get(tenant, 0.0)) + cost)

    def ranking(self, *, now: float) -> Iterator[Waiter[T]]:
        """Yield what waits, in the order in which it is to be served; :meth:`next` takes the first.

        Meanwhile others may come, which need not be yielded, and leave, which are not. O(tenants that wait) to begin with,
        O(1) for the first of a tenant, O(requests of a tenant) for the others.
        """
        lines: list[tuple[_Tenant[T], bool]] = []
        for tenants in self._levels:
            ranked = sorted(tenants.values(), key=_served)  # equal ones by the arrival of their first request
            lines += [(line, self._newest_first(line, now)) for line in ranked[::-1]]
        return _Ranking(lines)

    def _newest_first(self, line: _Tenant[T], now: float) -> bool:
        if self._order != "adaptive":
            return self._order == "lifo"
        line.trim()
        oldest = line.line[0]
        return now - oldest.arrived >= 0.5 * (oldest.deadline - oldest.arrived)

    def hopeless(self, waiter: Waiter[T], *, now: float) -> bool:
        """Return whether a request is to be refused because its deadline is too near, or because of controlled delay."""
        if now + self._min_time > waiter.deadline:
            return True
        if self._delay is None:
            return False
        target, interval = self._delay
        return now - waiter.arrived > (target if now - self._empty_at > interval else interval)


def _served(line: _Tenant[T]) -> float:
    return line.served
