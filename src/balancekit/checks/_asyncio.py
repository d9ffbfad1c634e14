"""Runner of checks on asyncio: one task that starts a short task for each check that is due.

There is no task before :meth:`AsyncChecks.start` and none after :meth:`AsyncChecks.stop`. A runner belongs to
the event loop it was started in. If the loop ends first, it cancels the tasks; no task is destroyed while
pending. In a forked child there is no loop, so the runner is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, final

from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child
from balancekit._support.log import log_error
from balancekit._support.loop import is_alive, raise_cancellation, require_own_loop
from balancekit._support.runner import AsyncRunner
from balancekit.checks._result import AsyncCallable, NetworkCheck, Peer, ProbeExchange, ProbeResult
from balancekit.checks._runner import (
    DEFAULT_SCHEDULE,
    MAX_RECEIVED_BYTES,
    CheckRunner,
    RunnerCore,
    failure,
    probe_result,
)
from balancekit.checks._schedule import Schedule
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.protocols import ObservableBalancer

__all__ = ["AsyncChecks", "run_check"]


@final
class AsyncChecks(CheckRunner, AsyncRunner):
    """Check the endpoints of a balancer, on asyncio.

    Parameters
    ----------
    balancer
        The balancer of the endpoints; its health policy must take check results (``Lifecycle`` does).
    check
        A :class:`TcpCheck`, :class:`HttpCheck`, :class:`DeepCheck`, or a coroutine function called with an
        endpoint and a timeout in seconds.
    schedule
        The intervals and the timeout.
    concurrency
        The most checks that run at once, >= 1.
    shared
        See :class:`SharedDependencies`.

    *When not to use it:* in a program without an event loop; use :class:`ThreadChecks`.

    Example
    -------
    >>> import asyncio
    >>> from balancekit import LoadBalancer
    >>> from balancekit.checks import AsyncChecks
    >>> async def main():
    ...     lb = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    ...     async with AsyncChecks(lb, always_passes):
    ...         return lb.acquire().release()
    >>> async def always_passes(endpoint, timeout):
    ...     return True
    >>> asyncio.run(main())
    True
    """

    def __init__(
        self,
        balancer: ObservableBalancer[Any],
        check: NetworkCheck | AsyncCallable,
        *,
        schedule: Schedule = DEFAULT_SCHEDULE,
        concurrency: int = 64,
        shared: float = 0.5,
    ) -> None:
        super().__init__(balancer, check, schedule, concurrency, shared, coroutine=True)
        self._check = check
        call_in_child(self)

    @property
    def running(self) -> bool:
        """Whether the checks are started; false if their loop ended while they ran."""
        return is_alive(self._main)

    async def start(self) -> None:
        """Start checking. Does nothing if it is started."""
        if not is_alive(self._main):
            self._main = asyncio.create_task(self._run(), name="balancekit-checks")

    async def stop(self) -> None:
        """Stop checking, and return when no task is left. Does nothing if it is stopped."""
        main = self._main
        if main is None or not is_alive(main):
            return
        require_own_loop(main)
        self._main = None
        main.cancel()
        await asyncio.gather(main, return_exceptions=True)

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        __enter__ = Elsewhere("write `async with AsyncChecks(...)`, or use ThreadChecks")

    # ------------------------------------------------------------------ in the loop

    async def _run(self) -> None:
        core = RunnerCore(self._balancer, self._schedule, self._shared)
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        running: set[asyncio.Task[None]] = set()
        core.wake = lambda: loop.call_soon_threadsafe(woken.set)
        try:
            while True:
                woken.clear()
                wait = self._begin_what_is_due(core, running, woken)
                # Not wait_for: in Python 3.11 it forgets a cancellation that comes as the wait ends.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await woken.wait()
        finally:
            core.close()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _begin_what_is_due(
        self, core: RunnerCore, running: set[asyncio.Task[None]], woken: asyncio.Event
    ) -> float | None:
        """Start a task for each check that is due; return the seconds until the next one."""
        while len(running) < self._concurrency:
            now = time.monotonic()
            if core.is_stale(now) and (endpoints := core.read()) is not None:
                core.take(endpoints, now)
            core.notes.flush()
            endpoint, wait = core.begin(now)
            if endpoint is None:
                return wait
            task = asyncio.create_task(self._examine(core, endpoint, woken), name=f"check {endpoint.id}")
            running.add(task)
            task.add_done_callback(running.discard)
        return None  # until one of them has ended

    async def _examine(self, core: RunnerCore, endpoint: Endpoint[Any], woken: asyncio.Event) -> None:
        changing = False
        result = core.result(endpoint, await run_check(self._check, endpoint, self._schedule.timeout))
        core.notes.flush()
        try:
            changing = core.report(endpoint, result)
        except Exception:
            log_error("the check of %r could not be reported", endpoint.id)
        core.done(endpoint, changing=changing, now=time.monotonic())
        asyncio.get_running_loop().call_soon(woken.set)


async def run_check(
    check: NetworkCheck | AsyncCallable,
    endpoint: Endpoint[Any],
    timeout: float,  # noqa: ASYNC109 - a check receives it
) -> ProbeResult | Exception:
    """Return the result of a check, or the error that left it without one."""
    try:
        async with asyncio.timeout(timeout):
            if isinstance(check, NetworkCheck):
                try:
                    peer, exchange = check.peer(endpoint), check.exchange(endpoint)
                except ConfigurationError as error:  # the target of the endpoint is no address
                    return failure(error)
                return await _exchange(peer, exchange)
            return probe_result(await check(endpoint, timeout))
    except TimeoutError:
        return ProbeResult(passed=False, detail="timed out", answered=False)
    except ConfigurationError as error:
        return error
    except (Exception, asyncio.CancelledError) as error:
        raise_cancellation()
        return failure(error)


async def _exchange(peer: Peer, exchange: ProbeExchange) -> ProbeResult:
    name = None if peer.tls is None else peer.server_name
    reader, writer = await asyncio.open_connection(peer.host, peer.port, ssl=peer.tls, server_hostname=name)
    try:
        if not exchange.request:
            return probe_result(exchange.receive(b""))
        writer.write(exchange.request)
        await writer.drain()
        while True:
            data = await reader.read(MAX_RECEIVED_BYTES)
            found = exchange.receive(data)
            if found is not None or not data:
                return probe_result(found)
    finally:
        writer.transport.abort()  # the answer is complete, or no longer needed
