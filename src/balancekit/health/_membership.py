"""Membership of an endpoint: whether it gets new requests, and whether requests are still in flight.

A drain ends when the last lease has ended, or at its deadline. An endpoint that was removed from the pool is *leaving*
while it has open leases, and *removed* after the last one. A removal that fails, because the selector raised an error,
is no transition of this table: the pool is unchanged.
"""

from __future__ import annotations

import enum
from typing import Final

from balancekit.health._table import Table, frozen

__all__ = ["MEMBERSHIP", "Membership", "Move"]


class Membership(enum.StrEnum):
    """The state of an endpoint's membership."""

    SERVING = "serving"
    """The endpoint gets new requests, if its health allows it."""
    DRAINING = "draining"
    """The endpoint gets no new requests; leases are open."""
    DRAINED = "drained"
    """The endpoint gets no new requests; the last lease has ended, or the deadline has passed."""
    LEAVING = "leaving"
    """The endpoint was removed; leases are open."""
    REMOVED = "removed"
    """The endpoint was removed, and its last lease has ended."""


class Move(enum.StrEnum):
    """The triggers of the membership table."""

    DRAIN = "drain"
    """A drain was requested."""
    UNDRAIN = "undrain"
    """The drain was cancelled."""
    LAST_LEASE = "last lease"
    """The last lease has ended."""
    DEADLINE = "deadline"
    """The deadline of the drain has passed."""
    REMOVE = "remove"
    """The endpoint was removed from the pool."""


MEMBERSHIP: Final[Table[Membership, Move]] = frozen(
    {
        (Membership.SERVING, Move.DRAIN): Membership.DRAINING,
        (Membership.SERVING, Move.REMOVE): Membership.LEAVING,
        (Membership.DRAINING, Move.UNDRAIN): Membership.SERVING,
        (Membership.DRAINING, Move.LAST_LEASE): Membership.DRAINED,
        (Membership.DRAINING, Move.DEADLINE): Membership.DRAINED,
        (Membership.DRAINING, Move.REMOVE): Membership.LEAVING,
        (Membership.DRAINED, Move.UNDRAIN): Membership.SERVING,
        (Membership.DRAINED, Move.REMOVE): Membership.LEAVING,
        (Membership.LEAVING, Move.LAST_LEASE): Membership.REMOVED,
    },
)
