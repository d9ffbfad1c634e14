"""The turn of the one thread that calls health machines.

Health machines are mutable and may be the user's, so they must be called one at a time and under no lock. A
thread with something to dispatch queues it. If another thread has the turn, that one will do it, and none
waits; else the thread takes the turn and works until the line is empty, or it has done its part.

So a machine may use the balancer, wait for another thread that does, or take long: others go on. What they had to
report is processed a little later than they returned.

A change of membership that another thread's publication came before *delays* the turn: until it is through, inputs
wait in line. Else inputs that come fast would come before the change of a large pool for ever.

Cost: one uncontended lock and one deque entry for each input; only failed and watched requests come here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, final

from balancekit.engine.locks import EngineLocks
from balancekit.events import Event

__all__ = ["Task", "Turn"]

PART: Final = 8
"""Inputs that a thread dispatches for one of its own: a request that fails must not go on with those of others."""
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

    __slots__ = ("_delayed_by", "_locks", "_owner", "changing", "line")

    def __init__(self, locks: EngineLocks) -> None:
        self._locks = locks
        self.line: deque[Task] = deque()
        """The calls to be made. If a thread was interrupted, the next one does what it left."""
        self.changing: set[int] = set()
        """The threads that change the pool."""
        self._owner: object = None
        self._delayed_by: set[int] = set()

    def delay(self, thread: int) -> None:
        """Let inputs wait in line while a thread is ``changing``, but the one that is being dispatched.

        The delay ends with the change, also if an interrupt keeps :meth:`resume` from being called.
        """
        self._delayed_by.add(thread)

    def resume(self, thread: int) -> None:
        """Forget the delay of a thread, if there is one. What is in line then is for the caller to dispatch."""
        self._delayed_by.discard(thread)

    @property
    def delayed(self) -> bool:
        """Whether inputs wait in line."""
        return not self.changing.isdisjoint(self._delayed_by)

    @property
    def left(self) -> bool:
        """Whether there is something in line that no thread is at."""
        return bool(self.line) and self._owner is None

    def take_unless_taken(self, task: Task, *, whole: bool = False) -> list[Event]:
        """Put a task in line and do a part of it, or nothing if a thread has the turn or delays it: for what stays due.

        Parameters
        ----------
        task
            The task.
        whole
            Whether to do all that is in line now.

        Were it put in line, a machine that changes the pool whenever it is called would keep the turn for ever.
        """
        if self._owner is not None or self.delayed:
            return []
        self.line.append(task)
        return self._work(task, len(self.line) if whole else PART)

    def take(self, task: Task) -> list[Event]:
        """Put a task in line and, unless another thread has the turn or one delays it, do a part of what is in line.

        Returns
        -------
        list
            The events of what this thread did, to be handed to listeners.
        """
        self.line.append(task)
        return self._work(task, PART)

    def _work(self, token: object, part: int) -> list[Event]:
        events: list[Event] = []
        while self.line and part:
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
        """Do what is in line until the part is done or the turn is delayed; return what is left of the part.

        A method, for CPython 3.13 lets an interrupt at a jump of ``while`` pass a ``finally`` around it.
        """
        while self.line and part and not self.delayed:
            events += self.line.popleft()()
            part -= 1
        return part

    def start_over(self) -> None:
        """Forget what is in line and whose turn it is: in a forked child, where that thread does not exist."""
        self.line.clear()
        self.changing.clear()
        self._delayed_by.clear()
        self._owner = None
