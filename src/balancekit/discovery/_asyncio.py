"""Runner of a source on asyncio: one task; blocking resolvers get a thread for each call.

There is no task before :meth:`AsyncDiscovery.start` and none after :meth:`AsyncDiscovery.stop`. A resolver that blocks
cannot be interrupted. Its daemon thread ends when the resolver returns; neither the runner nor the end of the loop waits
for it. A resolver that hangs is not called again meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, final

from balancekit._support.calls import checked_call
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child
from balancekit._support.functions import is_coroutine_function
from balancekit._support.loop import (
    is_alive,
    raise_cancellation,
    raise_lost_cancellation,
    require_own_loop,
)
from balancekit._support.runner import AsyncRunner
from balancekit.discovery._refresh import Refresh
from balancekit.discovery._resolution import AsyncResolver, Resolution, Resolver
from balancekit.discovery._source import Source
from balancekit.discovery._source import source as source_of
from balancekit.discovery._subscription import DiscoveryStats, Listener, Subscription, Watch, check, claim
from balancekit.protocols import UpdatableBalancer

__all__ = ["AsyncDiscovery"]


@final
class AsyncDiscovery(AsyncRunner):
    """Keep the endpoints of a balancer in step with a source, on asyncio.

    Parameters
    ----------
    balancer, source, name, refresh, listeners
        As for :class:`ThreadDiscovery`; the resolver's ``resolve``, or the function, may be a coroutine function.

    *When not to use it:* in a program without an event loop; use :class:`ThreadDiscovery`.

    Example
    -------
    >>> import asyncio
    >>> from balancekit import LoadBalancer
    >>> from balancekit.discovery import AsyncDiscovery
    >>> async def main():
    ...     lb = LoadBalancer([], allow_empty=True)
    ...     async with AsyncDiscovery(lb, lambda: ["10.0.0.1:80"]) as discovery:
    ...         await discovery.wait_ready(timeout=5.0)
    ...         return lb.acquire().release()
    >>> asyncio.run(main())
    True
    """

    @checked_call
    def __init__(
        self,
        balancer: UpdatableBalancer[Any],
        source: str | Source | Resolver | AsyncResolver | Callable[[], Any],
        /,
        *,
        name: str | None = None,
        refresh: Refresh | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        self._listeners = check(balancer, listeners)
        self._balancer = balancer
        self._source = source_of(source, name=name, refresh=refresh)
        self._stats = Subscription(balancer, self._source, (), now=0.0).stats
        self._subscription: Subscription | None = None
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        self._pending: asyncio.Future[tuple[object, BaseException | None]] | None = None
        self._requested_at = 0.0
        call_in_child(self)

    def after_fork(self) -> None:
        """Stop in a forked child, which does not have the loop; keep the statistics of the parent."""
        super().after_fork()
        self._stats, self._subscription, self._pending = self.stats(), None, None

    def __repr__(self) -> str:
        # Not the source itself: a URL may contain a password.
        return f"<AsyncDiscovery of {self._source.name!r}, {'running' if self.running else 'stopped'}>"

    @property
    def running(self) -> bool:
        """Whether it is started; false if its loop ended while it ran."""
        return is_alive(self._main)

    def stats(self) -> DiscoveryStats:
        """Return the statistics of the source; after the end, the last ones."""
        subscription = self._subscription
        return self._stats if subscription is None else subscription.stats

    async def start(self) -> None:
        """Start following. Does nothing if it is started."""
        if is_alive(self._main):
            return
        if self._subscription is not None:  # its loop ended while it ran
            self._stats = self.stats()
        self._woken, self._changed, self._pending = asyncio.Event(), asyncio.Event(), None  # of this loop
        now = time.monotonic()
        subscription = Subscription(
            self._balancer, self._source, self._listeners, now=now, before=self._stats
        )
        claim(self._balancer, self, lambda: self._follow(subscription))

    def _follow(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._main = asyncio.create_task(self._run(subscription), name="balancekit-discovery")

    async def stop(self) -> None:
        """Stop following, and return when the task has ended. Does nothing if it is stopped."""
        main = self._main
        if main is None:
            return
        alive = is_alive(main)
        if alive:
            require_own_loop(main)
        self._main = None
        self._stats, self._subscription = self.stats(), None
        if not alive:
            return
        self._changed.set()  # first: the wait may be cancelled
        main.cancel()
        await asyncio.gather(main, return_exceptions=True)

    async def refresh(self) -> None:
        """Refresh now, regardless of the schedule. Returns at once; the resolver runs in the background."""
        if self._subscription is not None:
            self._subscription.hurry(now=time.monotonic())
            self._woken.set()

    async def wait_ready(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as the other runner
        """Wait until the source has returned an endpoint; ``False`` after the timeout or if the runner is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._subscription is not None and not self._subscription.ready:
                    self._changed.clear()
                    await self._changed.wait()
        return self._subscription is not None and self._subscription.ready

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        __enter__ = Elsewhere("write `async with AsyncDiscovery(...)`, or use ThreadDiscovery")

    # ------------------------------------------------------------------ in the task

    async def _run(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()

        def push(resolved: Resolution) -> None:
            subscription.push(resolved, now=time.monotonic())
            loop.call_soon_threadsafe(self._woken.set)

        watch = Watch(self._source, push)
        try:
            while True:
                self._woken.clear()
                watch.begin()
                subscription.settle(now=time.monotonic(), wall=time.time())
                if subscription.due(now=time.monotonic()):
                    await self._resolve(subscription)
                    raise_lost_cancellation()
                self._changed.set()
                # Not wait_for: in Python 3.11 it forgets a cancellation that comes as the wait ends.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, subscription.deadline - time.monotonic())):
                        await self._woken.wait()
        finally:
            watch.end()

    async def _resolve(self, subscription: Subscription) -> None:
        try:
            async with asyncio.timeout(self._source.refresh.timeout):
                answer = await self._answer()
        except (Exception, asyncio.CancelledError) as error:
            raise_cancellation()
            subscription.failed(error, now=time.monotonic())
        else:
            subscription.answered(
                answer, now=time.monotonic(), wall=time.time(), requested_at=self._requested_at
            )

    async def _answer(self) -> object:
        """Call the resolver. A blocking resolver is called in a thread; if its last call still hangs, wait for that call."""
        resolve = self._source.resolver.resolve
        if is_coroutine_function(resolve):
            self._requested_at = time.monotonic()
            pending: Any = resolve()
            return await pending
        if self._pending is None or self._pending.done():
            self._requested_at = time.monotonic()
            self._pending = _in_thread(resolve)
        await asyncio.wait({self._pending})
        answer, error = self._pending.result()
        if error is not None:
            raise error
        return answer


def _in_thread(function: Callable[[], Any]) -> asyncio.Future[tuple[object, BaseException | None]]:
    """Call a function that may block; return a future of its result and its error.

    Unlike ``to_thread``, the end of the loop does not wait for the function.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()

    def finish(answer: object, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((answer, error))

    def work() -> None:
        result: tuple[object, BaseException | None]
        try:
            result = (function(), None)
        except BaseException as error:
            result = (None, error)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(finish, *result)

    threading.Thread(target=work, name="balancekit-resolve", daemon=True).start()
    return future
