"""The tables of transitions: closed, without dead ends, obeyed by the machines and drawn in the documentation."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from balancekit.health import (
    ELIGIBLE,
    TABLES,
    Health,
    Membership,
    Trigger,
    after,
    following,
    shown,
)
from balancekit.health._tables import page

ROOT = Path(__file__).parents[3]
MACHINES = {machine.title: machine for machine in TABLES}
PAIRS = [
    pytest.param(machine, state, trigger, id=f"{machine.title}-{state.value}-{trigger.value}")
    for machine in TABLES
    for state, trigger in itertools.product(machine.states, machine.triggers)
]

LIFECYCLE = """
              succeeded failed   fall     suppress    expire   reuse    rise     warmed
unknown       .         .        ejected  .           .        .        warming  .
probing       .         .        ejected  .           .        .        warming  .
warming       .         .        ejected  .           .        .        .        healthy
healthy       .         suspect  ejected  .           .        .        .        .
suspect       healthy   .        ejected  .           .        .        .        .
ejected       .         .        .        suppressed  probing  .        warming  .
suppressed    .         .        .        .           .        probing  .        .
draining      .         .        .        .           .        .        .        .
removed       .         .        .        .           .        .        .        .
"""


@pytest.mark.parametrize(("machine", "state", "trigger"), PAIRS)
def test_every_pair_leads_somewhere(machine, state, trigger):
    """A listed pair leads to another state of the machine, every other pair changes nothing."""
    result = following(machine.table, state, trigger)
    assert result in machine.states
    if (state, trigger) in machine.table:
        assert result is machine.table[state, trigger] is not state
    else:
        assert result is state


@pytest.mark.parametrize("machine", TABLES, ids=MACHINES)
def test_every_state_can_be_reached(machine):
    """From the states a machine begins in, its triggers reach every other one."""
    beginnings = {"Lifecycle": {Health.UNKNOWN, Health.HEALTHY}, "Thresholds": set(machine.states[:2])}
    reached = set(beginnings.get(machine.title, {machine.states[0]}))
    while True:
        more = {following(machine.table, s, t) for s in reached for t in machine.triggers} - reached
        if not more:
            break
        reached |= more
    assert reached == set(machine.states)


@pytest.mark.parametrize("machine", TABLES, ids=MACHINES)
def test_tables_cannot_be_changed(machine):
    """A state table cannot be changed, as all callers share it."""
    with pytest.raises(TypeError):
        machine.table[machine.states[0], machine.triggers[0]] = machine.states[0]


def test_the_lifecycle_table_is_the_one_we_mean():
    """The lifecycle table is the joint table of (state, trigger) pairs that the test writes down a second time."""
    header, *rows = LIFECYCLE.strip().splitlines()
    triggers = [Trigger(name) for name in header.split()]
    assert triggers == list(Trigger)
    seen = []
    for row in rows:
        name, *cells = row.split()
        state = Health(name)
        seen.append(state)
        for trigger, cell in zip(triggers, cells, strict=True):
            assert after(state, trigger) is (state if cell == "." else Health(cell))
    assert sorted(seen) == sorted(Health)


@pytest.mark.parametrize("membership", Membership)
@pytest.mark.parametrize("condition", Health)
def test_what_is_shown_is_one_word(condition, membership):
    """An endpoint is shown with its condition while it serves, and as draining or removed otherwise."""
    expected = {
        Membership.SERVING: condition,
        Membership.DRAINING: "draining",
        Membership.DRAINED: "draining",
        Membership.LEAVING: "draining",
        Membership.REMOVED: "removed",
    }
    assert shown(condition.value, membership) == expected[membership]


def test_who_may_be_picked():
    """On trial, warming, healthy and suspect endpoints may be picked, others may not."""
    assert {"probing", "warming", "healthy", "suspect"} == ELIGIBLE


def test_the_page_is_the_code():
    """``python -m balancekit.health > docs/reference/health-tables.md`` has been run."""
    assert (ROOT / "docs" / "reference" / "health-tables.md").read_text(encoding="utf-8") == page()
