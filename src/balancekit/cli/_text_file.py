"""Files that commands read: lists of endpoints, requests and clients, documents, logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from balancekit._support.files import read_file
from balancekit.errors import ConfigurationError

__all__ = ["MAX_TEXT_BYTES", "read_text", "readable"]

MAX_TEXT_BYTES: Final = 256 * 1024 * 1024
"""What a file may have, so that a device that never ends does."""


@contextmanager
def readable(path: str | Path, *, parameter: str = "file") -> Iterator[None]:
    """Name the file if the block, which opens or reads it, fails because of the system or of its name.

    Raises
    ------
    ConfigurationError
        In place of ``OSError`` and of the ``ValueError`` for a name that no file can have.
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
    except ValueError as error:  # an embedded NUL, for one
        raise ConfigurationError(parameter, str(path), f"a file that can be read ({error})") from None


def read_text(path: str | Path, *, parameter: str = "file") -> str:
    """Return the text of a file, without a byte order mark.

    Raises
    ------
    ConfigurationError
        If it cannot be read, or is no UTF-8.
    """
    with readable(path, parameter=parameter):
        text = read_file(path, MAX_TEXT_BYTES).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")
