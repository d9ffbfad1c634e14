"""Capacity plans: the rows of a published design to the digit, what forces each number, and what losses leave."""

from __future__ import annotations

import json
import math
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.capacity import L4, L7, Backends, Demand, Gslb, erlang_c, plan_capacity, read_plan
from balancekit.errors import ConfigurationError

MILLION = Demand(requests=1e6)
"""A million requests a second of 2,000 bytes, answered with 10,000; a hundred on a connection."""


def site(demand, *tiers, **options):
    """Return one of four equal sites."""
    plan = plan_capacity(demand, [Gslb(sites=4), *tiers], **options)
    assert len(set(map(str, plan.sites))) == 1
    return plan.sites[0]


def test_a_million_requests_a_second_are_96_gigabits():
    """A million requests a second are 16 Gbit/s in and 80 out, 98.3 in all if a kilobyte is 1,024 bytes.

    They are 86.4 billion requests a day, and 4 in and 20 out a site.
    """
    assert (MILLION.gbps_in, MILLION.gbps_out, MILLION.total_gbps) == (16.0, 80.0, 96.0)
    assert Demand(requests=1e6, request_bytes=2048, response_bytes=10240).total_gbps == 98.304
    assert MILLION.per_day == 8.64e10
    one = site(MILLION, L7(requests_per_second=50_000)).demand
    assert (one.requests, one.gbps_in, one.gbps_out) == (250_000.0, 4.0, 20.0)


@pytest.mark.parametrize(
    ("rate", "utilisation", "needed", "count"),
    [(50_000, 1.0, 5, 6), (50_000, 0.7, 8, 9), (100_000, 1.0, 3, 4), (100_000, 0.7, 4, 5)],
)
def test_l7_nodes_of_a_site(rate, utilisation, needed, count):
    """The L7 nodes of a site are those for 250,000 requests a second, with and without the loss of one."""
    tier = site(MILLION, L7(requests_per_second=rate), survive={"l7": 1}, utilisation=utilisation).l7
    assert (tier.needed, tier.spare, tier.count, tier.binding) == (needed, 1, count, "requests")


@pytest.mark.parametrize(
    ("per_connection", "rate", "needed", "open_connections", "binding"),
    [(1, 250_000.0, 3, 15_025_000.0, "connections"), (100, 2_500.0, 1, 175_000.0, "N+1")],
)
def test_l4_nodes_of_a_site(per_connection, rate, needed, open_connections, binding):
    """The L4 nodes of a site are counted by connections a second and by those that are open, idle or busy."""
    demand = Demand(requests=1e6, per_connection=per_connection)
    one = site(demand, L4(connections_per_second=100_000), survive={"l4": 1}, utilisation=1.0)
    assert one.demand.connections_per_second == rate
    assert one.demand.open_connections == pytest.approx(open_connections, rel=1e-12)
    assert (one.l4.needed, one.l4.count, one.l4.binding) == (needed, needed + 1, binding)


def test_backends_of_a_site():
    """At 0.1 s a site has 25,000 requests in flight, which take 1,117 servers of 32 workers at 70 %."""
    one = site(MILLION, Backends(workers=32))
    assert one.demand.in_flight == 25_000.0
    assert (one.backends.count, one.backends.binding) == (1_117, "in flight")


def test_four_sites_do_not_survive_the_loss_of_one_and_five_do():
    """Of four sites planned for 250,000, the loss of one leaves 333,333 each. Of five, each still has 250,000."""
    tiers = [L7(requests_per_second=50_000), Backends(workers=32)]
    four = plan_capacity(MILLION, [Gslb(sites=4), *tiers], survive={"l7": 1, "backends": 1})
    assert not four.survives(sites=1)
    assert any("333,333 requests/s for a site planned for 250,000" in finding for finding in four.findings)
    five = plan_capacity(MILLION, [Gslb(sites=5), *tiers], survive={"sites": 1, "l7": 1, "backends": 1})
    assert five.survives(sites=1)
    assert five.survives(l7=1)
    assert five.survives(sites=1, l7=1, backends=1)
    assert not five.survives(sites=2)
    assert five.findings == ()
    assert five.sites[0].worst.requests == pytest.approx(250_000.0)
    assert five.sites[0].demand.requests == pytest.approx(200_000.0)


def test_direct_return_takes_responses_off_l4():
    """24 Gbps pass a node's link through the balancer, 4 with direct return; packets fall likewise."""
    through, direct = (
        site(MILLION, L4(gbps=10, packets_per_second=1e6, direct_return=direct), utilisation=1.0).l4
        for direct in (False, True)
    )
    assert [need.load.load for need in through.needs if need.load.name == "gbps"] == [24.0]
    assert [need.load.load for need in direct.needs if need.load.name == "gbps"] == [4.0]
    assert (through.needed, through.binding) == (4, "packets")
    assert direct.needed < through.needed


def test_packets_are_segments_acknowledgements_and_those_of_connections():
    """A request takes 2 segments in and 7 out, one acknowledgement for two segments, and a connection 7 packets."""
    tier = site(MILLION, L4(packets_per_second=1e6), utilisation=1.0).l4
    assert tier.needs[0].load.load == pytest.approx(250_000 * (2 + 7 / 2 + 7 + 2 / 2 + 7 / 100))


@pytest.mark.parametrize(
    ("tier", "binding"),
    [
        (L7(requests_per_second=1e4, handshakes_per_second=10), "handshakes"),
        (L7(requests_per_second=1e4, gbps=0.1), "gbps"),
        (L7(requests_per_second=1e4, open_connections=100), "open connections"),
        (L4(connections_per_second=1e5, open_connections=100), "open connections"),
        (Backends(workers=1000, requests_per_second=10), "requests"),
        (Backends(workers=1000, gbps=0.01), "gbps"),
    ],
)
def test_the_limit_that_needs_most_forces_the_number(tier, binding):
    """The limit that needs most nodes forces their number, whichever it is, and its formula comes first."""
    plan = plan_capacity(Demand(requests=50_000.0), [tier])
    [(_, found)] = plan.sites[0].tiers()
    assert found.binding == binding
    assert found.needs[0].nodes == max(need.nodes for need in found.needs)
    assert found.needs[0].formula.endswith(f"= {found.needed:,}")


SHARES = st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6)


@given(
    weights=SHARES,
    requests=st.floats(1.0, 1e7),
    rate=st.floats(10.0, 1e5),
    lost=st.integers(0, 4),
    spare=st.integers(0, 3),
    utilisation=st.floats(0.1, 1.0),
)
def test_a_plan_survives_what_it_promises_and_is_no_larger_than_it_must_be(
    weights, requests, rate, lost, spare, utilisation
):
    """After all promised losses at once, no node is above plan. With one node fewer, one would be."""
    shares = [weight / sum(weights) for weight in weights]
    lost = min(lost, len(shares) - 1)
    plan = plan_capacity(
        Demand(requests=requests),
        [Gslb(sites=len(shares), shares=shares), L7(requests_per_second=rate)],
        survive={"sites": lost, "l7": spare},
        utilisation=utilisation,
    )
    assert plan.survives(sites=lost, l7=spare)
    for number, one in enumerate(plan.sites):
        others = sorted((share for at, share in enumerate(shares) if at != number), reverse=True)
        worst = requests * shares[number] / (1.0 - math.fsum(others[:lost]))
        assert one.worst.requests == pytest.approx(worst)
        assert one.l7.needed == 1 or worst > rate * utilisation * (one.l7.needed - 1) * (1 - 1e-6)
        assert worst <= rate * utilisation * one.l7.needed * (1 + 1e-6)


def test_what_is_left_after_losses():
    """What is left after losses is a share of what the nodes can do, in the worst site.

    It is infinite when none is left.
    """
    plan = plan_capacity(
        Demand(requests=1000.0),
        [Gslb(sites=2), L7(requests_per_second=100)],
        utilisation=0.5,
        survive={"l7": 1},
    )
    assert plan.sites[0].l7.count == 11
    assert plan.utilisation_after() == {"l7": 500 / 1100}
    assert plan.utilisation_after(l7=1) == {"l7": 0.5}
    assert plan.utilisation_after(sites=1) == {"l7": 1000 / 1100}
    assert plan.utilisation_after(l7=11) == {"l7": math.inf}
    lone = plan_capacity(Demand(requests=1.0), [L7(requests_per_second=100)])
    assert lone.findings == (
        "one site: its loss is the loss of everything",
        "does not survive the loss of one l7 node in a site: it is the only one",
    )


def test_a_tier_may_have_its_own_utilisation():
    """The utilisation of a tier overrides that of the plan, in its nodes and in what counts as survived."""
    plan = plan_capacity(
        Demand(requests=1000.0),
        [L7(requests_per_second=100, utilisation=1.0), Backends(workers=10)],
        utilisation=0.5,
    )
    assert plan.utilisation == {"l7": 1.0, "backends": 0.5}
    assert (plan.sites[0].l7.count, plan.sites[0].backends.count) == (10, 20)


@pytest.mark.parametrize(("workers", "count"), [(0.25, 1), (0.5, 1), (1.5, 2), (1, 1), (32, 32)])
def test_a_part_of_a_worker_counts_as_a_whole_one(workers, count):
    """Requests wait as for the next whole number of workers, and the plan can be printed."""
    demand = Demand(requests=1.0, service=0.6 * workers)
    plan = plan_capacity(demand, [Backends(workers=workers)])
    assert plan.sites[0].backends.needed == 1
    assert plan.waiting == erlang_c(count, demand.in_flight, service=demand.service)
    assert plan.waiting.mean < math.inf
    assert "Erlang C" in str(plan)


@pytest.mark.parametrize(
    ("workers", "load", "probability"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (10, 9.0, 0.668732), (100, 90.0, 0.216940)],
)
def test_erlang_c_has_the_known_values(workers, load, probability):
    """Erlang C has the known values.

    M/M/1 waits with the load's probability, others by the formula with factorials.
    """
    waiting = erlang_c(workers, load, service=2.0)
    assert waiting.probability == pytest.approx(probability, rel=1e-5)
    assert waiting.mean == pytest.approx(probability * 2.0 / (workers - load), rel=1e-5)
    terms = [load**k / math.factorial(k) for k in range(workers)]
    last = load**workers / math.factorial(workers) * workers / (workers - load)
    assert waiting.probability == pytest.approx(last / (math.fsum(terms) + last), rel=1e-9)


def test_without_enough_workers_all_wait_for_ever():
    """At a load of the workers or above, all requests wait for ever.

    A plan has enough workers, so that its waiting is finite.
    """
    assert erlang_c(3, 3.0).mean == erlang_c(3, 5.0).mean == math.inf
    assert erlang_c(3, 3.0).probability == 1.0
    assert erlang_c(35_744, 25_000.0).probability < 1e-9
    plan = plan_capacity(Demand(requests=100.0), [Backends(workers=4)], utilisation=0.9)
    assert 0.0 < plan.waiting.mean < 0.1
    assert plan_capacity(MILLION, [L7(requests_per_second=1e6)]).waiting is None


def test_a_plan_as_text_and_as_data_has_every_number_with_its_formula():
    """A plan as text and as data has every number with its formula. Sites that need the same are shown once."""
    plan = plan_capacity(
        MILLION,
        [
            Gslb(sites=4),
            L4(connections_per_second=100_000, gbps=25),
            L7(requests_per_second=50_000),
            Backends(workers=32),
        ],
        survive={"l4": 1, "l7": 1, "backends": 1},
    )
    text, data = str(plan), json.loads(json.dumps(plan.to_dict()))
    assert "16.0 Gbps in + 80.0 Gbps out = 96.0 Gbps" in text
    assert "4 sites: 250,000 requests/s; 4.0 Gbps in, 20.0 out" in text
    assert text.count("tier  ") == 1
    for one in data["sites"]:
        for name in ("l4", "l7", "backends"):
            assert all(limit["formula"] in text for limit in one[name]["limits"])
            assert one[name]["count"] == one[name]["needed"] + one[name]["spare"]
    assert data["binding"] == plan.binding == {"l4": "gbps", "l7": "requests", "backends": "in flight"}
    assert all(finding in text for finding in data["findings"])


def test_unequal_sites_are_shown_one_by_one():
    """Unequal sites are shown one by one, with what each is planned for when another is lost."""
    plan = plan_capacity(
        Demand(requests=1000.0),
        [Gslb(sites=3, shares=[0.5, 0.25, 0.25]), L7(requests_per_second=100)],
        survive={"sites": 1},
    )
    text = str(plan)
    assert "site 1: 500 requests/s, planned for 667" in text
    assert "2 sites: 250 requests/s, planned for 500" in text


DOCUMENT = {
    "utilisation": 0.7,
    "demand": {"requests": 1_000_000},
    "gslb": {"sites": 4},
    "l7": {"requests_per_second": 50_000},
    "survive": {"l7": 1},
}


def test_a_document_makes_the_same_plan():
    """A document whose tables have the parameters of the classes makes the same plan as the classes."""
    made = plan_capacity(MILLION, [Gslb(sites=4), L7(requests_per_second=50_000)], survive={"l7": 1})
    assert read_plan(DOCUMENT) == made


@pytest.mark.parametrize(
    ("parameter", "change"),
    [
        ("plan", {"l5": {}}),
        ("demand", {"demand": None}),
        ("demand", {"demand": {"requests": 1.0, "speed": 2}}),
        ("demand", {"demand": {}}),
        ("demand.requests", {"demand": {"requests": 0}}),
        ("demand.requests", {"demand": {"requests": True}}),
        ("demand.per_connection", {"demand": {"requests": 1, "per_connection": 0.5}}),
        ("demand.service", {"demand": {"requests": 1, "service": -1}}),
        ("gslb", {"gslb": 4}),
        ("gslb.sites", {"gslb": {"sites": 0}}),
        ("gslb.shares", {"gslb": {"sites": 2, "shares": [0.5, 0.6]}}),
        ("gslb.shares", {"gslb": {"sites": 2, "shares": "ab"}}),
        ("l7", {"l7": {}}),
        ("l7.requests_per_second", {"l7": {"requests_per_second": 0}}),
        ("l7.utilisation", {"l7": {"requests_per_second": 1, "utilisation": 1.1}}),
        ("utilisation", {"utilisation": 0}),
        ("survive", {"survive": {"l9": 1}}),
        ("survive.l7", {"survive": {"l7": 0.5}}),
        ("survive.sites", {"survive": {"sites": 4}}),
    ],
)
def test_a_wrong_document_is_refused_by_name(parameter, change):
    """A document with an unknown, missing or wrong table or field is refused by a message that names it."""
    with pytest.raises(ConfigurationError) as caught:
        read_plan(DOCUMENT | change)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    "tiers",
    [
        [],
        [Gslb(sites=4)],
        [L7(gbps=1), L7(gbps=1)],
        [L7(gbps=1), Gslb(sites=1), Gslb(sites=2)],
        [L7],
        "l7",
        None,
    ],
)
def test_tiers_that_are_no_plan_are_refused(tiers):
    """Tiers that are no plan are refused: none at all, sites alone, or the same twice."""
    with pytest.raises(ConfigurationError) as caught:
        plan_capacity(MILLION, tiers)
    assert caught.value.parameter == "tiers"


def test_losses_that_cannot_be_are_refused():
    """A loss of an unknown name, or of all sites, is refused."""
    plan = read_plan(DOCUMENT)
    for lost in ({"l9": 1}, {"sites": 4}, {"l7": -1}, {"l7": 0.5}):
        with pytest.raises(ConfigurationError):
            plan.survives(**lost)
    with pytest.raises(ConfigurationError):
        plan_capacity(1e6, [L7(gbps=1)])


@pytest.mark.parametrize("equal", [True, False])
def test_the_worst_share_is_that_beside_the_loss_of_the_largest_others(equal):
    """The worst share beside the loss of the largest others is what its definition says.

    This holds for any shares and any number of lost sites.
    """
    rng = random.Random(11)
    for _ in range(60):
        count = rng.randint(1, 12)
        raw = [1.0 if equal else float(rng.randint(1, 5)) for _ in range(count)]
        shares = [share / sum(raw) for share in raw]
        gslb = Gslb(sites=count, shares=None if equal else shares)
        for lost in range(count):
            found = gslb.worst_shares(lost)
            for site, share in enumerate(shares):
                others = sorted([one for other, one in enumerate(shares) if other != site], reverse=True)
                assert found[site] == pytest.approx(share / (1.0 - sum(others[:lost])), rel=1e-12)
                assert gslb.worst_share_of(site, lost) == found[site]
        with pytest.raises(ConfigurationError, match="sites"):
            gslb.worst_shares(count)


@pytest.mark.parametrize("equal", [True, False])
def test_a_plan_costs_as_much_as_it_has_sites(equal):
    """A plan of ten times the sites makes ten times the calls at most, of Python and of C.

    This covers planning, findings, text and data.
    """

    def calls(count):
        raw = [1.0 if equal else 1.0 + site for site in range(count)]
        gslb = Gslb(sites=count, shares=[share / sum(raw) for share in raw])
        seen = 0

        def count_calls(_frame, event, _argument):
            nonlocal seen
            seen += event in {"call", "c_call"}

        sys.setprofile(count_calls)
        try:
            tiers = [gslb, L4(gbps=10.0), L7(requests_per_second=50_000)]
            plan = plan_capacity(Demand(requests=1e6 * count), tiers, survive={"l4": 1, "l7": 1})
            plan.to_dict()
            str(plan)
        finally:
            sys.setprofile(None)
        return seen

    assert calls(400) <= 11 * calls(40)
