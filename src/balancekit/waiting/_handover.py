"""The handover of free slots to waiting requests, the same for threads and tasks.

.. code-block:: text

    enter     a request joins the queue ─────────────┐
    release   a lease ends, or the pool changes ─────┼─► notify: a slot may be free
    poll      time may have freed a slot, or the ────┘     │
              retry time of the last refusal has come      │
                                                           ▼
    look      one thread at a time: acquire a lease for the first request, then for the next, and so on;
              end when the balancer refuses
    leave     a request leaves with its answer; if it does not want its lease, the lease is released, which notifies

*No lost wake-up.* After each notice there is a look that the balancer has refused. A notice is one assignment, made
before the check whether a look is in progress. A thread compares the notices after its look has ended. So, while no
look is in progress, no request waits that could have a slot. A request that enters needs no look if the last look was
refused for a request of the same or a smaller cost that still waits. A slot that becomes free later leads to a look.

*No lost slot.* The thread that looks owns a lease until it has found, under the lock, that a request still waits. From
then on the lease is the ``answer`` of the request, and the request's own thread or task takes or releases it. A second
take or release does nothing.

*Order.* The order is that of the queue. A request that is refused for a reason of its own, such as an exclusion, is
skipped and keeps its place. A request that is refused because no slot is free is not skipped. So a request of large
cost waits until enough is free, and requests of small cost wait behind it.

*Locks.* The room's lock is held only while the queue changes. The balancer, and so user code, is called without it.

Cost: one refused ``acquire`` per look, one successful ``acquire`` per slot, and one for each skipped request.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, Final, Generic, TypeVar, final

from balancekit._support.fork import call_in_child, new_lock, this_thread
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.weak import observe_weakly
from balancekit._support.whole import begin_all
from balancekit.errors import AttemptsExhaustedError, Reason, SaturatedError, UnavailableError
from balancekit.lease import Lease
from balancekit.outcome import Outcome
from balancekit.protocols import ObservableBalancer
from balancekit.waiting._lines import Waiter
from balancekit.waiting._queue import WaitingQueue

__all__ = ["Handover", "Request", "RoomClosedError", "WaitingTimeoutError"]

T = TypeVar("T")

POLL_S: Final = 0.25
"""Seconds after a look until the next poll for slots that time has freed, unless the refusal gave an earlier retry time."""
MIN_POLL_S: Final = 0.005
"""The shortest time in seconds between two polls."""
TIMED_POLL_S: Final = 0.02
"""Seconds between two checks of a waiting request whether a poll is due, if refusals give retry times below ``POLL_S``."""
MAX_POLLS_PER_S: Final = 500
"""Checks per second of all waiting requests together, whether a poll is due."""
NO_THREAD: Final = 0


class WaitingTimeoutError(SaturatedError):
    """No slot became free before the deadline of a waiting request, or too little time is left for an answer."""


class RoomClosedError(SaturatedError):
    """The waiting room is closed, so requests cannot wait in it."""


class Request(ABC, Generic[T]):
    """A request in a room: its ``acquire`` function, and its answer.

    Parameters
    ----------
    acquire
        Acquires a lease for the request.
    alike
        Whether the request has no key, no exclusions and no attributes.
    excluding
        Whether the request excludes endpoints.
    """

    __slots__ = ("acquire", "alike", "answer", "excluding", "gone", "waiter")

    def __init__(self, acquire: Callable[[], Lease[T]], *, alike: bool, excluding: bool) -> None:
        self.acquire = acquire
        self.alike = alike
        self.excluding = excluding
        self.answer: Lease[T] | Exception | None = None
        self.gone: bool = False
        """Whether the request was withdrawn. It is read and set under the room's lock."""
        self.waiter: Waiter[Request[T]] | None = None

    @abstractmethod
    def wake(self) -> bool:
        """Wake the request's thread or task. Return whether it still exists. Called under no lock."""

    @property
    def waits(self) -> bool:
        """Whether the request waits for an answer."""
        return self.answer is None and self.waiter is not None and self.waiter.waiting

    def own_refusal(self, error: UnavailableError) -> bool:
        """Return whether a refusal has a reason that does not apply to other requests."""
        return self.excluding or Reason.UNMATCHED in error.reasons or not (error.reasons or self.alike)


@final
class Handover(Generic[T]):
    """The queue of a room, and the handover of slots to it.

    Parameters
    ----------
    balancer
        The balancer that provides the slots.
    queue
        The queue; it belongs to this handover alone.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_due",
        "_lock",
        "_looked",
        "_looker",
        "_notice",
        "_noticed_inside",
        "_refused_cost",
        "_retry_in",
        "_timed",
        "_undo",
        "queue",
    )

    def __init__(self, balancer: ObservableBalancer[T], queue: WaitingQueue[Any]) -> None:
        self.queue: WaitingQueue[Request[T]] = queue
        self._lock = new_lock()  # reentrant for finalizers, which may release a lease at any point
        self._closed = False
        self._notice = self._looked = object()
        self._noticed_inside = False
        self._due = monotonic() + POLL_S
        """The time of the next poll."""
        self._retry_in = POLL_S
        self._timed = False
        """Whether a refusal gave a retry time below ``POLL_S``. Later refusals may then give even earlier ones."""
        self._looker = NO_THREAD
        self._refused_cost = math.inf
        """The cost of the request whose refusal ended the last look; infinite while a look is in progress."""
        call_in_child(self)
        self._undo = begin_all(
            lambda: observe_weakly(balancer.on_completion, self.notify),
            lambda: observe_weakly(balancer.on_event, self.notify),
        )

    # ------------------------------------------------------------------ requests

    def try_now(self, request: Request[T], tenant: str, cost: float) -> Lease[T] | None:
        """Return a lease if no request waits and a slot is free.

        Raises
        ------
        UnavailableError
            If the request cannot wait: it excludes all endpoints, the queue allows no waiting, or the room is closed.
        """
        if self._closed:
            raise RoomClosedError("the waiting room is closed")
        if len(self.queue):
            return None
        try:
            request.answer = lease = request.acquire()
        except AttemptsExhaustedError:
            raise
        except UnavailableError:
            if self.queue.max_waiting:
                return None
            raise
        with self._lock:
            self.queue.served(tenant, cost)
        return lease

    def enter(
        self, request: Request[T], *, deadline: float, criticality: int, tenant: str, cost: float
    ) -> None:
        """Enqueue a request, or refuse it or another one by the rules of the queue.

        Raises
        ------
        RoomClosedError
            If the room is closed.
        """
        with self._lock:
            if self._closed:
                raise RoomClosedError("the waiting room is closed")
            waiting, now, full = len(self.queue), monotonic(), None
            if waiting >= self.queue.max_waiting:
                full = SaturatedError(f"{waiting} requests wait already")
            request.waiter, refused = self.queue.offer(
                request, now=now, deadline=deadline, criticality=criticality, tenant=tenant, cost=cost
            )
            for one in refused:  # without calls, so that an interrupt leaves no request without an answer
                one.request.answer = full
            known = cost >= self._refused_cost and not request.excluding
            known = known and not self.queue.hopeless(request.waiter, now=request.waiter.arrived)
        for one in refused:
            if one.request is not request:
                one.request.wake()
        if not known:
            self.notify()

    def leave(self, request: Request[T]) -> Lease[T] | Exception | None:
        """Remove a request; return its answer."""
        with self._lock:
            request.gone = True
            waiter, request.waiter = request.waiter, None
            if waiter is not None:
                self.queue.withdraw(waiter)
            return request.answer

    def give_back(self, request: Request[T]) -> None:
        """Remove a request, and release its lease if it has one."""
        answer = self.leave(request)
        if answer is not None and not isinstance(answer, Exception):
            answer.release(Outcome.CANCELLED)

    def collect(self, request: Request[T]) -> Lease[T]:
        """Remove a request and return its lease.

        Raises
        ------
        UnavailableError
            If the request has no answer, or its answer is an error.
        """
        answer = self.leave(request)
        if answer is None:
            raise WaitingTimeoutError("no slot became free in time")
        if isinstance(answer, Exception):
            raise answer
        return answer

    # ------------------------------------------------------------------ slots

    def notify(self, *_: object) -> None:
        """Look for free slots. Called whenever a lease ends or the pool changes. It may be called at any time."""
        with self._lock:  # without the lock, a request that enters at this moment could be missed
            if not len(self.queue):
                self._refused_cost = math.inf
                return
        if self._looker == this_thread():
            self._noticed_inside = True
            return
        self._notice = object()
        self._take_role()

    def poll(self) -> None:
        """Poll for slots that time has freed, if a poll is due."""
        if monotonic() >= self._due:
            self.notify()

    def pause(self) -> float:
        """Return the seconds until a waiting request checks for a poll. The more requests wait, the longer they are."""
        soonest = min(self._due - monotonic(), TIMED_POLL_S if self._timed else POLL_S)
        return min(POLL_S, max(soonest, len(self.queue) / MAX_POLLS_PER_S))

    def _take_role(self) -> None:
        """Look until every notice is handled. Return at once if another thread is looking, because it handles them."""
        me = this_thread()
        while self._looked is not self._notice:
            try:
                with self._lock:
                    if self._looker == NO_THREAD:
                        self._looker = me
                if self._looker != me:
                    return
                self._look_at_all()
            finally:
                if self._looker == me:
                    self._looker = NO_THREAD

    def _look_at_all(self) -> None:
        """Look until every notice is handled. A method of its own, because ``finally`` must guard a single call."""
        while self._looked is not (notice := self._notice):
            self._look()
            self._looked = notice  # after the look, so that an interrupted look is repeated

    def _look(self) -> None:
        """Give slots to requests until the balancer refuses.

        If the pool changes during the look, for example by an uneject, there is one more attempt, but not a third one.
        So a balancer whose pool changes at every call is not called forever.
        """
        for _ in range(2):
            self._refused_cost = math.inf
            self._noticed_inside = False
            self._retry_in = POLL_S
            while self._give_one():
                pass
            if not self._noticed_inside:
                break
        self._due = monotonic() + max(MIN_POLL_S, self._retry_in)

    def _give_one(self) -> bool:
        """Give a slot to the first request that can use one. Return whether there may be another free slot."""
        now = monotonic()
        ranking = self.queue.ranking(now=now)
        while (waiter := self._next(ranking, now)) is not None:
            request, lease = waiter.request, None
            answer: Exception | None = None
            try:
                lease = request.acquire()
                if self._hand_over(waiter, lease) and not request.wake():
                    self.give_back(request)
            except AttemptsExhaustedError as error:
                answer = error
            except UnavailableError as error:
                if self._is_full(waiter, error):
                    return False
                continue
            except Exception as error:
                raise_interrupt()
                answer = error
            finally:
                if lease is not None and request.answer is not lease:
                    lease.release(Outcome.CANCELLED)
            if answer is not None:
                self._refuse(waiter, answer)
            return True
        return False

    def _is_full(self, waiter: Waiter[Request[T]], error: UnavailableError) -> bool:
        """Record the retry time of a refusal. Return whether the other requests would be refused too."""
        if (retry_in := error.retry_in) is not None and retry_in < self._retry_in:
            self._retry_in, self._timed = retry_in, True
        if waiter.request.own_refusal(error):
            return False
        with self._lock:
            if waiter.waiting:  # otherwise a slot may have become free while nothing was waiting
                self._refused_cost = waiter.cost
        return True

    def _next(self, ranking: Iterator[Waiter[Request[T]]], now: float) -> Waiter[Request[T]] | None:
        """Return the next request to try. Refuse the hopeless requests before it."""
        hopeless: list[Waiter[Request[T]]] = []
        with self._lock:
            found = self._search(ranking, now, hopeless)
        for waiter in hopeless:
            self._refuse(waiter, WaitingTimeoutError("the deadline is too near"))
        return found

    def _search(
        self, ranking: Iterator[Waiter[Request[T]]], now: float, hopeless: list[Waiter[Request[T]]]
    ) -> Waiter[Request[T]] | None:
        """Return the next request to try, and list the hopeless ones before it. One call, for the ``with`` block."""
        for waiter in ranking:
            if waiter.request.gone:  # an interrupt has prevented its removal
                self.queue.withdraw(waiter)
            elif waiter.request.answer is None:
                if not self.queue.hopeless(waiter, now=now):
                    return waiter
                hopeless.append(waiter)
        return None

    def _hand_over(self, waiter: Waiter[Request[T]], lease: Lease[T]) -> bool:
        """Make a lease the answer of a request, unless the request was withdrawn. Return whether this was done."""
        request = waiter.request
        with self._lock:
            if request.gone or not waiter.waiting:
                return False
            request.answer = lease  # first, so that after an interrupt the request has the lease
            self.queue.take(waiter)
        return True

    def _refuse(self, waiter: Waiter[Request[T]], error: Exception) -> None:
        with self._lock:
            if waiter.request.answer is None:
                waiter.request.answer = error
            self.queue.withdraw(waiter)
        waiter.request.wake()

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Stop observing the balancer, and refuse the waiting requests. A second call changes nothing."""
        for undo in self._undo:
            undo()
        with self._lock:
            self._closed = True
            waiting = list(self.queue.ranking(now=monotonic()))
        for waiter in waiting:
            self._refuse(waiter, RoomClosedError("the waiting room was closed"))

    def after_fork(self) -> None:
        """Drop the waiting requests in a forked child, in which their threads and loops do not exist."""
        self._looker = NO_THREAD
        for waiter in list(self.queue.ranking(now=monotonic())):
            self.queue.withdraw(waiter)
