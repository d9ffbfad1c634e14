"""A waiting room, in which requests of threads and tasks wait until a full balancer has a free slot.

A request that finds no free slot, or finds other requests waiting, joins a :class:`~balancekit.waiting.WaitingQueue`.
The thread that releases a lease acquires the slot for the next request, and wakes only that request. ``_handover.py``
explains why no slot and no wake-up is lost.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, final

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.loop import running_loop
from balancekit.errors import ConfigurationError
from balancekit.lease import Lease
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.snapshot import Key
from balancekit.waiting._handover import Handover, Request, WaitingTimeoutError
from balancekit.waiting._queue import WaitingQueue

__all__ = ["WaitingRoom"]

T = TypeVar("T")
R = TypeVar("R", bound=Request[Any])

DEFAULT_TIMEOUT_S: Final = 10.0


@final
class _ThreadRequest(Request[T]):
    """A request of a thread, which waits for a lock.

    It does not use ``threading.Event``, which is written in Python: an interrupt in its ``set`` may leave it locked.
    """

    __slots__ = ("lock",)

    def open(self) -> None:
        """Prepare to wait."""
        self.lock = threading.Lock()
        self.lock.acquire()

    def wait(self, seconds: float) -> bool:
        """Wait until the request is woken, or for ``seconds``. Return whether it was woken."""
        return self.lock.acquire(timeout=seconds)

    def wake(self) -> bool:
        """Release the lock."""
        with suppress(RuntimeError):  # the request was already woken
            self.lock.release()
        return True


@final
class _TaskRequest(Request[T]):
    """A request of a task, which waits for a future."""

    __slots__ = ("future", "loop")

    def open(self) -> None:
        """Prepare to wait."""
        loop = running_loop()
        if loop is None:
            raise RuntimeError("acquire_async() needs a running event loop of asyncio")
        self.loop = loop
        self.future: asyncio.Future[None] = self.loop.create_future()

    async def wait(self, seconds: float) -> bool:
        """Wait until the request is woken, or for ``seconds``. Return whether it was woken."""
        done, _ = await asyncio.wait((self.future,), timeout=seconds)
        return bool(done)

    def wake(self) -> bool:
        """Set the result of the future, in its loop."""
        if running_loop() is self.loop:
            self._set()
            return True
        try:
            self.loop.call_soon_threadsafe(self._set)
        except RuntimeError:  # the loop is closed, and its tasks have ended
            return False
        return True

    def _set(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


@final
class WaitingRoom(Generic[T]):
    """A waiting room for the requests of one balancer.

    Parameters
    ----------
    balancer
        A balancer that refuses when it is full, such as ``LoadBalancer(..., selector=MaxInFlight(8))``.
    queue
        An empty queue, with its bound and order. It must not be used elsewhere. The number of slots is a good bound.
    timeout
        The longest wait of a request in seconds, > 0, unless the request has its own.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, ``queue`` is no empty ``WaitingQueue``, or ``timeout`` is not > 0.

    *Guarantee.* For each slot that becomes free, one waiting request that can use it is woken with its lease. A later
    request cannot take that slot. If a request gives up, is cancelled or is interrupted, it leaves the queue. If it has
    received a slot at that moment, the slot goes to the next request.

    A slot is handed over at once when a lease ends, when an endpoint is added or unejected, and when a limit rises. A
    slot that becomes free by time alone, for example after ``Retry-After``, is handed over within a quarter of a
    second. A closed room holds no lease.

    Threads, and tasks of any number of asyncio loops, may wait in the same room. The thread that frees a slot acquires
    it for the next request. So a selector that reads context variables reads those of that thread.

    *When not to use it:* if callers can use another backend, or cannot use a late answer. Then refuse their requests at
    once. Also not in each of many processes, because a room has only the requests of its own process.

    Cost: about 2,000 empty method calls to hand over a slot, half of them for the refused ``acquire`` at the end of
    each look. About 250 for a request that does not wait, most of them for observing completions.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.routing import MaxInFlight
    >>> from balancekit.waiting import WaitingQueue, WaitingRoom, WaitingTimeoutError
    >>> lb = LoadBalancer(["a"], selector=MaxInFlight(1))
    >>> room = WaitingRoom(lb, WaitingQueue(max_waiting=8))
    >>> with room.acquire(tenant="shop") as lease:
    ...     try:
    ...         room.acquire(timeout=0.01)
    ...     except WaitingTimeoutError:
    ...         print("no slot became free in time")
    no slot became free in time
    >>> room.close()
    """

    __slots__ = ("_balancer", "_blocks", "_handover", "_timeout")

    @checked_call
    def __init__(
        self,
        balancer: ObservableBalancer[T],
        queue: WaitingQueue[Any],
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        require_balancer(balancer)
        if not isinstance(queue, WaitingQueue) or len(queue):
            raise ConfigurationError(
                "queue", queue, "an empty WaitingQueue(max_waiting=...) that is not used elsewhere"
            )
        self._timeout = valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
        self._balancer = balancer
        self._handover: Handover[T] = Handover(balancer, queue)
        self._blocks = 0
        """The number of open ``with`` blocks."""

    def acquire(
        self,
        key: Key | None = None,
        /,
        *,
        timeout: float | None = None,
        criticality: int = 0,
        tenant: str = "",
        cost: float = 1.0,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Lease[T]:
        """Return a lease. This blocks the thread until there is one; in a coroutine, await :meth:`acquire_async` instead.

        Parameters
        ----------
        timeout
            The longest wait in seconds, > 0. The default is the timeout of the room.
        criticality, tenant
            As for :meth:`WaitingQueue.offer`.
        key, cost, exclude, attributes
            As for :meth:`LoadBalancer.acquire`. The cost, at most 1e12, is also charged to the tenant.

        Raises
        ------
        WaitingTimeoutError
            If no slot became free in time.
        SaturatedError
            If the queue is full and does not accept the request, or a later request has replaced it in the queue.
        AttemptsExhaustedError
            If all eligible endpoints are excluded.
        RoomClosedError
            If the room was closed before or during the wait.
        ConfigurationError
            If ``timeout`` is no number > 0, ``criticality`` is no level of the queue, ``tenant`` is no string, or an
            argument of ``LoadBalancer.acquire`` is not allowed. The queue is then unchanged.
        """
        request: _ThreadRequest[T] = self._request(
            _ThreadRequest, key, criticality, tenant, cost, exclude, attributes
        )
        deadline = self._deadline(timeout)
        handover = self._handover
        try:
            lease = handover.try_now(request, tenant, cost)
            if lease is not None:
                return lease
            request.open()
            handover.enter(request, deadline=deadline, criticality=criticality, tenant=tenant, cost=cost)
            _wait(request, handover, deadline)
            return handover.collect(request)
        except BaseException as error:
            handover.give_back(request)
            if isinstance(error, WaitingTimeoutError) and running_loop() is not None:
                error.add_note(
                    "An event loop of asyncio runs in this thread and was blocked: await acquire_async() instead."
                )
            raise

    async def acquire_async(
        self,
        key: Key | None = None,
        /,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the queue orders and refuses by it
        criticality: int = 0,
        tenant: str = "",
        cost: float = 1.0,
        exclude: Collection[str] = (),
        attributes: Mapping[str, object] | None = None,
    ) -> Lease[T]:
        """Return a lease; other tasks run meanwhile. Parameters and errors are those of :meth:`acquire`.

        If the task is cancelled, its request leaves the queue, and a lease that it has already received is released.

        Example
        -------
        >>> import asyncio
        >>> from balancekit import LoadBalancer
        >>> from balancekit.waiting import WaitingQueue, WaitingRoom
        >>> async def main():
        ...     with WaitingRoom(LoadBalancer(["a"]), WaitingQueue(max_waiting=8)) as room:
        ...         with await room.acquire_async(timeout=1.0) as lease:
        ...             return lease.target
        >>> asyncio.run(main())
        'a'
        """
        request: _TaskRequest[T] = self._request(
            _TaskRequest, key, criticality, tenant, cost, exclude, attributes
        )
        deadline = self._deadline(timeout)
        handover = self._handover
        try:
            lease = handover.try_now(request, tenant, cost)
            if lease is not None:
                return lease
            request.open()
            handover.enter(request, deadline=deadline, criticality=criticality, tenant=tenant, cost=cost)
            await _wait_async(request, handover, deadline)
            return handover.collect(request)
        except BaseException:
            handover.give_back(request)
            raise

    @property
    def balancer(self) -> ObservableBalancer[T]:
        """The balancer."""
        return self._balancer

    @property
    def timeout(self) -> float:
        """The longest wait of a request in seconds, unless the request has its own."""
        return self._timeout

    def _deadline(self, timeout: float | None) -> float:
        return monotonic() + (
            self._timeout
            if timeout is None
            else valid.seconds("timeout", timeout, above=0.0, long=valid.LONG_TIMEOUT_S)
        )

    def _request(
        self,
        kind: type[R],
        key: Key | None,
        criticality: int,
        tenant: str,
        cost: float,
        exclude: Collection[str],
        attributes: Mapping[str, object] | None,
    ) -> R:
        valid.request(key, cost, attributes)
        # Invalid arguments are refused even if no request waits.
        if tenant.__class__ is not str or tenant or criticality.__class__ is not int or criticality:
            valid.text("tenant", tenant, empty=True, any_text=True)
            levels = self._handover.queue.criticalities
            valid.integer("criticality", criticality, minimum=0, maximum=levels - 1)
        excluded = valid.exclusions(exclude)
        acquire = self._balancer.acquire
        if cost == 1.0 and not excluded and attributes is None:
            return kind(partial(acquire, key), alike=key is None, excluding=False)
        call = partial(acquire, key, cost=cost, exclude=excluded, attributes=attributes)
        return kind(call, alike=key is None and attributes is None, excluding=bool(excluded))

    def __len__(self) -> int:
        """Return the number of waiting requests."""
        return len(self._handover.queue)

    def __bool__(self) -> bool:
        return True  # an empty room is still a room

    def close(self) -> None:
        """Refuse waiting and later requests, and stop observing the balancer.

        Open leases stay open. A second call changes nothing.
        """
        self._handover.close()

    def __enter__(self) -> Self:
        self._blocks += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.close()

    def __repr__(self) -> str:
        return f"<WaitingRoom, {len(self)} waiting>"


def _wait(request: _ThreadRequest[T], handover: Handover[T], deadline: float) -> None:
    """Wait in this thread until there is an answer or no time is left. A function, so that ``try`` guards one call."""
    while request.waits and (left := deadline - monotonic()) > 0.0:
        if not request.wait(min(left, handover.pause())):
            handover.poll()


async def _wait_async(request: _TaskRequest[T], handover: Handover[T], deadline: float) -> None:
    """Wait in this task until there is an answer or no time is left."""
    while request.waits and (left := deadline - monotonic()) > 0.0:
        if not await request.wait(min(left, handover.pause())):
            handover.poll()
