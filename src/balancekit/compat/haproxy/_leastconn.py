"""HAProxy's ``balance leastconn`` and ``balance first``.

A server's key is 0 with no request in progress, otherwise ``(n + 1) * 4096 // effective weight``. One whose key
changes goes behind its equals, one whose key stays keeps its place: idle servers take turns whatever their
weights.

Cost: O(n) per change here, which keeps the order in one list.
Source: HAProxy 2.6.12, ``src/lb_fwlc.c`` and ``src/lb_fas.c``.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, final

from balancekit.compat.haproxy._members import MAX_EFFECTIVE, Group, Member

__all__ = ["First", "LeastConn"]


@final
class LeastConn:
    """Servers by key, equal ones in the order they were put there."""

    __slots__ = ("_keys", "_order", "_serial")

    dynamic: Final = True

    def __init__(self, group: Group) -> None:
        self._order: list[tuple[int, int, Member]] = []
        self._keys: dict[Member, tuple[int, int]] = {}
        self._serial = 0
        for member in group.usable:
            self.add(member)

    def pick(self, avoid: Member | None) -> Member | None:
        """Return the first that is not full, and not ``avoid`` if there is another."""
        avoided: Member | None = None
        for _, _, member in self._order:
            if not member.full:
                if member is not avoid:
                    return member
                avoided = member
        return avoided

    def add(self, member: Member) -> None:
        """Add a server that is usable again, behind its equals."""
        self._serial += 1
        key = (_key(member), self._serial)
        self._keys[member] = key
        insort(self._order, (*key, member))

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable."""
        self._order.remove((*self._keys.pop(member), member))

    def reweigh(self, member: Member, before: int) -> None:
        """Follow a new weight: behind its equals, even if the key is the same."""
        self.remove(member, before)
        self.add(member)

    def count_changed(self, member: Member) -> None:
        """Record that a server has a request more or less."""
        if member in self._keys and self._keys[member][0] != _key(member):
            self.reweigh(member, member.effective)


@final
class First:
    """The lowest id that is not full."""

    __slots__ = ("_group",)

    dynamic: Final = True

    def __init__(self, group: Group) -> None:
        self._group = group

    def pick(self, avoid: Member | None) -> Member | None:
        """Return the first that is not full, and not ``avoid`` if there is another."""
        able = [member for member in sorted(self._group.usable, key=lambda m: m.id) if not member.full]
        return next((member for member in able if member is not avoid), able[0] if able else None)

    def add(self, member: Member) -> None:
        """Add a server that is usable again: nothing is kept of it."""

    def remove(self, member: Member, before: int) -> None:
        """Remove a server: nothing is kept of it."""

    def reweigh(self, member: Member, before: int) -> None:
        """Follow a new weight: nothing depends on it."""

    def count_changed(self, member: Member) -> None:
        """Record that a server has a request more or less: it is considered at the next pick."""


def _key(member: Member) -> int:
    inflight = member.served + len(member.waiting)
    return (inflight + 1) * MAX_EFFECTIVE // member.effective if inflight else 0
