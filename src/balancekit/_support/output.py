"""Writing to standard output, which may be closed, a broken pipe, or on a full disk."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

__all__ = ["discard", "print_page"]


def discard(output: TextIO) -> None:
    """Flush a stream; if that fails, redirect it to the null device, so that the interpreter reports no error at exit."""
    with contextlib.suppress(OSError, ValueError):
        output.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def print_page(page: str) -> int:
    """Print a generated page and return the exit status.

    The status is 0, 141 for a broken pipe as in a shell, and 1 for any other error, which is written to standard error.
    """
    if sys.stdout is None:
        sys.stderr.write("standard output is closed\n")
        return 1
    try:
        sys.stdout.write(page)
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        return 141
    except OSError as error:
        discard(sys.stdout)
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
