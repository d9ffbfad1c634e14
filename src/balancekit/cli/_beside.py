"""Context manager that runs a coroutine in the background of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

__all__ = ["beside"]


@asynccontextmanager
async def beside(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine as a task while the block runs, and cancel it at the end of the block.

    If the coroutine raises, the block is cancelled, and the exception is raised at the end of the block.
    """
    block = asyncio.current_task()
    assert block is not None
    task = asyncio.create_task(coroutine)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            block.cancel()

    task.add_done_callback(ended)
    try:
        yield task
    finally:
        task.remove_done_callback(ended)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
