"""The end of a command that runs until a signal."""

from __future__ import annotations

import contextlib
from queue import Empty, SimpleQueue
from typing import final

__all__ = ["Ending"]


@final
class Ending:
    """An event that signal handlers may set: ``threading.Event.set`` in a handler waits for the lock that it interrupted."""

    def __init__(self) -> None:
        self._set = False
        self._queue: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Wake what waits. It may interrupt any other method, and itself."""
        self._set = True
        self._queue.put(None)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Return when it is set, or after ``timeout`` seconds; return whether it is."""
        if not self._set:
            with contextlib.suppress(Empty):
                self._queue.get(timeout=timeout)
        return self._set
