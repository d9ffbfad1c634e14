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
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child, new_lock

__all__ = ["LineWriter"]

BATCH_SIZE: Final = 64
"""Lines written at once."""


class _Batch(NamedTuple):
    """What a writer has not written; replaced as a whole, so that an interrupt finds the old one or the new one."""

    lines: list[str]
    """Added and not encoded yet."""
    written: list[int | None]
    """How many bytes of ``data`` each write has taken. The list grows within the call that writes."""
    data: bytes = b""
    """Encoded lines that are being written."""
    torn: bool = False
    """Whether ``data`` begins inside a line."""
    dropped: int = 0
    """Lines that could not be written."""


@final
class LineWriter:
    r"""A file of lines. Safe to share between threads, and with a forked child.

    An interrupt, at whatever place, loses no line that was added and writes none twice: what is left is written by the next
    batch or by :meth:`close`, which may be called again.

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

    __slots__ = ("__weakref__", "_batch", "_file", "_lock")

    def __init__(self, file: str | Path) -> None:
        self._file = FileIO(valid.path("file", file), "a")
        self._batch = _Batch([], [])
        self._lock = new_lock()
        call_in_child(self)

    @property
    def dropped(self) -> int:
        """Lines that could not be written."""
        return self._batch.dropped

    def add(self, line: str) -> None:
        """Have a line written, without a line end of its own, some time until :meth:`close`."""
        with self._lock:
            self._batch.lines.append(line)
            if len(self._batch.lines) >= BATCH_SIZE or self._file.closed:
                self._write()

    def drop(self) -> None:
        """Count a line that cannot be written."""
        with self._lock:
            self._batch = self._batch._replace(dropped=self._batch.dropped + 1)

    def close(self) -> None:
        """Write what has not been written. What is added later is dropped."""
        with self._lock:
            self._write()
            rest = self._batch
            self._batch = _Batch([], [], dropped=rest.dropped + bool(rest.data))
            with contextlib.suppress(OSError):  # what has not been written has been counted
                self._file.close()

    def after_fork(self) -> None:
        """Leave the lines of the parent to the parent."""
        self._batch = _Batch([], [], dropped=self._batch.dropped)

    def _write(self) -> None:
        self._gather()
        try:
            while self._batch.data:
                batch = self._batch
                # One call in C: no signal is handled between the write and the note of how much it took.
                batch.written.extend(map(self._file.write, (batch.data,)))
                if not batch.written[-1]:  # a pipe that is full and does not wait
                    raise BlockingIOError
                self._gather()
        except (OSError, ValueError):  # a full disk, a file that has been closed
            batch = self._batch
            rest = batch.data[: batch.data.index(b"\n") + 1] if batch.torn else b""
            lost = batch.data.count(b"\n") - batch.torn
            self._batch = _Batch([], [], rest, torn=batch.torn, dropped=batch.dropped + lost)

    def _gather(self) -> None:
        """Put what was added behind what is left of the data."""
        batch = self._batch
        done = sum(filter(None, batch.written))
        torn = batch.data[done - 1 : done] != b"\n" if done else batch.torn
        data = batch.data[done:] + "".join([f"{line}\n" for line in batch.lines]).encode()
        self._batch = _Batch([], [], data, torn=torn and bool(batch.data[done:]), dropped=batch.dropped)
