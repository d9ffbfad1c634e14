"""A waiting room: requests wait in order for a balancer that is full, in threads and in coroutines.

A request that finds no slot, or others waiting, joins a :class:`~balancekit.waiting.WaitingQueue`. The thread whose lease ends
acquires the slot for the request that is next, and wakes that one request with its lease. ``_handover.py`` says why no slot
and no wake-up is lost.
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

    An ``Event`` would stay locked for ever if an interrupt came while it is set: it is written in Python.
    """

    __slots__ = ("lock",)

    def open(self) -> None:
        """Prepare to wait."""
        self.lock = threading.Lock()
        self.lock.acquire()

    def wait(self, seconds: float) -> bool:
        """Wait until it is woken; answer whether it was."""
        return self.lock.acquire(timeout=seconds)

    def wake(self) -> bool:
        """Release the lock."""
        with suppress(RuntimeError):  # it has been woken already
            self.lock.release()
        return True


@final
class _TaskRequest(Request[T]):
    """A request of a task, which waits for a future."""

    __slots__ = ("future", "loop")

    def open(self) -> None:
        """Prepare to wait."""
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("a waiting room waits in loops of asyncio, and none is running here") from None
        self.future: asyncio.Future[None] = self.loop.create_future()

    async def wait(self, seconds: float) -> bool:
        """Wait until it is woken; answer whether it was."""
        done, _ = await asyncio.wait((self.future,), timeout=seconds)
        return bool(done)

    def wake(self) -> bool:
        """Set the result of the future, in its loop."""
        if asyncio._get_running_loop() is self.loop:  # noqa: SLF001 - the documented one raises outside of loops
            self._set()
            return True
        try:
            self.loop.call_soon_threadsafe(self._set)
        except RuntimeError:  # the loop is closed, and no task of it goes on
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
        One that refuses when it is full, such as ``LoadBalancer(..., selector=MaxInFlight(8))``.
    queue
        How many may wait, and in which order. It belongs to this room; as many places as there are slots is a good choice.
    timeout
        Seconds that a request waits at most if it does not say, > 0.

    *Guarantee.* For each slot that becomes free, one waiting request that can use it is woken, and has its lease; a request that
    comes later cannot take it. A request that gives up, is cancelled or interrupted, leaves nothing behind: a slot that it was
    given at that moment goes to the next. A lease's end, an endpoint that is added or comes back, and a limit that rises are
    noticed at once; slots that time alone frees, such as after ``Retry-After``, within a quarter of a second, and so are
    leases that were opened before the room. After a room is closed, it holds nothing.

    Threads, and the tasks of any number of asyncio's loops, may wait in the same room. A slot is acquired in the thread that
    freed it: a selector that reads context variables sees those of that thread.

    *When not to use it:* callers that can go elsewhere, or need no answer when it is late: refuse at once. A room for each of
    many processes: each sees its own requests only.

    Cost: about 2,000 empty calls to hand a slot over, half of them for the ``acquire`` that is refused at the end of each
    look; about 250 for a request that does not wait, most of them for observing completions.

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
    ...     except WaitingTimeoutError as error:
    ...         print(error)
    no slot became free in time
    >>> room.close()
    """

    __slots__ = ("_balancer", "_blocks", "_handover", "_timeout")

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
                "queue", queue, "a WaitingQueue(max_waiting=...) of its own, in which nothing waits"
            )
        self._timeout = valid.number("timeout", timeout, above=0.0)
        self._balancer = balancer
        self._handover: Handover[T] = Handover(balancer, queue)
        self._blocks = 0
        """How many blocks it is in."""

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
        """Return a lease; block this thread until there is one. In a coroutine, await :meth:`acquire_async` instead.

        Parameters
        ----------
        timeout
            Seconds after which the lease is of no use, > 0; those of the room if left out.
        criticality, tenant
            As for :meth:`WaitingQueue.offer`.
        key, cost, exclude, attributes
            As for :meth:`LoadBalancer.acquire`. The cost counts for the tenant, too.

        Raises
        ------
        WaitingTimeoutError
            If no slot became free in time.
        SaturatedError
            If too many wait already, or one that is more critical takes the place.
        AttemptsExhaustedError
            If all endpoints that may be picked are excluded: waiting is of no use.
        RoomClosedError
            If the room is, or was, closed.
        ConfigurationError
            For a wrong argument; nothing waits.
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
            if isinstance(error, WaitingTimeoutError) and asyncio._get_running_loop() is not None:  # noqa: SLF001 - the same
                error.add_note(
                    "A loop of asyncio runs in this thread, and waited too: await acquire_async there."
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
        """Return a lease; let other tasks run until there is one. See :meth:`acquire`.

        A task that is cancelled leaves nothing behind, even if it had been given its lease.

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
        """The balancer whose slots requests wait for."""
        return self._balancer

    @property
    def timeout(self) -> float:
        """Seconds that a request waits at most if it does not say."""
        return self._timeout

    def _deadline(self, timeout: float | None) -> float:
        return monotonic() + (
            self._timeout if timeout is None else valid.number("timeout", timeout, above=0.0)
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
        # Wrong ones are refused without a queue, too.
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
        """Return how many requests wait."""
        return len(self._handover.queue)

    def __bool__(self) -> bool:
        return True  # an empty room is still a room

    def close(self) -> None:
        """Refuse what waits and what will come, and stop listening to the balancer.

        Leases go on; a second call changes nothing.
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
    """Wait in this thread until there is an answer, or no time is left; what guards it is around a call, not a loop."""
    while request.waits and (left := deadline - monotonic()) > 0.0:
        if not request.wait(min(left, handover.pause())):
            handover.poll()


async def _wait_async(request: _TaskRequest[T], handover: Handover[T], deadline: float) -> None:
    """Wait in this task for the same."""
    while request.waits and (left := deadline - monotonic()) > 0.0:
        if not await request.wait(min(left, handover.pause())):
            handover.poll()
