"""Runners that a ``with`` block starts and stops."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["AsyncRunner", "ThreadRunner", "join"]


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait for a thread to end, but not for the calling one, nor for one that the system would not start."""
    if thread.ident is not None and thread is not threading.current_thread():
        thread.join(timeout)


class ThreadRunner(ABC):
    """A runner in threads: started at the entry of a ``with`` block, and stopped at its end."""

    __slots__ = ()

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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class AsyncRunner(ABC):
    """A runner on asyncio: started at the entry of an ``async with`` block, and stopped at its end."""

    __slots__ = ()

    @abstractmethod
    async def start(self) -> None:
        """Start. Does nothing if it is started."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop, and return when no task is left. Does nothing if it is stopped."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
