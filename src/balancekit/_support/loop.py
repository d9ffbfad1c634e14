"""Tasks and the event loops they belong to: a loop that ends leaves its tasks behind."""

from __future__ import annotations

import sys

from balancekit.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task

__all__ = ["is_alive", "raise_cancellation", "raise_lost_cancellation", "require_own_loop"]


def is_alive(task: Task[None] | None) -> bool:
    """Return whether a task still runs: it has not ended, and neither has its loop."""
    return task is not None and not task.done() and not task.get_loop().is_closed()


def require_own_loop(task: Task[None]) -> None:
    """Refuse to wait for a task in another event loop than its own, which would never be notified of its end.

    Raises
    ------
    ConfigurationError
        If the running loop is another.
    """
    from asyncio import get_running_loop  # noqa: PLC0415 - its callers have imported it

    running = get_running_loop()
    if task.get_loop() is not running:
        raise ConfigurationError(
            "event loop", running, "the one in which the runner was started; stop it there"
        )


def raise_cancellation() -> None:
    """Raise the ``CancelledError`` that is being handled again if it is the running task that is being cancelled.

    Otherwise something that the task waits for was cancelled, such as a request of a client that was closed: that is a
    failure like any other, and no reason to end.
    """
    from asyncio import CancelledError, current_task  # noqa: PLC0415 - its callers have imported it

    error, task = sys.exception(), current_task()
    if isinstance(error, CancelledError) and (task is None or task.cancelling()):
        raise error


def raise_lost_cancellation() -> None:
    """Raise ``CancelledError`` if the running task is being cancelled: what it has awaited may have lost it.

    ``asyncio.wait_for`` of Python 3.11 loses one that comes as the wait ends; so does code that catches everything. A task
    that goes on and on calls this after it has awaited the code of others, or waiting for its end would take for ever.
    """
    from asyncio import CancelledError, current_task  # noqa: PLC0415 - its callers have imported it

    task = current_task()
    if task is not None and task.cancelling():
        raise CancelledError
