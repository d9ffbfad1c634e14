"""Events of a simulated network of VRRP routers.

Cost: O(1) to make one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["VrrpDo", "VrrpEvent"]

PRIORITIES: Final = range(1, 255)
"""Priorities of routers that do not own the addresses (RFC 9568, section 5.2.4)."""


class VrrpDo(enum.StrEnum):
    """Action of an event."""

    START = "start"
    """Start or restart the router."""
    STOP = "stop"
    """Stop the router after it has sent its resignation."""
    KILL = "kill"
    """Stop the router at once, without a resignation."""
    FREEZE = "freeze"
    """Suspend the router's process. Packets wait in its socket."""
    THAW = "thaw"
    """Resume a frozen router."""
    CUT = "cut"
    """Cut the router's link. The router detects it as a fault."""
    JOIN = "join"
    """Restore the router's link."""
    SPLIT = "split"
    """Split the network: the named routers reach each other, and none of the others."""
    HEAL = "heal"
    """End the split: all routers reach each other."""
    LOSE = "lose"
    """Lose the share ``value`` of all packets from now on."""
    PRIORITY = "priority"
    """Set the router's priority to ``value``."""
    FAULT = "fault"
    """Set a fault of the router, as a failed track script does."""
    CLEAR = "clear"
    """Clear that fault."""


class VrrpEvent(Record):
    """An event that affects routers or the network.

    Parameters
    ----------
    at
        Seconds from the beginning, >= 0.
    do
        The action.
    nodes
        Names of the routers that are affected; all routers if empty. ``LOSE`` and ``HEAL`` ignore it.
    value
        For ``LOSE`` the share of packets that is lost, 0 to 1. For ``PRIORITY`` the priority, 1 to 254. Other actions
        ignore it.

    Raises
    ------
    ConfigurationError
        If ``at`` is negative, ``do`` is no ``VrrpDo``, a name is no string, or ``value`` is outside its
        bounds.
    """

    at: float
    do: VrrpDo
    nodes: tuple[str, ...] = ()
    value: float = 0.0

    def _check(self) -> None:
        valid.number("at", self.at, minimum=0.0)
        self.__dict__["do"] = valid.member("do", self.do, VrrpDo)
        self.__dict__["nodes"] = tuple(_names("nodes", self.nodes))
        if self.do is VrrpDo.LOSE:
            valid.number("value", self.value, minimum=0.0, maximum=1.0)
        if self.do is VrrpDo.PRIORITY and self.value not in PRIORITIES:
            raise ConfigurationError("value", self.value, "a priority, a whole number from 1 to 254")


def _names(parameter: str, value: object) -> list[str]:
    """Return names as a list. A bare string is refused, because it is an iterable of its letters."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(parameter, value, "names of routers")
    return [valid.text(parameter, name) for name in value]
