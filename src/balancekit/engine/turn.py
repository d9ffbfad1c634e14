"""The queue of calls of health machines, and the turn: the right of one thread to make those calls.

Health machines are mutable, and the user may have written them. So one thread at a time calls them, under no lock. A
thread queues its call. If no thread has the turn, it takes the turn and makes queued calls until the queue is empty or
it has made :data:`PART` calls. If another thread has the turn, that thread makes the call. No thread waits.

So a machine may use the balancer, wait for another thread that uses it, or take long, and other threads continue. Their
calls may be made after their requests have returned.

A change of membership *delays* the turn after its first attempt has failed: calls stay queued until the change is done.
Without this, frequent calls could keep the change of a large pool from ever being published.

Cost: one uncontended lock and one deque entry for each call. Only failures, and successes that health needs, are queued.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, final

from balancekit.engine.locks import EngineLocks
from balancekit.events import Event

__all__ = ["Task", "Turn"]

PART: Final = 8
"""Queued calls that a thread makes when it queues one. The bound keeps a failed request from working for all others."""
Task: TypeAlias = Callable[[], Iterable[Event]]
"""A call of a health machine. It returns the resulting events."""


@final
class Turn:
    """The queue of calls of health machines, and the thread that has the turn.

    Parameters
    ----------
    locks
        The locks of the balancer; ``writer`` guards the owner of the turn.
    """

    __slots__ = ("_delayed_by", "_locks", "_owner", "changing", "queue")

    def __init__(self, locks: EngineLocks) -> None:
        self._locks = locks
        self.queue: deque[Task] = deque()
        """The queued calls. If a thread is interrupted, the next thread makes those that it has left."""
        self.changing: set[int] = set()
        """The ids of the threads that are changing the pool."""
        self._owner: object = None
        self._delayed_by: set[int] = set()

    def delay(self, thread: int) -> None:
        """Keep calls queued while ``thread`` is in ``changing``. A call that is being made is not affected.

        The delay ends with the change, even if an interrupt prevents the call of :meth:`resume`.
        """
        self._delayed_by.add(thread)

    def resume(self, thread: int) -> None:
        """End the delay of a thread, if there is one. The caller must then make the queued calls."""
        self._delayed_by.discard(thread)

    @property
    def delayed(self) -> bool:
        """Whether a change delays the turn."""
        return not self.changing.isdisjoint(self._delayed_by)

    @property
    def pending(self) -> bool:
        """Whether calls are queued and no thread has the turn."""
        return bool(self.queue) and self._owner is None

    def run_if_free(self, task: Task, *, whole: bool = False) -> list[Event]:
        """Queue a call and make queued calls. Do nothing if another thread has the turn or a change delays it.

        For calls that stay due, so that a later request makes them. If these were queued, a machine that changes the pool
        at every call would keep the turn forever.

        Parameters
        ----------
        task
            The call.
        whole
            Whether to make all calls that are queued now, instead of :data:`PART` of them.

        Returns
        -------
        list
            The events of the calls that this thread has made, for the listeners.
        """
        if self._owner is not None or self.delayed:
            return []
        self.queue.append(task)
        return self._work(task, len(self.queue) if whole else PART)

    def run(self, task: Task) -> list[Event]:
        """Queue a call. Make up to :data:`PART` queued calls unless another thread has the turn or a change delays it.

        Returns
        -------
        list
            The events of the calls that this thread has made, for the listeners.
        """
        self.queue.append(task)
        return self._work(task, PART)

    def _work(self, token: object, part: int) -> list[Event]:
        events: list[Event] = []
        while self.queue and part:
            try:
                with self._locks.writer:
                    if self._owner is None and not self.delayed:
                        self._owner = token
                if self._owner is not token:
                    break
                part = self._dispatch(part, events)
            finally:
                if self._owner is token:
                    self._owner = None
        return events

    def _dispatch(self, part: int, events: list[Event]) -> int:
        """Make up to ``part`` queued calls, until a change delays the turn. Return ``part`` minus the calls made.

        This loop is a method of its own because of CPython 3.13: an interrupt at the jump of a ``while`` skips a ``finally``
        in the same function.
        """
        while self.queue and part and not self.delayed:
            events += self.queue.popleft()()
            part -= 1
        return part

    def start_over(self) -> None:
        """Drop the queued calls and the owner of the turn. Called in a forked child, where that thread does not exist."""
        self.queue.clear()
        self.changing.clear()
        self._delayed_by.clear()
        self._owner = None
