"""What the flows of a table share: their owner, their state, the second in which they were last seen.

A flow refers to a :class:`Stamp`, a stamp to the :class:`Pin` of its owner. There is one stamp per owner, state and
tick, so a million flows cost a million references and a few thousand objects.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.record import Record

__all__ = ["LONG_AGO_S", "Pin", "Stamp", "Steer"]

How: TypeAlias = Literal["pinned", "new", "moved", "unpinned"]

MIN_PINS: Final = 64
"""Owners, at least, that are kept until those without flows are looked for."""
LONG_AGO_S: Final = -math.inf
"""Before every time: a stamp that is fresh until then makes the next packet of its flows be looked at closely."""


@final
class Steer(Record):
    """Where a packet goes, and why.

    Parameters
    ----------
    owner
        The id of the endpoint.
    how
        ``"pinned"``: the table knew. ``"new"``: the hash decided, the table remembers. ``"moved"``: the owner was
        not alive, another took over. ``"unpinned"``: the hash decided and nothing was stored.
    """

    owner: str
    how: How


class Pin:
    """What all flows of one owner share."""

    __slots__ = ("forgotten", "moved", "new", "owner", "pinned", "stamps", "unpinned")

    def __init__(self, owner: str) -> None:
        self.owner: str = owner
        self.forgotten: bool = False
        self.stamps: dict[str, Stamp] = {}
        self.pinned: Steer = Steer(owner=owner, how="pinned")
        self.new: Steer = Steer(owner=owner, how="new")
        self.moved: Steer = Steer(owner=owner, how="moved")
        self.unpinned: Steer = Steer(owner=owner, how="unpinned")

    def in_use(self, now: float) -> bool:
        """Return whether any flow may be pinned so: the latest stamp of a state is the last to become idle."""
        return now < max([stamp.idle_at for stamp in self.stamps.values()], default=LONG_AGO_S)


class Pins(dict[str, Pin]):
    """The pins by owner; of owners that come and go, those without flows are let go."""

    __slots__ = ("most",)

    def __init__(self) -> None:
        self.most: int = MIN_PINS

    def of(self, owner: str, now: float) -> Pin:
        """Return the pin of an owner, a new one if there is none; O(1), for most of the calls."""
        pin = self.get(owner)
        if pin is None:
            pin = Pin(valid.text("owner", owner))
            if len(self) >= self.most:
                self.let_go(now)
            self[owner] = pin
        return pin

    def let_go(self, now: float) -> None:
        """Drop the pins that no flow can have; O(owners)."""
        for owner in [owner for owner, pin in self.items() if not pin.in_use(now)]:
            del self[owner]
        self.most = max(MIN_PINS, 2 * len(self))


class Stamp:
    """What the flows of one owner and state share that were last seen in the same tick."""

    __slots__ = ("fresh_until", "idle_at", "owner", "pin", "pinned", "state", "tick_ends")

    def __init__(self, pin: Pin, state: str, tick_ends: float, idle: float) -> None:
        self.pin: Pin = pin
        self.owner: str = pin.owner
        self.pinned: Steer = pin.pinned
        self.state: str = state
        self.tick_ends: float = tick_ends
        self.fresh_until: float = LONG_AGO_S if state == "syn" else tick_ends
        self.idle_at: float = tick_ends + idle

    def alive_at(self, now: float) -> bool:
        """Return whether a flow with this stamp is neither idle nor forgotten."""
        return now < self.idle_at and not self.pin.forgotten
