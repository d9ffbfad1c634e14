"""Hooks of the VRRP driver in a thread: in order, outside every lock, with a time limit.

A hook that raises or takes too long faults the router, so that none stays active without its addresses. A
thread cannot be stopped from outside: a hook that hangs delays later hooks, but no advert.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, TypeAlias, final

from balancekit._support.functions import refuse_coroutine
from balancekit._support.log import log_error
from balancekit._support.runner import join
from balancekit.adapters._vrrp_calls import HookCall, HookKind, RoleChange
from balancekit.adapters._vrrp_core import VrrpCore, clock

__all__ = ["Hook", "HookThread"]

Hook: TypeAlias = Callable[[RoleChange], object]
"""A callable that takes a change of role."""
ANNOUNCEMENTS: Final = 3
"""How often an address is announced: frames may be lost."""


@final
class HookThread:
    """Calls hooks one after the other.

    Parameters
    ----------
    core
        The core that sends announcements.
    hooks
        What to call, by kind.
    failed
        Called from the thread with the kind of a hook that raised.
    """

    def __init__(
        self, core: VrrpCore, hooks: dict[HookKind, Hook | None], failed: Callable[[HookKind], None]
    ) -> None:
        self._core = core
        self._hooks = hooks
        self._failed = failed
        self._queue: queue.SimpleQueue[HookCall | None] = queue.SimpleQueue()
        self.running_since: float | None = None
        """When the present hook was called; ``None`` between hooks."""
        self.kind: HookKind | None = None
        """What the present or last hook is."""
        self._thread = threading.Thread(target=self._work, name="balancekit-vrrp-hooks", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, call: HookCall) -> None:
        """Let a hook be called after those that wait."""
        self._queue.put(call)

    def stop(self, timeout: float) -> bool:
        """Let the thread end after the hooks that wait; return whether it has within ``timeout`` seconds."""
        self._queue.put(None)
        join(self._thread, timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            self.kind = call.kind
            if call.kind is HookKind.ANNOUNCE:
                for _ in range(ANNOUNCEMENTS):
                    self._core.announce(call.change)
                continue
            hook = self._hooks.get(call.kind)
            if hook is None:
                continue
            self.running_since = clock()
            try:
                refuse_coroutine(hook(call.change))
            except Exception:
                log_error("VRRP: the hook %s raised", call.kind.value)
                self._failed(call.kind)
            finally:
                self.running_since = None
