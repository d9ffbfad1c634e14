"""Reading of configuration files, with limits of their size and number."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from balancekit.errors import brief
from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["MAX_BYTES", "MAX_FILES", "Files", "without_mark"]

MAX_BYTES: Final = 4_000_000
"""The largest size of all files of a configuration together, in bytes."""
MAX_FILES: Final = 1_000
"""The largest number of files of a configuration, with included files, maps and patterns."""


@final
class Files:
    """The files of one configuration.

    Parameters
    ----------
    max_bytes, max_files
        Limits.
    """

    __slots__ = ("_bytes", "_files", "_max_bytes", "_max_files")

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._bytes = 0
        self._files = 0

    def read(self, path: str, origin: Origin) -> str:
        """Return the text of a file.

        Parameters
        ----------
        path
            The path of the file.
        origin
            The line that includes the file, for errors; line 1 for the first file.

        Raises
        ------
        ProxyConfigError
            If the file cannot be read or has a NUL, or a limit is exceeded.
        """
        self._files += 1
        if self._files > self._max_files:
            raise ProxyConfigError(origin, f"more than {self._max_files} files")
        try:
            if Path(path).exists() and not Path(path).is_file():
                raise ProxyConfigError(origin, f"{path!r} is no regular file")
            size = Path(path).stat().st_size
            if self._bytes + size > self._max_bytes:
                raise ProxyConfigError(
                    origin, f"more than {self._max_bytes} bytes with {path!r} ({size} bytes)"
                )
            with Path(path).open("rb") as file:
                data = file.read(self._max_bytes - self._bytes + 1)
        except (OSError, ValueError) as error:
            if isinstance(error, ProxyConfigError):
                raise
            why = getattr(error, "strerror", None) or error
            raise ProxyConfigError(origin, f"cannot read {brief(path)}: {why}") from None
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise ProxyConfigError(origin, f"more than {self._max_bytes} bytes with {path!r}")
        place = data.find(b"\0")
        if place >= 0:
            raise ProxyConfigError(Origin(path, data.count(b"\n", 0, place) + 1), "a NUL character")
        return data.decode("utf-8", "surrogateescape")


def without_mark(path: str, text: str) -> str:
    """Return a text, after checking that it does not begin with a byte order mark.

    Raises
    ------
    ProxyConfigError
        If it does. nginx and HAProxy would read the mark as a part of the first word.
    """
    if text.startswith("\ufeff"):
        raise ProxyConfigError(Origin(path, 1), "a byte order mark: save the file as UTF-8 without it")
    return text
