"""Events of a simulated network of VRRP routers: what happens to which router, and when.

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
"""Of routers that do not own the addresses (RFC 9568, section 5.2.4)."""


class VrrpDo(enum.StrEnum):
    """What an event does."""

    START = "start"
    STOP = "stop"
    """Resign, then end."""
    KILL = "kill"
    """End without a word."""
    FREEZE = "freeze"
    """Stop running; packets wait in the socket."""
    THAW = "thaw"
    CUT = "cut"
    """Lose the link, and notice it."""
    JOIN = "join"
    """Have the link back."""
    SPLIT = "split"
    """Let the named routers reach each other, and none of the others."""
    HEAL = "heal"
    """Let all routers reach each other."""
    LOSE = "lose"
    """Lose the share ``value`` of all packets from now on."""
    PRIORITY = "priority"
    """Set the priority ``value``."""
    FAULT = "fault"
    CLEAR = "clear"


class VrrpEvent(Record):
    """Something that happens to a router or to the network.

    Parameters
    ----------
    at
        Seconds from the beginning, >= 0.
    do
        What happens.
    nodes
        The routers it happens to; all of them if left out.
    value
        The share that is lost, or the priority, 1 to 254.

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
    """Return names; a bare string is refused, it would be read letter by letter."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(parameter, value, "names of routers")
    return [valid.text(parameter, name) for name in value]
