"""The log of the library on standard error, for commands that run until they are stopped."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

from balancekit.cli._status import say
from balancekit.errors import brief_error
from balancekit.events import Event, Restored

__all__ = ["CHANGES", "log_lines"]

LOGGER: Final = "balancekit"
CHANGES: Final[dict[type[Event], int]] = {Restored: logging.WARNING}
"""Log levels of events that differ from the defaults. ``Restored`` is printed because ``Ejected`` is."""


class _Lines(logging.Handler):
    """A log handler that prints a record on one line after the name of the command, without tracebacks."""

    def __init__(self, command: str) -> None:
        super().__init__(logging.WARNING)
        self._command = command

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        error = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        say(self._command, text if error is None else f"{text}: {brief_error(error)}")


@contextlib.contextmanager
def log_lines(command: str) -> Iterator[None]:
    """Print log records of the library, from warnings up, while the block runs."""
    logger = logging.getLogger(LOGGER)
    lines = _Lines(command)
    logger.addHandler(lines)
    try:
        yield
    finally:
        logger.removeHandler(lines)
