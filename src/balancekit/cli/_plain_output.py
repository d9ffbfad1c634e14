"""Lines of a running demo for a pipe or a file: each is written at once."""

from __future__ import annotations

import sys

from balancekit.cli._report import Note

__all__ = ["PlainOutput"]

EVERY_S = 2.0
"""Between two lines that say how things stand."""


class PlainOutput:
    """Standard output that may be closed by its reader while a demo runs.

    Listeners of a balancer write notes: they must not fail. What could not be written is raised by the next
    :meth:`due`, which the demo calls from a task of its own.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self._error: OSError | None = None

    def due(self, elapsed: float) -> bool:
        """Return whether it is time for a line that says how things stand.

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
        """Write a line."""
        try:
            sys.stdout.write(f"{elapsed:5.1f} s  {text}\n")
            sys.stdout.flush()
        except OSError as error:
            self._error = error

    def record(self, note: Note) -> None:
        """Write that something happened."""
        self.write(note.time, note)
