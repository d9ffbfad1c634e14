"""Exchange of counts between the workers of one host, by a memory-mapped file."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterable
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.log import LateLog
from balancekit.errors import ConfigurationError
from balancekit.sharing._exchange import NO_PLACE, Counts, HasNode, Place
from balancekit.sharing._rows import LIVENESS_S, RowFile, RowSum, digest, open_rows

__all__ = ["FileExchange", "in_flight"]

COST_PER_COUNT_S: Final = 1e-7
"""An upper bound of the time in seconds that is needed to add one count of one row."""
REFRESH_SHARE: Final = 0.01
"""The largest share of a processor that refreshes may use."""


@final
class FileExchange:
    """The exchange of one pool through a file: it writes one row, and sums the others.

    Parameters
    ----------
    file, period, max_workers, max_endpoints
        The parameters of ``Shared``.
    """

    __slots__ = (
        "__weakref__",
        "_file",
        "_free",
        "_living",
        "_loads",
        "_looked_at",
        "_notes",
        "_period",
        "_row",
        "_sum",
        "_version",
        "_warned",
    )

    def __init__(
        self, file: str | os.PathLike[str], *, period: float, max_workers: int, max_endpoints: int
    ) -> None:
        self._file: RowFile = open_rows(file, make=(max_workers, max_endpoints))
        self._period = period
        self._warned: set[str] = set()
        self._notes = LateLog()
        self._row: int | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """Reset to a state without a row."""
        self._row = None
        self._free: list[int] = []
        self._loads: list[HasNode] = []
        self._version = -1
        self._sum = RowSum(self._file, ())
        self._living: list[int] = []
        self._looked_at = -math.inf

    @property
    def full(self) -> bool:
        """Whether this worker's row has no location left."""
        return self._row is not None and not self._free

    def join(self, id: str) -> Place:
        """Return the location for the count of an endpoint."""
        if self._row is None:
            self._row = self._file.claim()
            if self._row is None:
                self._warn(f"none of {self._file.max_workers} rows is free; this worker shares no load")
                return NO_PLACE
            self._free = list(range(self._file.max_endpoints - 1, -1, -1))
            weakref.finalize(self, self._file.release, self._row, os.getpid())
        if not self._free:
            self._warn(
                f"the file has room for {self._file.max_endpoints} endpoints; loads of others are not shared until one leaves"
            )
            return NO_PLACE
        slot = self._free[-1]
        index = self._file.count_at(self._row, slot)
        self._file.words[index] = 0
        self._file.set_digest(self._row, slot, digest(id))
        place = self._file.words, index
        del self._free[-1]  # no call here, so an interrupt cannot leak a slot
        return place

    def log_notes(self) -> None:
        """Log the warnings from joining."""
        self._notes.flush()

    def leave(self, id: str, place: Place) -> None:
        """Release the location of a count."""
        words, index = place
        if self._row is not None and words is self._file.words:
            slot = index - self._file.count_at(self._row, 0)
            self._file.set_digest(self._row, slot, 0)
            words[index] = 0
            self._free += (slot,)

    def hold(self, pool: Counts, now: float) -> None:
        """Take the lock of this worker's row again if it was lost, or another row if another worker has taken the row."""
        if (
            self._row is not None
            and not now < self._looked_at + LIVENESS_S
            and not self._file.hold(self._row)
        ):
            self._lose(pool)

    def refresh(self, pool: Counts, now: float) -> float:
        """Add up the requests in flight of other processes. Return the time of the next refresh."""
        if pool.version != self._version:
            self._version = pool.version
            self._loads = list(pool.loads.values())
            self._sum = RowSum(self._file, [digest(load.node.id) for load in self._loads])
        if not now < self._looked_at + LIVENESS_S:
            living = self._file.living()
            if living is not None:
                self._living = [row for row in living if row != self._row]
                self._looked_at = now
        loads = self._loads

        own = pool.leaving()
        for load, count in zip(loads, self._sum.over(self._living), strict=False):
            load.node.latency_estimate = count + own.get(load.node.id, 0)
        cost = COST_PER_COUNT_S * len(loads) * (1 + len(self._living))
        return now + max(self._period, cost / REFRESH_SHARE)

    def _lose(self, pool: Counts) -> None:
        """Take another row, because another worker has taken the present one."""
        self._row, self._free = None, []
        self._warn(
            "other code of this process closed the file; another worker got its row, and it takes a new one"
        )
        pool.rejoin()
        self._notes.flush()

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._notes.change("%s: %s", self._file.path, text, bad=True)


@checked_arguments
def in_flight(file: str | os.PathLike[str], ids: Iterable[str]) -> dict[str, int]:
    """Return the requests in flight of all living workers that share a file, by endpoint.

    Parameters
    ----------
    file
        The parameter of ``Shared``.
    ids
        Endpoint ids.

    Raises
    ------
    ConfigurationError
        If ``file`` is no path, or ``ids`` is no collection of non-empty strings.

    Cost: one or two system calls per worker.

    Example
    -------
    >>> import tempfile
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.sharing import Shared, in_flight
    >>> file = f"{tempfile.mkdtemp()}/checkout"
    >>> lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=Shared(file=file))
    >>> with lb.acquire():
    ...     sum(in_flight(file, ["a", "b"]).values())
    1
    >>> in_flight(file, ["a", "b"])
    {'a': 0, 'b': 0}
    """
    valid.path("file", file, allowed="a name or a path")
    if isinstance(ids, str | bytes):
        raise ConfigurationError("ids", ids, "a collection of endpoint ids (strings)")
    names = [valid.text("ids", id) for id in valid.items("ids", ids)]
    try:
        rows = open_rows(file)
    except FileNotFoundError:
        return dict.fromkeys(names, 0)
    sums = RowSum(rows, [digest(id) for id in names])
    return dict(zip(names, sums.over(rows.living() or []), strict=True))
