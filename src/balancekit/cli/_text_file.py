"""Reading of files that commands get as arguments: lists, documents and logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from balancekit._support.files import read_file
from balancekit.errors import ConfigurationError

__all__ = ["MAX_TEXT_BYTES", "read_text", "readable"]

MAX_TEXT_BYTES: Final = 256 * 1024 * 1024
"""Maximum size of a file. It also ends the reading of a device such as ``/dev/zero``."""


@contextmanager
def readable(path: str | Path, *, parameter: str = "file") -> Iterator[None]:
    """Convert errors of a block that opens or reads a file to errors that name the file.

    Raises
    ------
    ConfigurationError
        Instead of an ``OSError``, a ``UnicodeDecodeError``, or a ``ValueError`` for an invalid file name.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise ConfigurationError(parameter, str(path), f"a file that can be read ({why})") from None
    except ConfigurationError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            parameter, str(path), f"text in UTF-8 (byte {error.start} is none)"
        ) from None
    except ValueError as error:  # for example an embedded NUL
        raise ConfigurationError(parameter, str(path), f"a file that can be read ({error})") from None


def read_text(path: str | Path, *, parameter: str = "file") -> str:
    """Return the text of a file, without a byte order mark and with line feeds as line ends.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or is not UTF-8.
    """
    with readable(path, parameter=parameter):
        text = read_file(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")
