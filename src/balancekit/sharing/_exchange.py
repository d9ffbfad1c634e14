"""What a pool of shared loads and the exchange with other processes need of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from balancekit.node import Node

__all__ = ["NO_PLACE", "Counts", "Exchange", "HasNode", "Place"]

Place = tuple[Any, int]
"""Where a process writes a count: something to index, and the index."""

NO_PLACE: Final[Place] = ([0], 0)
"""Where counts go that no other process is to see."""


class HasNode(Protocol):
    """A load that knows its node."""

    node: Node


class Counts(Protocol):
    """The loads of a pool, as an exchange sees them."""

    @property
    def loads(self) -> Mapping[str, HasNode]:
        """By endpoint id. Take a copy before looking at each: other threads change it."""
        ...

    @property
    def version(self) -> int:
        """A number that grows with every change of ``loads``."""
        ...


class Exchange(Protocol):
    """A pool's source of the loads of other processes. One for each pool."""

    def join(self, id: str, /) -> Place:
        """Return where to write the count of an endpoint."""
        ...

    def log_notes(self) -> None:
        """Log what joining had to say, under no lock."""
        ...

    def leave(self, id: str, place: Place, /) -> None:
        """Take back such a place."""
        ...

    def refresh(self, pool: Counts, now: float, /) -> float:
        """Write what others have in flight to the nodes of a pool, if it is time; return when it is next."""
        ...

    def after_fork(self) -> None:
        """Start over in a child process."""
        ...
