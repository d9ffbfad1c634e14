"""Logging to the standard library's logger ``balancekit``.

Exceptions of user callbacks, and changes for the worse or better.

Silent unless the application configures logging. ``logging`` is imported when there is something to say: that takes
18 ms, and a balancer that nothing goes wrong with never needs it.
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
    """Log the exception of a callback that is being handled; raise it again if a signal handler raised it."""
    raise_interrupt()
    log_error(message, *arguments)


def log_error(message: str, *arguments: object) -> None:
    """Log an error with the traceback of the exception being handled.

    What a handler of the application raises goes nowhere.
    """
    try:
        _logger().error(message, *_printable(arguments), exc_info=True)
    except Exception:  # or a handler that fails would do what the callback may not
        raise_interrupt()


def log_change(message: str, *arguments: object, bad: bool) -> None:
    """Log that something has changed: as a warning if it is for the worse."""
    try:
        _logger().log(30 if bad else 20, message, *_printable(arguments))
    except Exception:  # as in `log_error`
        raise_interrupt()


@final
class LateLog:
    """Messages of code that holds a lock, logged when it is free: a handler of the application may wait, or use the library."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, tuple[object, ...], BaseException | None]] = deque()

    def change(self, message: str, *arguments: object, bad: bool) -> None:
        """Keep what :func:`log_change` would log."""
        self._waiting.append((30 if bad else 20, message, arguments, None))

    def error(self, message: str, *arguments: object) -> None:
        """Keep what :func:`log_error` would log, with the exception being handled."""
        self._waiting.append((40, message, arguments, sys.exc_info()[1]))

    def flush(self) -> None:
        """Log what is kept. Call it under no lock."""
        while self._waiting:
            level, message, arguments, error = self._waiting.popleft()
            try:
                _logger().log(level, message, *_printable(arguments), exc_info=error)
            except Exception:  # as in `log_error`
                raise_interrupt()


def _printable(arguments: tuple[object, ...]) -> list[object]:
    """Return the arguments of a message such that it is one line, whatever ids and errors say."""
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
