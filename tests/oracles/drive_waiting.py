"""Driver of ``balancekit.waiting.WaitingQueue`` for traces in which requests waited for a slot.

The machine of the server picks as in its own driver; requests that find no slot wait in queues of ours, first in, first out,
one for the backend and one for each server that requests are bound to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import drive_haproxy

from balancekit.waiting import Waiter, WaitingQueue

__all__ = ["candidates"]

Json = Mapping[str, Any]


class Line:
    """A waiting queue with the methods by which the machine of HAProxy uses its own queue."""

    def __init__(self) -> None:
        self._queue: WaitingQueue[Any] = WaitingQueue(max_waiting=None, order="fifo")
        self._waiters: dict[int, Waiter[Any]] = {}

    def __len__(self) -> int:
        return len(self._queue)

    def __getitem__(self, place: int) -> Any:
        return list(self._waiters.values())[place].request

    def append(self, request: Any) -> None:
        """Let a request wait."""
        self._waiters[id(request)], _ = self._queue.offer(request, now=0.0)

    def popleft(self) -> Any:
        """Take the request that is next."""
        waiter, _ = self._queue.next(now=0.0)
        if waiter is None:
            raise IndexError("nothing waits")
        del self._waiters[id(waiter.request)]
        return waiter.request

    def remove(self, request: Any) -> None:
        """Take out a request that has given up."""
        self._queue.withdraw(self._waiters.pop(id(request)))


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, with requests waiting in our queues."""
    world = drive_haproxy.World(trace)
    world.backend._queue = Line()
    for member in world.backend._members.values():
        member.waiting = Line()
    for text in trace["inputs"].get("before", ()):
        world.command(text)
    for event in trace["inputs"]["events"]:
        world.play(event)
    yield {"outputs": world.outputs, "dequeued": world.dequeued}
