"""Base classes of runners that a ``with`` block starts and stops, in threads or on asyncio."""

from __future__ import annotations

import contextlib
import threading
import time  # noqa: TID251 - the runners wait in real time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from balancekit._support.validation import MAX_WAIT_S

if TYPE_CHECKING:
    from asyncio import Task

__all__ = ["AsyncRunner", "ThreadRunner", "join", "join_all"]

POLL_S: Final = 0.001
"""Seconds between two checks of a thread that cannot be joined."""


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait until a thread has ended, at most ``timeout`` seconds. Return at once for the calling or an unstarted thread."""
    if thread.ident is None or thread is threading.current_thread():
        return
    deadline = None if timeout is None else time.monotonic() + timeout
    thread.join(None if timeout is None else min(timeout, MAX_WAIT_S))
    # Before Python 3.13, after an interrupted join, the next join returns at once although the thread runs.
    while thread in threading.enumerate() and (deadline is None or time.monotonic() < deadline):
        time.sleep(POLL_S)


def join_all(threads: list[threading.Thread], timeout: float | None = None) -> None:
    """Wait until threads have ended, at most ``timeout`` seconds for each. Threads are removed from the list.

    If the wait is interrupted, the threads that remain are still in the list.
    """
    for thread in list(threads):
        join(thread, timeout)
        with contextlib.suppress(ValueError):  # another thread waited too
            threads.remove(thread)


class ThreadRunner(ABC):
    """A runner in threads, started and stopped by a ``with`` block.

    Blocks may overlap or be nested; the end of the last one stops the runner.

    If a call of ``stop`` is interrupted, for example by a second Ctrl-C, the next call of ``stop`` completes it.
    """

    _blocks: int = 0
    """The number of open ``with`` blocks."""

    def start(self) -> None:
        """Start all threads, or none if the system refuses one. Do nothing if the runner is started."""
        try:
            self._start()
        except BaseException:  # an interrupt included: stop the threads that were started
            self.stop()
            raise

    @abstractmethod
    def _start(self) -> None:
        """Start the threads. If this raises, :meth:`stop` is called and ends those that were started."""

    @abstractmethod
    def stop(self) -> None:
        """Stop all threads and wait for their end. Do nothing if the runner is stopped."""

    def __enter__(self) -> Self:
        self.start()
        self._blocks += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            self.stop()


class AsyncRunner(ABC):
    """A runner on asyncio, started and stopped by an ``async with`` block.

    Blocks may overlap or be nested; the end of the last one stops the runner.

    If ``stop`` is cancelled, it waits until no task is left and then raises ``CancelledError``. In another event loop
    than that of ``start``, it raises ``ConfigurationError`` and stops nothing.
    """

    _blocks: int = 0
    """The number of open ``async with`` blocks, including those that are being entered."""
    _main: Task[None] | None = None
    """The main task, if the runner is started."""

    def after_fork(self) -> None:
        """Mark the runner as stopped in a forked child, because the event loop belongs to the parent."""
        self._main = None

    @abstractmethod
    async def start(self) -> None:
        """Start the tasks. Do nothing if the runner is started."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop all tasks and wait for their end. Do nothing if the runner is stopped."""

    async def __aenter__(self) -> Self:
        self._blocks += 1
        try:
            await self.start()
        except BaseException:
            self._blocks -= 1
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._blocks -= 1
        if not self._blocks:
            await self.stop()
