"""Tracking: checks that move a priority, or fault a router."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.adapters.vrrp import VrrpThread
from balancekit.ha import Role, Send, SyncGroup, TrackedCheck, TrackedState, Tracking, VirtualRouter

ROUTER = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", priority=120, interval=0.5)


@pytest.mark.parametrize(
    ("weight", "passed", "priority", "faults"),
    [
        (-30, True, 120, ()),
        (-30, False, 90, ()),
        (30, True, 150, ()),
        (30, False, 120, ()),
        (0, True, 120, ()),
        (0, False, 120, ("web",)),
        (-253, False, 1, ()),
        (253, True, 254, ()),
    ],
)
def test_weights_add_while_passing_and_take_while_failing(weight, passed, priority, faults):
    """Weights add while a check passes and take while it fails, within 1 to 254.

    A failure of weight 0 is a fault, as in keepalived.
    """
    machine = Tracking(checks={"web": TrackedCheck(weight=weight)})(ROUTER)
    assert machine.state == TrackedState(120, ())
    assert machine.report("web", passed=passed) == TrackedState(priority, faults)


@given(results=st.lists(st.booleans(), max_size=40), rise=st.integers(1, 4), fall=st.integers(1, 4))
def test_a_check_changes_sides_after_rise_or_fall_results_in_a_row(results, rise, fall):
    """A check changes sides after ``rise`` or ``fall`` results in a row, as a naive count does.

    The first result decides alone.
    """
    machine = Tracking(checks={"web": TrackedCheck(weight=-30, rise=rise, fall=fall)})(ROUTER)
    up, run = None, 0
    for k, passed in enumerate(results):
        if up is None:
            up = passed
        elif passed is up:
            run = 0
        else:
            run += 1
            if run >= (rise if passed else fall):
                up, run = passed, 0
        assert machine.report("web", passed=passed).priority == (120 if up else 90), k


def test_values_are_multiplied_by_their_weights():
    """Values times their weights add up, within 1 to 254.

    A product of -254 or less, or a value of weight 0, is a fault.
    """
    machine = Tracking(values={"load": -1, "bonus": 10})(ROUTER)
    assert machine.set_value("load", 40).priority == 80
    assert machine.set_value("bonus", 3).priority == 110
    assert machine.set_value("load", 253) == TrackedState(1, ())
    assert machine.set_value("load", 254) == TrackedState(150, ("load",))
    off = Tracking(values={"off": 0})(ROUTER)
    assert off.set_value("off", 0) == TrackedState(120, ())
    assert off.set_value("off", 1) == TrackedState(120, ("off",))


def test_a_machine_is_brought_to_what_the_checks_say():
    """A machine gets the priority and the faults of the checks, each once. Applying them again has no effect."""
    machine = ROUTER()
    machine.start(now=0.0)
    machine.advance(now=machine.deadline)
    now = machine.since
    tracking = Tracking(checks={"web": TrackedCheck(weight=-50), "disk": TrackedCheck()})(ROUTER)
    tracking.report("web", passed=False)
    tracking.apply(machine, now=now)
    assert machine.priority == 70
    tracking.report("disk", passed=False)
    effects = tracking.apply(machine, now=now)
    assert [effect.advert.priority for effect in effects if isinstance(effect, Send)] == [0]
    assert machine.faults == ("check disk",)
    assert tracking.apply(machine, now=now) == ()
    tracking.report("disk", passed=True)
    tracking.report("web", passed=True)
    tracking.apply(machine, now=now)
    assert (machine.role, machine.priority) == (Role.BACKUP, 120)


@pytest.mark.parametrize("weight", [-50, 50, -130])
def test_each_member_of_a_group_changes_from_its_own_priority(weight):
    """A check of a weight moves the priorities of all members by as much, and back to what each was configured with."""
    routers = {"a": ROUTER, "b": ROUTER.replace(vrid=52, priority=200, addresses=("192.0.2.101",))}
    machine = SyncGroup(routers=routers)()
    machine.start(now=0.0)
    tracking = Tracking(checks={"web": TrackedCheck(weight=weight)}, values={"load": 1})(ROUTER)

    def priorities():
        tracking.apply(machine, now=0.0)
        return {name: one.priority for name, one in machine.machines.items()}

    def moved(by):
        return {name: max(1, min(254, router.priority + by)) for name, router in routers.items()}

    assert priorities() == moved(0)
    tracking.report("web", passed=weight > 0)
    assert priorities() == moved(weight)
    tracking.set_value("load", -7)
    assert priorities() == moved(weight - 7)
    tracking.report("web", passed=weight < 0)
    tracking.set_value("load", 0)
    assert priorities() == moved(0)


def test_a_driver_refuses_what_any_member_refuses():
    """A member that owns its addresses refuses weights, also if it is not the first."""
    routers = {"a": ROUTER, "b": ROUTER.replace(vrid=52, priority=255, addresses=("192.0.2.101",))}
    tracking = Tracking(checks={"web": TrackedCheck(weight=-50)})
    with pytest.raises(ConfigurationError, match="weight 0 for priority 255"):
        VrrpThread(SyncGroup(routers=routers), interface="eth0", tracking=tracking)


def test_it_warns_where_a_lowered_priority_hands_over_to_none():
    """A warning is given where a lowered priority hands over to none (acassen/keepalived#2599).

    A fault or ``resign_when_outranked`` does hand over.
    """
    weighted = Tracking(checks={"web": TrackedCheck(weight=-50)})
    with pytest.warns(UserWarning, match="web"):
        weighted(ROUTER.replace(preempt=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weighted(ROUTER)
        weighted(ROUTER.replace(preempt=False, resign_when_outranked=True))
        Tracking(checks={"web": TrackedCheck()})(ROUTER.replace(preempt=False))


def test_wrong_names_and_weights_are_refused():
    """A wrong name or weight is refused by a ``ConfigurationError`` that names the parameter and what is allowed."""
    for weight in (-254, 254):
        with pytest.raises(ConfigurationError, match="weight"):
            TrackedCheck(weight=weight)
    with pytest.raises(ConfigurationError, match="rise"):
        TrackedCheck(rise=0)
    with pytest.raises(ConfigurationError, match=r"values\[load\]"):
        Tracking(values={"load": 300})
    machine = Tracking(checks={"web": TrackedCheck()}, values={"load": 1})(ROUTER)
    with pytest.raises(ConfigurationError, match="one of web"):
        machine.report("wbe", passed=True)
    with pytest.raises(ConfigurationError, match=r"name='laod'.*one of load"):
        machine.set_value("laod", 1)
    with pytest.raises(ConfigurationError, match="value=1000001"):
        machine.set_value("load", 1_000_001)
    with pytest.raises(ConfigurationError, match="weight 0"):
        Tracking(checks={"web": TrackedCheck(weight=1)})(ROUTER.replace(priority=255))
