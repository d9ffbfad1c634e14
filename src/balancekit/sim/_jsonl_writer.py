"""Buffered writer of lines to a file. It does not block requests for long, and an error of the file does not fail them.

Lines are collected and written in batches, without any buffer of Python or the C library. So a process and its fork do not
write a line twice, the writer knows which lines were lost on a full disk, and it completes a partly written line before
the next one.

Cost: about 2 empty method calls per line, and one system call for 64 lines.
"""

from __future__ import annotations

import contextlib
from io import FileIO
from pathlib import Path
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child, new_lock

__all__ = ["LineWriter"]

BATCH_SIZE: Final = 64
"""Number of lines written at once."""


class _Batch(NamedTuple):
    """Lines that have not been written yet.

    A batch is replaced as a whole, so an interrupt leaves either the old batch or the new one.
    """

    lines: list[str]
    """Lines that have been added and are not encoded yet."""
    written: list[int | None]
    """Number of bytes of ``data`` that each write has accepted. The call that writes also appends to this list."""
    data: bytes = b""
    """Encoded lines that are being written."""
    torn: bool = False
    """Whether ``data`` begins inside a line."""
    dropped: int = 0
    """Number of lines that could not be written."""


@final
class LineWriter:
    r"""Writer that appends lines to a file. Safe to share between threads and with a forked child.

    An interrupt at any point loses no added line and writes none twice. The lines that are left are written with the next
    batch or by :meth:`close`, which may be called again.

    Parameters
    ----------
    file
        Path of the file. Existing content is kept.

    Raises
    ------
    ConfigurationError
        If ``file`` is no path.
    OSError
        If the file cannot be opened.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lines"
    >>> writer = LineWriter(path)
    >>> writer.add("one"), writer.close(), path.read_text()
    (None, None, 'one\n')
    """

    __slots__ = ("__weakref__", "_batch", "_file", "_lock")

    def __init__(self, file: str | Path) -> None:
        self._file = FileIO(valid.path("file", file), "a")
        self._batch = _Batch([], [])
        self._lock = new_lock()
        call_in_child(self)

    @property
    def dropped(self) -> int:
        """Number of lines that could not be written."""
        return self._batch.dropped

    def add(self, line: str) -> None:
        """Add a line, which is written with its batch or by :meth:`close`. It must not contain a line end."""
        with self._lock:
            self._batch.lines.append(line)
            if len(self._batch.lines) >= BATCH_SIZE or self._file.closed:
                self._write()

    def drop(self) -> None:
        """Count a line that cannot be written."""
        with self._lock:
            self._batch = self._batch._replace(dropped=self._batch.dropped + 1)

    def close(self) -> None:
        """Write the lines that have not been written. Lines that are added later are dropped."""
        with self._lock:
            self._write()
            rest = self._batch
            self._batch = _Batch([], [], dropped=rest.dropped + bool(rest.data))
            with contextlib.suppress(OSError):  # lines that were not written have been counted
                self._file.close()

    def after_fork(self) -> None:
        """Discard the lines of the parent process, which the parent writes itself."""
        self._batch = _Batch([], [], dropped=self._batch.dropped)

    def _write(self) -> None:
        self._gather()
        try:
            while self._batch.data:
                batch = self._batch
                # One call in C: no signal is handled between the write and the record of its result.
                batch.written.extend(map(self._file.write, (batch.data,)))
                if not batch.written[-1]:  # a full non-blocking pipe
                    raise BlockingIOError
                self._gather()
        except (OSError, ValueError):  # a full disk, a file that has been closed
            batch = self._batch
            rest = batch.data[: batch.data.index(b"\n") + 1] if batch.torn else b""
            lost = batch.data.count(b"\n") - batch.torn
            self._batch = _Batch([], [], rest, torn=batch.torn, dropped=batch.dropped + lost)

    def _gather(self) -> None:
        """Encode the added lines and append them to the data that is left."""
        batch = self._batch
        done = sum(filter(None, batch.written))
        torn = batch.data[done - 1 : done] != b"\n" if done else batch.torn
        data = batch.data[done:] + "".join([f"{line}\n" for line in batch.lines]).encode()
        self._batch = _Batch([], [], data, torn=torn and bool(batch.data[done:]), dropped=batch.dropped)
