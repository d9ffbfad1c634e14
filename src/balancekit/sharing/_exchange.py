"""Protocols between a pool of shared loads and the exchange with other processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from balancekit.node import Node

__all__ = ["NO_PLACE", "Counts", "Exchange", "HasNode", "Place"]

Place = tuple[Any, int]
"""The location of a count: a mutable sequence, and an index."""

NO_PLACE: Final[Place] = ([0], 0)
"""The location of counts that are not shared."""


class HasNode(Protocol):
    """A load with a reference to its node."""

    node: Node


class Counts(Protocol):
    """The loads of a pool, as an exchange reads them."""

    @property
    def loads(self) -> Mapping[str, HasNode]:
        """The loads by endpoint id. Copy it before iterating; other threads change it."""
        ...

    @property
    def version(self) -> int:
        """The version of ``loads``; grows with every change."""
        ...

    def rejoin(self) -> None:
        """Let all loads join again, because the exchange has lost their locations."""
        ...

    def leaving(self) -> Mapping[str, int]:
        """Return the open leases of nodes that have left, by endpoint id; they are in no load of ``loads``."""
        ...


class Exchange(Protocol):
    """The source of other processes' loads for one pool."""

    @property
    def full(self) -> bool:
        """Whether :meth:`join` has no free location."""
        ...

    def join(self, id: str, /) -> Place:
        """Return the location for the count of an endpoint."""
        ...

    def log_notes(self) -> None:
        """Log the warnings of :meth:`join`. Called under no lock."""
        ...

    def leave(self, id: str, place: Place, /) -> None:
        """Release the location of a count."""
        ...

    def hold(self, pool: Counts, now: float, /) -> None:
        """Have the loads of a pool join again if another process has taken their locations. Called before counts are written."""
        ...

    def refresh(self, pool: Counts, now: float, /) -> float:
        """Write the requests in flight of other processes to the nodes of a pool. Return the time of the next update."""
        ...

    def after_fork(self) -> None:
        """Reset in a forked child."""
        ...
