"""HAProxy's ``balance roundrobin``: weighted round robin over three sorted sets.

A round is as long as the sum of the effective weights. Every server has a position in it. A pick moves the position by
``sum / weight``, and remainders are added up. The set ``init`` holds the servers that had no turn in this round, the largest
weight first. The set ``current`` holds those with further turns in it. The set ``next`` holds those without. With the weights
5/1/1 the first seven picks are a a a b a a c.

Cost: O(n) per pick: the sets are sorted lists. Source: HAProxy 2.6.12, ``src/lb_fwrr.c``. Numbers have 32 bits, unsigned.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, TypeAlias, final

from balancekit.compat.haproxy._members import MAX_EFFECTIVE, SCALE, Group, Member

__all__ = ["RoundRobin"]

MASK: Final = 0xFFFF_FFFF

Tree: TypeAlias = list[tuple[int, int, Member]]
"""Members sorted by key. Those of the same key are in the order of insertion."""


@final
class RoundRobin:
    """The round-robin state of a group."""

    __slots__ = ("_current", "_init", "_next", "_serial", "current_weight", "next_weight", "position")

    dynamic: Final = True

    def __init__(self, group: Group) -> None:
        self._init: Tree = []
        self._current: Tree = []
        self._next: Tree = []
        self._serial = 0
        members = group.usable
        self.next_weight: int = sum(member.effective for member in members)
        self.current_weight: int = self.next_weight
        self.position: int = self.next_weight
        for member in members:
            self._by_weight(self._init, member)

    def pick(self, avoid: Member | None) -> Member | None:
        """Take a turn. Return a server that is not full, and not ``avoid`` if there is another."""
        if not self.current_weight:
            self.position = self.current_weight = self.next_weight
        aside: list[Member] = []
        avoided: Member | None = None
        switched = False
        chosen: Member | None = None
        while chosen is None:
            member = self._first()
            if member is None:
                if switched:
                    chosen = avoided
                    break
                switched = True
                self._init, self._next = self._next, self._init
                self.current_weight = self.position = self.next_weight
                continue
            self._advance(member)
            self._take_out(member)
            self.position += 1
            if not member.full:
                if member is not avoid or avoided is not None:
                    chosen = member
                    break
                avoided = member
            aside.append(member)
        if chosen is not None:
            self._queue(chosen)
        for member in reversed(aside):
            if member is not chosen:
                if switched:
                    self._by_weight(self._init, member)
                else:
                    self._queue(member)
        return chosen

    def add(self, member: Member) -> None:
        """Add a server that is usable again."""
        self.next_weight += member.effective
        ahead = (self.next_weight + self.current_weight - self.position) & MASK
        member.npos = (self.position + ahead // member.effective) & MASK
        self._queue(member)

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable; ``before`` was its effective weight."""
        self.next_weight -= before
        self._take_out(member)

    def reweigh(self, member: Member, before: int) -> None:
        """Apply the new weight of a usable server; ``before`` was its effective weight."""
        self.next_weight += member.effective - before
        tree = member.tree
        self._take_out(member)
        if tree is self._init:
            self._by_weight(self._init, member)
            return
        if tree is self._next:
            member.npos = (member.npos + self.current_weight) & MASK
        step = self.next_weight // member.effective
        member.npos = min((member.last + step) & MASK, member.npos)
        member.rest = 0
        if member.npos < self.position + 2:
            member.npos = (self.position + step) & MASK
        self._queue(member)

    def count_changed(self, member: Member) -> None:
        """Do nothing: round robin does not depend on numbers of requests."""

    def _first(self) -> Member | None:
        early = self._current[0][2] if self._current else None
        if early is not None and early.npos <= self.position:
            return early
        if self._init:
            fresh = self._init[0][2]
            fresh.npos = fresh.rest = 0
            return fresh
        return early

    def _advance(self, member: Member) -> None:
        if not member.npos:
            member.npos = self.position
        member.last = member.npos
        whole, rest = divmod(self.next_weight, member.effective)
        member.npos += whole
        member.rest += rest
        if member.rest >= member.effective:
            member.rest -= member.effective
            member.npos += 1
        member.npos &= MASK

    def _queue(self, member: Member) -> None:
        late = member.npos >= self.current_weight + self.next_weight
        if not member.effective or member.npos >= 2 * self.current_weight or late:
            member.npos = (member.npos - self.current_weight) & MASK
            self._by_weight(self._next, member)
            return
        fine = ((MAX_EFFECTIVE + member.rest - member.effective) & MASK) // SCALE
        self._put(self._current, (256 * member.npos + fine) & MASK, member)

    def _by_weight(self, tree: Tree, member: Member) -> None:
        self._put(tree, MAX_EFFECTIVE - member.effective, member)

    def _put(self, tree: Tree, key: int, member: Member) -> None:
        self._serial += 1
        insort(tree, (key, self._serial, member))
        member.tree = tree

    def _take_out(self, member: Member) -> None:
        for tree in (self._current, self._init, self._next):
            for place, (_, _, other) in enumerate(tree):
                if other is member:
                    del tree[place]
                    break
        member.tree = None
