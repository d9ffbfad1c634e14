"""HAProxy's ``balance static-rr`` and ``hash-type map-based``: a table of the usable servers.

The weights are divided by their greatest common divisor, and their sum is the number of slots. Each slot gets the server
of the highest score. Static round robin goes through the slots in order; a hash ``h`` takes slot ``h % size``. After the
last slot, the position of round robin is *behind* the table. If the table grows before the next pick, round robin
continues with the new slots; otherwise it starts with the first slot.

A backend has one table. It holds the active servers, or the backups while no active server is usable. The position stays the
same in both. Without ``allbackups``, the table has only as many slots as the first backup's share. The first slot is then
always taken, since only a parameter is hashed. But *every* usable backup competes for the slots, so a backup with a larger
weight gets some of them, also the first slot.

Cost: O(1) per pick. When servers are added or removed, the table is built again in O(slots * servers).
Source: HAProxy 2.6.12, ``src/lb_map.c``.
"""

from __future__ import annotations

import math
from typing import Final, final

from balancekit.compat.haproxy._members import Group, Member

__all__ = ["Table"]


@final
class Table:
    """The slots of a group, or of its backups, and the position of round robin."""

    __slots__ = ("_at", "_backups", "_divisor", "_group", "_slots")

    dynamic: Final = False

    def __init__(self, group: Group, divisor: int, backups: Group) -> None:
        self._group = group
        self._divisor = divisor
        self._backups = backups
        self._at = 0
        self._slots: list[Member] = []
        self._build()

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
        self._build()

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable."""
        self._build()

    def reweigh(self, member: Member, before: int) -> None:
        """Apply a new weight."""
        self._build()

    def count_changed(self, member: Member) -> None:
        """Do nothing: the table does not depend on numbers of requests."""

    def _build(self) -> None:
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
                level = int((scores[member] + total) / total)  # rounded towards zero, as in C
                if level > highest:
                    best, highest = member, level
                if total == 1:
                    break
            scores[best] -= total
            slots.append(best)
        self._slots = slots


def divisor_of(weights: list[int]) -> int:
    """Return the greatest common divisor of the weights that are not zero; 1 if all are zero."""
    return math.gcd(*weights) or 1
