"""What is different between the endpoints that are wanted and those that are there?"""

from __future__ import annotations

from collections.abc import Mapping

from balancekit._member import Member
from balancekit._support.record import Record
from balancekit.endpoint import Endpoint
from balancekit.snapshot import Node

__all__ = ["Change"]


class Change(Record):
    """A difference between what is in the pool and what is wanted. Made by :meth:`Pool.propose`."""

    before: Mapping[str, Member]
    after: Mapping[str, Member]
    facts: Mapping[str, Endpoint[object]]
    """For each endpoint that stays: what it is to look like."""
    was: Mapping[str, Endpoint[object]]
    """For the same endpoints: what they looked like."""

    @property
    def gone(self) -> list[Node]:
        """The nodes that leave."""
        return [m.node for id, m in self.before.items() if self.after.get(id) is not m]

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return (
            list(self.before) == list(self.after)
            and all(self.before[id] is self.after[id] for id in self.after)
            and self.facts == self.was
        )
