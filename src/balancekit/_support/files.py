"""Files and folders that a user has named.

Reading takes at most a given number of bytes, and does not wait for the writer of a pipe. Of several files that are written
to a folder, either all are there in the end or what was there before.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

from balancekit.errors import ConfigurationError

__all__ = ["in_file", "noted", "opened", "read_file", "writable_folder", "write_files"]

UNFINISHED: Final = ".unfinished-"
"""The beginning of the name of a folder for files that are not complete."""


@contextmanager
def in_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the name of a file to errors of a block that interprets its content, as a note such as ``in orders.toml``."""
    with noted(f"in {os.fspath(path)}"):
        yield


@contextmanager
def noted(text: str) -> Iterator[None]:
    """Add a note to each ``ConfigurationError`` of a block."""
    try:
        yield
    except ConfigurationError as error:
        error.add_note(text)
        raise


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


def writable_folder(parameter: str, path: str | os.PathLike[str]) -> Path:
    """Return a folder to which files can be written. It is created if it does not exist.

    Raises
    ------
    ConfigurationError
        If the path is empty, or no file can be written to the folder.
    """
    if not os.fspath(path):
        raise ConfigurationError(parameter, path, "the path of a folder; . is this one")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryDirectory(prefix=UNFINISHED, dir=folder).cleanup()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        allowed = f"a folder to which files can be written ({why})"
        raise ConfigurationError(parameter, str(path), allowed) from None
    return folder


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files to a folder; return their paths. Files of the same names are replaced once all are complete.

    Raises
    ------
    OSError
        If one cannot be written; the files that were there before are unchanged.
    """
    with TemporaryDirectory(prefix=UNFINISHED, dir=folder) as unfinished:
        for name, content in contents.items():
            Path(unfinished, name).write_bytes(content)
        for name in contents:
            Path(unfinished, name).replace(folder / name)
    return [folder / name for name in contents]
