"""Zones that replace others: their sites go on with their fail-backs."""

from __future__ import annotations

from random import Random

import pytest

from balancekit.adapters.dnslib import GslbResolver
from balancekit.adapters.dnspython import DnsResponder
from balancekit.gslb import (
    AllUp,
    Client,
    FailBack,
    Failover,
    Geo,
    GeoMap,
    Query,
    Regional,
    Soa,
    Spill,
    Zone,
    fixed_standings,
)
from balancekit.health import FlapDamping

SOA = Soa(primary="ns1.example.com", contact="admin.example.com")
BACK = FailBack(hold_down=60.0, ramp=100.0, steps=4)
MAP = GeoMap.build(default=["eu", "us"])
REGION = GeoMap.build(default=["world"])
QUERY = Query(name="www.example.com", client=Client(address="192.0.2.53", subnet="10.1.0.0/24"))


def failover(fail_back=BACK):
    """Return two sites in an order."""
    return Failover({"eu": AllUp(["192.0.2.1"]), "us": AllUp(["192.0.2.2"])}, fail_back=fail_back)


POLICIES = {
    "failover": failover,
    "geo": lambda back=BACK: Geo(
        MAP, {"eu": AllUp(["192.0.2.1"]), "us": AllUp(["192.0.2.2"])}, fail_back=back
    ),
    "below a failover": lambda back=BACK: Failover({"all": failover(back)}, fail_back=None),
    "below a geo": lambda back=BACK: Geo(REGION, {"world": failover(back)}),
    "below a spill": lambda back=BACK: Spill({"all": failover(back)}, {"all": 100}, lambda _: 1.0),
    "below a region": lambda back=BACK: Regional(
        failover(back), MAP, lambda _: fixed_standings({"192.0.2.1": SEEN["up"]})
    ),
}
SEEN = {"up": True}


def zone_of(policy):
    """Return a zone with one name."""
    return Zone("example.com", SOA, {"www": policy})


def answered(zone, *, up, now):
    """Return the address that a client gets."""
    SEEN["up"] = up
    standings = fixed_standings({"192.0.2.1": up})
    return zone.answer(QUERY, standings, now=now, rng=Random(1)).records[0].data


def failed_at_one(kind, fail_back=BACK):
    """Return a zone whose first site was down from 1 s to 2 s."""
    zone = zone_of(POLICIES[kind](fail_back))
    for up, now in ((True, 0.0), (False, 1.0), (True, 2.0)):
        answered(zone, up=up, now=now)
    return zone


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("at", [3.0, 61.0, 62.0, 70.0, 100.0, 161.0, 170.0])
def test_a_zone_that_replaces_another_answers_as_that_one_would(kind, at):
    """Hold-down and ramp last as long as without a change, whenever the change comes."""
    old, new = failed_at_one(kind), zone_of(POLICIES[kind]())
    answered(old, up=True, now=at)
    new.continue_from(old)
    times = [at + step for step in range(0, 200, 5)]
    assert [answered(new, up=True, now=now) for now in times] == [
        answered(old, up=True, now=now) for now in times
    ]


def test_other_settings_hold_from_the_change_on():
    """A site that is held down is held for the new time, and gets the share of the new ramp."""
    old = failed_at_one("failover")
    answered(old, up=True, now=80.0)
    policy = POLICIES["failover"](FailBack(hold_down=10.0, ramp=50.0, steps=5))
    zone_of(policy).continue_from(old)
    assert policy.machines["eu"].advance(now=81.0) == 0.4
    assert policy.machines["eu"].advance(now=200.0) == 1.0


def test_flaps_are_still_counted():
    """A site that flapped before the change is damped by one more flap after it."""
    back = FailBack(hold_down=1.0, ramp=0.0, damping=FlapDamping())
    old, new, fresh = [POLICIES["failover"](back) for _ in range(3)]
    zones = {policy: zone_of(policy) for policy in (old, new, fresh)}
    for k in range(4):
        answered(zones[old], up=False, now=2.0 * k + 1.0)
        answered(zones[old], up=True, now=2.0 * k + 2.0)
    zones[new].continue_from(zones[old])
    for policy in (old, new, fresh):
        for up, now in ((True, 9.0), (False, 9.5), (True, 10.0)):
            answered(zones[policy], up=up, now=now)
    deadlines = [policy.machines["eu"].deadline for policy in (old, new, fresh)]
    assert deadlines[0] == deadlines[1] > 11.0 == deadlines[2]


def test_only_sites_of_both_that_were_not_observed_go_on():
    """A site of another name begins afresh, and one that the new zone has observed stays as it is."""
    old = failed_at_one("failover")
    renamed = Failover({"x": AllUp(["192.0.2.1"]), "us": AllUp(["192.0.2.2"])}, fail_back=BACK)
    new = zone_of(renamed)
    new.continue_from(old)
    assert answered(new, up=True, now=3.0) == "192.0.2.1"
    used = zone_of(failover())
    answered(used, up=True, now=3.0)
    used.continue_from(old)
    assert answered(used, up=True, now=4.0) == "192.0.2.1"
    zone_of(AllUp(["192.0.2.1"])).continue_from(old)
    old.continue_from(zone_of(failover(None)))
    assert answered(old, up=True, now=4.0) == "192.0.2.2"


@pytest.mark.parametrize("adapter", [GslbResolver, DnsResponder])
def test_a_server_that_gets_another_zone_keeps_fail_backs(adapter):
    """A site that is held down stays so when the zone is assigned."""
    responder = adapter(failed_at_one("failover"), fixed_standings({}))
    responder.zone = zone_of(failover())
    assert answered(responder.zone, up=True, now=3.0) == "192.0.2.2"
