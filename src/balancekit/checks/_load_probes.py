"""Runners of load probes for ``Prequal``: in threads, or on asyncio.

Requests pay for probes: a runner sends the probes that are due in the pool, to endpoints drawn at random. No request waits
for a probe. An endpoint that does not answer has no probe in the pool, and no other penalty.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.log import contain_error
from balancekit._support.loop import is_alive, raise_cancellation, require_own_loop
from balancekit._support.runner import AsyncRunner, ThreadRunner, join_all
from balancekit.checks._requirements import refuse_coroutine, require_coroutine, require_function
from balancekit.checks._runner import is_present
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.reported import Prequal, ProbedLoad

__all__ = ["AsyncProbes", "LoadProbe", "ThreadProbes"]


LoadProbe: TypeAlias = Callable[[Endpoint[Any]], ProbedLoad]
"""Probe one endpoint. May block, within a time-out of its own, and may raise."""


class _Prober(ConstructorRepr):
    """The common part of both runners."""

    def __init__(
        self, balancer: ObservableBalancer[Any], selector: Prequal, probe: Any, clock: Callable[[], float]
    ) -> None:
        require_balancer(balancer)
        if not isinstance(selector, Prequal):
            raise ConfigurationError("selector", selector, "the Prequal of the balancer")
        require_function("probe", probe, 1, "a function that takes an endpoint and returns a ProbedLoad")
        self._balancer = balancer
        self._selector = selector
        self._probe: Any = probe
        valid.clock("clock", clock)
        self._clock = clock
        self._rng = Random()
        self._counting = new_lock()
        self.failures: int = 0
        """The number of probes without a usable answer."""

    def _due(self) -> list[Endpoint[Any]]:
        try:
            endpoints = {endpoint.id: endpoint for endpoint in self._balancer.endpoints}
        except Exception:  # of a balancer that is no LoadBalancer, or for lack of memory
            contain_error("the endpoints to probe cannot be read")
            return []
        return [endpoints[id] for id in self._selector.pool.due(list(endpoints), self._rng)]

    def _failed(self) -> None:
        with self._counting:
            self.failures += 1

    def _answered(self, endpoint: Endpoint[Any], answer: ProbedLoad) -> None:
        if is_present(self._balancer, endpoint):
            in_flight, latency = answer
            self._selector.pool.add(
                endpoint.id, in_flight=float(in_flight), latency=float(latency), now=self._clock()
            )


@final
class ThreadProbes(_Prober, ThreadRunner):
    """Send the probes of a ``Prequal`` from threads.

    Parameters
    ----------
    balancer
        The balancer whose endpoints are probed.
    selector
        The ``Prequal`` selector of that balancer.
    probe
        Probes one endpoint and returns a :class:`ProbedLoad`; see :class:`MetricsProbe`. It must have a time-out of its own.
    concurrency
        The most probes in flight, >= 1; further probes that become due are dropped.
    clock
        The clock of the balancer.

    Raises
    ------
    ConfigurationError
        If ``balancer``, ``selector`` or ``clock`` is of the wrong class, ``probe`` is no plain function, or
        ``concurrency`` is below 1.

    *When not to use it:* in a program that runs on asyncio; use :class:`AsyncProbes`.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.checks import ThreadProbes
    >>> from balancekit.reported import Prequal, ProbedLoad
    >>> prequal = Prequal()
    >>> lb = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"], selector=prequal)
    >>> with ThreadProbes(lb, prequal, lambda endpoint: ProbedLoad(in_flight=3, latency=0.02)):
    ...     lb.acquire().release()
    True
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        __aenter__ = Elsewhere("write `with ThreadProbes(...)`, or use AsyncProbes")

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        selector: Prequal,
        probe: LoadProbe,
        *,
        concurrency: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        refuse_coroutine("probe", probe, "AsyncProbes")
        super().__init__(balancer, selector, probe, clock)
        self._concurrency = valid.integer("concurrency", concurrency, minimum=1)
        self.after_fork()
        call_in_child(self)

    def after_fork(self) -> None:
        """Reset to the state before the first start; a forked child does not have the thread."""
        self._calls: SimpleQueue[bool] = SimpleQueue()  # an event's lock would be lost by an interrupt
        self._thread: threading.Thread | None = None
        self._ending: list[threading.Thread] = []
        self._sending: set[threading.Thread] = set()
        self._selector.on_due = _nothing

    @property
    def running(self) -> bool:
        """Whether it is started."""
        return self._thread is not None

    def _start(self) -> None:
        if self._thread is None:
            self._calls = calls = SimpleQueue[bool]()
            self._selector.on_due = lambda: _call(calls)
            self._thread = threading.Thread(
                target=self._run, args=(calls,), name="balancekit-probes", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop sending, and return when the probes in flight have ended.

        Called from a probe, it returns at once. Does nothing if it is stopped.
        """
        thread = self._thread
        if thread is not None:
            self._selector.on_due = _nothing
            self._calls.put(False)
            self._ending.append(thread)
            self._thread = None
        if threading.current_thread() not in self._sending:
            join_all(self._ending)

    def _run(self, calls: SimpleQueue[bool]) -> None:
        free = threading.Semaphore(self._concurrency)
        with ThreadPoolExecutor(self._concurrency, "balancekit-probe") as executor:
            while calls.get():
                for endpoint in self._due():
                    if free.acquire(blocking=False):
                        try:
                            executor.submit(self._send, endpoint, free)
                        except RuntimeError:  # the system starts no more threads: a later probe tries again
                            free.release()
                            self._failed()

    def _send(self, endpoint: Endpoint[Any], free: threading.Semaphore) -> None:
        self._sending.add(threading.current_thread())
        try:
            self._answered(endpoint, self._probe(endpoint))
        except BaseException:
            self._failed()
        finally:
            self._sending.discard(threading.current_thread())
            free.release()


@final
class AsyncProbes(_Prober, AsyncRunner):
    """Send the probes of a ``Prequal`` from tasks.

    Parameters
    ----------
    balancer, selector, concurrency, clock
        See :class:`ThreadProbes`.
    probe
        A coroutine function that probes one endpoint.
    timeout
        Seconds for one probe, > 0.

    Raises
    ------
    ConfigurationError
        If ``balancer``, ``selector`` or ``clock`` is of the wrong class, ``probe`` is no coroutine function,
        or a number is outside its bounds.

    Example
    -------
    >>> import asyncio
    >>> from balancekit import LoadBalancer
    >>> from balancekit.checks import AsyncProbes
    >>> from balancekit.reported import Prequal, ProbedLoad
    >>> async def probe(endpoint):
    ...     return ProbedLoad(in_flight=3, latency=0.02)
    >>> async def main():
    ...     prequal = Prequal()
    ...     lb = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"], selector=prequal)
    ...     async with AsyncProbes(lb, prequal, probe):
    ...         return lb.acquire().release()
    >>> asyncio.run(main())
    True
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        selector: Prequal,
        probe: Callable[[Endpoint[Any]], Awaitable[ProbedLoad]],
        *,
        concurrency: int = 16,
        timeout: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(balancer, selector, probe, clock)
        require_coroutine("probe", probe, "ThreadProbes")
        self._concurrency = valid.integer("concurrency", concurrency, minimum=1)
        self._timeout = valid.seconds("timeout", timeout, above=0.0)
        self._woken = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        call_in_child(self)

    @property
    def running(self) -> bool:
        """Whether it is started; false if its loop ended while it ran."""
        return is_alive(self._main)

    async def start(self) -> None:
        """Start sending. Does nothing if it is started."""
        if not is_alive(self._main):
            loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
            woken, self._sending = self._woken, set()
            self._selector.on_due = lambda: _set_soon(loop, woken)
            self._main = asyncio.create_task(self._run(), name="balancekit-probes")

    async def stop(self) -> None:
        """Stop sending, and return when no task is left. Does nothing if it is stopped."""
        main = self._main
        if main is not None and is_alive(main):
            require_own_loop(main)
        self._main, self._selector.on_due = None, _nothing
        if main is not None and is_alive(main):
            tasks = [main, *self._sending]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        __enter__ = Elsewhere("write `async with AsyncProbes(...)`, or use ThreadProbes")

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            for endpoint in self._due():
                if len(self._sending) < self._concurrency:
                    task = asyncio.create_task(self._send(endpoint))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)

    async def _send(self, endpoint: Endpoint[Any]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                self._answered(endpoint, await self._probe(endpoint))
        except (Exception, asyncio.CancelledError):
            raise_cancellation()
            self._failed()


def _call(calls: SimpleQueue[bool]) -> None:
    """Wake the thread that reads a queue, unless a wake-up is already pending."""
    if calls.empty():
        calls.put(True)


def _set_soon(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    """Set an event of a loop, from any thread; do nothing if the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(woken.set)


def _nothing() -> None:
    """Do nothing; the placeholder while no runner is attached."""
