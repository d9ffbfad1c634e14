"""Logging to the logger ``balancekit`` of the standard library.

Logged are exceptions of user callbacks, as errors, and changes of state, as warnings or information.

Nothing is printed unless the application configures logging. ``logging`` is imported with the first message, because the
import takes 18 ms and many programs never log one.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import final

from balancekit._support.interrupts import raise_interrupt
from balancekit.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Logger

__all__ = ["LateLog", "contain_error", "log_change", "log_error"]


def contain_error(message: str, *arguments: object) -> None:
    """Log the exception that is being handled. If a signal handler has raised it, raise it again instead."""
    raise_interrupt()
    log_error(message, *arguments)


def log_error(message: str, *arguments: object) -> None:
    """Log an error with the traceback of the exception that is being handled.

    An exception of a log handler of the application is ignored.
    """
    try:
        _logger().error(message, *_printable(arguments), exc_info=True)
    except Exception:  # a failing log handler must not fail the request
        raise_interrupt()


def log_change(message: str, *arguments: object, bad: bool) -> None:
    """Log a change of state: as a warning if it is bad, else as information."""
    try:
        _logger().log(30 if bad else 20, message, *_printable(arguments))
    except Exception:  # as in `log_error`
        raise_interrupt()


@final
class LateLog:
    """Messages of code that holds a lock, kept until the lock is released.

    A log handler of the application may wait for another thread, or call the library. So it must not run under a lock.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, tuple[object, ...], BaseException | None]] = deque()

    def change(self, message: str, *arguments: object, bad: bool) -> None:
        """Keep a message for :func:`log_change`."""
        self._waiting.append((30 if bad else 20, message, arguments, None))

    def error(self, message: str, *arguments: object) -> None:
        """Keep a message for :func:`log_error`, with the exception that is being handled."""
        self._waiting.append((40, message, arguments, sys.exc_info()[1]))

    def flush(self) -> None:
        """Log the messages that are kept. Call it under no lock."""
        while self._waiting:
            level, message, arguments, error = self._waiting.popleft()
            try:
                _logger().log(level, message, *_printable(arguments), exc_info=error)
            except Exception:  # as in `log_error`
                raise_interrupt()


def _printable(arguments: tuple[object, ...]) -> list[object]:
    """Return the arguments of a message with unprintable characters escaped, so that the message is one line."""
    return [
        printable(str(each))
        if isinstance(each, str | BaseException) and not str(each).isprintable()
        else each
        for each in arguments
    ]


def _logger() -> Logger:
    import logging  # noqa: PLC0415 - keeps the import of balancekit cheap

    logger = logging.getLogger("balancekit")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger
