"""The turn of the one thread that calls health machines.

Health machines are mutable and may be the user's, so they must be called one at a time and under no lock. A
thread with something to dispatch queues it. If another thread has the turn, that one will do it, and none
waits; else the thread takes the turn and works until the line is empty.

So a machine may use the balancer, wait for another thread that does, or take long: others go on. What they had to
report is processed a little later than they returned.

Cost: one uncontended lock and one deque entry for each input; only failed and watched requests come here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias, final

from balancekit.engine.locks import EngineLocks
from balancekit.events import Event

__all__ = ["Task", "Turn"]

Task: TypeAlias = Callable[[], Iterable[Event]]
"""A call of a health machine; returns the events it led to."""


@final
class Turn:
    """A queue of things to dispatch, and the thread that dispatches.

    Parameters
    ----------
    locks
        Of the balancer; ``writer`` guards whose turn it is.
    """

    __slots__ = ("_locks", "_owner", "line")

    def __init__(self, locks: EngineLocks) -> None:
        self._locks = locks
        self.line: deque[Task] = deque()
        """The calls to be made. If a thread was interrupted, the next one does what it left."""
        self._owner: object = None

    def take_unless_taken(self, task: Task) -> list[Event]:
        """Do a task and what is in line, or nothing if a thread has the turn: for what stays due and is tried again.

        Were it put in line, a machine that changes the pool whenever it is called would keep the turn for ever.
        """
        if self._owner is not None:
            return []
        self.line.append(task)
        return self._work(task)

    def take(self, task: Task) -> list[Event]:
        """Put a task in line and, unless another thread has the turn, do all that is in line.

        Returns
        -------
        list
            The events of what this thread did, to be handed to listeners.
        """
        self.line.append(task)
        return self._work(task)

    def _work(self, token: object) -> list[Event]:
        events: list[Event] = []
        while self.line:
            try:
                with self._locks.writer:
                    if self._owner is None:
                        self._owner = token
                if self._owner is not token:
                    break
                self._empty(events)
            finally:
                if self._owner is token:
                    self._owner = None
        return events

    def _empty(self, events: list[Event]) -> None:
        """Do all that is in line.

        A method, for CPython 3.13 lets an interrupt at a jump of ``while`` pass a ``finally`` around it.
        """
        while self.line:
            events += self.line.popleft()()

    def start_over(self) -> None:
        """Forget what is in line and whose turn it is: in a forked child, where that thread does not exist."""
        self.line.clear()
        self._owner = None
