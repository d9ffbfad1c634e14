"""Listeners of one balancer: added, taken away, and called with events, or with refusals.

A listener runs in the thread that caused the event, under no lock. One that raises is logged and changes nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_not
from typing import Generic, TypeVar, final

from balancekit.engine.delivery import Delivery, Entry
from balancekit.engine.locks import EngineLocks

__all__ = ["Listeners", "begun", "end_of"]

C = TypeVar("C", bound=Callable[..., object])
T = TypeVar("T")


def end_of(remove: Callable[[Entry[C]], None], entry: Entry[C]) -> Callable[[], None]:
    """Return a function that stops an entry and calls a method with it; it keeps alive neither its object nor the callable."""
    method, known = weakref.WeakMethod(remove), weakref.ref(entry)

    def stop() -> None:
        live, there = method(), known()
        if there is not None:
            there.stopped = True
            if live is not None:
                live(there)

    return stop


def begun(begin: Callable[[], object], stop: Callable[[], None]) -> Callable[[], None]:
    """Begin something, and return what ends it; an interrupt leaves nothing begun that cannot be ended."""
    try:
        begin()
    except BaseException:
        stop()
        raise
    return stop


@final
class Listeners(Generic[T]):
    """The listeners of one balancer to one kind of thing.

    Parameters
    ----------
    locks
        Of the balancer; ``listeners`` guards the tuple.
    delivery
        Of the balancer.
    message
        What is logged of one that raises, with places for the listener and for what it was called with.
    """

    __slots__ = ("__weakref__", "_delivery", "_listeners", "_locks", "_message")

    def __init__(self, locks: EngineLocks, delivery: Delivery, message: str) -> None:
        self._locks = locks
        self._delivery = delivery
        self._message = message
        self._listeners: tuple[Entry[Callable[[T], object]], ...] = ()

    def add(self, listener: Callable[[T], object]) -> Callable[[], None]:
        """Add a listener; return a function that takes it away again."""
        entry = Entry(listener)
        return begun(lambda: self._append(entry), end_of(self._remove, entry))

    def dispatch(self, happened: Iterable[T]) -> None:
        """Hand what happened to the listeners, in that order."""
        self._delivery.deliver(self._message, self._listeners, [(one,) for one in happened])

    def dispatch_one(self, happened: T) -> None:
        """Hand one thing to the listeners."""
        self.dispatch((happened,))

    def _append(self, entry: Entry[Callable[[T], object]]) -> None:
        with self._locks.listeners:
            self._listeners = (*self._listeners, entry)

    def _remove(self, entry: Entry[Callable[[T], object]]) -> None:
        with self._locks.listeners:
            self._listeners = tuple(filter(partial(is_not, entry), self._listeners))  # no loop under a lock
