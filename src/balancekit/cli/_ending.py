"""The end of a command that runs until a signal."""

from __future__ import annotations

import contextlib
import math
import time
from queue import Empty, SimpleQueue
from typing import Final, final

__all__ = ["Ending"]

SIGNAL_POLL_S: Final = 0.25
"""Handlers run in the main thread, which a signal does not wake if another thread receives it."""


@final
class Ending:
    """An event that signal handlers may set.

    ``threading.Event.set`` in a handler waits for the lock that it interrupted.
    """

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
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self._set and (left := until - time.monotonic()) > 0.0:
            with contextlib.suppress(Empty):
                self._queue.get(timeout=min(left, SIGNAL_POLL_S))
        return self._set
