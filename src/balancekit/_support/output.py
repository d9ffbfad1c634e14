"""Standard output that its reader may have closed, or that is full."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

__all__ = ["discard", "print_page"]


def discard(output: TextIO) -> None:
    """Lead what cannot be written nowhere; the interpreter would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError):
        output.flush()
        return
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def print_page(page: str) -> int:
    """Print a generated page; return the exit status, as shells have it, and say in one line what was wrong."""
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
