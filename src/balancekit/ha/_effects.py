"""Effects of a virtual router: what the program around its machine has to do.

A machine does no input or output. Each of its methods returns effects in the order in which they are to be
carried out: adverts first, so that no slow hook delays them.
"""

from __future__ import annotations

from typing import TypeAlias

from balancekit._support.record import Record
from balancekit.ha._packet import Advert
from balancekit.ha._roles import Role

__all__ = ["Announce", "Became", "Effect", "Send", "Withdraw"]


class Send(Record):
    """Send this advert to the group, or to every unicast peer."""

    advert: Advert


class Announce(Record):
    """Announce to the network that these addresses are here: gratuitous ARP, or unsolicited neighbour adverts."""

    addresses: tuple[str, ...]


class Withdraw(Record):
    """Give these addresses up."""

    addresses: tuple[str, ...]


class Became(Record):
    """The role has changed.

    Example
    -------
    >>> from balancekit.ha import Became, Role
    >>> print(Became(role=Role.ACTIVE, was=Role.BACKUP, why="no advert for 1.7 s"))
    backup -> active: no advert for 1.7 s
    """

    role: Role
    was: Role
    why: str
    """The cause, for logs."""

    def __str__(self) -> str:
        return f"{self.was} -> {self.role}: {self.why}"


Effect: TypeAlias = Send | Announce | Withdraw | Became
"""Every effect that a machine may return."""
