"""Console output: terminal width if interactive, fixed width otherwise; handles a closed pipe."""

from __future__ import annotations

from typing import Any

from rich.console import Console

__all__ = ["Output", "output"]


class Output(Console):
    """A console that raises ``BrokenPipeError`` when the reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Raise the error, so that the command chooses the exit status. Rich would end the program with status 1."""
        raise BrokenPipeError


def output(wide: int, **options: Any) -> Output:
    """Return a console on standard output. If that is no terminal, the console has ``wide`` columns."""
    terminal = Output(**options)
    return terminal if terminal.is_terminal else Output(width=wide, **options)
