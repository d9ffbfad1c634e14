"""HAProxy's ``balance leastconn`` and ``balance first``.

A server with ``n`` requests, waiting ones included, has the key ``(n + 1) * 4096 // effective weight``, or 0 if ``n``
is 0. The server of the least key is chosen. If a key changes, the server goes behind those of the same key; otherwise it
keeps its place. So servers without requests are chosen in turn, whatever their weights.

Cost: O(n) per change, for ``n`` servers in one sorted list.
Source: HAProxy 2.6.12, ``src/lb_fwlc.c`` and ``src/lb_fas.c``.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, final

from balancekit.compat.haproxy._members import MAX_EFFECTIVE, Group, Member

__all__ = ["First", "LeastConn"]


@final
class LeastConn:
    """The servers, sorted by key. Those of the same key are in the order in which they got it."""

    __slots__ = ("_keys", "_order", "_serial")

    dynamic: Final = True

    def __init__(self, group: Group) -> None:
        self._order: list[tuple[int, int, Member]] = []
        self._keys: dict[Member, tuple[int, int]] = {}
        self._serial = 0
        for member in group.usable:
            self.add(member)

    def pick(self, avoid: Member | None) -> Member | None:
        """Return the first server that is not full, and not ``avoid`` if there is another."""
        avoided: Member | None = None
        for _, _, member in self._order:
            if not member.full:
                if member is not avoid:
                    return member
                avoided = member
        return avoided

    def add(self, member: Member) -> None:
        """Add a server that is usable again, behind those of the same key."""
        self._serial += 1
        key = (_key(member), self._serial)
        self._keys[member] = key
        insort(self._order, (*key, member))

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable."""
        self._order.remove((*self._keys.pop(member), member))

    def reweigh(self, member: Member, before: int) -> None:
        """Apply a new weight: the server goes behind those of the same key, even if its key has not changed."""
        self.remove(member, before)
        self.add(member)

    def count_changed(self, member: Member) -> None:
        """Apply a change of a server's number of requests."""
        if member in self._keys and self._keys[member][0] != _key(member):
            self.reweigh(member, member.effective)


@final
class First:
    """The choice of the server with the lowest id among those that are not full."""

    __slots__ = ("_group",)

    dynamic: Final = True

    def __init__(self, group: Group) -> None:
        self._group = group

    def pick(self, avoid: Member | None) -> Member | None:
        """Return the first server that is not full, and not ``avoid`` if there is another."""
        able = [member for member in sorted(self._group.usable, key=lambda m: m.id) if not member.full]
        return next((member for member in able if member is not avoid), able[0] if able else None)

    def add(self, member: Member) -> None:
        """Do nothing: every pick reads the usable servers of the group."""

    def remove(self, member: Member, before: int) -> None:
        """Do nothing: every pick reads the usable servers of the group."""

    def reweigh(self, member: Member, before: int) -> None:
        """Do nothing: the choice does not depend on weights."""

    def count_changed(self, member: Member) -> None:
        """Do nothing: every pick reads the numbers of requests."""


def _key(member: Member) -> int:
    inflight = member.served + len(member.waiting)
    return (inflight + 1) * MAX_EFFECTIVE // member.effective if inflight else 0
