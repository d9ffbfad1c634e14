"""Delivery of notices to the listeners and observers of one balancer.

A notice is one event, one ended lease, one opened lease or one refusal. A thread delivers one notice at a time. A callback
may use the balancer, and this may create further notices: a listener drains the endpoint that was added, or an observer
of starts acquires a lease. A notice that a callback creates is queued until all callbacks have received the earlier ones.
So every callback receives the notices of a thread in order. A thread never calls a callback that it is already running;
another thread may.

A callback that creates a notice at every call would never end. The library stops it: it counts, for all notices that
follow from one first notice, how often each callback has created more. After :data:`MAX_CAUSING_CALLS` times, the
callback receives no other notice that follows from the same first notice. The other callbacks receive them, a warning is
logged, and the request or change continues.

Cost: one call for each callback and notice, and about 25 empty method calls for each notice. No cost without callbacks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, final

from balancekit._support.fork import ThreadLocal
from balancekit._support.functions import refuse_coroutine
from balancekit._support.log import contain_error, log_change
from balancekit.engine.guard import Guard

__all__ = ["MAX_CAUSING_CALLS", "Delivery", "Entry"]

MAX_CAUSING_CALLS: Final = 1_000
"""Calls in which one callback may create notices that follow from the same first notice. The value is CPython's default
recursion limit. A listener that changes 1,000 endpoints one by one in one call still receives all 1,000 changes."""

C_co = TypeVar("C_co", bound=Callable[..., object], covariant=True)


@final
class Entry(Generic[C_co]):
    """One registration of a listener or observer. A callable that is added twice has two entries, removed separately."""

    __slots__ = ("__weakref__", "callback", "stopped")

    def __init__(self, callback: C_co) -> None:
        self.callback: C_co = callback
        self.stopped: bool = False
        """Whether the entry was removed. A removed entry does not receive the notices that are still queued."""


@final
class _Notice:
    """One call to make of every callback."""

    __slots__ = ("arguments", "causing", "entries", "follows", "message")

    def __init__(
        self,
        message: str,
        entries: tuple[Entry[Callable[..., object]], ...],
        arguments: tuple[object, ...],
        cause: _Notice | None,
    ) -> None:
        self.message = message
        self.entries = entries
        self.arguments = arguments
        self.follows: Final = cause is not None
        """Whether a callback has created this notice."""
        self.causing: Counter[Entry[Any]] | None = None
        """The number of calls in which each callback has created notices, among those that follow from one first notice."""
        if cause is not None:
            if cause.causing is None:
                cause.causing = Counter()
            self.causing = cause.causing


@final
class _ThreadQueue(ThreadLocal):
    """The notice that one thread is delivering, and the notices that are queued behind it."""

    def __init__(self) -> None:
        self.waiting: deque[_Notice] = deque()
        """The queued notices. After an interrupt, notices that are left here are delivered before the next one."""
        self.delivering: _Notice | None = None
        self.caused = 0
        """How often callbacks have created notices in this thread."""


@final
class Delivery:
    """The queue of notices for the listeners and observers of one balancer.

    Parameters
    ----------
    guard
        The guard of the balancer. It checks, in debug mode, that no lock is held.
    """

    __slots__ = ("_guard", "_here")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._here = _ThreadQueue()

    def deliver(
        self,
        message: str,
        entries: tuple[Entry[Callable[..., object]], ...],
        happened: Sequence[tuple[object, ...]],
    ) -> None:
        """Call each entry once for each tuple of arguments in ``happened``.

        Inside a callback the calls are queued; they are made after the current notice. An exception of a callback is
        logged with ``message``, a format string for the callback and the last argument.
        """
        if not entries:
            return
        here = self._here
        cause = here.delivering
        for arguments in happened:
            here.waiting.append(_Notice(message, entries, arguments, cause))
        if cause is not None:
            here.caused += 1
        while here.waiting and here.delivering is None:  # a signal handler may queue one more
            try:
                self._deliver_all(here)
            finally:
                here.delivering = None

    def _deliver_all(self, here: _ThreadQueue) -> None:
        """Deliver every queued notice. This is a method for the reason stated at ``Turn._dispatch``."""
        while here.waiting:
            here.delivering = notice = here.waiting.popleft()
            causing = notice.causing if notice.follows else None
            for entry in notice.entries:
                if entry.stopped or (causing is not None and causing[entry] >= MAX_CAUSING_CALLS):
                    continue
                caused = here.caused
                self._guard.check()
                try:
                    result = entry.callback(*notice.arguments)
                    if result is not None:
                        refuse_coroutine(result)
                except Exception:
                    contain_error(notice.message, entry.callback, notice.arguments[-1])
                if causing is not None and here.caused != caused:
                    _count(causing, entry)


def _count(causing: Counter[Entry[Any]], entry: Entry[Any]) -> None:
    """Count a call in which a callback has created notices while it received one that a callback had created."""
    causing[entry] += 1
    if causing[entry] == MAX_CAUSING_CALLS:
        log_change(
            "callback %r has changed the balancer in %d calls that all follow from one event; it receives no other event"
            " that follows from it. Let the callback return at once when it receives an event that it has caused",
            entry.callback,
            MAX_CAUSING_CALLS,
            bad=True,
        )
