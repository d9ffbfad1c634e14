"""An event that ends a command when a signal arrives."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, final

__all__ = ["Ending"]

SIGNAL_POLL_S: Final = 0.25
"""Seconds between two checks for signals. Python runs handlers in the main thread. If another thread receives the signal, the
main thread does not wake up by itself."""


@final
class Ending:
    """An event that signal handlers may set.

    ``threading.Event`` is not safe for that: if a handler calls ``set`` while it interrupts ``wait``, it waits for a lock
    that the interrupted code holds.
    """

    def __init__(self) -> None:
        self._set = False
        self._call: Callable[[], object] | None = None
        self._queue: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set the event. A signal handler may call it during any method of this object, also during ``set``."""
        self._set = True
        self._queue.put(None)

    def call(self, function: Callable[[], object]) -> None:
        """Let :meth:`wait` call a function, once for several calls of this. It may interrupt any other method.

        In a handler it would interrupt code that holds a lock which it needs.
        """
        self._call = function
        self._queue.put(None)

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, for at most ``timeout`` seconds; return whether it is set."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self._set and (left := until - time.monotonic()) > 0.0:
            with contextlib.suppress(Empty):
                self._queue.get(timeout=min(left, SIGNAL_POLL_S))
            function, self._call = self._call, None
            if function is not None and not self._set:
                function()
        return self._set
