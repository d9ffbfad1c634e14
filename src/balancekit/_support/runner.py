"""Runners that a ``with`` block starts and stops."""

from __future__ import annotations

import contextlib
import threading
import time  # noqa: TID251 - the runners wait in real time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from asyncio import Task

__all__ = ["AsyncRunner", "ThreadRunner", "join", "join_all"]

POLL_S: Final = 0.001
"""Between two looks at a thread that cannot be joined."""


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait for a thread to end, but not for the calling one, nor for one that the system would not start."""
    if thread.ident is None or thread is threading.current_thread():
        return
    deadline = None if timeout is None else time.monotonic() + timeout
    thread.join(timeout)
    # Before Python 3.13 a join that was interrupted makes later ones believe that the thread has ended.
    while thread in threading.enumerate() and (deadline is None or time.monotonic() < deadline):
        time.sleep(POLL_S)


def join_all(threads: list[threading.Thread], timeout: float | None = None) -> None:
    """Wait for threads to end, each at most so long; interrupted, those not waited for stay in the list."""
    for thread in list(threads):
        join(thread, timeout)
        with contextlib.suppress(ValueError):  # another thread waited too
            threads.remove(thread)


class ThreadRunner(ABC):
    """A runner in threads, started and stopped by a ``with`` block.

    Of blocks inside each other, the end of the last stops it.

    A ``stop`` that is interrupted, by a second Ctrl-C for example, is finished by the next: what is to be ended is
    noted before it is ended, and forgotten afterwards.
    """

    _blocks: int = 0
    """How many blocks it is in."""

    def start(self) -> None:
        """Start all threads, or none if the system refuses one. Does nothing if it is started."""
        try:
            self._start()
        except BaseException:  # an interrupt included: the threads that run end
            self.stop()
            raise

    @abstractmethod
    def _start(self) -> None:
        """Start. What it has begun when it raises, :meth:`stop` ends."""

    @abstractmethod
    def stop(self) -> None:
        """Stop, and return when no thread is left. Does nothing if it is stopped."""

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

    Of several blocks, the end of the last stops it.

    A ``stop`` that is cancelled raises when no task is left. One in another loop than that of ``start`` raises
    ``ConfigurationError`` and stops nothing.
    """

    _blocks: int = 0
    """How many blocks it is in, or about to be."""
    _main: Task[None] | None = None
    """The task that is started."""

    def after_fork(self) -> None:
        """Be stopped in a forked child: the loop is the parent's."""
        self._main = None

    @abstractmethod
    async def start(self) -> None:
        """Start. Does nothing if it is started."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop, and return when no task is left. Does nothing if it is stopped."""

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
