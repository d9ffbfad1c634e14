"""Reading of files that a user has named: at most a given number of bytes, and without waiting for the writer of a pipe."""

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
    """Open a file for reading. A pipe that no process has opened for writing reads as empty, and does not block.

    Raises
    ------
    OSError
        If the file cannot be opened, or is a directory.
    ValueError
        If the path holds a NUL or a lone surrogate.
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
    """Return the content of a file or a pipe.

    Raises
    ------
    OSError
        If the file cannot be opened, is a directory, or has more than ``max_bytes`` bytes. A device may have no end.
    ValueError
        If the path holds a NUL or a lone surrogate.
    """
    with opened(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
    return data
