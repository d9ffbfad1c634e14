"""Exchange of counts through a Redis or Valkey server, in a thread or a task.

A pick never uses the network; a thread or task writes the sums to the nodes. If the server does not answer, the balancer
continues with its own counts. One warning is logged then, and one line when the server answers again. If the server says that
it is a replica now, the client's idle connections are closed, because the name of the host may lead to another server.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from queue import Empty, SimpleQueue
from random import SystemRandom
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.functions import has_methods
from balancekit._support.interrupts import raise_interrupt
from balancekit._support.loop import is_alive, raise_cancellation, raise_lost_cancellation
from balancekit._support.runner import join
from balancekit.errors import ConfigurationError
from balancekit.sharing._script import SCRIPT
from balancekit.sharing._store import StoreCore, StoreExchange

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

__all__ = ["AsyncRedisStore", "RedisStore"]

_RNG: Final = SystemRandom()
"""The random generator of pauses. It has no state in the process, so that forked processes do not get the same pauses."""


@final
class RedisStore(ConstructorRepr):
    """A store for programs with threads: one daemon thread exchanges counts once per period.

    Parameters
    ----------
    client
        A client of redis-py, for Redis >= 5 or Valkey. Set ``socket_timeout`` to about one period, and ``retry=None``.
        The next period retries in any case, and retries by the client would block the thread for seconds.
    name
        The name of the group. Processes with the same name share their counts.
    period
        Seconds between two exchanges, > 0. Sums are useful while they are not older than a few service times.
    ttl
        Seconds without an exchange after which a process is no longer counted, > ``period``. The default is ten periods.

    The thread starts with the first request of a balancer. It ends when the store is garbage-collected, or with
    :meth:`close`, which withdraws the counts of this process. A forked child starts its own thread.

    Raises
    ------
    ConfigurationError
        If ``client`` is no client of redis-py or one of ``redis.asyncio``, ``name`` is empty, or ``period``
        or ``ttl`` is outside its bounds.

    *When not to use it:* for the workers of one host; a file has newer counts and needs no server. On asyncio, use
    :class:`AsyncRedisStore`.

    Cost: one round trip per period with about 20 bytes per endpoint; O(endpoints) in the server.

    Example
    -------
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.loads import InFlight
    >>> from balancekit.sharing import RedisStore, Shared
    >>> from redis import Redis
    >>> store = RedisStore(Redis(port=1, socket_timeout=0.5, retry=None), name="checkout")
    >>> lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=Shared(InFlight(), store=store))
    >>> lb.acquire().release()
    True
    >>> store.close()
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        __aenter__ = Elsewhere("write `with RedisStore(...)`, or use AsyncRedisStore")

    def __init__(self, client: Redis, *, name: str, period: float = 0.5, ttl: float | None = None) -> None:
        if not has_methods(client, "eval") or _awaits(client):
            raise ConfigurationError("client", client, "a client of redis-py, redis.Redis(...)")
        self.core: StoreCore = StoreCore(name, period=period, ttl=ttl)
        """What is written and read."""
        self._client: Any = client
        self._lock = new_lock()
        self._closed = False
        self._end: SimpleQueue[None] = SimpleQueue()  # no Event: an interrupt may leave its lock held
        self._thread: threading.Thread | None = None
        self._blocks = 0
        """The number of open ``with`` blocks."""
        call_in_child(self)

    def exchange(self) -> StoreExchange:
        """Return the exchange of one pool."""
        made = self.core.exchange()
        made.on_refresh = self.start
        return made

    def start(self) -> None:
        """Start the thread, unless it is running or the store is closed."""
        if self._thread is not None or self._closed:
            return
        failed: RuntimeError | None = None
        with self._lock:
            if self._thread is None:
                arguments = (weakref.ref(self), self._end)
                thread = threading.Thread(target=_run, args=arguments, name="balancekit-store", daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except RuntimeError as error:  # the system refuses a thread; a later request tries again
                    self._thread, failed = None, error
        if failed is not None:  # under no lock, because log handlers are user code
            self.core.failed(failed)

    def synchronize(self) -> None:
        """Exchange now, in this thread. Several threads may do so. Errors of the client are logged and not raised."""
        request = self.core.request()
        try:
            self.core.answered(request, self._client.eval(SCRIPT, *request.arguments))
        except Exception as error:
            raise_interrupt()
            self.core.failed(error, request)
            if _is_of_a_replica(error):
                with contextlib.suppress(Exception):
                    self._client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """End the thread, and withdraw the counts of this process.

        If the server does not answer, the counts are not withdrawn. They expire after ``ttl``, and the program does not
        wait.
        """
        self._closed = True
        self._end.put(None)
        if self._thread is not None:
            join(self._thread, self.core.ttl if self.core.answers else self.core.period)
            if self._thread in threading.enumerate():
                return
        if self.core.answers:
            with contextlib.suppress(Exception):
                self._client.eval(SCRIPT, *self.core.leaving())

    def __enter__(self) -> Self:
        self._blocks += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.close()

    def after_fork(self) -> None:
        """Reset the store in a forked child, in which the thread does not exist."""
        self.core.start_over()
        self._closed = False
        self._end = SimpleQueue()
        self._thread = None


def _run(store: weakref.ref[RedisStore], end: SimpleQueue[None]) -> None:
    """Exchange counts about once a period, for as long as the store exists."""
    while True:
        present = store()
        if present is None:
            return
        try:
            present.synchronize()
        except BaseException as error:  # for example SystemExit of a client must not end the thread
            present.core.failed(error)
        pause = present.core.pause(_RNG)
        del present
        try:
            end.get(timeout=min(pause, valid.MAX_WAIT_S))
        except Empty:
            continue
        return


@final
class AsyncRedisStore(ConstructorRepr):
    """A store for programs on asyncio: one task exchanges counts once per period, inside ``async with``.

    Parameters
    ----------
    client
        A ``redis.asyncio.Redis`` with ``socket_timeout`` and ``retry=None``.
    name, period, ttl
        See :class:`RedisStore`.

    Raises
    ------
    ConfigurationError
        If ``client`` is no client of ``redis.asyncio``, ``name`` is empty, or ``period`` or ``ttl`` is
        outside its bounds.

    Example
    -------
    >>> import asyncio
    >>> from balancekit.sharing import AsyncRedisStore
    >>> from redis.asyncio import Redis
    >>> async def main():
    ...     async with AsyncRedisStore(Redis(port=1, socket_timeout=0.5, retry=None), name="checkout") as store:
    ...         return store.core.name
    >>> asyncio.run(main())
    'checkout'
    """

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        __enter__ = Elsewhere("write `async with AsyncRedisStore(...)`, or use RedisStore")

    def __init__(
        self, client: AsyncRedis, *, name: str, period: float = 0.5, ttl: float | None = None
    ) -> None:
        if not has_methods(client, "eval") or not _awaits(client):
            raise ConfigurationError("client", client, "a client of redis-py, redis.asyncio.Redis(...)")
        self.core: StoreCore = StoreCore(name, period=period, ttl=ttl)
        """What is written and read."""
        self._client: Any = client
        self._task: asyncio.Task[None] | None = None
        self._blocks = 0
        """The number of open ``with`` blocks."""
        call_in_child(self)

    def exchange(self) -> StoreExchange:
        """Return the exchange of one pool."""
        return self.core.exchange()

    def start(self) -> None:
        """Do nothing: ``async with`` starts the task."""

    async def synchronize(self) -> None:
        """Exchange now. Several tasks may do so. Errors of the client are logged and not raised."""
        request = self.core.request()
        try:
            self.core.answered(request, await self._client.eval(SCRIPT, *request.arguments))
        except (Exception, asyncio.CancelledError) as error:
            raise_cancellation()
            self.core.failed(error, request)
            if _is_of_a_replica(error):
                with contextlib.suppress(Exception):
                    await self._client.connection_pool.disconnect(inuse_connections=False)

    async def __aenter__(self) -> Self:
        if not is_alive(self._task):
            self._task = asyncio.create_task(self._run(), name="balancekit-store")
        self._blocks += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        if self._blocks:
            return
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # keeps a cancellation of the caller
        if self.core.answers:  # otherwise the counts expire after ttl, and the program does not wait
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self.core.ttl):
                    await self._client.eval(SCRIPT, *self.core.leaving())

    def after_fork(self) -> None:
        """Reset the store in a forked child, which has no event loop."""
        self.core.start_over()
        self._task = None

    async def _run(self) -> None:
        while True:
            await self.synchronize()
            raise_lost_cancellation()
            await asyncio.sleep(self.core.pause(_RNG))


def _is_of_a_replica(error: BaseException) -> bool:
    """Return whether a server refuses writes as a replica: an error of redis-py, or of another client of its kind."""
    return type(error).__name__ == "ReadOnlyError"


def _awaits(client: Any) -> bool:
    """Return whether a client's commands are awaited; ``eval`` itself is a plain function in both clients of redis-py."""
    return any(
        asyncio.iscoroutinefunction(getattr(client, name, None)) for name in ("execute_command", "eval")
    )
