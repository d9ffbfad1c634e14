"""Exit statuses of the command, and its messages on standard error."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final

from balancekit.errors import BalancekitError, brief_line, without_passwords

__all__ = [
    "EXIT_BROKEN_PIPE",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_REFUSED",
    "STATUSES",
    "SourceUnavailableError",
    "complain",
    "print_answer",
    "remark",
    "say",
    "warning_lines",
]

EXIT_FAILED: Final = 1
"""Exit status of a command whose answer is no, or that could not write its output."""
EXIT_REFUSED: Final = 2
"""Exit status for an argument or a file that is not allowed. argparse uses the same."""
EXIT_INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as in shells: 128 plus the number of SIGINT. SIGTERM and SIGHUP give the same."""
EXIT_BROKEN_PIPE: Final = 141
"""Exit status if the reader of the output has closed it (``| head``), as in shells: 128 plus the number of SIGPIPE."""
STATUSES: Final = """\
exit status:
  0    success; all checks and claims hold
  1    a claim, a check or a lookup failed, a decision has no answer, or the output could not be written
  2    a wrong argument or file, or a missing package; nothing was done
  130  interrupted (Ctrl-C, SIGTERM, SIGHUP); 141 if the reader of the output closed it
"""
"""Description of the exit statuses in ``balancekit --help``."""


class SourceUnavailableError(BalancekitError):
    """A source had no list of endpoints when the command ran. The argument may be correct: the status is 1."""


def print_answer(text: str) -> None:
    """Print an answer on standard output, without passwords that are in URLs."""
    sys.stdout.write(without_passwords(text))


def remark(text: str) -> None:
    """Print a line on standard error. If it is closed or cannot be written, do nothing."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{without_passwords(text)}\n")


def complain(command: str, why: object, status: int) -> int:
    """Print the reason why a command failed, on one line; return ``status``."""
    say(command, why)
    return status


def say(command: str, what: object) -> None:
    """Print a text on standard error, on one line after the name of the command."""
    remark(f"{command}: {brief_line(str(what))}")


@contextlib.contextmanager
def warning_lines(command: str) -> Iterator[None]:
    """Print each warning on one line after the name of the command, without source code, while the block runs."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(command, f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
