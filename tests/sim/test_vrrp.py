"""Simulated elections: scenarios hold what they claim, reports count right, events do what they say."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.ha import Role, SyncGroup, VirtualRouter, packets
from balancekit.sim import VrrpChange, VrrpDo, VrrpEvent, VrrpReport, VrrpSimulation, vrrp_scenarios

R1 = VirtualRouter(vrid=51, addresses=("192.0.2.100",), source="192.0.2.11", priority=150, interval=0.5)
R2 = R1.replace(source="192.0.2.12", priority=100)
SCENARIOS = vrrp_scenarios()


def happen(at, do, *nodes, value=0.0):
    """Return an event."""
    return VrrpEvent(at=at, do=do, nodes=nodes, value=value)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_holds_what_it_claims(name):
    """Every claim of a scenario is measured and holds."""
    scenario = SCENARIOS[name]
    checked = scenario.check(scenario.run())
    assert [found.text for found in checked] == [claim.text for claim in scenario.claims] != []
    for found in checked:
        assert found.holds, f"{found.text}: {found.found}"


def test_the_claim_of_the_frozen_router_fails_without_the_pause_check():
    """A router that goes on as keepalived does is found out."""
    scenario = SCENARIOS["frozen"]
    routers = {"r1": R1.replace(check_pause=False), "r2": R2}
    report = VrrpSimulation(routers, scenario.events, seed=1).run(scenario.seconds)
    assert [found.holds for found in scenario.check(report)] == [True, False, False]


def test_the_same_seed_gives_the_same_history():
    """The same seed gives the same packets and changes, and another seed gives others."""
    events = [happen(2.0, VrrpDo.LOSE, value=0.3)]
    one, two, other = (
        VrrpSimulation({"r1": R1, "r2": R2}, events, latency=(0.0, 0.1), seed=seed).run(60.0)
        for seed in (3, 3, 4)
    )
    assert one == two
    assert one != other


def test_spells_without_and_with_two_holders():
    """No router holds the address from the beginning to the first takeover. Both do between a split and its end."""
    events = [happen(3.0, VrrpDo.SPLIT, "r1"), happen(7.0, VrrpDo.HEAL)]
    report = VrrpSimulation({"r1": R1, "r2": R2}, events).run(9.0)
    assert [spell.begin for spell in report.outages()] == [0.0]
    assert report.outages()[0].end == pytest.approx(R1.down(0.5))
    assert report.outages(after=2.0) == []
    (overlap,) = report.overlaps()
    assert 3.0 < overlap.begin < 3.0 + R2.down(0.5)
    assert 7.0 < overlap.end < 7.6
    assert report.holders(5.0) == ("r1", "r2")


def test_priorities_and_faults_and_stops():
    """A lowered priority hands over after a down time, a fault after a skew; a cleared one preempts."""
    events = [
        happen(3.0, VrrpDo.PRIORITY, "r1", value=50),
        happen(7.0, VrrpDo.FAULT, "r2"),
        happen(9.0, VrrpDo.CLEAR, "r2"),
        happen(13.0, VrrpDo.STOP, "r2"),
    ]
    report = VrrpSimulation({"r1": R1, "r2": R2}, events).run(15.0)
    assert [report.holders(t) for t in (2.9, 5.0, 8.0, 12.0, 14.0)] == [
        ("r1",),
        ("r2",),
        ("r1",),
        ("r2",),
        ("r1",),
    ]
    assert report.outages(after=7.0)[0].seconds == pytest.approx(R1.skew(0.5, 50), abs=0.002)


def test_members_of_a_sync_group_are_told_apart():
    """Spells and holders can be read for one member of a sync group."""
    pair = {"a": R1, "b": R1.replace(vrid=52, addresses=("192.0.2.101",))}
    report = VrrpSimulation({"r1": SyncGroup(routers=pair), "r2": R2}).run(5.0)
    assert report.holders(4.0, member="a") == report.holders(4.0, member="b") == ("r1",)
    assert report.holders(4.0, member="router") == ()  # r2 received a's adverts


def test_unicast_packets_reach_their_peer_only():
    """The third router hears nothing, and becomes active too."""
    routers = {
        "r1": R1.replace(peers=("192.0.2.12",)),
        "r2": R2.replace(peers=("192.0.2.11",)),
        "r3": R2.replace(source="192.0.2.13", priority=50, peers=("192.0.2.11",), check_peers=False),
    }
    report = VrrpSimulation(routers).run(5.0)
    assert report.holders(4.9) == ("r1", "r3")


def test_an_injected_packet_arrives_everywhere():
    """Every router receives it at its time."""
    simulation = VrrpSimulation({"r1": R1, "r2": R2})
    stranger = R1.replace(source="192.0.2.99", priority=254)
    ((data, destination),) = packets(stranger, stranger.advert(254))
    simulation.inject(4.0, data, source=stranger.source, destination=destination)
    report = simulation.run(4.1)
    assert report.holders(4.05) == ()
    assert [(change.node, change.role) for change in report.changes if change.t == 4.0] == [
        ("r1", Role.BACKUP)
    ]


def test_wrong_arguments_are_refused_by_name():
    """A wrong argument is refused by a ``ConfigurationError`` that names it."""
    with pytest.raises(ConfigurationError, match="routers"):
        VrrpSimulation({})
    with pytest.raises(ConfigurationError, match="nodes"):
        VrrpSimulation({"r1": R1}, [happen(1.0, VrrpDo.KILL, "r9")])
    with pytest.raises(ConfigurationError, match="at"):
        happen(-1.0, VrrpDo.KILL, "r1")
    with pytest.raises(ConfigurationError, match="value"):
        happen(1.0, VrrpDo.LOSE, value=1.5)
    with pytest.raises(ConfigurationError, match="latency"):
        VrrpSimulation({"r1": R1}, latency=(-1.0, 0.0))
    with pytest.raises(ConfigurationError, match="name"):
        VrrpSimulation({"r1": R1}).call(1.0, "r9", lambda speaker, now: ())


@pytest.mark.parametrize(
    ("parameter", "call"),
    [
        ("nodes", lambda: VrrpEvent(at=1.0, do=VrrpDo.KILL, nodes="r1")),
        ("value", lambda: VrrpEvent(at=1.0, do=VrrpDo.PRIORITY, value=300)),
        ("value", lambda: VrrpEvent(at=1.0, do=VrrpDo.PRIORITY, value=1.5)),
        ("value", lambda: VrrpEvent(at=1.0, do=VrrpDo.PRIORITY, value=float("nan"))),
        ("latency", lambda: VrrpSimulation({"r1": R1}, latency=(0.5, 0.1))),
        ("seed", lambda: VrrpSimulation({"r1": R1}, seed=None)),
        ("seed", lambda: VrrpSimulation({"r1": R1}, seed="x")),
        ("routers", lambda: VrrpSimulation({"r1": 3})),
        ("routers", lambda: VrrpSimulation({"r1": lambda: None}).run(1.0)),
        ("seconds", lambda: VrrpSimulation({"r1": R1}).run(float("nan"))),
        ("seconds", lambda: VrrpSimulation({"r1": R1}).run(float("inf"))),
        ("at", lambda: VrrpSimulation({"r1": R1}).call(float("nan"), "r1", lambda speaker, now: ())),
        ("action", lambda: VrrpSimulation({"r1": R1}).call(1.0, "r1", 3)),
        (
            "at",
            lambda: VrrpSimulation({"r1": R1}).inject("x", b"", source="192.0.2.9", destination="224.0.0.18"),
        ),
        ("source", lambda: VrrpSimulation({"r1": R1}).inject(1.0, b"", source="a", destination="224.0.0.18")),
    ],
)
def test_wrong_values_are_refused(parameter, call):
    """Each wrong value raises ConfigurationError, which names the parameter, where it is given."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert caught.value.parameter == parameter


def test_a_router_holds_while_any_of_its_members_does():
    """Without a member, a router is active as long as one of its members is."""
    changes = [
        VrrpChange(1.0, "r1", "a", Role.ACTIVE, ""),
        VrrpChange(1.0, "r1", "b", Role.ACTIVE, ""),
        VrrpChange(2.0, "r1", "b", Role.BACKUP, ""),
        VrrpChange(3.0, "r1", "a", None, "killed"),
    ]
    report = VrrpReport(tuple(changes), (), 4.0)
    assert report.holders(2.5) == ("r1",)
    assert report.holders(2.5, member="b") == ()
    assert report.outages(after=1.0) == [(3.0, 4.0)]


@pytest.mark.parametrize("at", [0.0, 3.0])
def test_a_wire_is_cut_whether_its_router_runs_or_not(at):
    """A router whose wire was cut before it started holds nothing, until the wire is back."""
    events = [happen(at, VrrpDo.CUT, "r1"), happen(5.0, VrrpDo.START, "r1"), happen(20.0, VrrpDo.JOIN, "r1")]
    report = VrrpSimulation({"r1": R1}, events).run(40.0)
    assert report.holders(19.9) == ()
    assert report.sent[0].t > 20.0
    assert report.holders(39.0) == ("r1",)


def test_a_router_without_a_start_starts_before_anything_else():
    """A router without a start starts before anything else, so that what happens at 0 happens to one that runs."""
    report = VrrpSimulation({"r1": R1}, [happen(0.0, VrrpDo.KILL, "r1")]).run(10.0)
    assert [change.why for change in report.changes] == ["started", "killed"]
    assert report.holders(9.0) == ()
