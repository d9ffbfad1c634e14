"""Output folders of commands, created if they do not exist."""

from __future__ import annotations

from pathlib import Path

from balancekit._support.files import writable_folder

__all__ = ["out_folder"]


def out_folder(path: str) -> Path:
    """Create a folder if it does not exist; return its path. Call it before a long computation whose results go there.

    Raises
    ------
    ConfigurationError
        If the path is empty, or no file can be written to the folder.
    """
    return writable_folder("--out", path)
