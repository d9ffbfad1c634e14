"""A bounded queue of requests that wait for a slot: the order of service, and the refusals.

Under overload, requests that wait get their answers too late. So the queue is bounded, and its order depends on the
waiting times:

- The highest **criticality** is served first. When the queue is full, a new request replaces the newest request of the lowest
  criticality, if that is lower than its own.
- Inside a criticality, **tenants** get equal shares: the tenant with the least served cost is next (start-time fair queueing).
  When the queue is full, another tenant's request replaces the newest request of the tenant with the largest waiting cost.
- A tenant's requests are served **first in, first out** until the oldest has waited for half the time to its deadline, then
  **last in, first out**. Under overload the oldest requests are too late in any case; the newest can be answered in time.
- A request with less time than ``min_time`` to its deadline is **hopeless**, and refused.

The queue reads no clock and is not thread-safe. An interrupt at any instruction leaves correct counts: a request was added
or removed completely, or not at all. The caller of an interrupted call may not receive its result.

Cost: O(waiting tenants) per step, amortised.

Source: bound and adaptive order: Facebook, *Fail at scale* (ACM Queue, 2015), with its controlled delay as an option;
fair queueing: Goyal, Vin, Cheng (1996); criticality: *Site Reliability Engineering*, chapter 21.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final, Generic, Literal, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.errors import ConfigurationError
from balancekit.waiting._lines import MIN_KEPT, Ranking, TenantLine, Waiter, ahead_of, is_let

__all__ = ["Order", "WaitingQueue"]

T = TypeVar("T")

Order = Literal["adaptive", "fifo", "lifo"]
"""The order of a tenant's requests."""
ORDERS: Final = ("adaptive", "fifo", "lifo")
MAX_CRITICALITIES: Final = 1_000
"""The largest number of levels of criticality. Each takes memory, even without waiting requests."""


@final
class WaitingQueue(ConstructorRepr, Generic[T]):
    """A bounded queue of requests that wait for a slot.

    Parameters
    ----------
    max_waiting
        The largest number of waiting requests, >= 0. The number of slots is a good choice. ``None`` sets no bound; under
        overload, all requests then wait too long.
    order
        ``"adaptive"``, ``"fifo"`` or ``"lifo"``.
    criticalities
        The number of levels, 1 to 1,000. The highest level is the most critical.
    min_time
        The shortest time in seconds, >= 0, in which a request can be answered. A request with less time left is hopeless.
    controlled_delay
        ``(target, interval)`` in seconds: a request that has waited longer than ``target`` is refused if the queue has
        not been empty for longer than ``interval``. ``None`` turns this off.

    Raises
    ------
    ConfigurationError
        If a number is outside its bounds, ``order`` is another word, or ``controlled_delay`` is no pair of times >= 0.

    *When not to use it:* if callers can use another backend at once. Then refuse their requests.

    Example
    -------
    >>> from balancekit.waiting import WaitingQueue
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
        self._max_waiting: float = (
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
        self._levels: list[dict[str, TenantLine[T]]] = [{} for _ in range(levels)]
        self._virtual = 0.0  # virtual start time of the request that was served last
        self._served: dict[str, float] = {}  # virtual start times of idle tenants that are later than that
        self._max_served = MIN_KEPT
        self._count = 0
        self._empty_at = -math.inf
        self._unreported: list[Waiter[T]] = []  # requests refused by a call of next() that was interrupted
        self._identity = object()

    def __len__(self) -> int:
        """Return the number of waiting requests."""
        return self._count

    @property
    def max_waiting(self) -> float:
        """The largest number of waiting requests; infinity without a bound."""
        return self._max_waiting

    @property
    def criticalities(self) -> int:
        """The number of levels."""
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
        """Add a request.

        Parameters
        ----------
        deadline
            The time at which the caller gives up, on the clock of ``now``; infinity for never.
        criticality
            0 to ``criticalities - 1``.
        tenant
            The tenant of the request.
        cost
            The cost of the request, > 0 and <= 1e12, charged to its tenant.

        Returns
        -------
        tuple
            The waiter, and the requests that are refused because the queue is full. The new one may be among them.

        Raises
        ------
        ConfigurationError
            If ``now`` or ``cost`` is no finite number, ``cost`` is not > 0 or above 1e12, ``deadline`` is NaN,
            ``criticality`` is no level, or ``tenant`` is no string. The queue is then unchanged.
        """
        now = valid.number("now", now)
        if deadline.__class__ is not float or deadline != math.inf:
            deadline = valid.number("deadline", deadline, infinite=True)
        criticality = valid.integer("criticality", criticality, minimum=0, maximum=len(self._levels) - 1)
        tenant = valid.text("tenant", tenant, empty=True, any_text=True)
        cost = valid.number("cost", cost, above=0.0, maximum=valid.MAX_COST)
        waiter = Waiter(
            request, arrived=now, deadline=deadline, criticality=criticality, tenant=tenant, cost=cost
        )
        waiter.queue = self._identity
        if not self._count:
            self._empty_at = now
        line = self._levels[criticality].get(tenant)
        if line is None:
            line = TenantLine(max(self._virtual, self._served.get(tenant, 0.0)))
        if self._count < self._max_waiting:
            self._exchange(waiter, line)
            return waiter, []
        victim, served = self._victim(waiter, line)
        if victim is not waiter:
            self._exchange(waiter, line, victim, self._virtual, served)
        return waiter, [victim]

    def _victim(self, newcomer: Waiter[T], own: TenantLine[T]) -> tuple[Waiter[T], float]:
        """Return the request to refuse when the queue is full, and the virtual start time of its tenant.

        It is the newest request of the tenant with the largest waiting cost in the lowest criticality. The new request is
        treated like the waiting ones, and may be the result.
        """
        level = 0
        while not self._levels[level] and level != newcomer.criticality:
            level += 1
        lines = [*self._levels[level].values()]
        if level == newcomer.criticality and not own.count:
            lines.append(own)
        longest = max(lines, key=lambda one: one.cost + newcomer.cost if one is own else one.cost)
        if longest is own:
            return newcomer, own.served
        longest.trim()
        self._forget_served()
        return longest.line[-1], longest.served

    def _exchange(
        self,
        came: Waiter[T] | None,
        line: TenantLine[T] | None,
        gone: Waiter[T] | None = None,
        virtual: float = 0.0,
        served: float = 0.0,
    ) -> None:
        """Add a request, remove one, or both, without calls, so that an interrupt occurs before or after all changes."""
        if came is not None and line is not None:
            line.line += (came,)
            self._levels[came.criticality][came.tenant] = line
            came.waiting = True
            line.count += 1
            line.cost += came.cost
            self._count += 1
            if came.tenant in self._served:
                del self._served[came.tenant]
        if gone is not None:
            level = self._levels[gone.criticality]
            left = level[gone.tenant]
            gone.waiting = False
            left.count -= 1
            left.cost -= gone.cost
            self._count -= 1
            self._virtual = virtual
            left.served = served
            if not left.count:
                del level[gone.tenant]
                if served > virtual:
                    self._served[gone.tenant] = served

    def withdraw(self, waiter: Waiter[T]) -> bool:
        """Remove a request. Return whether it was waiting. O(1) amortised.

        Raises
        ------
        ConfigurationError
            If ``waiter`` was not returned by ``offer`` of this queue.
        """
        line = self._line_of(waiter)
        if line is None:
            return False
        self._exchange(None, None, waiter, self._virtual, line.served)
        return True

    def _line_of(self, waiter: Waiter[T]) -> TenantLine[T] | None:
        """Return the line that holds a request; ``None`` if the request does not wait."""
        if not isinstance(waiter, Waiter) or waiter.queue is not self._identity:
            raise ConfigurationError("waiter", waiter, "a Waiter that offer() of this queue has returned")
        if not waiter.waiting:
            return None
        line = self._levels[waiter.criticality][waiter.tenant]
        line.trim()
        self._forget_served()
        return line

    def _forget_served(self) -> None:
        """Drop the idle tenants without a lead, if many are kept. O(1) amortised."""
        if len(self._served) > self._max_served:
            ahead = ahead_of(self._served, self._virtual)
            self._max_served = 2 * len(ahead) + MIN_KEPT
            self._served = ahead

    # ------------------------------------------------------------------ the next one

    def next(
        self, *, now: float, may: Callable[[Waiter[T]], bool] | None = None
    ) -> tuple[Waiter[T] | None, list[Waiter[T]]]:
        """Remove and return the request to serve now. Remove the hopeless requests before it too.

        Parameters
        ----------
        may
            Returns whether a request can use the free slot. Other requests are skipped and keep their place.

        Returns
        -------
        tuple
            The request, or ``None``; and the refused requests, including those of an earlier call that has raised an
            error.

        Raises
        ------
        ConfigurationError
            If ``now`` is no finite number, or ``may`` is no plain callable.
        TypeError
            If ``may`` returns a coroutine.
        """
        if may is not None:
            plain_function("may", may, "a callable that takes a Waiter")
        self._unreported = [waiter for waiter in self._unreported if not waiter.waiting]
        chosen: Waiter[T] | None = None
        for waiter in self.ranking(now=now):
            if self.hopeless(waiter, now=now):
                self._unreported += (waiter,)
                self.withdraw(waiter)
            elif may is None or is_let(may, waiter):
                chosen = waiter
                break
        if chosen is not None:
            self.take(chosen)
        # There are no calls from here on, so an interrupt cannot lose the result.
        refused, self._unreported = self._unreported, []
        return chosen, refused

    def take(self, waiter: Waiter[T]) -> bool:
        """Remove a request that is served now, and charge its cost to its tenant. Return whether it was waiting.

        Raises
        ------
        ConfigurationError
            If ``waiter`` was not returned by ``offer`` of this queue.
        """
        line = self._line_of(waiter)
        if line is None:
            return False
        virtual = max(self._virtual, line.served)
        self._exchange(None, None, waiter, virtual, virtual + waiter.cost)
        return True

    def served(self, tenant: str, cost: float = 1.0) -> None:
        """Charge a request that did not wait to its tenant, so that other tenants are served before it later.

        Raises
        ------
        ConfigurationError
            If ``tenant`` is no string, or ``cost`` is no number > 0 and <= 1e12.
        """
        if tenant.__class__ is not str:
            tenant = valid.text("tenant", tenant, empty=True, any_text=True)
        if cost.__class__ is not float or not 0.0 < cost <= valid.MAX_COST:
            cost = valid.number("cost", cost, above=0.0, maximum=valid.MAX_COST)
        if self._count or tenant in self._served:
            self._served[tenant] = max(self._virtual, self._served.get(tenant, 0.0)) + cost
            self._forget_served()

    def ranking(self, *, now: float) -> Iterator[Waiter[T]]:
        """Yield the waiting requests in the order of service.

        The queue may change during the iteration: requests that are removed are not yielded, and those that are added
        may or may not be. Cost: O(waiting tenants) at the start, O(1) for the first request of a tenant, and O(requests
        of the tenant) for its others.

        Raises
        ------
        ConfigurationError
            If ``now`` is no finite number.
        """
        if now.__class__ is not float or not math.isfinite(now):
            now = valid.number("now", now)
        lines: list[tuple[TenantLine[T], bool]] = []
        for tenants in self._levels:
            # The sort is stable: equal tenants are in the order of arrival of their first request.
            ranked = sorted(tenants.values(), key=attrgetter("served"))
            lines += [(line, self._newest_first(line, now)) for line in ranked[::-1]]
        return Ranking(lines)

    def _newest_first(self, line: TenantLine[T], now: float) -> bool:
        if self._order != "adaptive":
            return self._order == "lifo"
        line.trim()
        oldest = line.line[0]
        return now - oldest.arrived >= 0.5 * (oldest.deadline - oldest.arrived)

    def hopeless(self, waiter: Waiter[T], *, now: float) -> bool:
        """Return whether a request must be refused: too little time is left, or ``controlled_delay`` requires it.

        Raises
        ------
        ConfigurationError
            If ``waiter`` is no :class:`Waiter`, or ``now`` is no finite number.
        """
        if not isinstance(waiter, Waiter):
            raise ConfigurationError("waiter", waiter, "a Waiter that offer() has returned")
        if now.__class__ is not float or not math.isfinite(now):
            now = valid.number("now", now)
        if now + self._min_time > waiter.deadline:
            return True
        if self._delay is None:
            return False
        target, interval = self._delay
        return now - waiter.arrived > target and now - self._empty_at > interval
