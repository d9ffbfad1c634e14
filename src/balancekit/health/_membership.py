"""Membership of an endpoint: whether it takes new requests, and whether any are still in flight.

A drain ends when the last lease has ended, or when its deadline forces it. An endpoint that was removed
from the pool is *leaving* while leases are open, and *removed* after the last one. (A removal that the pool
takes back, because no table could be made for what would have been left, is not a move: it has not happened.)
"""

from __future__ import annotations

import enum
from typing import Final

from balancekit.health._table import Table, frozen

__all__ = ["MEMBERSHIP", "Membership", "Move"]


class Membership(enum.StrEnum):
    """Where an endpoint stands in its pool."""

    SERVING = "serving"
    """It takes new requests, as far as its health allows."""
    DRAINING = "draining"
    """It takes nothing new; leases are open."""
    DRAINED = "drained"
    """It takes nothing new; the last lease has ended, or the deadline has passed."""
    LEAVING = "leaving"
    """It was removed; leases are open."""
    REMOVED = "removed"
    """It was removed, and the last lease has ended."""


class Move(enum.StrEnum):
    """What can happen to an endpoint's membership."""

    DRAIN = "drain"
    """A drain was requested."""
    UNDRAIN = "undrain"
    """The drain was cancelled."""
    LAST_LEASE = "last lease"
    """No lease is open any more."""
    DEADLINE = "deadline"
    """The time for draining is over."""
    REMOVE = "remove"
    """It was removed from the pool."""


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
