"""Listeners of one balancer: added, taken away, and called with events.

A listener runs in the thread that caused the event, under no lock. One that raises is logged and changes nothing.

Cost: one call a listener and event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from operator import is_not
from typing import final

from balancekit._support.log import contain_error
from balancekit.engine.hooks import Guard
from balancekit.engine.locks import EngineLocks
from balancekit.events import Event, EventSink

__all__ = ["Listeners"]


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

    __slots__ = ("_guard", "_listeners", "_locks")

    def __init__(self, locks: EngineLocks, guard: Guard) -> None:
        self._locks = locks
        self._guard = guard
        self._listeners: tuple[
            tuple[EventSink], ...
        ] = ()  # each in an entry of its own: one may be added twice

    def add(self, listener: EventSink) -> Callable[[], None]:
        """Add a listener; return a function that takes it away again."""
        entry = (listener,)
        with self._locks.listeners:
            self._listeners = (*self._listeners, entry)

        def stop() -> None:
            with self._locks.listeners:
                self._listeners = tuple(
                    filter(partial(is_not, entry), self._listeners)
                )  # no loop under a lock

        return stop

    def dispatch(self, events: Iterable[Event]) -> None:
        """Hand events to the listeners."""
        for event in events:
            for (listener,) in self._listeners:
                self._guard.check()
                try:
                    listener(event)
                except Exception:
                    contain_error("listener %r failed on %r", listener, event)

    def dispatch_one(self, event: Event) -> None:
        """Hand one event to the listeners."""
        self.dispatch((event,))
