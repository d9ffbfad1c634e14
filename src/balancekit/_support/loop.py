"""Tasks and the event loops they belong to: a loop that ends leaves its tasks behind."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task

__all__ = ["is_alive"]


def is_alive(task: Task[None] | None) -> bool:
    """Return whether a task still runs: it has not ended, and neither has its loop."""
    return task is not None and not task.done() and not task.get_loop().is_closed()
