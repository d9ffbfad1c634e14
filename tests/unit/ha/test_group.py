"""Sync groups: members change together."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.ha import Became, RejectedAdvert, Role, Send, SyncGroup, VirtualRouter, packets

A = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.12", interval=0.5)
B = A.replace(vrid=52, addresses=("192.0.2.101",))
RIVAL = "192.0.2.13"


def roles(group):
    """Return the role of each member."""
    return {name: machine.role for name, machine in group.machines.items()}


def sent(effects):
    """Return the members and priorities of the adverts in some effects."""
    return [(name, effect.advert.priority) for name, effect in effects if isinstance(effect, Send)]


def started():
    """Return a group that is backup since 0."""
    group = SyncGroup(routers={"A": A, "B": B})()
    group.start(now=0.0)
    return group


def active():
    """Return a group that is active, and the time."""
    group = started()
    now = group.deadline
    group.advance(now=now)
    assert set(roles(group).values()) == {Role.ACTIVE}
    return group, now


def test_a_group_becomes_active_when_the_last_member_is_due():
    """A member whose timer has run out waits for the others, however long, and that is no pause."""
    group = started()
    for k in range(1, 40):
        group.receive(B.advert(150), RIVAL, now=k * 0.5)
        group.advance(now=k * 0.5 + 0.01)
        assert set(roles(group).values()) == {Role.BACKUP}
    due = 39 * 0.5 + B.down(0.5)
    assert group.deadline == pytest.approx(due)
    effects = group.advance(now=group.deadline)
    assert sorted(sent(effects)) == [("A", 100), ("B", 100)]
    assert group.role is Role.ACTIVE


def test_a_member_that_waits_is_held_back_by_a_new_advert():
    """A superior advert restarts the timer of a member that waits."""
    group = started()
    group.receive(B.advert(150), RIVAL, now=1.5)
    group.advance(now=2.0)  # A is due, B is not
    group.receive(A.advert(150), RIVAL, now=2.1)
    group.advance(now=1.5 + B.down(0.5))
    assert set(roles(group).values()) == {Role.BACKUP}


def test_all_members_leave_with_the_one_that_does():
    """One superior advert makes the whole group backup, and no member resigns."""
    group, now = active()
    effects = group.receive(B.advert(150), RIVAL, now=now)
    assert set(roles(group).values()) == {Role.BACKUP}
    assert sent(effects) == []
    assert [name for name, effect in effects if isinstance(effect, Became)] == ["B", "A"]


def test_all_members_resign_with_the_one_that_is_outranked():
    """When one member is outranked, all members resign."""
    routers = {name: router.replace(resign_when_outranked=True) for name, router in (("A", A), ("B", B))}
    group = SyncGroup(routers=routers)()
    group.start(now=0.0)
    group.advance(now=group.deadline)
    now = group.machines["A"].since
    group.receive(A.advert(90), RIVAL, now=now)
    effects = group.set_priority(80, now=now)
    assert sent(effects) == [("A", 0), ("B", 0)]
    assert group.role is Role.BACKUP


def test_a_fault_of_one_is_a_fault_of_all_until_it_is_cleared():
    """A fault of one member is a fault of all until it is cleared. Faults of several members are kept apart."""
    group, now = active()
    assert sent(group.fault("disk", member="A", now=now)) == [("A", 0), ("B", 0)]
    group.fault("disk", member="B", now=now)
    group.clear("disk", member="A", now=now)
    assert set(roles(group).values()) == {Role.FAULT}
    group.clear("disk", member="B", now=now)
    assert set(roles(group).values()) == {Role.BACKUP}


def test_stopping_resigns_every_member():
    """Stopping a group sends priority 0 for every member."""
    group, now = active()
    assert sent(group.stop(now=now)) == [("A", 0), ("B", 0)]
    assert group.role is Role.INITIALIZE
    assert group.deadline is None


def test_a_packet_finds_its_member():
    """A packet finds its member by virtual router id and family. One for no member is rejected with its id."""
    group = started()
    (data, destination), *_ = packets(B, B.advert(150))
    with pytest.raises(RejectedAdvert, match="its own advert"):
        group.receive_packet(data, source=B.source, destination=destination, hop_limit=255, now=0.1)
    rival = B.replace(source=RIVAL)
    (data, destination), *_ = packets(rival, rival.advert(150))
    group.receive_packet(data, source=RIVAL, destination=destination, hop_limit=255, now=0.1)
    assert group.machines["B"].last_source == RIVAL
    assert group.machines["A"].last_source is None
    with pytest.raises(RejectedAdvert, match="virtual router 99"):
        group.receive(A.replace(vrid=99).advert(150), RIVAL, now=0.1)


def test_a_rejected_packet_moves_no_deadline():
    """A rejected packet moves no deadline, neither the member's nor the group's."""
    group = started()
    before = group.deadline
    with pytest.raises(RejectedAdvert):
        group.receive(A.replace(addresses=("192.0.2.1",)).advert(200), RIVAL, now=0.2)
    assert group.deadline == before


def test_each_peer_gets_its_own_packet():
    """Each peer gets a packet of its own, as the checksum covers the destination."""
    router = A.replace(peers=("192.0.2.13", "192.0.2.14"))
    found = packets(router, router.advert(100))
    assert [destination for _, destination in found] == ["192.0.2.13", "192.0.2.14"]
    assert len({data for data, _ in found}) == 2


def test_members_have_ids_of_their_own():
    """The same id twice is refused, unless the families differ."""
    with pytest.raises(ConfigurationError, match="routers"):
        SyncGroup(routers={"A": A, "B": A})
    with pytest.raises(ConfigurationError, match="routers"):
        SyncGroup(routers={})
    v6 = A.replace(addresses=("fe80::100",), source="fe80::12")
    assert len(SyncGroup(routers={"A": A, "B": v6}).routers) == 2
    with pytest.raises(ConfigurationError, match="member"):
        started().set_priority(50, member="C", now=0.0)


def test_it_explains_each_member():
    """A group explains each member on a line of its own."""
    assert started().explain(now=0.0).splitlines() == [
        "A: backup: no advert received; would take over in 1.8 s",
        "B: backup: no advert received; would take over in 1.8 s",
    ]
    single = SyncGroup(routers={"A": A})()
    assert single.explain(now=0.0) == "initialize: not started"


def test_a_raised_priority_may_make_a_router_due_at_once():
    """A raised priority may make a router due at once, with a deadline that is now or before."""
    group = SyncGroup(routers={"A": A.replace(priority=1)})()
    group.start(now=0.0)
    group.set_priority(254, now=1.6)
    assert group.deadline == pytest.approx(1.5 + 0.5 * 2 / 256)
    group.advance(now=1.6)
    assert group.role is Role.ACTIVE
