"""Linux next-hop groups: groups from declarations of ``ip nexthop``, which choose like the kernel.

==================  ============================================================================================
``type mpath``      :class:`balancekit.l4.Ecmp`, by hash threshold; the default of the kernel
``type resilient``  :class:`balancekit.l4.ResilientGroup`, with buckets, an idle timer and an unbalanced timer
==================  ============================================================================================

Source: Linux 6.18 ``net/ipv4/nexthop.c`` and the manual page ip-nexthop(8). Behaviour was observed in a network namespace.
"""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l4 import Ecmp, ResilientGroup

__all__ = ["nexthop_group"]

MAX_DIGITS: Final = 10
"""Digits of the largest number of 32 bits. The kernel has none that is longer."""
TIMERS: Final = ("idle_timer", "unbalanced_timer")


@checked_arguments
def nexthop_group(declaration: str, *, now: float = 0.0) -> Ecmp | ResilientGroup:
    """Return the group for a declaration of ``ip nexthop``.

    Parameters
    ----------
    declaration
        The arguments of ``ip nexthop add``, beginning with ``group``: ids of next hops with weights, separated by slashes,
        then ``type``, and for ``resilient`` the options ``buckets``, ``idle_timer`` and ``unbalanced_timer``. The output of
        ``ip nexthop show`` has the same form.
    now
        Time at which a resilient group is created, in seconds.

    Raises
    ------
    ConfigurationError
        If a word is unknown, missing or given twice, or a number is one that the kernel refuses.

    *When not to use it:* to predict one packet of a real router: the kernel's flow hash has a random seed.

    Example
    -------
    >>> from balancekit.compat.linux import nexthop_group
    >>> nexthop_group("group 1,3/2/3 type mpath").pick(0)
    '1'
    >>> nexthop_group("group 1/2 type resilient buckets 8 idle_timer 60").table
    ('2', '2', '2', '2', '1', '1', '1', '1')
    """
    words = valid.text("declaration", declaration).split()
    if words[:1] != ["group"] or len(words) < 2 or len(words) % 2:
        raise ConfigurationError("declaration", declaration, "'group ID[,WEIGHT]/...' and pairs of words")
    members = _members(words[1])
    options = dict(zip(words[2::2], words[3::2], strict=True))
    if len(options) != len(words) // 2 - 1:
        raise ConfigurationError("declaration", declaration, "each word at most once")
    kind = options.pop("type", "mpath")
    if kind == "mpath" and not options:
        return Ecmp(members)
    if kind != "resilient" or not {"buckets"} <= options.keys() <= {"buckets", *TIMERS}:
        raise ConfigurationError(
            "declaration",
            declaration,
            "type mpath, or type resilient with buckets, idle_timer, unbalanced_timer",
        )
    timers = {name: _seconds(name, options[name]) for name in TIMERS if name in options}
    return ResilientGroup(members, buckets=_number("buckets", options["buckets"]), now=now, **timers)


def _members(text: str) -> dict[str, int]:
    members: dict[str, int] = {}
    for part in text.split("/"):
        id, comma, weight = part.partition(",")
        name = str(_number("id", id))
        if name in members:
            raise ConfigurationError("id", name, "each next hop once")
        members[name] = _number("weight", weight) if comma else 1
    return members


def _number(parameter: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise ConfigurationError(parameter, text, f"a whole number of at most {MAX_DIGITS} digits")
    return int(text)


def _seconds(parameter: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(parameter, text, "a number of seconds") from None
