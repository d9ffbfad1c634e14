"""Console output: terminal width if interactive, fixed width otherwise; handles a closed pipe."""

from __future__ import annotations

from typing import Any

from rich.console import Console

__all__ = ["Output", "output"]


class Output(Console):
    """A console that leaves it to the command what happens when the reader closes the pipe."""

    def on_broken_pipe(self) -> None:
        """Pass it on, in place of ending the program with the status of a failure."""
        raise BrokenPipeError


def output(wide: int, **options: Any) -> Output:
    """Return a console on standard output; ``wide`` columns of it if that is no terminal."""
    terminal = Output(**options)
    return terminal if terminal.is_terminal else Output(width=wide, **options)
