"""Resilient next-hop groups: buckets that move only when they are idle.

A hash selects a bucket, a bucket belongs to a next hop. When next hops change, the buckets of those that are gone
move at once; those of a next hop with too many move when they have been idle, or when the group has been out
of balance for too long. Live flows of the next hops that stay are not moved.

.. code-block:: text

    pass over all buckets, in order; a bucket moves if
      its next hop is gone                                                     always
      its next hop has more than it wants and the bucket has been idle         idle_timer
      its next hop has more than it wants and the group is out of balance for  unbalanced_timer (0: never)
    to the last declared next hop that has fewer than it wants, until that is full

*The trap.* With no idle bucket and no unbalanced timer a new next hop gets nothing for as long as flows live.

Source: Linux ``net/ipv4/nexthop.c`` and ``Documentation/networking/nexthop-group-resilient.rst``, behaviour observed
on 6.18; equal to it, table by table.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import accumulate, pairwise
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit.l4._ecmp import NextHops, next_hop_weights, rounded_quotient

__all__ = ["ResilientGroup"]

DEFAULT_IDLE_TIMER_S: Final = 120.0
"""As in Linux."""
MAX_BUCKETS: Final = 65_535
NEVER_USED: Final = -math.inf


@final
class ResilientGroup:
    """Hash buckets of next hops, moved when idle.

    Parameters
    ----------
    members
        Ids in order of declaration, or a mapping from id to weight (whole, 1 to 65,536); at least one.
    buckets
        How many, 1 to 65,535; fixed for the life of the group. Take many more than next hops.
    idle_timer
        Seconds without a pick after which a bucket may move, >= 0. Above the longest pause of a live flow.
    unbalanced_timer
        Seconds out of balance after which buckets move although they are in use, >= 0; 0 for never.
    now
        The time of creation.

    Raises
    ------
    ConfigurationError
        If ``members`` is empty, a weight or another number is outside its bounds, or ``now`` is not finite.

    Notes
    -----
    *Guarantee.* A bucket that was picked within ``idle_timer`` seconds moves only if its next hop is gone, or by the
    unbalanced timer. After a full pass over idle buckets every next hop has what it wants: the differences of
    ``round(buckets * cumulated weight / total)``.

    *When not to use it:* where several routers must agree about flows: the tables of two groups differ after different
    histories. Use :class:`balancekit.hashing.MaglevTable` there.

    Cost: a pick O(1); a pass O(buckets), at a change and at a deadline. 16 bytes a bucket. Not thread-safe.

    Example
    -------
    >>> from balancekit.l4 import ResilientGroup
    >>> group = ResilientGroup(["a", "b"], buckets=8, idle_timer=10.0)
    >>> group.table
    ('b', 'b', 'b', 'b', 'a', 'a', 'a', 'a')
    >>> group.pick(5, now=1.0)
    'a'
    >>> group.replace(["a", "b", "c"], now=2.0)
    >>> group.table  # bucket 5 is in use and stays
    ('c', 'c', 'b', 'b', 'c', 'a', 'a', 'a')
    """

    __slots__ = (
        "_deadline",
        "_idle",
        "_now",
        "_owners",
        "_unbalanced",
        "_unbalanced_since",
        "_used",
        "_weights",
    )

    @checked_arguments
    def __init__(
        self,
        members: NextHops,
        *,
        buckets: int,
        idle_timer: float = DEFAULT_IDLE_TIMER_S,
        unbalanced_timer: float = 0.0,
        now: float = 0.0,
    ) -> None:
        count = valid.integer("buckets", buckets, minimum=1, maximum=MAX_BUCKETS)
        self._weights = next_hop_weights(members)
        self._idle = valid.number("idle_timer", idle_timer, minimum=0.0)
        self._unbalanced = valid.number("unbalanced_timer", unbalanced_timer, minimum=0.0)
        self._owners: list[str] = [""] * count
        self._used = [NEVER_USED] * count
        self._deadline: float | None = None
        self._unbalanced_since: float | None = None
        self._pass(valid.number("now", now), self._weights, self._idle, self._unbalanced)

    def pick(self, hash: int, now: float) -> str:
        """Return the next hop of a flow, and count its bucket as used.

        Parameters
        ----------
        hash
            The flow's hash, >= 0; the bucket is its remainder by the number of buckets.
        now
            Seconds from any fixed point; never goes back.
        """
        try:
            if now.__class__ is not float or now - now != 0.0:  # the bucket would be in use for ever
                now = valid.number("now", now)
            if hash.__class__ is not int or hash < 0:
                hash = valid.integer("hash", hash, minimum=0)
            if self._deadline is not None and now >= self._deadline:
                self.advance(now)
            bucket = hash % len(self._owners)
            owner = self._owners[bucket]
        except Exception as error:
            refuse(error, ResilientGroup.pick, self, hash, now)
        self._used[bucket] = now
        return owner

    @checked_arguments
    def replace(
        self,
        members: NextHops,
        now: float,
        *,
        idle_timer: float | None = None,
        unbalanced_timer: float | None = None,
    ) -> None:
        """Change next hops or weights, and make a pass at once; whole or not at all.

        Timers that are left out stay. A group that was out of balance and still is counts from when it began.
        """
        weights = next_hop_weights(members)
        idle = self._idle if idle_timer is None else valid.number("idle_timer", idle_timer, minimum=0.0)
        unbalanced = (
            self._unbalanced
            if unbalanced_timer is None
            else valid.number("unbalanced_timer", unbalanced_timer, minimum=0.0)
        )
        at = valid.number("now", now)
        self.advance(at)
        self._pass(at, weights, idle, unbalanced)

    @checked_arguments
    def advance(self, now: float) -> None:
        """Move what is due up to ``now``. Call it at :attr:`deadline`, or let picks do it."""
        while self._deadline is not None and self._deadline <= now:
            self._pass(self._deadline, self._weights, self._idle, self._unbalanced)

    @property
    def deadline(self) -> float | None:
        """When a bucket may move next; ``None`` while the group is in balance."""
        return self._deadline

    @property
    def members(self) -> dict[str, int]:
        """The weight of each next hop, in order of declaration."""
        return dict(self._weights)

    @property
    def table(self) -> tuple[str, ...]:
        """The next hop of each bucket."""
        return tuple(self._owners)

    def wanted(self) -> dict[str, int]:
        """Return how many buckets each next hop should have."""
        return _wanted(self._weights, len(self._owners))

    def __len__(self) -> int:
        return len(self._owners)

    def __repr__(self) -> str:
        return f"<ResilientGroup of {len(self._weights)} next hops, {len(self)} buckets>"

    def _pass(self, now: float, weights: dict[str, int], idle: float, unbalanced: float) -> None:
        """Move every bucket that may move, and note when the next one may; with other weights and timers, from now on."""
        owners, used = list(self._owners), list(self._used)
        since = now if self._unbalanced_since is None else self._unbalanced_since
        deadline = _moved(owners, used, weights, idle, since + unbalanced if unbalanced else math.inf, now)
        # Nothing is called from here on, so no interrupt comes in between.
        self._weights, self._idle, self._unbalanced = weights, idle, unbalanced
        self._owners, self._used = owners, used
        self._unbalanced_since = None if deadline is None else since
        self._deadline = None if deadline == math.inf else deadline


def _wanted(weights: dict[str, int], buckets: int) -> dict[str, int]:
    """Return how many buckets each next hop should have."""
    total = sum(weights.values())
    bounds = [rounded_quotient(buckets * upto, total) for upto in accumulate(weights.values(), initial=0)]
    return {id: high - low for id, (low, high) in zip(weights, pairwise(bounds), strict=True)}


def _moved(
    owners: list[str], used: list[float], weights: dict[str, int], idle: float, forced_at: float, now: float
) -> float | None:
    """Move every bucket that may move; return when the next one may, ``None`` if the buckets are in balance."""
    wanted, has = _wanted(weights, len(owners)), Counter(owners)
    short = [id for id in wanted if has[id] < wanted[id]]  # the last declared takes first
    if not short:
        return None
    due = forced_at
    for bucket, owner in enumerate(owners):
        if owner in wanted:
            if has[owner] <= wanted[owner]:
                continue
            idle_at = used[bucket] + idle
            if now < idle_at and now < forced_at:
                due = min(due, idle_at)
                continue
        taker = short[-1]
        has[owner] -= 1
        has[taker] += 1
        owners[bucket], used[bucket] = taker, NEVER_USED
        if has[taker] >= wanted[taker]:
            short.pop()
            if not short:
                return None
    return due
