"""Listeners of one balancer: added, taken away, and called with events.

A listener runs in the thread that caused the event, under no lock. One that raises is logged and changes nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_not
from typing import TypeVar, final

from balancekit.engine.delivery import Delivery, Entry
from balancekit.engine.locks import EngineLocks
from balancekit.events import Event, EventSink

__all__ = ["Listeners", "end_of"]

C = TypeVar("C", bound=Callable[..., object])


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
    delivery
        Of the balancer.
    """

    __slots__ = ("__weakref__", "_delivery", "_listeners", "_locks")

    def __init__(self, locks: EngineLocks, delivery: Delivery) -> None:
        self._locks = locks
        self._delivery = delivery
        self._listeners: tuple[Entry[EventSink], ...] = ()

    def add(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; return a function that takes it away again."""
        entry = Entry(listener)
        with self._locks.listeners:
            self._listeners = (*self._listeners, entry)
        return end_of(self._remove, entry)

    def dispatch(self, events: Iterable[Event]) -> None:
        """Hand events to the listeners, in the order they happened."""
        self._delivery.deliver("listener %r failed on %r", self._listeners, [(event,) for event in events])

    def dispatch_one(self, event: Event) -> None:
        """Hand one event to the listeners."""
        self.dispatch((event,))

    def _remove(self, entry: Entry[EventSink]) -> None:
        with self._locks.listeners:
            self._listeners = tuple(filter(partial(is_not, entry), self._listeners))  # no loop under a lock
