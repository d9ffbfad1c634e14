"""A memory-mapped file with one row of counts for each worker of a host.

.. code-block:: text

    header    magic, workers, endpoints
    row       generation, used, pid, owner | endpoint digests | counts   one for each worker

Only the owner writes to a row. The owner holds a lock on one byte of the file. The kernel releases that lock when the
process ends, even by SIGKILL. So the row of an ended worker is recognised without timeouts and process ids. A count is
found by the digest of the endpoint's id, so workers with different endpoints share the counts of their common ones.

All numbers are aligned 64-bit words, so a reader sees either the old or the new value. While the digests of a row
change, its generation is odd, and readers skip the row. No reader and no writer waits for another process.

A process opens a file once and keeps it open until it ends, because closing any descriptor of a file releases all locks
of the process on it. If other code of the process does so, the worker takes its lock again with the next check, or
another row if its own has been taken.

Cost: 16 bytes per endpoint and worker. A write is one store; a sum is one numpy call for all rows with the same
endpoints. Every 0.4 s, one or two system calls per used row show which workers are alive.

Source: ``fcntl(2)``, record locks; Lamport 1977 (*Concurrent reading and writing*) for the generation.
"""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from balancekit._support import validation as valid
from balancekit._support.fork import call_in_child, new_lock
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

__all__ = ["LIVENESS_S", "RowFile", "RowSum", "digest", "open_rows", "row_path"]

MAGIC: Final = int.from_bytes(b"bkrows01", "little")
HEADER_WORDS: Final = 8
ROW_HEADER_WORDS: Final = 8
GENERATION, USED, PID, OWNER = 0, 1, 2, 3
"""The indices of the words in the header of a row."""
WORD_BYTES: Final = 8
LIVENESS_S: Final = 0.4
"""Seconds between two checks which workers are alive. So sums are correct within a second after the end of a worker."""
ROW_LOCKS_AT: Final = 1
"""The position of the byte whose lock owns row 0. Locks may be beyond the end of the file."""

Ints = npt.NDArray[np.int64]


def digest(id: str) -> int:
    """Return the digest of an endpoint's id: 64 bits, never 0."""
    return int.from_bytes(blake2b(to_bytes(id), digest_size=WORD_BYTES).digest(), "little", signed=True) or 1


def row_path(file: str | os.PathLike[str]) -> Path:
    """Return the path of a file. A path is returned unchanged; a name becomes a file in memory, separate for each user."""
    name = valid.text("file", os.fspath(file))
    if os.sep in name or isinstance(file, os.PathLike):
        return Path(name)
    memory = Path("/dev/shm")  # noqa: S108 - by user, not readable by others, and never through a link
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"balancekit-{os.geteuid()}-{name}"


def open_rows(file: str | os.PathLike[str], *, make: tuple[int, int] | None = None) -> RowFile:
    """Return the rows of a file. With ``make``, create a missing file with these numbers of workers and endpoints.

    Raises
    ------
    ConfigurationError
        If the system has no record locks, or the file belongs to another user or is not a file of rows.
    FileNotFoundError
        If the file is missing and must not be created.
    """
    if fcntl is None:
        raise ConfigurationError(
            "file", file, "a file on a system with POSIX record locks; use a store on this one"
        )
    path = row_path(file)
    with _OPENING:
        try:
            return _open(path)
        except FileNotFoundError:
            if make is None:
                raise
        _create(path, *make)
        return _open(path)


def _open(path: Path) -> RowFile:
    """Return the rows of an existing file."""
    try:
        facts = path.lstat()
        known = _OPEN.get((facts.st_dev, facts.st_ino))
        if known is not None:
            return known
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigurationError("file", str(path), f"a file of this user ({error.strerror})") from error
    facts = os.fstat(descriptor)
    try:
        rows = RowFile(path, descriptor, facts)
    except BaseException:
        os.close(descriptor)
        raise
    _OPEN[facts.st_dev, facts.st_ino] = rows
    return rows


def _create(path: Path, workers: int, endpoints: int) -> None:
    """Write a complete file under another name and link it to ``path``, unless another process was first."""
    size = (HEADER_WORDS + workers * (ROW_HEADER_WORDS + 2 * endpoints)) * WORD_BYTES
    header = np.zeros(HEADER_WORDS, dtype=np.int64)
    header[:3] = MAGIC, workers, endpoints
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # All bytes are written. In a sparse file on a full disk, a write to the mapping would kill the process.
                file.write(header.tobytes())
                file.write(bytes(size - header.nbytes))
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            Path(draft).unlink()
    except OSError as error:
        raise ConfigurationError("file", str(path), f"a place for a file ({error.strerror})") from error


@final
class RowFile:
    """The rows of one file, in this process; created by :func:`open_rows`, once per file.

    Parameters
    ----------
    path, descriptor, facts
        The path, descriptor and status of the file.

    Raises
    ------
    ConfigurationError
        If the file belongs to another user or is not a file of rows.
    """

    __slots__ = (
        "__weakref__",
        "_fd",
        "_lock",
        "_map",
        "_mine",
        "max_endpoints",
        "max_workers",
        "path",
        "table",
        "words",
    )

    def __init__(self, path: Path, descriptor: int, facts: os.stat_result) -> None:
        wrong = ConfigurationError("file", str(path), "a file that balancekit made for this user")
        if (
            not stat.S_ISREG(facts.st_mode)
            or facts.st_uid != os.geteuid()
            or facts.st_size < HEADER_WORDS * WORD_BYTES
            or facts.st_size % WORD_BYTES
        ):
            raise wrong
        self._map = mmap.mmap(descriptor, facts.st_size)
        self.words: memoryview[int] = memoryview(self._map).cast("q")
        """The whole file."""
        magic, workers, endpoints = self.words[:3].tolist()
        length = ROW_HEADER_WORDS + 2 * endpoints
        if (
            magic != MAGIC
            or min(workers, endpoints) < 1
            or len(self.words) != HEADER_WORDS + workers * length
        ):
            raise wrong
        self.path: Path = path
        self.max_workers: int = workers
        self.max_endpoints: int = endpoints
        every: Ints = np.frombuffer(self._map, dtype=np.int64)
        self.table: Ints = every[HEADER_WORDS:].reshape(workers, length)
        """The counts, one row per worker."""
        self._fd = descriptor
        self._lock: Any = new_lock()
        self._mine: dict[int, int] = {}
        """The rows of this process, each with the number that its claim wrote as its owner."""
        call_in_child(self)

    def after_fork(self) -> None:
        """Release all rows; record locks stay with the parent."""
        self._mine.clear()

    def claim(self) -> int | None:
        """Take a free row and clear it. Return its index, or ``None`` if every row belongs to a living worker."""
        with self._lock:
            return self._claim()

    def _claim(self) -> int | None:
        for row in range(self.max_workers):
            if row not in self._mine and _lock(self._fd, row):
                self._mine[row] = owner = int.from_bytes(os.urandom(WORD_BYTES), "little", signed=True)
                line = self.table[row]
                generation = int(line[GENERATION]) | 1
                line[GENERATION] = generation
                line[PID] = os.getpid()
                line[OWNER] = owner
                line[ROW_HEADER_WORDS:] = 0
                line[USED] = 1
                line[GENERATION] = generation + 1
                return row
        return None

    def release(self, row: int, pid: int) -> None:
        """Release a row. This takes no lock, so a finalizer may call it. In a forked child of the owner it does nothing."""
        if pid == os.getpid() and row in self._mine:
            self.table[row, USED] = 0
            _unlock(self._fd, row)
            self._mine.pop(row, None)

    def hold(self, row: int) -> bool:
        """Take the lock of an own row again if it was lost; return whether no other process has had the row meanwhile.

        Code that opens and closes the file in this process, to read or copy it, releases every lock on it. If another process
        has claimed the row since, it is given up.
        """
        if _lock(self._fd, row):
            if self.table[row, OWNER] == self._mine.get(row):
                return True
            _unlock(self._fd, row)
        self._mine.pop(row, None)
        return False

    def living(self) -> list[int] | None:
        """Return the indices of the rows of living workers; ``None`` if another thread is checking them."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            used = np.flatnonzero(self.table[:, USED]).tolist()
            return self._living(used)
        finally:
            self._lock.release()

    def _living(self, used: list[int]) -> list[int]:
        return [row for row in used if row in self._mine or not _is_free(self._fd, row)]

    def set_digest(self, row: int, slot: int, value: int) -> None:
        """Assign a count to an endpoint, 0 for none. Called by the owner of the row, one thread at a time."""
        line = self.table[row]
        line[GENERATION] += 1
        line[ROW_HEADER_WORDS + slot] = value
        line[GENERATION] += 1

    def count_at(self, row: int, slot: int) -> int:
        """Return the index of a count among ``words``."""
        length = ROW_HEADER_WORDS + 2 * self.max_endpoints
        return HEADER_WORDS + row * length + ROW_HEADER_WORDS + self.max_endpoints + slot


@final
class RowSum:
    """The sums of counts over rows, for some endpoints.

    Parameters
    ----------
    file
        The file of the rows.
    digests
        The digests of the endpoints, in the order of the sums.
    """

    __slots__ = ("_file", "_generations", "_groups", "_place", "_rows", "_size")

    def __init__(self, file: RowFile, digests: Collection[int]) -> None:
        self._file = file
        self._size = len(digests)
        self._place: Mapping[int, int] = {value: place for place, value in enumerate(digests)}
        self._rows: list[int] = []
        self._generations: Ints | None = None
        self._groups: list[tuple[Ints, Ints, Ints]] = []

    def over(self, rows: list[int]) -> list[int]:
        """Return the sums over these rows, in the order of the digests. O(rows times endpoints), in numpy."""
        if not rows:
            return [0] * self._size
        table = self._file.table
        generations = table[rows, GENERATION]
        if (
            rows != self._rows
            or self._generations is None
            or not np.array_equal(generations, self._generations)
        ):
            self._group(rows, generations)
        total = np.zeros(self._size, dtype=np.int64)
        for same, columns, places in self._groups:
            total[places] += table[same, columns].sum(axis=0)
        found: list[int] = np.maximum(total, 0).tolist()
        return found

    def _group(self, rows: list[int], generations: Ints) -> None:
        """Group the rows that have the same endpoints in the same slots."""
        table = self._file.table
        alike: dict[bytes, list[int]] = {}
        for row, generation in zip(rows, generations.tolist(), strict=True):
            digests = table[row, ROW_HEADER_WORDS : ROW_HEADER_WORDS + self._file.max_endpoints].tobytes()
            if not generation & 1 and table[row, GENERATION] == generation:
                alike.setdefault(digests, []).append(row)
        self._groups = []
        for digests, same in alike.items():
            values: list[int] = np.frombuffer(digests, dtype=np.int64).tolist()
            for slots in self._slots(values):
                columns = np.array(list(slots.values())) + ROW_HEADER_WORDS + self._file.max_endpoints
                self._groups.append((np.array(same)[:, None], columns, np.array(list(slots))))
        self._rows, self._generations = list(rows), generations

    def _slots(self, digests: list[int]) -> list[dict[int, int]]:
        """Return groups of slots by their place in the sums. Each group has one slot per place.

        An endpoint that was removed and added again may have two slots, which are then in two groups.
        """
        found: list[dict[int, int]] = []
        for slot, value in enumerate(digests):
            place = self._place.get(value)
            if place is not None:
                free = next((slots for slots in found if place not in slots), None)
                if free is None:
                    found.append(free := {})
                free[place] = slot
        return found


_OPEN: Final[dict[tuple[int, int], RowFile]] = {}
"""The open files by device and inode; kept until the process ends."""
_OPENING: Final = new_lock()
_locks: Any = fcntl


def _lock(descriptor: int, row: int) -> bool:
    try:
        _locks.lockf(descriptor, _locks.LOCK_EX | _locks.LOCK_NB, 1, ROW_LOCKS_AT + row)
    except OSError:
        return False
    return True


def _unlock(descriptor: int, row: int) -> None:
    _locks.lockf(descriptor, _locks.LOCK_UN, 1, ROW_LOCKS_AT + row)


def _is_free(descriptor: int, row: int) -> bool:
    """Return whether no process owns a row. Do not call it for a row of this process: it would release the lock."""
    try:
        _locks.lockf(descriptor, _locks.LOCK_SH | _locks.LOCK_NB, 1, ROW_LOCKS_AT + row)
    except OSError:
        return False
    _unlock(descriptor, row)
    return True
