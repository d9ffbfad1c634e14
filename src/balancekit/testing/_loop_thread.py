"""An event loop on its own thread, for toy servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

__all__ = ["LoopThread"]

R = TypeVar("R")

WORK_TIMEOUT_S: Final = 10.0
"""Maximum time for one coroutine on the loop, and for the end of the thread."""


class LoopThread:
    """An event loop on a daemon thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the loop runs."""
        return self._loop is not None

    def start(self) -> None:
        """Start the loop. If it runs, do nothing."""
        if self._loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="toy servers", daemon=True)
            try:
                thread.start()
            except BaseException:  # for example the system cannot start more threads
                loop.close()
                raise
            self._loop, self._thread = loop, thread

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the loop and return its result.

        Raises
        ------
        RuntimeError
            If the loop does not run.
        TimeoutError
            If the coroutine does not end within 10 s.
        """
        if self._loop is None:
            work.close()
            raise RuntimeError("the toy servers have not been started; use them in a with block")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WORK_TIMEOUT_S)

    def stop(self) -> None:
        """Cancel all tasks of the loop, and stop it and its thread. If it does not run, do nothing."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self.run(_cancel_all())
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WORK_TIMEOUT_S)
        loop.close()


async def _cancel_all() -> None:
    """Cancel every other task of the running loop and wait for it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
