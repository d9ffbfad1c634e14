"""HAProxy's ``balance static-rr`` and ``hash-type map-based``: a table of the usable servers.

As many slots as the weights, divided by their greatest common divisor, add up to. Slots are dealt out by
score; a walk goes through them in order, a hash takes slot ``h % size``. After the last slot the walk stands
*behind* the table: it starts over with the next pick, or goes on there if the table has grown by then.

A backend has one table: it is of the active servers, or while none is usable of the backups, and the walk goes on where it was.
Without ``allbackups`` the table of backups is meant for the first one: there are as many slots as its share, and nothing but a
parameter is hashed, so the first slot is taken. But *every* usable backup takes part in the deal, so a heavier one gets
slots, the first of them too.

Cost: O(1) per pick; the table is rebuilt, O(slots * servers), when a server goes or comes.
Source: HAProxy 2.6.12, ``src/lb_map.c``.
"""

from __future__ import annotations

import math
from typing import Final, final

from balancekit.compat.haproxy._members import Group, Member

__all__ = ["Table"]


@final
class Table:
    """The slots of a group, or of its backups, and where the walk is."""

    __slots__ = ("_at", "_backups", "_divisor", "_group", "_slots")

    dynamic: Final = False

    def __init__(self, group: Group, divisor: int, backups: Group) -> None:
        self._group = group
        self._divisor = divisor
        self._backups = backups
        self._at = 0
        self._slots: list[Member] = []
        self._deal()

    def pick(self, avoid: Member | None) -> Member | None:
        """Take the next slot of a server that is not full, and not ``avoid`` if there is another."""
        size = len(self._slots)
        if not size:
            return None
        if self._at >= size:
            self._at = 0
        place = self._at
        avoided: tuple[Member, int] | None = None
        while True:
            member = self._slots[place]
            place += 1
            if not member.full:
                if member is not avoid:
                    self._at = place
                    return member
                avoided = (member, place)
            if place == size:
                place = 0
            if place == self._at:
                break
        if avoided is None:
            return None
        self._at = avoided[1]
        return avoided[0]

    def find(self, hash: int, avoid: Member | None) -> Member | None:
        """Return the server of a hash, full or not."""
        return self._slots[hash % len(self._slots)] if self._slots else None

    def add(self, member: Member) -> None:
        """Add a server that is usable again."""
        self._deal()

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable."""
        self._deal()

    def reweigh(self, member: Member, before: int) -> None:
        """Follow a new weight."""
        self._deal()

    def count_changed(self, member: Member) -> None:
        """Record that a server has a request more or less; the table does not depend on it."""

    def _deal(self) -> None:
        active = self._group.usable
        usable = active or self._backups.usable
        first_only = self._backups.first_only and not active
        weights = [(member, member.weight // self._divisor) for member in usable]
        total = sum(weight for _, weight in weights[: 1 if first_only else None])
        scores = dict.fromkeys((member for member, _ in weights), 0)
        slots: list[Member] = []
        for _ in range(total):
            best, highest = weights[0][0], 0
            for member, weight in weights:
                scores[member] += weight
                level = int((scores[member] + total) / total)  # towards zero, as C divides
                if level > highest:
                    best, highest = member, level
                if total == 1:
                    break
            scores[best] -= total
            slots.append(best)
        self._slots = slots


def divisor_of(weights: list[int]) -> int:
    """Return what weights are divided by: the greatest common divisor of those that are not zero."""
    return math.gcd(*weights) or 1
