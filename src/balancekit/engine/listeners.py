"""The listeners of one balancer, for events or for refusals.

A listener runs in the thread that caused the event, under no lock. An exception of a listener is logged.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_not
from typing import Generic, TypeVar, final

from balancekit.engine.delivery import Delivery, Entry
from balancekit.engine.locks import EngineLocks

__all__ = ["Listeners", "begin_or_undo", "stopper"]

C = TypeVar("C", bound=Callable[..., object])
T = TypeVar("T")


def stopper(remove: Callable[[Entry[C]], None], entry: Entry[C]) -> Callable[[], None]:
    """Return a function that marks an entry as stopped and calls ``remove`` with it.

    The function holds only weak references: it keeps neither the object of ``remove`` nor the entry alive.
    """
    method, known = weakref.WeakMethod(remove), weakref.ref(entry)

    def stop() -> None:
        live, there = method(), known()
        if there is not None:
            there.stopped = True
            if live is not None:
                live(there)

    return stop


def begin_or_undo(begin: Callable[[], object], stop: Callable[[], None]) -> Callable[[], None]:
    """Call ``begin`` and return ``stop``. If ``begin`` raises, ``stop`` is called before the exception continues."""
    try:
        begin()
    except BaseException:
        stop()
        raise
    return stop


@final
class Listeners(Generic[T]):
    """The listeners of one balancer for one type of notice.

    Parameters
    ----------
    locks
        The locks of the balancer; ``listeners`` guards the tuple of listeners.
    delivery
        The delivery of the balancer.
    message
        The format string that is logged if a listener raises. Its two values are the listener and the argument.
    """

    __slots__ = ("__weakref__", "_delivery", "_listeners", "_locks", "_message")

    def __init__(self, locks: EngineLocks, delivery: Delivery, message: str) -> None:
        self._locks = locks
        self._delivery = delivery
        self._message = message
        self._listeners: tuple[Entry[Callable[[T], object]], ...] = ()

    def add(self, listener: Callable[[T], object]) -> Callable[[], None]:
        """Add a listener. Return a function that removes it; a second call of that function does nothing."""
        entry = Entry(listener)
        return begin_or_undo(lambda: self._append(entry), stopper(self._remove, entry))

    def dispatch(self, happened: Iterable[T]) -> None:
        """Call every listener with each of the notices, in their order."""
        self._delivery.deliver(self._message, self._listeners, [(one,) for one in happened])

    def dispatch_one(self, happened: T) -> None:
        """Call every listener with one notice."""
        self.dispatch((happened,))

    def _append(self, entry: Entry[Callable[[T], object]]) -> None:
        with self._locks.listeners:
            self._listeners = (*self._listeners, entry)

    def _remove(self, entry: Entry[Callable[[T], object]]) -> None:
        with self._locks.listeners:
            self._listeners = tuple(filter(partial(is_not, entry), self._listeners))  # no loop under a lock
