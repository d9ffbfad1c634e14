"""HAProxy's ``hash-type consistent`` and ``balance random``: the ring.

A server has as many nodes as its effective weight. Node ``j`` lies at ``avalanche(id * 4096 + j)``, so names and
addresses do not matter. The server of the nearest node is chosen, before or after the hash. On a tie it is the node
before. A new weight adds or removes the nodes of the highest numbers.

With ``hash-balance-factor``, a server serves at most its share of ``factor`` per cent of the requests in progress, the
new request included. A server that has its share is passed over, and the next node is tried.

Cost: O(log nodes) per pick. Source: HAProxy 2.6.12, ``src/lb_chash.c``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from random import Random
from typing import Final, final

from balancekit.compat.haproxy._hashes import avalanche
from balancekit.compat.haproxy._members import Group, Member

__all__ = ["Ring"]

RANGE: Final = 4096
CIRCLE: Final = 1 << 32


@final
class Ring:
    """The nodes of a group.

    Parameters
    ----------
    group
        The servers of the ring.
    factor
        ``hash-balance-factor`` in per cent; 0 is off. It limits drawn servers too.
    load
        A function that returns how many requests are in progress in the whole backend.
    draws
        The number of draws of ``balance random(draws)``. 0: a request without a hash goes to the node after the last one.
    rng
        The random generator of the draws.
    """

    __slots__ = ("_draws", "_factor", "_group", "_keys", "_last", "_load", "_made", "_owners", "_rng")

    dynamic: Final = True

    def __init__(
        self,
        group: Group,
        *,
        factor: int,
        load: Callable[[], int],
        draws: int,
        rng: Random,
    ) -> None:
        self._group = group
        self._factor = factor
        self._load = load
        self._draws = draws
        self._rng = rng
        self._last: int | None = None
        self._made = {member: member.effective for member in group.members}
        self._keys: list[int] = []
        self._owners: list[Member] = []
        self._place()

    def pick(self, avoid: Member | None) -> Member | None:
        """Choose without a hash: by draws, or the owner of the next node that is not full."""
        if self._draws:
            return self._drawn(avoid)
        if not self._keys:
            return None
        avoided: tuple[Member, int] | None = None
        start = self._behind(self._last)
        for step in range(len(self._keys)):
            place = (start + step) % len(self._keys)
            member = self._owners[place]
            self._last = self._keys[place]
            if not member.full:
                if member is not avoid:
                    return member
                avoided = (member, self._keys[place])
        if avoided is None:
            return None
        self._last = avoided[1]
        return avoided[0]

    def find(self, hash: int, avoid: Member | None) -> Member | None:
        """Return the server of a hash, full or not.

        If every other server has its share, HAProxy stops at the end of its second round, at the owner of the last node. That
        owner may be the server to avoid.
        """
        size = len(self._keys)
        if not size:
            return None
        place = bisect_left(self._keys, hash) % size
        before = (place - 1) % size
        if (hash - self._keys[before]) % CIRCLE <= (self._keys[place] - hash) % CIRCLE:
            place = before
        for step in range(2 * size):
            member = self._owners[(place + step) % size]
            if member is not avoid and self._has_room(member):
                return member
        return self._owners[-1]

    def add(self, member: Member) -> None:
        """Add a server that is usable again."""
        self._made[member] = max(self._made[member], member.effective)
        self._place()

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable."""
        self._place()
        self._move_to_node()

    def reweigh(self, member: Member, before: int) -> None:
        """Apply a new weight.

        A server that needs more nodes than it ever had is removed from the ring and placed again, as HAProxy does. The walk
        then stands on the first remaining node at or after its old one.
        """
        grows = member.effective > self._made[member]
        if grows:
            self._made[member] = member.effective
            self._place(without=member)
            self._move_to_node()
        self._place()
        self._move_to_node()

    def count_changed(self, member: Member) -> None:
        """Do nothing: every pick reads the numbers of requests."""

    def _move_to_node(self) -> None:
        """Move the walk to the next node if its node was removed."""
        if self._last is not None:
            place = bisect_left(self._keys, self._last)
            self._last = self._keys[place] if place < len(self._keys) else None

    def _place(self, without: Member | None = None) -> None:
        nodes = sorted(
            [
                (avalanche(member.id * RANGE + number), order, member)
                for order, member in enumerate(self._group.usable)
                if member is not without
                for number in range(member.effective)
            ],
            key=lambda node: node[:2],
        )
        self._keys = [key for key, _, _ in nodes]
        self._owners = [member for _, _, member in nodes]

    def _behind(self, key: int | None) -> int:
        return 0 if key is None else bisect_left(self._keys, key + 1) % len(self._keys)

    def _drawn(self, avoid: Member | None) -> Member | None:
        best: Member | None = None
        for _ in range(self._draws):
            member = self.find(self._rng.getrandbits(32), avoid)
            if member is None:
                return None
            if best is None or member.served * best.effective <= best.served * member.effective:
                best = member
        return None if best is None or best.full else best

    def _has_room(self, member: Member) -> bool:
        """Return whether a server is below its share of the requests in progress.

        Example: four servers have the effective weights 16, 32, 48 and 16, nine requests are in progress, and the factor is
        150. There are 15 slots for 112 units of weight: 0 per unit, and 15 remain. The remaining slots are distributed by
        the cumulated weights. HAProxy cumulates the weights only at the start.
        """
        if not self._factor:
            return True
        total = sum(other.effective for other in self._group.usable)
        slots = ((self._load() + 1) * self._factor + 99) // 100
        per_unit, rest = divmod(slots, total)
        share = member.effective * per_unit
        share += (member.before + member.effective) * rest // total - member.before * rest // total
        return member.served < max(1, share)
