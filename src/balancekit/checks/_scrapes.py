"""Runners that read figures of endpoints once a period into ``NodeAttributes``: in threads, or on asyncio.

No request waits for a scrape. A page that cannot be read is counted; the first failure and the recovery are logged. It does
not count against its endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child, new_condition, new_lock
from balancekit._support.log import contain_error, log_change
from balancekit._support.loop import is_alive, raise_cancellation, require_own_loop
from balancekit._support.runner import AsyncRunner, ThreadRunner, join_all
from balancekit.checks._metrics_probe import MetricsPage
from balancekit.checks._requirements import refuse_coroutine, require_coroutine, require_function
from balancekit.checks._runner import is_present
from balancekit.checks._schedule import CheckTimer, Schedule
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, brief_error
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.reported import NodeAttributes

__all__ = ["AsyncScrapes", "ThreadScrapes"]

EVERY_SECOND: Final = Schedule(interval=1.0, timeout=1.0)
REFRESH_S: Final = 0.25
"""The longest time in seconds until a change of the pool is noticed."""


class _Scraper(ConstructorRepr):
    """The common part of both runners; used by one thread at a time."""

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        attributes: NodeAttributes,
        page: Any,
        schedule: Schedule,
        clock: Callable[[], float],
    ) -> None:
        require_balancer(balancer)
        if not isinstance(attributes, NodeAttributes):
            raise ConfigurationError("attributes", attributes, "NodeAttributes")
        require_function("page", page, 1, "a MetricsPage, or a function from an endpoint to figures by name")
        if not isinstance(schedule, Schedule):
            raise ConfigurationError("schedule", schedule, "a Schedule")
        self._balancer = balancer
        self._attributes = attributes
        self._page: Any = page
        self._schedule = schedule
        valid.clock("clock", clock)
        self._clock = clock
        self.failures: int = 0
        """The number of pages that could not be read."""
        self._lock = new_lock()
        self._reset()

    def _reset(self) -> None:
        self._timer = CheckTimer(self._schedule, Random())
        self._endpoints: dict[str, Endpoint[Any]] = {}
        self._unread: set[str] = set()

    def _present(self) -> dict[str, Endpoint[Any]] | None:
        """Return the endpoints of the balancer by id; ``None`` if they cannot be read. Call it under no lock."""
        try:
            return {endpoint.id: endpoint for endpoint in self._balancer.endpoints}
        except Exception:  # of a balancer that is no LoadBalancer, or for lack of memory
            contain_error("the endpoints to scrape cannot be read")
            return None

    def _next(self, present: dict[str, Endpoint[Any]] | None) -> tuple[Endpoint[Any] | None, float]:
        """Return one of these endpoints that is due, or the seconds until there is one."""
        if present is None:
            return None, REFRESH_S
        now = time.monotonic()
        for id, known in self._endpoints.items():
            if id not in present or present[id].target is not known.target:
                self._attributes.forget(id)
                self._unread.discard(id)
        self._endpoints = present
        self._timer.update(present, now=now)
        due = self._timer.begin(now=now)
        if due is not None:
            return present[due], 0.0
        return None, min(REFRESH_S, max(0.0, self._timer.next_at - now))

    def _read(self, endpoint: Endpoint[Any], figures: Mapping[str, float]) -> None:
        """Record figures. No lock is held: the clock, observers of attributes and handlers of the log are the application's."""
        if is_present(self._balancer, endpoint):
            self._attributes.record(endpoint.id, figures, now=self._clock())
            with self._lock:
                unread = endpoint.id in self._unread
                self._unread.discard(endpoint.id)
            if unread:
                log_change("the load of %s can be read again", endpoint.id, bad=False)

    def _failed(self, endpoint: Endpoint[Any], error: BaseException) -> None:
        with self._lock:
            self.failures += 1
            first = endpoint.id not in self._unread and endpoint.id in self._endpoints
            if first:
                self._unread.add(endpoint.id)
        if first:
            log_change(
                "the load of %s cannot be read, its last figures hold for %g s: %s",
                endpoint.id,
                self._attributes.max_age,
                brief_error(error),
                bad=True,
            )

    def _done(self, endpoint: Endpoint[Any]) -> None:
        self._timer.done(endpoint.id, now=time.monotonic(), changing=False)


@final
class ThreadScrapes(_Scraper, ThreadRunner):
    """Read figures of a balancer's endpoints once a period, in threads.

    Parameters
    ----------
    balancer
        The balancer whose endpoints are scraped.
    attributes
        The store of the figures. Set its ``max_age`` to three intervals.
    page
        Returns the figures of one endpoint by name: a :class:`MetricsPage`, or a function of your own. It needs a
        time-out of its own.
    schedule
        The intervals; the timeout applies to :class:`AsyncScrapes` only.
    concurrency
        The most pages read at once, >= 1.
    clock
        The clock of the balancer.

    Raises
    ------
    ConfigurationError
        If ``balancer``, ``attributes``, ``schedule`` or ``clock`` is of the wrong class, ``page`` has to be
        awaited, or ``concurrency`` is below 1.

    *When not to use it:* in a program that runs on asyncio; use :class:`AsyncScrapes`.

    Example
    -------
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.checks import ThreadScrapes
    >>> from balancekit.reported import NodeAttributes, Probed
    >>> attributes = NodeAttributes()
    >>> lb = LoadBalancer(["10.0.0.1:8000"], selector=PowerOfChoices(), load=Probed(attributes, name="waiting"))
    >>> with ThreadScrapes(lb, attributes, lambda endpoint: {"waiting": 3.0}):
    ...     lb.acquire().release()
    True
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        __aenter__ = Elsewhere("write `with ThreadScrapes(...)`, or use AsyncScrapes")

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        attributes: NodeAttributes,
        page: Callable[[Endpoint[Any]], Mapping[str, float]],
        *,
        schedule: Schedule = EVERY_SECOND,
        concurrency: int = 8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._concurrency = valid.integer("concurrency", concurrency, minimum=1)
        self._wakeup = new_condition()
        self._threads: list[threading.Thread] = []
        self._ending: list[threading.Thread] = []
        refuse_coroutine("page", page, "AsyncScrapes")
        if isinstance(page, MetricsPage) and page.awaited:
            raise ConfigurationError("page", page, "a MetricsPage whose fetch is no coroutine function")
        super().__init__(balancer, attributes, page, schedule, clock)
        call_in_child(self)

    @property
    def running(self) -> bool:
        """Whether it is started."""
        return bool(self._threads)

    def _start(self) -> None:
        with self._wakeup:
            if self._threads:
                return
            self._reset()
            names = [f"balancekit-scrape-{number}" for number in range(self._concurrency)]
            self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Stop reading, and return when the pages being read have ended. Does nothing if it is stopped."""
        with self._wakeup:
            self._ending.extend(self._threads)
            self._threads = []
            self._wakeup.notify_all()
        join_all(self._ending)

    def after_fork(self) -> None:
        """Stop in a forked child, which does not have the threads."""
        self._wakeup, self._threads, self._ending = new_condition(), [], []

    def _work(self) -> None:
        while (endpoint := self._wait()) is not None:
            try:
                self._read(endpoint, self._page(endpoint))
            except BaseException as error:  # such as SystemExit, which would end the thread
                self._failed(endpoint, error)
            with self._wakeup:
                self._done(endpoint)

    def _wait(self) -> Endpoint[Any] | None:
        """Wait for an endpoint that is due; return ``None`` once this thread shall end."""
        while True:
            present = self._present()
            with self._wakeup:
                if threading.current_thread() not in self._threads:
                    return None
                endpoint, wait = self._next(present)
                if endpoint is not None:
                    return endpoint
                self._wakeup.wait(wait)


@final
class AsyncScrapes(_Scraper, AsyncRunner):
    """Read figures of a balancer's endpoints once a period, on asyncio.

    Parameters
    ----------
    balancer, attributes, schedule, concurrency, clock
        See :class:`ThreadScrapes`.
    page
        A coroutine function that returns the figures of one endpoint by name, or a :class:`MetricsPage` whose ``fetch`` is a
        coroutine function.

    Raises
    ------
    ConfigurationError
        If ``balancer``, ``attributes``, ``schedule`` or ``clock`` is of the wrong class, ``page`` is no
        coroutine function, or ``concurrency`` is below 1.

    Example
    -------
    >>> import asyncio
    >>> from balancekit import LoadBalancer
    >>> from balancekit.checks import AsyncScrapes
    >>> from balancekit.reported import NodeAttributes
    >>> async def scrape(endpoint):
    ...     return {"waiting": 3.0}
    >>> async def main():
    ...     lb = LoadBalancer(["10.0.0.1:8000"])
    ...     async with AsyncScrapes(lb, NodeAttributes(), scrape):
    ...         return lb.acquire().release()
    >>> asyncio.run(main())
    True
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        attributes: NodeAttributes,
        page: Callable[[Endpoint[Any]], Awaitable[Mapping[str, float]]],
        *,
        schedule: Schedule = EVERY_SECOND,
        concurrency: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(balancer, attributes, page, schedule, clock)
        if not isinstance(page, MetricsPage):
            require_coroutine("page", page, "ThreadScrapes")
        self._concurrency = valid.integer("concurrency", concurrency, minimum=1)
        call_in_child(self)

    @property
    def running(self) -> bool:
        """Whether it is started; false if its loop ended while it ran."""
        return is_alive(self._main)

    async def start(self) -> None:
        """Start reading. Does nothing if it is started."""
        if not is_alive(self._main):
            self._reset()
            self._main = asyncio.create_task(self._run(), name="balancekit-scrapes")

    async def stop(self) -> None:
        """Stop reading, and return when no task is left. Does nothing if it is stopped."""
        main = self._main
        if main is not None and is_alive(main):
            require_own_loop(main)
            self._main = None
            main.cancel()
            await asyncio.gather(main, return_exceptions=True)

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        __enter__ = Elsewhere("write `async with AsyncScrapes(...)`, or use ThreadScrapes")

    async def _run(self) -> None:
        woken, reading = asyncio.Event(), set[asyncio.Task[None]]()
        try:
            while True:
                woken.clear()
                wait: float | None = None  # until a read has ended
                while len(reading) < self._concurrency:
                    endpoint, wait = self._next(self._present())
                    if endpoint is None:
                        break
                    task = asyncio.create_task(self._scrape(endpoint, woken), name=f"scrape {endpoint.id}")
                    reading.add(task)
                    task.add_done_callback(reading.discard)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await woken.wait()
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _scrape(self, endpoint: Endpoint[Any], woken: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._schedule.timeout):
                figures = await self._page(endpoint)
            self._read(endpoint, figures)
        except (Exception, asyncio.CancelledError) as error:
            raise_cancellation()
            self._failed(endpoint, error)
        self._done(endpoint)
        asyncio.get_running_loop().call_soon(woken.set)
