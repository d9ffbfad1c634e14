"""Text files that commands read: lists of endpoints, requests and clients, logs."""

from __future__ import annotations

from pathlib import Path

from balancekit.errors import ConfigurationError

__all__ = ["read_text"]


def read_text(path: str | Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises
    ------
    ConfigurationError
        If it is no UTF-8.
    OSError
        If it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError("file", str(path), f"text in UTF-8 (byte {error.start} is none)") from None
