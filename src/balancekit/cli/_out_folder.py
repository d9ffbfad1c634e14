"""Output folders of commands."""

from __future__ import annotations

from pathlib import Path

from balancekit.errors import ConfigurationError

__all__ = ["out_folder"]


def out_folder(path: str) -> Path:
    """Create a folder if it does not exist; return its path. Call it before a long computation whose results go there.

    Raises
    ------
    ConfigurationError
        If the folder cannot be created.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError("--out", path, f"a folder that can be created ({why})") from None
    return folder
