"""Transition table of a virtual router: roles, triggers, and what each pair does.

The table is complete: the machine in ``_vrrp.py`` only carries it out, the reference page is printed from it, and a
test visits every pair. **A pair that is not listed changes nothing.**

Source: RFC 5798 and RFC 9568 section 6.4. The roles and triggers of faults, pauses, sync groups and outranked
routers are keepalived's or ours, and marked as such.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["VRRP", "Action", "Role", "Step", "VrrpTrigger", "vrrp_page"]


class Role(enum.StrEnum):
    """What a router is for the addresses of one virtual router."""

    INITIALIZE = "initialize"
    """Not started, or stopped."""
    BACKUP = "backup"
    """Another router is active, or is about to be."""
    ACTIVE = "active"
    """This router holds the addresses."""
    FAULT = "fault"
    """Something it needs is broken: it neither sends nor takes over (keepalived)."""


class VrrpTrigger(enum.StrEnum):
    """What can happen to a virtual router."""

    START = "start"
    """It is started, or its last fault is cleared."""
    START_OWNER = "start as owner"
    """The same with priority 255."""
    STOP = "stop"
    """It is stopped."""
    ADVERT_DUE = "advert due"
    """As active, its own interval has passed since its last advert."""
    DOWN = "down timer"
    """As backup, it has received nothing that holds it back for one down time."""
    RESIGNED = "resignation"
    """It receives an advert of priority 0."""
    SUPERIOR = "superior advert"
    """As backup, an advert of at least its own priority; as active, one of a higher priority, or of the same
    priority from a higher address."""
    TOLERATED = "tolerated advert"
    """As backup, an advert of a lower priority that it may not preempt, or not yet."""
    INFERIOR = "inferior advert"
    """Any other advert."""
    FAIL = "fault"
    """A check without weight fails, the link is lost, a hook raises (keepalived)."""
    PAUSED = "pause"
    """It has not run for longer than its down time past its deadline (ours)."""
    OUTRANKED = "outranked"
    """As active, its priority falls below that of a router it has received (ours, optional)."""
    GROUP = "group leaves"
    """Another member of its sync group became backup (keepalived)."""


class Action(enum.StrEnum):
    """What a step does, in the order listed."""

    SEND = "send"
    """Send an advert."""
    RESIGN = "resign"
    """Send an advert of priority 0."""
    ANNOUNCE = "announce"
    """Announce the addresses to the network."""
    WITHDRAW = "withdraw"
    """Give the addresses up."""
    ADOPT = "adopt interval"
    """Use the sender's interval for the down timer (version 3)."""
    OWN_INTERVAL = "own interval"
    """Use the own interval for the down timer."""
    ADVERT_TIMER = "advert timer"
    """Be due one own interval from now."""
    DOWN_TIMER = "down timer"
    """Be due one down time from now."""
    SKEW_TIMER = "skew timer"
    """Be due one skew from now."""
    STOP_TIMER = "no timer"
    """Be due never."""


class Step(NamedTuple):
    """What follows from a role and a trigger."""

    role: Role
    actions: tuple[Action, ...]


_TAKE_OVER: Final = Step(Role.ACTIVE, (Action.SEND, Action.ANNOUNCE, Action.ADVERT_TIMER))
_LISTEN: Final = Step(Role.BACKUP, (Action.OWN_INTERVAL, Action.DOWN_TIMER))
_ANSWER: Final = Step(Role.ACTIVE, (Action.SEND, Action.ADVERT_TIMER))

VRRP: Final[Mapping[tuple[Role, VrrpTrigger], Step]] = MappingProxyType(
    {
        (Role.INITIALIZE, VrrpTrigger.START): _LISTEN,
        (Role.INITIALIZE, VrrpTrigger.START_OWNER): _TAKE_OVER,
        (Role.INITIALIZE, VrrpTrigger.FAIL): Step(Role.FAULT, ()),
        (Role.BACKUP, VrrpTrigger.STOP): Step(Role.INITIALIZE, (Action.STOP_TIMER,)),
        (Role.BACKUP, VrrpTrigger.DOWN): _TAKE_OVER,
        (Role.BACKUP, VrrpTrigger.RESIGNED): Step(Role.BACKUP, (Action.SKEW_TIMER,)),
        (Role.BACKUP, VrrpTrigger.SUPERIOR): Step(Role.BACKUP, (Action.ADOPT, Action.DOWN_TIMER)),
        (Role.BACKUP, VrrpTrigger.TOLERATED): Step(Role.BACKUP, (Action.ADOPT, Action.DOWN_TIMER)),
        (Role.BACKUP, VrrpTrigger.FAIL): Step(Role.FAULT, (Action.STOP_TIMER,)),
        (Role.BACKUP, VrrpTrigger.PAUSED): Step(Role.BACKUP, (Action.DOWN_TIMER,)),
        (Role.ACTIVE, VrrpTrigger.STOP): Step(
            Role.INITIALIZE, (Action.RESIGN, Action.WITHDRAW, Action.STOP_TIMER)
        ),
        (Role.ACTIVE, VrrpTrigger.ADVERT_DUE): _ANSWER,
        (Role.ACTIVE, VrrpTrigger.RESIGNED): _ANSWER,
        (Role.ACTIVE, VrrpTrigger.SUPERIOR): Step(
            Role.BACKUP, (Action.WITHDRAW, Action.ADOPT, Action.DOWN_TIMER)
        ),
        (Role.ACTIVE, VrrpTrigger.INFERIOR): Step(
            Role.ACTIVE, (Action.SEND, Action.ANNOUNCE, Action.ADVERT_TIMER)
        ),
        (Role.ACTIVE, VrrpTrigger.FAIL): Step(
            Role.FAULT, (Action.RESIGN, Action.WITHDRAW, Action.STOP_TIMER)
        ),
        (Role.ACTIVE, VrrpTrigger.PAUSED): Step(
            Role.BACKUP, (Action.WITHDRAW, Action.OWN_INTERVAL, Action.DOWN_TIMER)
        ),
        (Role.ACTIVE, VrrpTrigger.OUTRANKED): Step(
            Role.BACKUP, (Action.RESIGN, Action.WITHDRAW, Action.OWN_INTERVAL, Action.DOWN_TIMER)
        ),
        (Role.ACTIVE, VrrpTrigger.GROUP): Step(
            Role.BACKUP, (Action.WITHDRAW, Action.OWN_INTERVAL, Action.DOWN_TIMER)
        ),
        (Role.FAULT, VrrpTrigger.START): _LISTEN,
        (Role.FAULT, VrrpTrigger.START_OWNER): _TAKE_OVER,
        (Role.FAULT, VrrpTrigger.STOP): Step(Role.INITIALIZE, ()),
    },
)
"""Where each trigger leads from each role, and what is done on the way."""


def vrrp_page() -> str:
    """Return the page of the reference that shows the table."""
    lines = [
        "# Transition table of VRRP",
        "",
        "Printed from the code by `python -m balancekit.ha`. A pair that is not listed changes nothing, not even",
        "a timer. Actions are carried out in the order given.",
        "",
        "| role | trigger | next role | actions |",
        "| --- | --- | --- | --- |",
    ]
    for (role, trigger), step in VRRP.items():
        actions = ", ".join([action.value for action in step.actions])
        lines.append(f"| **{role.value}** | {trigger.value} | {step.role.value} | {actions} |")
    return "\n".join(lines) + "\n"
