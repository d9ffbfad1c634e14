"""VRRP drivers: a program that holds an address together with others, by raw sockets on Linux.

:class:`VrrpThread` runs in a thread of its own, :class:`AsyncVrrp` on an event loop. Both send and receive adverts and
call hooks when the role changes. **They never add or remove addresses themselves**: :func:`ip_address_hook` makes hooks
that do. Several elections on one machine (active-active) are several drivers; a sync group is one.

Needs CAP_NET_RAW; hooks that move addresses need CAP_NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from balancekit._support.display import ConstructorRepr
from balancekit._support.elsewhere import Elsewhere
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.runner import ThreadRunner, join
from balancekit.adapters._vrrp_address import IpAddressHook, ip_address_hook
from balancekit.adapters._vrrp_async import AsyncVrrp
from balancekit.adapters._vrrp_calls import HookKind, RoleChange, hook_settings, plain_hook
from balancekit.adapters._vrrp_core import VrrpCore, clock
from balancekit.adapters._vrrp_hooks import Hook, HookThread
from balancekit.ha import Role, SyncGroup, TrackedState, Tracking, VirtualRouter

__all__ = ["AsyncVrrp", "IpAddressHook", "RoleChange", "VrrpThread", "ip_address_hook"]


@final
class VrrpThread(ConstructorRepr, ThreadRunner):
    """Driver of an election, in a thread.

    Parameters
    ----------
    router
        The virtual router, or several that change together.
    interface
        The name of the interface that adverts are sent on.
    on_active, on_backup
        Called with a :class:`RoleChange` when the router becomes active, and when it is not or no longer: at the start
        too, since a killed predecessor may have left its address behind. They are called from a thread of their
        own, in order, outside every lock. One that raises, or takes longer than ``hook_timeout``, faults the router.
    on_change
        Called with every :class:`RoleChange`, after the others and under the same rules: for a status or a journal. The others
        are not called when a backup router becomes faulty, or is a backup again.
    hook_timeout
        Seconds a hook may take, > 0.
    hook_retry
        Seconds until a router that a hook has faulted starts again as backup, > 0; ``None``: when :meth:`clear` is
        called with the reason ``"hook"``.
    tracking
        Checks that :meth:`report` may move the priority by, or fault the router.
    check_link
        Whether a lost carrier is a fault, and a source address that the machine has no more: its adverts could not be sent.
        Noticed within a quarter of a second, or half an interval, as is an interface that was deleted and recreated.
    watch_addresses
        Whether an active router starts again as backup when a protected address is there no more, for hooks that add
        addresses to this machine: other programs may remove them, as network managers do, and a link that goes down for a
        moment those of IPv6. Noticed like a lost carrier.
    advert_log
        A file to append every received packet to, for :func:`~balancekit.ha.replay_adverts`.

    Raises
    ------
    ConfigurationError
        If ``router``, ``interface``, a hook or ``tracking`` is of the wrong class, or a time is not > 0.

    Notes
    -----
    *Guarantee.* A hook that hangs delays no advert. After :meth:`stop` there is no thread and no socket, unless a hook
    still hangs. If the process is killed, the router is replaced after the other's down time.

    *When not to use it:* for a machine that does nothing else; keepalived needs no Python, and this understands it.

    Example
    -------
    .. code-block:: python

        router = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", priority=150)
        address = ip_address_hook("eth0", "192.0.2.100/24")
        with VrrpThread(router, interface="eth0", on_active=address.add, on_backup=address.remove) as vrrp:
            vrrp.set_priority(90)
            print(vrrp.explain())
    """

    if not TYPE_CHECKING:  # type checkers know that it is synchronous
        __aenter__ = Elsewhere("write `with VrrpThread(...)`, or use AsyncVrrp")

    def __init__(
        self,
        router: VirtualRouter | SyncGroup,
        *,
        interface: str,
        on_active: Hook | None = None,
        on_backup: Hook | None = None,
        on_change: Hook | None = None,
        hook_timeout: float = 5.0,
        hook_retry: float | None = 60.0,
        tracking: Tracking | None = None,
        check_link: bool = True,
        watch_addresses: bool = False,
        advert_log: str | Path | None = None,
    ) -> None:
        def make() -> VrrpCore:
            return VrrpCore(
                router,
                interface,
                tracking=tracking,
                check_link=check_link,
                watch_addresses=watch_addresses,
                advert_log=advert_log,
            )

        self._make = make
        self._core = make()
        self._hooks, self._hook_timeout, self._hook_retry = hook_settings(
            plain_hook, on_active, on_backup, on_change, hook_timeout, hook_retry
        )
        self._rest()
        call_in_child(self)

    def _rest(self) -> None:
        """Be as if never started."""
        self._lock = new_lock()
        self._thread: threading.Thread | None = None
        self._ends = False
        self._hook_thread: HookThread | None = None
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._selector: selectors.BaseSelector | None = None
        self._hook_failed_at: float | None = None

    # ------------------------------------------------------------------ life

    @property
    def running(self) -> bool:
        """Whether it is started."""
        return self._thread is not None and not self._ends

    def start(self) -> None:
        """Open the sockets and begin as backup. Does nothing if it is started.

        Raises
        ------
        PermissionError
            Without CAP_NET_RAW.
        ConfigurationError
            If there is no such interface.
        """
        super().start()

    def _start(self) -> None:
        if self._ends:
            self.stop()  # one that was interrupted
        with self._lock:
            if self._thread is None:
                self._core.open()
                self._begin(self._core)
        self._core.notes.flush()

    def _begin(self, core: VrrpCore) -> None:
        """Start the threads; the lock is held, so that they wait for what follows."""
        self._wakeup = ends = socket.socketpair()
        ends[1].setblocking(False)
        self._hook_failed_at = None
        self._hook_thread = hooks = HookThread(core, self._hooks, self._hook_raised)
        hooks.start()
        self._selector = selector = selectors.DefaultSelector()
        selector.register(ends[0], selectors.EVENT_READ, ends[0])
        for one in core.sockets.values():
            selector.register(one, selectors.EVENT_READ)
        self._thread = thread = threading.Thread(
            target=self._work, args=(core, selector), name="balancekit-vrrp", daemon=True
        )
        thread.start()
        core.start(clock())
        self._pass_on()

    def stop(self) -> None:
        """Resign if active, let the last hooks run, and return when no thread is left. Does nothing if it is stopped.

        A hook that takes longer than ``hook_timeout`` is left behind.
        """
        with self._lock:
            thread, hooks = self._thread, self._hook_thread
            self._ends = True
            self._wake()
        if thread is not None:
            join(thread)  # it resigns, and closes the sockets: no signal interrupts it
        if hooks is not None:
            hooks.stop(self._hook_timeout)
        with self._lock:
            if self._thread is thread:
                self._close()  # what a start that failed has left
                self._thread = self._hook_thread = None
                self._ends = False
        self._core.notes.flush()

    def _end(self, core: VrrpCore) -> None:
        """Resign if active, and close what is open; the lock is held."""
        try:
            core.stop(clock())
            self._pass_on()
            if self._hook_thread is not None:
                self._hook_thread.stop(0.0)  # it ends after the hooks that wait
        except Exception:
            core.notes.error("VRRP on %s: the driver could not resign", core.interface)
        finally:
            self._close()

    def _close(self) -> None:
        """Close the sockets; the lock is held."""
        self._core.close()
        for one in (self._selector, *(self._wakeup or ())):
            if one is not None:
                one.close()
        self._selector = self._wakeup = None

    # ------------------------------------------------------------------ what a program reads and calls

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
        with self._lock:
            return self._core.machine.explain(now=clock())

    def set_priority(self, priority: int, *, member: str | None = None) -> None:
        """Change the priority of a member, or of all.

        The active router hands over after the other's down time; at once with ``resign_when_outranked``.
        """
        with self._changing() as now:
            self._core.carry_out(self._core.machine.set_priority(priority, member=member, now=now))

    def fault(self, reason: str = "fault", *, member: str | None = None) -> None:
        """Resign, and stay out until :meth:`clear` is called with the same reason and member."""
        with self._changing() as now:
            self._core.carry_out(self._core.machine.fault(reason, member=member, now=now))

    def clear(self, reason: str = "fault", *, member: str | None = None) -> None:
        """Take a fault back; without any left, the router starts as backup."""
        with self._changing() as now:
            self._core.carry_out(self._core.machine.clear(reason, member=member, now=now))

    def report(self, check: str, *, passed: bool) -> TrackedState:
        """Record how a tracked check ended.

        Raises
        ------
        ConfigurationError
            If there is no tracking, or no check of that name.
        """
        with self._changing() as now:
            return self._core.report(check, passed=passed, now=now)

    def set_value(self, name: str, value: int) -> TrackedState:
        """Record a tracked value.

        Raises
        ------
        ConfigurationError
            If there is no tracking, or no value of that name.
        """
        with self._changing() as now:
            return self._core.set_value(name, value, now)

    # ------------------------------------------------------------------ in the threads

    @contextlib.contextmanager
    def _changing(self) -> Iterator[float]:
        with self._lock:
            yield clock()
            self._pass_on()
            self._wake()
        self._core.notes.flush()

    def _pass_on(self) -> None:
        """Give the hook thread what there is to call."""
        while self._core.calls:
            call = self._core.calls.popleft()
            if self._hook_thread is not None:
                self._hook_thread.put(call)

    def _wake(self) -> None:
        if self._wakeup is not None:
            with contextlib.suppress(BlockingIOError):
                self._wakeup[1].send(b"\0")

    def _hook_raised(self, kind: HookKind) -> None:
        with self._changing() as now:
            self._hook_failed_at = now
            self._core.carry_out(self._core.machine.fault(HOOK, now=now))

    def _watch_hooks(self, now: float) -> None:
        """Fault the router if a hook takes too long; clear that fault once hooks are done and ``hook_retry`` has passed."""
        hooks = self._hook_thread
        begun = None if hooks is None else hooks.running_since
        if begun is not None and now - begun > self._hook_timeout:
            if self._hook_failed_at is None:
                self._core.notes.error("VRRP: a hook takes longer than %g s", self._hook_timeout)
            self._hook_failed_at = now
            self._core.carry_out(self._core.machine.fault(HOOK, now=now))
        elif (
            self._hook_failed_at is not None
            and self._hook_retry is not None
            and now - self._hook_failed_at >= self._hook_retry
        ):
            self._hook_failed_at = None
            self._core.carry_out(self._core.machine.clear(HOOK, now=now))

    def _wait(self, core: VrrpCore) -> float | None:
        """Return how long there is nothing to do; ``None`` once the calling thread is to end."""
        with self._lock:
            if self._ends or self._thread is not threading.current_thread():
                return None
            return min(core.due_in(clock()), MAX_WAIT_S)

    def _work(self, core: VrrpCore, selector: selectors.BaseSelector) -> None:
        this = threading.current_thread()
        try:
            while (wait := self._wait(core)) is not None:
                for key, _ in selector.select(wait):
                    if key.data is not None:
                        key.data.recv(4096)
                with self._lock:
                    if self._thread is this and not self._ends:
                        self._run(core)
                core.notes.flush()
        finally:
            with self._lock:
                if self._thread is this:
                    self._end(core)
            core.notes.flush()

    def _run(self, core: VrrpCore) -> None:
        try:
            core.read()
            now = clock()
            core.tick(now)
            self._watch_hooks(now)
            self._pass_on()
        except Exception:
            core.notes.error("VRRP on %s: a turn of the driver failed", core.interface)

    # ------------------------------------------------------------------ forking

    def after_fork(self) -> None:
        """Be stopped in a forked child: the threads are not there, and the sockets are the parent's."""
        self._core.close()
        for end in self._wakeup or ():
            end.close()
        with warnings.catch_warnings():
            # The parent was warned; an error here would end the start of the child.
            warnings.simplefilter("ignore")
            self._core = self._make()
        self._rest()


HOOK: Final = "hook"
"""The reason of a router that a hook has faulted."""
MAX_WAIT_S: Final = 0.5
"""The longest time between two looks at hooks that run."""
