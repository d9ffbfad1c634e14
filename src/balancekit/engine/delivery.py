"""The calls of listeners and observers of one balancer, one at a time in each thread.

A callback may use the balancer, and what it causes concerns the callbacks too: a listener drains the endpoint that was
added, an observer of starts acquires. Such a notice waits until all have received what came before. So each receives all in
the order in which things happened, and none is called while it runs, unless by another thread.

Callbacks that cause something whenever they are called would do so for ever, two of them twice as often at each step. One
that has caused more, :data:`MAX_CAUSING_CALLS` times, in answer to what followed from one and the same notice, receives
nothing else that follows from it. The others do, a warning is logged, and the request or change goes on.

Cost: one call a callback and notice, and about 25 empty method calls a notice; nothing without callbacks.
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
"""As deep as CPython lets functions call each other, unless set otherwise: an endless loop ends as an endless recursion
does. A listener that changes 1,000 endpoints one by one when it receives one change receives all of them."""

C_co = TypeVar("C_co", bound=Callable[..., object], covariant=True)


@final
class Entry(Generic[C_co]):
    """A callable in a tuple of listeners or observers: one may be added twice, each is taken away by itself."""

    __slots__ = ("__weakref__", "callback", "stopped")

    def __init__(self, callback: C_co) -> None:
        self.callback: C_co = callback
        self.stopped: bool = False
        """Whether it was taken away: it receives nothing of what waits for it, either."""


@final
class _Notice:
    """Something that callbacks receive."""

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
        """Whether a callback has caused it."""
        self.causing: Counter[Entry[Any]] | None = None
        """How often each callback has caused more while it received what follows from the same notice."""
        if cause is not None:
            if cause.causing is None:
                cause.causing = Counter()
            self.causing = cause.causing


@final
class _Here(ThreadLocal):
    """What one thread delivers, and what waits for it."""

    def __init__(self) -> None:
        self.waiting: deque[_Notice] = deque()
        """If the thread was interrupted, the next notice comes after what was left here."""
        self.delivering: _Notice | None = None
        self.caused = 0
        """How often callbacks have caused something in this thread."""


@final
class Delivery:
    """Notifies listeners and observers of one balancer, in order.

    Parameters
    ----------
    guard
        Of the balancer.
    """

    __slots__ = ("_guard", "_here")

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._here = _Here()

    def deliver(
        self,
        message: str,
        entries: tuple[Entry[Callable[..., object]], ...],
        happened: Sequence[tuple[object, ...]],
    ) -> None:
        """Call each entry with the arguments of each thing that happened, now or, inside a callback, after what caused it.

        What a callback raises is logged with the message, which takes the callback and the last argument.
        """
        if not entries:
            return
        here = self._here
        cause = here.delivering
        for arguments in happened:
            here.waiting.append(_Notice(message, entries, arguments, cause))
        if cause is not None:
            here.caused += 1
        while here.waiting and here.delivering is None:  # again, if a signal handler came at the end
            try:
                self._deliver_all(here)
            finally:
                here.delivering = None

    def _deliver_all(self, here: _Here) -> None:
        """Deliver everything that waits; a method, for the reason that ``Turn._empty`` is one."""
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
    """Note that a callback has caused more when it received what a callback had caused."""
    causing[entry] += 1
    if causing[entry] == MAX_CAUSING_CALLS:
        log_change(
            "%r has used the balancer each of the %d times that it received what followed from one use; it receives"
            " nothing else that follows. Let it return at once when it receives what it has caused",
            entry.callback,
            MAX_CAUSING_CALLS,
            bad=True,
        )
