"""Output of a running demo for a pipe or a file, line by line."""

from __future__ import annotations

import sys

from balancekit.cli._report import Note

__all__ = ["PlainOutput"]

EVERY_S = 2.0
"""Seconds between two status lines."""


class PlainOutput:
    """Standard output of a demo. Its reader may close it while the demo runs.

    Listeners of a balancer write to it, and they must not raise. So an error is kept and raised by the next :meth:`due`,
    which the demo calls from its own task.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self._error: OSError | None = None

    def due(self, elapsed: float) -> bool:
        """Return whether it is time for a status line.

        Raises
        ------
        OSError
            If an earlier line could not be written.
        """
        if self._error is not None:
            raise self._error
        if elapsed < self._next:
            return False
        self._next = elapsed + EVERY_S
        return True

    def write(self, elapsed: float, text: object) -> None:
        """Write a line and flush it."""
        try:
            sys.stdout.write(f"{elapsed:5.1f} s  {text}\n")
            sys.stdout.flush()
        except OSError as error:
            self._error = error

    def record(self, note: Note) -> None:
        """Write an event as a line."""
        self.write(note.time, note)
