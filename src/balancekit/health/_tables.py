"""All state tables, for the reference page and for the tests.

``python -m balancekit.health`` prints ``docs/reference/health-tables.md``; a test compares the two.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from balancekit.health._accrued import ACCRUED_FAILURES, AccruedTrigger
from balancekit.health._damping import DAMPING, Damping, DampingTrigger
from balancekit.health._failures import FAILURE_RUN, Run, RunTrigger
from balancekit.health._maxfails import MAX_FAILS, Fails, FailTrigger
from balancekit.health._membership import MEMBERSHIP, Membership, Move
from balancekit.health._probation import PROBATION, Trial, TrialTrigger
from balancekit.health._states import CONDITIONS, TRANSITIONS, Trigger
from balancekit.health._table import markdown
from balancekit.health._threshold import THRESHOLDS, CheckState, CheckTrigger
from balancekit.health._warmup import WARM_UP, Warmth, WarmthTrigger

__all__ = ["TABLES", "Machine", "page"]


class Machine(NamedTuple):
    """One machine, as it is documented."""

    title: str
    about: str
    states: Sequence[enum.Enum]
    triggers: Sequence[enum.Enum]
    table: Mapping[tuple[Any, Any], Any]


TABLES: Final = (
    Machine(
        "Lifecycle",
        "The state of an endpoint. `LifecycleMachine` joins all the others into these triggers.",
        CONDITIONS,
        tuple(Trigger),
        TRANSITIONS,
    ),
    Machine(
        "Membership",
        "Whether an endpoint belongs to the pool. It is shown as draining or removed while it is not serving.",
        tuple(Membership),
        tuple(Move),
        MEMBERSHIP,
    ),
    Machine("Thresholds", "The state by checks.", tuple(CheckState), tuple(CheckTrigger), THRESHOLDS),
    Machine(
        "AccruedFailures",
        "The state by checks with accrued failures.",
        tuple(CheckState),
        tuple(AccruedTrigger),
        ACCRUED_FAILURES,
    ),
    Machine(
        "ConsecutiveFailures",
        "The state by consecutive requests.",
        tuple(Run),
        tuple(RunTrigger),
        FAILURE_RUN,
    ),
    Machine("FlapDamping", "Whether it flaps.", tuple(Damping), tuple(DampingTrigger), DAMPING),
    Machine("Probation", "Whether it has recovered.", tuple(Trial), tuple(TrialTrigger), PROBATION),
    Machine("WarmUp", "Whether it takes its full share.", tuple(Warmth), tuple(WarmthTrigger), WARM_UP),
    Machine(
        "MaxFails",
        "The counts of nginx, as a policy of its own.",
        tuple(Fails),
        tuple(FailTrigger),
        MAX_FAILS,
    ),
)
"""Every table of this package."""


def page() -> str:
    """Return the page of the reference."""
    head = (
        "# Transition tables of health\n\n"
        "Drawn from the code by `python -m balancekit.health`. A row is a state, a column a trigger; an empty "
        "cell\nmeans that nothing changes.\n"
    )
    parts = [
        f"\n## {machine.title}\n\n{machine.about}\n\n{markdown(machine.states, machine.triggers, machine.table)}\n"
        for machine in TABLES
    ]
    return head + "".join(parts)
