"""Buffered writer of lines to a file, which neither blocks requests for long nor fails them.

Lines are kept until there are some and then written at once, past all other buffers: so nothing is written twice by a
process and its fork, it is known which lines a full disk did not take, and a line that was torn off is completed before
the next.

Cost: about 2 empty method calls a line, and one write of the system for 64 lines.
"""

from __future__ import annotations

import contextlib
from io import FileIO
from pathlib import Path
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child, new_lock

__all__ = ["LineWriter"]

BATCH_SIZE: Final = 64
"""Lines written at once."""


@final
class LineWriter:
    r"""A file of lines. Safe to share between threads, and with a forked child.

    Parameters
    ----------
    file
        A path. What is in the file stays.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lines"
    >>> writer = LineWriter(path)
    >>> writer.add("one"), writer.close(), path.read_text()
    (None, None, 'one\n')
    """

    __slots__ = ("__weakref__", "_file", "_lines", "_lock", "_torn", "dropped")

    def __init__(self, file: str | Path) -> None:
        self.dropped: int = 0
        """Lines that could not be written."""
        self._file = FileIO(valid.path("file", file), "a")
        self._lines: list[str] = []
        self._torn = b""
        """The rest of a line of which a part has been written."""
        self._lock = new_lock()
        call_in_child(self)

    def add(self, line: str) -> None:
        """Have a line written, without a line end of its own, some time until :meth:`close`."""
        with self._lock:
            self._lines.append(line)
            if len(self._lines) >= BATCH_SIZE or self._file.closed:
                self._write()

    def drop(self) -> None:
        """Count a line that cannot be written."""
        with self._lock:
            self.dropped += 1

    def close(self) -> None:
        """Write what has not been written. What is added later is dropped."""
        with self._lock:
            self._write()
            self.dropped += bool(self._torn)
            self._torn = b""
            with contextlib.suppress(OSError):  # what has not been written has been counted
                self._file.close()

    def after_fork(self) -> None:
        """Leave the lines of the parent to the parent."""
        self._lines.clear()
        self._torn = b""

    def _write(self) -> None:
        data = self._torn + "".join([f"{line}\n" for line in self._lines]).encode()
        torn = bool(self._torn)
        self._lines.clear()
        self._torn = b""
        try:
            while data:
                written = self._file.write(data)
                if not written:  # a pipe that is full and does not wait
                    raise BlockingIOError
                torn = data[written - 1 : written] != b"\n"
                data = data[written:]
        except (OSError, ValueError):  # a full disk, a file that has been closed
            if torn:
                self._torn = data[: data.index(b"\n") + 1]
            self.dropped += data.count(b"\n") - torn
