"""Folders that commands write to."""

from __future__ import annotations

from pathlib import Path

from balancekit.errors import ConfigurationError

__all__ = ["out_folder"]


def out_folder(path: str) -> Path:
    """Make a folder, unless it is there, before anything is computed that would be lost without it.

    Raises
    ------
    ConfigurationError
        If there can be none.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError("--out", path, f"a folder that can be made ({why})") from None
    return folder
