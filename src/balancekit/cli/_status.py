"""Exit statuses of the command, and what it prints on standard error."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final

from balancekit.errors import brief_line, without_passwords

__all__ = [
    "EXIT_BROKEN_PIPE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_REFUSED",
    "STATUSES",
    "complain",
    "print_answer",
    "remark",
    "say",
    "warning_lines",
]

EXIT_FAILED: Final = 1
"""Of a command whose answer is no, or that could not print its output."""
EXIT_REFUSED: Final = 2
"""Of a command with an argument or a file that it does not take; argparse ends so too."""
EXIT_INTERRUPTED: Final = 130
"""Of a command that was stopped from the keyboard, as shells have it."""
EXIT_BROKEN_PIPE: Final = 141
"""Of a command whose reader went away (``| head``), as shells have it."""
STATUSES: Final = """\
exit status:
  0    done, and the answer is yes: what was checked holds
  1    done, and it is not: a claim, a check or a lookup failed; or there was no output
  2    a wrong argument or file, or a package that is missing; nothing was done
  130  interrupted (Ctrl-C); 141 if the reader of the output went away
"""
"""What ``balancekit --help`` says of them."""


def print_answer(text: str) -> None:
    """Print an answer; ids and targets of endpoints may be URLs with passwords, which are not shown."""
    sys.stdout.write(without_passwords(text))


def remark(text: str) -> None:
    """Print a line on standard error, if there is one that can be written."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{without_passwords(text)}\n")


def complain(command: str, why: object, status: int) -> int:
    """Print why a command failed, on one line; return its exit status."""
    say(command, why)
    return status


def say(command: str, what: object) -> None:
    """Print something on standard error, on one line after the name of the command."""
    remark(f"{command}: {brief_line(str(what))}")


@contextlib.contextmanager
def warning_lines(command: str) -> Iterator[None]:
    """Print warnings on one line after the name of the command, without the line of code, while the block runs."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(command, f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
