"""Failover over policies: the order, the word, hold-down and ramp, proportions, and stability per subnet."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    FAIL_BACK,
    AllUp,
    Client,
    Exhausted,
    FailBack,
    Failover,
    Geo,
    GeoMap,
    Query,
    SiteState,
    SiteTrigger,
    Standing,
    fixed_standings,
)
from balancekit.health import FlapDamping
from balancekit.routing import tier_loads

SITES = [("eu", AllUp(["eu-1", "eu-2"])), ("us", AllUp(["us-1", "us-2"]))]
EU_DOWN = {"eu-1": False, "eu-2": False}
ALL_DOWN = {**EU_DOWN, "us-1": False, "us-2": False}
CLIENTS = [Client(address="192.0.2.53", subnet=f"10.{k // 250}.{k % 250}.0/24") for k in range(600)]
QUERIES = [Query(name="www", client=client) for client in CLIENTS]


def ask(policy, standings, *, now=0.0, query=QUERIES[0], explain=False):
    """Return one answer."""
    return policy.answer(query, fixed_standings(standings), now=now, rng=Random(1), explain=explain)


def sites(policy, standings, *, now):
    """Return the site of every client."""
    return [ask(policy, standings, now=now, query=query).chosen[0][:2] for query in QUERIES]


def test_the_first_child_that_has_not_failed_answers():
    """The first child that has not failed answers, and its failure is known at the next answer."""
    policy = Failover(SITES, fail_back=None)
    assert set(ask(policy, {}).chosen) == {"eu-1", "eu-2"}
    assert set(ask(policy, EU_DOWN).chosen) == {"us-1", "us-2"}
    assert set(ask(policy, {"eu-1": False}).chosen) == {"eu-2"}


@pytest.mark.parametrize(("word", "chosen"), [("open", {"eu-1", "eu-2"}), ("next", set()), ("closed", set())])
def test_when_all_children_have_failed_the_word_decides(word, chosen):
    """When all children have failed, the word decides.

    With OPEN the first child's answer is given, and says that it failed.
    """
    answer = ask(Failover(SITES, fail_back=None, exhausted=word), ALL_DOWN)
    assert set(answer.chosen) == chosen
    assert answer.exhausted is Exhausted(word)


def test_a_closed_child_is_not_passed_over():
    """CLOSED in a child means no answer rather than another child's."""
    children = [("eu", AllUp(["eu-1"], exhausted="closed")), ("us", AllUp(["us-1"]))]
    answer = ask(Failover(children, fail_back=None), {"eu-1": False})
    assert answer.chosen == ()
    assert answer.exhausted is Exhausted.CLOSED
    again = ask(
        Failover([("outer", Failover(children, fail_back=None)), *SITES], fail_back=None), {"eu-1": False}
    )
    assert again.chosen == ()


def test_the_ttl_is_the_least_of_all_children_that_were_asked():
    """The TTL is the least of all children that were asked. A child that was not reached bounds nothing."""
    standings = {
        "eu-1": Standing(up=False, until=50.0),
        "eu-2": Standing(up=False, until=70.0),
        "us-1": Standing(up=True, until=20.0),
    }
    assert ask(Failover(SITES, fail_back=None), standings, now=10.0).ttl == 10.0
    assert (
        ask(Failover(SITES[::-1], fail_back=None), {**standings, "us-1": Standing(up=True, until=30.0)}).ttl
        == 30.0
    )


def test_traffic_comes_back_after_the_hold_down_and_in_steps():
    """No traffic for ``hold_down`` seconds, then k / steps at the k-th step, within Z = 4.5 of binomial shares."""
    policy = Failover(SITES, fail_back=FailBack(hold_down=60.0, ramp=100.0, steps=5))
    assert set(sites(policy, {}, now=0.0)) == {"eu"}
    assert set(sites(policy, EU_DOWN, now=10.0)) == {"us"}
    assert set(sites(policy, {}, now=20.0)) == {"us"}
    assert set(sites(policy, {}, now=79.9)) == {"us"}
    before = {k for k, site in enumerate(sites(policy, {}, now=79.9)) if site == "eu"}
    for step in range(1, 6):
        now = 80.0 + (step - 1) * 20.0
        at = {k for k, site in enumerate(sites(policy, {}, now=now)) if site == "eu"}
        share = step / 5
        spread = 4.5 * math.sqrt(len(QUERIES) * share * (1 - share))
        assert abs(len(at) - share * len(QUERIES)) <= spread
        assert before <= at, "a subnet that has come back stays"
        before = at


def test_while_shares_move_the_scope_is_what_was_hashed():
    """While shares move, the scope is the prefix that was hashed; it is 0 again when one child gets everything."""
    policy = Failover(SITES, fail_back=FailBack(hold_down=0.0, ramp=100.0, steps=2))
    assert ask(policy, {}).scope == 0
    assert ask(policy, EU_DOWN, now=1.0).scope == 0
    assert ask(policy, {}, now=2.0).scope == 24
    assert ask(policy, {}, now=52.0).scope == 0


def test_the_ttl_ends_at_the_next_step():
    """The TTL ends at the next step of the ramp, so that caches follow it."""
    policy = Failover(SITES, fail_back=FailBack(hold_down=30.0, ramp=100.0, steps=4))
    ask(policy, {})
    ask(policy, EU_DOWN, now=5.0)
    assert ask(policy, {}, now=10.0).ttl == 30.0
    assert ask(policy, {}, now=40.0).ttl == 25.0
    assert ask(policy, {}, now=50.0).ttl == 15.0
    assert ask(policy, {}, now=115.0).ttl == math.inf


def test_a_child_that_is_held_down_serves_when_nothing_else_is_up():
    """A child that is held down serves when nothing else is up."""
    policy = Failover(SITES, fail_back=FailBack(hold_down=60.0))
    ask(policy, {})
    ask(policy, EU_DOWN, now=1.0)
    answer = ask(policy, {"us-1": False, "us-2": False}, now=2.0)
    assert set(answer.chosen) == {"eu-1", "eu-2"}
    assert not answer.failed


def test_a_site_that_flaps_faster_than_the_hold_down_moves_its_traffic_once():
    """A site that goes up and down every 5 s for two minutes moves its traffic once away.

    It moves it once back, when it is quiet.
    """
    policy = Failover(SITES, fail_back=FailBack(hold_down=60.0, ramp=0.0))
    seen = []
    for second in range(400):
        flapping = second < 120 and (second // 5) % 2 == 1
        seen.append(ask(policy, EU_DOWN if flapping else {}, now=float(second)).chosen[0][:2])
    changes = sum(one != other for one, other in pairwise(seen))
    assert changes == 2
    assert seen[-1] == "eu"


def test_damping_keeps_a_slow_flapper_out():
    """Damping keeps out a site that is down 1 s of every 90 s. Without damping it returns each time."""

    def returns(damping):
        policy = Failover(SITES, fail_back=FailBack(hold_down=30.0, ramp=0.0, damping=damping))
        seen = [
            ask(policy, EU_DOWN if second % 90 == 89 else {}, now=float(second)).chosen[0][:2]
            for second in range(900)
        ]
        return sum(one == "us" and other == "eu" for one, other in pairwise(seen))

    assert returns(None) == 9
    assert returns(FlapDamping(half_life=180.0, max_suppress=900.0)) <= 3


def test_proportions_are_those_of_the_priority_load():
    """With ``overprovisioning`` the shares are what ``routing.tier_loads`` says, to a whole per cent."""
    ids = [f"eu-{k}" for k in range(6)]
    policy = Failover([("eu", AllUp(ids, threshold=0.1)), SITES[1]], fail_back=None, overprovisioning=1.4)
    for up in (6, 5, 4, 3, 2, 1):
        counts = Counter(sites(policy, {id: k < up for k, id in enumerate(ids)}, now=0.0))
        share = tier_loads([(up, 6), (2, 2)])[0] / 100
        spread = 4.5 * math.sqrt(len(QUERIES) * share * (1 - share)) + 0.01 * len(QUERIES)
        assert abs(counts["eu"] - share * len(QUERIES)) <= spread


def test_no_subnet_moves_twice_while_a_site_fades():
    """As fewer endpoints are up, subnets leave the site one after the other and none comes back."""
    ids = [f"eu-{k}" for k in range(6)]
    policy = Failover([("eu", AllUp(ids, threshold=0.1)), SITES[1]], fail_back=None, overprovisioning=1.4)
    staying = set(range(len(QUERIES)))
    for up in (6, 5, 4, 3, 2, 1, 0):
        at = {
            k
            for k, site in enumerate(sites(policy, {id: k < up for k, id in enumerate(ids)}, now=0.0))
            if site == "eu"
        }
        assert at <= staying
        staying = at
    assert not staying


def test_every_pair_of_state_and_trigger_is_visited_or_changes_nothing():
    """The machine goes along each row of its table."""
    visited = set()
    machine = FailBack(hold_down=10.0, ramp=10.0, steps=2)()
    script = [
        (0.0, True), (1.0, True), (2.0, False), (3.0, False), (4.0, True), (5.0, False), (6.0, True),
        (16.0, True), (17.0, False), (18.0, True), (28.0, True), (33.0, True), (34.0, True),
    ]  # fmt: skip
    for now, up in script:
        before = machine.state
        machine.observe(up=up, now=now)
        visited.add((before, machine.state))
    down = FailBack()()
    down.observe(up=False, now=0.0)
    visited.add((SiteState.UNKNOWN, down.state))
    for (state, _), following in FAIL_BACK.items():
        assert (state, following) in visited
    assert set(SiteTrigger) == {trigger for _, trigger in FAIL_BACK}


def test_a_machine_advanced_at_its_deadline_moves_on():
    """A machine that is advanced at its deadline moves on.

    The share grows at each step and ends at 1, and no deadline is in the past.
    """
    machine = FailBack(hold_down=7.3, ramp=10.1, steps=7)()
    machine.observe(up=False, now=0.1)
    machine.observe(up=True, now=0.2)
    shares = []
    while machine.deadline is not None:
        deadline = machine.deadline
        shares.append(machine.advance(now=deadline))
        assert machine.deadline is None or machine.deadline > deadline
    assert shares == [k / 7 for k in range(1, 8)]


def test_geo_takes_the_first_site_of_the_client_that_has_not_failed():
    """Geo answers with the first site in the client's order that has not failed.

    The scope is the map's whatever the health.
    """
    world = GeoMap.build(networks={"10.1.0.0/16": ["us", "eu"]}, default=["eu", "us"])
    policy = Geo(world, dict(SITES))
    near_us = Query(name="www", client=Client(address="192.0.2.53", subnet="10.1.2.0/24"))
    assert ask(policy, {}, query=near_us).chosen[0].startswith("us")
    failed = ask(policy, {"us-1": False, "us-2": False}, query=near_us)
    assert failed.chosen[0].startswith("eu")
    assert failed.scope == ask(policy, {}, query=near_us).scope == 16
    assert ask(policy, ALL_DOWN, query=near_us).chosen[0].startswith("us")
    assert ask(policy, {}, query=Query(name="www", client=Client(address="10.1.2.3"))).scope == 0
    blind = Geo(world, dict(SITES), use_subnet=False)
    assert ask(blind, {}, query=near_us).chosen[0].startswith("eu")
    assert ask(blind, {}, query=near_us).scope == 0


def test_geo_drops_the_first_sites_if_others_are_left():
    """Geo drops the first ``skip`` sites of the order if others are left."""
    world = GeoMap.build(networks={"10.1.0.0/16": ["us"]}, default=["eu", "us"])
    policy = Geo(world, dict(SITES), skip=1)
    assert ask(policy, {}).chosen[0].startswith("us")
    alone = Query(name="www", client=Client(address="192.0.2.53", subnet="10.1.2.0/24"))
    assert ask(policy, {}, query=alone).chosen[0].startswith("us")


def test_steps_tell_the_path_through_the_tree():
    """The steps of an answer tell the path through the tree, outermost first."""
    world = GeoMap.build(default=["eu", "us"])
    steps = ask(Geo(world, dict(SITES)), EU_DOWN, explain=True).steps
    assert [step.policy for step in steps] == ["Geo", "us/AllUp"]
    assert "eu failed" in steps[0].text


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: Failover([]), "children"),
        (lambda: Failover([("a", AllUp(["x"])), ("a", AllUp(["y"]))]), "children"),
        (lambda: Failover([("a", object())]), "children"),
        (lambda: Failover(SITES, fail_back=60), "fail_back"),
        (lambda: Failover(SITES, overprovisioning=0.9), "overprovisioning"),
        (lambda: Geo(GeoMap.build(default=["mars"]), dict(SITES)), "sites"),
        (lambda: FailBack(hold_down=-1), "hold_down"),
        (lambda: FailBack(steps=0), "steps"),
        (lambda: FailBack(damping="yes"), "damping"),
    ],
)
def test_a_wrong_argument_is_named(make, parameter):
    """A wrong argument is refused at construction by an error that names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


@pytest.mark.parametrize("steps", [0, 10_001, 10**400], ids=["0", "10,001", "1e400"])
def test_a_ramp_has_so_many_steps_that_each_can_be_taken(steps):
    """A number of steps that no ramp can take one by one is refused by name at construction; the most is taken at once."""
    with pytest.raises(ConfigurationError, match="steps="):
        FailBack(steps=steps)
    site = FailBack(hold_down=0.0, ramp=1.0, steps=10_000)()
    site.observe(up=False, now=0.0)
    site.observe(up=True, now=1.0)
    assert site.advance(now=1e9) == 1.0
