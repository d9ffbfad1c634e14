"""Reading of files that a user has named: bounded, and without waiting for one who would write."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

__all__ = ["opened", "read_file"]


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for reading. A pipe that no process writes to is at its end, and does not hang.

    Raises
    ------
    OSError, ValueError
        If it cannot be opened, is a directory, or has a name that no file can have.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # the error of `fdopen` would name the descriptor
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read_file(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Return what is in a file, a pipe included.

    Raises
    ------
    OSError, ValueError
        As :func:`opened`, and if there is more than may be: a device may never end.
    """
    with opened(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
    return data
