"""VRRP driver on asyncio: the sockets are readers of the event loop, hooks run in one task, in order."""

from __future__ import annotations

import asyncio
import contextlib
from _thread import start_new_thread
from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import new_lock
from balancekit._support.functions import is_coroutine_function, refuse_coroutine
from balancekit._support.log import log_error
from balancekit._support.loop import is_alive, raise_cancellation, raise_lost_cancellation
from balancekit._support.runner import AsyncRunner
from balancekit.adapters._vrrp_calls import HookCall, HookKind, RoleChange, checked_hook, hook_settings
from balancekit.adapters._vrrp_core import VrrpCore, clock
from balancekit.ha import Role, SyncGroup, TrackedState, Tracking, VirtualRouter

__all__ = ["AsyncHook", "AsyncVrrp"]

AsyncHook: TypeAlias = Callable[[RoleChange], Awaitable[Any]] | Callable[[RoleChange], Any]
"""A coroutine function, or a plain callable, which is called in a thread."""
ANNOUNCEMENTS: Final = 3
HOOK: Final = "hook"


@final
class AsyncVrrp(ConstructorRepr, AsyncRunner):
    """Take part in an election, on asyncio.

    Parameters
    ----------
    router, interface, hook_timeout, hook_retry, tracking, check_link, watch_addresses, advert_log
        As of :class:`VrrpThread`.
    on_active, on_backup, on_change
        Coroutine functions, awaited in one task, in order; or plain callables, called in a thread. One that raises, or
        takes longer than ``hook_timeout``, faults the router. A coroutine is cancelled then; a thread cannot be, so the hooks
        behind it wait until it is done.

    Raises
    ------
    ConfigurationError
        If ``router``, ``interface``, a hook or ``tracking`` is of the wrong class, or a time is not > 0.

    *When not to use it:* on a loop that other code blocks for longer than an interval. The router then resigns its role
    rather than stay active in silence. Use :class:`VrrpThread` there.

    Example
    -------
    .. code-block:: python

        router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", priority=150)
        address = ip_address_hook("eth0", "192.0.2.100/24")
        async with AsyncVrrp(router, interface="eth0", on_active=address.add, on_backup=address.remove) as vrrp:
            await serve(...)
    """

    if not TYPE_CHECKING:  # type checkers know that it is asynchronous
        __enter__ = Elsewhere("write `async with AsyncVrrp(...)`, or use VrrpThread")

    def __init__(
        self,
        router: VirtualRouter | SyncGroup,
        *,
        interface: str,
        on_active: AsyncHook | None = None,
        on_backup: AsyncHook | None = None,
        on_change: AsyncHook | None = None,
        hook_timeout: float = 5.0,
        hook_retry: float | None = 60.0,
        tracking: Tracking | None = None,
        check_link: bool = True,
        watch_addresses: bool = False,
        advert_log: str | Path | None = None,
    ) -> None:
        self._core = VrrpCore(
            router,
            interface,
            tracking=tracking,
            check_link=check_link,
            watch_addresses=watch_addresses,
            advert_log=advert_log,
        )
        self._hooks, self._hook_timeout, self._hook_retry = hook_settings(
            checked_hook, on_active, on_backup, on_change, hook_timeout, hook_retry
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._hook: asyncio.Task[None] | None = None
        self._lock = new_lock()
        self._session: object = None
        """From start to the end of its sockets: a thread that ends one does not end the next."""

    @property
    def running(self) -> bool:
        """Whether it is started; not if its loop has ended over it."""
        return self._loop is not None and not self._loop.is_closed()

    async def start(self) -> None:
        """Open the sockets and begin as backup. Does nothing if it is started; raises as :meth:`VrrpThread.start`."""
        if self.running:
            return
        if self._loop is not None:
            self._leave(self._loop)
        self._loop = loop = asyncio.get_running_loop()
        try:
            self._session = object()
            self._core.open()
            self._call_hooks_soon()
            for one in self._core.sockets.values():
                loop.add_reader(one, self._turn)
            self._core.start(clock())
            self._settle()
        except BaseException:  # an interrupt included
            self._leave(loop)
            raise

    async def stop(self) -> None:
        """Resign if active, let the last hooks run, and close the sockets. Does nothing if it is stopped.

        Hooks that take longer than ``hook_timeout`` together are left behind. A hook may call it, and is not waited for.
        One that is cancelled or interrupted leaves nothing that another does not finish.
        """
        if self._loop is not None:
            self._leave(self._loop)
        elif not is_alive(self._task):
            return
        task = self._call_hooks_soon()
        if asyncio.current_task() is not self._hook:
            await asyncio.wait({task}, timeout=self._hook_timeout)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Resign if active, and close the sockets. If it is interrupted, the next call finishes it."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if not loop.is_closed():
            for one in self._core.sockets.values():
                with contextlib.suppress(ValueError):  # an interrupted call's thread has just closed it
                    loop.remove_reader(one)
            # Soon: an interrupt in `set` itself would leave the task that waits asleep.
            loop.call_soon(self._woken.set)
        # In a thread, where no signal interrupts it; it takes a millisecond. To start a threading.Thread would take a lock that an
        # interrupt leaves held.
        resigned = SimpleQueue[None]()
        try:
            start_new_thread(self._resign, (self._session, resigned))
        except RuntimeError:  # the system refuses one
            self._resign(self._session, resigned)
        resigned.get()
        self._loop = None

    def _resign(self, session: object, resigned: SimpleQueue[None]) -> None:
        try:
            with self._lock:
                if session is not None and session is self._session:
                    self._end()
            self._core.notes.flush()
        finally:
            resigned.put(None)

    def _end(self) -> None:
        try:
            self._core.stop(clock())
        except Exception:
            self._core.notes.error("VRRP on %s: the driver could not resign", self._core.interface)
        finally:
            self._core.close()
            self._session = None

    @property
    def role(self) -> Role:
        """The present role; of a sync group, what all members have."""
        return self._core.machine.role

    @property
    def rejected(self) -> dict[str, int]:
        """How many adverts were rejected, by reason."""
        return dict(self._core.rejected)

    def explain(self) -> str:
        """Return the role, the reason for it and what comes next."""
        return self._core.machine.explain(now=clock())

    def set_priority(self, priority: int, *, member: str | None = None) -> None:
        """Change the priority of a member, or of all; see :meth:`VrrpThread.set_priority`."""
        self._core.carry_out(self._core.machine.set_priority(priority, member=member, now=clock()))
        self._settle()

    def fault(self, reason: str = "fault", *, member: str | None = None) -> None:
        """Resign, and stay out until :meth:`clear` is called with the same reason and member."""
        self._core.carry_out(self._core.machine.fault(reason, member=member, now=clock()))
        self._settle()

    def clear(self, reason: str = "fault", *, member: str | None = None) -> None:
        """Take a fault back; without any left, the router starts as backup."""
        self._core.carry_out(self._core.machine.clear(reason, member=member, now=clock()))
        self._settle()

    def report(self, check: str, *, passed: bool) -> TrackedState:
        """Record the result of a tracked check; raises as :meth:`VrrpThread.report`."""
        state = self._core.report(check, passed=passed, now=clock())
        self._settle()
        return state

    def set_value(self, name: str, value: int) -> TrackedState:
        """Record a tracked value; raises as :meth:`VrrpThread.set_value`."""
        state = self._core.set_value(name, value, clock())
        self._settle()
        return state

    # ------------------------------------------------------------------ on the loop

    def _turn(self) -> None:
        """Receive what has arrived, do what is due."""
        try:
            self._core.read()
            self._core.tick(clock())
        except Exception:
            log_error("VRRP on %s: a turn of the driver failed", self._core.interface)
        self._settle()

    def _settle(self) -> None:
        """Log what there is to say, let hooks be called, and be woken when the next thing is due."""
        self._core.notes.flush()
        if self._core.calls:
            self._woken.set()
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._core.due_in(clock()), self._turn)

    def _call_hooks_soon(self) -> asyncio.Task[None]:
        """Return the task that calls hooks; one that a hook keeps from ending goes on with those of a new start."""
        task = self._task
        if task is None or not is_alive(task):
            self._woken = asyncio.Event()
            self._task = task = asyncio.create_task(self._call_hooks(), name="balancekit-vrrp-hooks")
        return task

    async def _call_hooks(self) -> None:
        calls = self._core.calls
        while True:
            while calls:
                await self._carry_out(calls.popleft())
                raise_lost_cancellation()
            if self._loop is None:
                return
            self._woken.clear()
            await self._woken.wait()

    async def _carry_out(self, call: HookCall) -> None:
        if call.kind is HookKind.ANNOUNCE:
            for _ in range(ANNOUNCEMENTS):
                self._core.announce(call.change)
            return
        hook = self._hooks[call.kind]
        if hook is not None:
            await self._call(hook, call)

    async def _call(self, hook: AsyncHook, call: HookCall) -> None:
        blocking = not is_coroutine_function(hook)
        self._hook = running = asyncio.create_task(_called(hook, call.change))
        try:
            awaited = asyncio.shield(running) if blocking else running
            async with asyncio.timeout(self._hook_timeout):
                await awaited
        except (Exception, asyncio.CancelledError):
            raise_cancellation()
            log_error("VRRP: the hook %s raised, or took too long", call.kind.value)
            self._hook_failed()
        if not running.done():  # a thread, which what comes after it must not overtake
            await asyncio.gather(running, return_exceptions=True)

    def _hook_failed(self) -> None:
        self.fault(HOOK)
        if self._retry is not None:
            self._retry.cancel()
        if self._hook_retry is not None and self._loop is not None:
            self._retry = self._loop.call_later(self._hook_retry, self.clear, HOOK)


async def _called(hook: AsyncHook, change: RoleChange) -> None:
    if is_coroutine_function(hook):
        await hook(change)
    else:
        refuse_coroutine(await asyncio.to_thread(hook, change))
