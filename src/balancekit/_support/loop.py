"""Checks of asyncio tasks: whether they run, in which event loop, and whether they are being cancelled."""

from __future__ import annotations

import sys

from balancekit.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

__all__ = ["is_alive", "raise_cancellation", "raise_lost_cancellation", "require_own_loop", "running_loop"]


def running_loop() -> AbstractEventLoop | None:
    """Return the event loop that runs in this thread, ``None`` if none does."""
    from asyncio import get_running_loop  # noqa: PLC0415 - its callers have imported it

    try:
        return get_running_loop()
    except RuntimeError:
        return None


def is_alive(task: Task[None] | None) -> bool:
    """Return whether a task still runs: it is not done, and its event loop is not closed."""
    return task is not None and not task.done() and not task.get_loop().is_closed()


def require_own_loop(task: Task[None]) -> None:
    """Check that the running event loop is that of a task. Another loop would never be notified of the end of the task.

    Raises
    ------
    ConfigurationError
        If the task belongs to another event loop.
    """
    from asyncio import get_running_loop  # noqa: PLC0415 - its callers have imported it

    running = get_running_loop()
    if task.get_loop() is not running:
        raise ConfigurationError(
            "event loop", running, "the one in which the runner was started; stop it there"
        )


def raise_cancellation() -> None:
    """Raise the ``CancelledError`` that is being handled again, if the running task is being cancelled.

    Otherwise something that the task awaits was cancelled, such as a request of a client that was closed. Then the
    error is a failure like any other, and the task must continue.
    """
    from asyncio import CancelledError, current_task  # noqa: PLC0415 - its callers have imported it

    error, task = sys.exception(), current_task()
    if isinstance(error, CancelledError) and (task is None or task.cancelling()):
        raise error


def raise_lost_cancellation() -> None:
    """Raise ``CancelledError`` if the running task is being cancelled.

    Code that the task has awaited may have swallowed the error. ``asyncio.wait_for`` of Python 3.11 does so if the
    cancellation arrives as the wait ends; so does code that catches every exception. A task with an endless loop calls
    this after it has awaited user code. Otherwise it might never end.
    """
    from asyncio import CancelledError, current_task  # noqa: PLC0415 - its callers have imported it

    task = current_task()
    if task is not None and task.cancelling():
        raise CancelledError
