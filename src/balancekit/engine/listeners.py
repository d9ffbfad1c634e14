"""Listeners of one balancer: added, taken away, and called with events.

A listener runs in the thread that caused the event, under no lock. One that raises is logged and changes nothing.

Cost: one call a listener and event.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_not
from typing import Generic, TypeVar, final

from balancekit._support.log import contain_error
from balancekit.engine.guard import Guard
from balancekit.engine.locks import EngineLocks
from balancekit.events import Event, EventSink

__all__ = ["Entry", "Listeners", "end_of"]

C = TypeVar("C", bound=Callable[..., object])


@final
class Entry(Generic[C]):
    """A callable in a tuple of listeners or observers: one may be added twice, each is taken away by itself."""

    __slots__ = ("__weakref__", "callback")

    def __init__(self, callback: C) -> None:
        self.callback: C = callback


def end_of(remove: Callable[[Entry[C]], None], entry: Entry[C]) -> Callable[[], None]:
    """Return a function that calls a method with an entry, and keeps alive neither its object nor the callable."""
    method, known = weakref.WeakMethod(remove), weakref.ref(entry)

    def stop() -> None:
        live, there = method(), known()
        if live is not None and there is not None:
            live(there)

    return stop


@final
class Listeners:
    """The listeners of one balancer.

    Parameters
    ----------
    locks
        Of the balancer; ``listeners`` guards the tuple.
    guard
        Of the balancer.
    """

    __slots__ = ("__weakref__", "_guard", "_listeners", "_locks")

    def __init__(self, locks: EngineLocks, guard: Guard) -> None:
        self._locks = locks
        self._guard = guard
        self._listeners: tuple[Entry[EventSink], ...] = ()

    def add(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; return a function that takes it away again."""
        entry = Entry(listener)
        with self._locks.listeners:
            self._listeners = (*self._listeners, entry)
        return end_of(self._remove, entry)

    def dispatch(self, events: Iterable[Event]) -> None:
        """Hand events to the listeners."""
        for event in events:
            for entry in self._listeners:
                self._guard.check()
                try:
                    entry.callback(event)
                except Exception:
                    contain_error("listener %r failed on %r", entry.callback, event)

    def dispatch_one(self, event: Event) -> None:
        """Hand one event to the listeners."""
        self.dispatch((event,))

    def _remove(self, entry: Entry[EventSink]) -> None:
        with self._locks.listeners:
            self._listeners = tuple(filter(partial(is_not, entry), self._listeners))  # no loop under a lock
