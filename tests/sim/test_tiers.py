"""Simulation in tiers: where time goes, what each loss costs and for how long, and what a plan with spare nodes holds."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from math import sqrt
from random import Random

import numpy as np
import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.capacity import L4, L7, Backends, Demand, Gslb, plan_capacity
from balancekit.gslb import Failover, Ttl, WeightedOne
from balancekit.health import AccruedFailures
from balancekit.l7 import Route, RouteTable, prefix
from balancekit.sim import Deterministic, Exponential, Poisson, Server, simulate, sweep
from balancekit.sim.tiers import STAGES, Loss, Nodes, Site, TierSimulation, scenario_of

Z = 5.0
FALL, INTERVAL, TTL, DOWN = 2, 1.0, 4.0, 3.0
CHECKS = AccruedFailures(fall=FALL, reset=2, rise=2)


def site_of(*, l4=2, l7=4, servers=6, workers=8, service=0.05, rate=2_000.0, weight=1):
    """Return a site whose nodes are nearly idle unless told otherwise."""
    nodes = {"l4": Nodes(count=l4, requests_per_second=rate), "l7": Nodes(count=l7, requests_per_second=rate)}
    server = Server(service=Exponential(service), workers=workers)
    return Site(**nodes, servers=servers, server=server, weight=weight)


def simulation_of(sites=1, rate=200.0, site=None, **options):
    """Return a simulation of equal sites with short times."""
    usual = {
        "checks": CHECKS,
        "interval": INTERVAL,
        "l4_down": DOWN,
        "ttl": Ttl(minimum=int(TTL), maximum=int(TTL)),
        "timeout": 0.5,
        "pause": 0.5,
        "connections": 300,
        "per_connection": 50,
        "resolvers": 100,
    }
    made = {f"s{number}": site or site_of() for number in range(sites)}
    return TierSimulation(made, requests_per_second=rate, **(usual | options))


def run_of(seed):
    """Run one simulation with losses in every tier, wherever this is."""
    losses = [
        Loss(tier="server", site="s0", node=1, at=1.0, seconds=2.0),
        Loss(tier="l7", site="s0", node=1, at=2.0, seconds=2.0),
        Loss(tier="l4", site="s0", node=1, at=3.0, seconds=2.0),
        Loss(tier="site", site="s1", at=4.0, seconds=2.0),
    ]
    return pickle.dumps(simulation_of(sites=2, losses=losses, seed=seed).run(8.0))


def test_equal_runs_have_equal_bytes_wherever_they_run():
    """The same seed gives the same report here and in another process; another seed another one."""
    here = [run_of(seed) for seed in (1, 2)]
    with ProcessPoolExecutor(2) as processes:
        there = sweep(run_of, [{"seed": 1}, {"seed": 2}], executor=processes)
    assert here == there
    assert here[0] != here[1]
    assert pickle.loads(here[0]) == pickle.loads(there[0])


@pytest.mark.filterwarnings("default")  # what a cluster warns of while it stops is not ours
def test_a_cluster_gives_the_same_bytes():
    """Workers of a dask cluster give the same bytes."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        there = sweep(run_of, [{"seed": 1}, {"seed": 2}], executor=client.get_executor())
    assert there == [run_of(seed) for seed in (1, 2)]


def test_every_request_is_accounted_for_and_its_stages_add_up():
    """There are as many requests as the rate says. The stages of each add up to its latency, and none is negative."""
    report = simulation_of(rate=400.0).run(20.0)
    assert abs(report.requests - 8_000) <= Z * sqrt(8_000)
    assert report.failures == 0
    total = sum(report.columns[name] for name in STAGES)
    assert np.allclose(total, report.columns["ended"] - report.columns["arrived"], atol=1e-9)
    assert all((report.columns[name] >= -1e-12).all() for name in STAGES)
    course = report.course(20)
    assert sum(course["requests"]) == report.requests
    assert sum(course["failures"]) == 0
    assert set(report.data()["spent"]) == set(STAGES)


def test_a_run_without_requests_has_a_report():
    """In a run without requests all counts are 0, and averages are missing."""
    report = simulation_of().run(1e-9)
    assert (report.requests, report.failures, report.last_failure()) == (0, 0, None)
    assert report.data()["p99"] is None
    assert report.course(3)["requests"] == [0.0] * 3
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize("tier", ["l4", "l7"])
def test_nodes_wait_as_queues_with_one_server_and_equal_work_do(tier):
    """The mean stay at a node with utilisation u is that of M/D/1.

    It is s * (1 + u / (2 - 2 u)), for u = 0.3 and 0.7.
    """
    for full in (0.3, 0.7):
        rate, count = 500.0, 2
        slow = Nodes(count=count, requests_per_second=rate / count / full)
        quick = Nodes(count=count, requests_per_second=1e6)
        site = Site(
            l4=slow if tier == "l4" else quick,
            l7=slow if tier == "l7" else quick,
            servers=4,
            server=Server(service=Deterministic(0.001), workers=100),
        )
        # Of so many connections each node has half, but for a share that moves as connections come and go.
        report = simulation_of(site=site, rate=rate, connections=20_000, per_connection=5, seed=3).run(120.0)
        stay = 1.0 / slow.requests_per_second
        expected = stay * (1.0 + full / (2.0 - 2.0 * full))
        batches = np.array([part.mean() for part in np.array_split(report.columns[tier], 30)])
        error = batches.std(ddof=1) / sqrt(len(batches))
        assert abs(batches.mean() - expected) <= Z * error + 0.02 * expected
        assert abs(report.busy["s0"][tier] - full) < 0.1 * full


@pytest.mark.parametrize("tier", ["l4", "l7", "server"])
def test_a_client_gives_up_in_whatever_queue_it_waits(tier):
    """With twice the load that a tier can take, no attempt takes longer than the time-out, each is given up when that is over, and nothing works for more than all of its time."""
    few, many = Nodes(count=1, requests_per_second=50.0), Nodes(count=1, requests_per_second=5_000.0)
    workers, service = (5, 0.1) if tier == "server" else (200, 0.01)
    site = Site(
        l4=few if tier == "l4" else many,
        l7=few if tier == "l7" else many,
        servers=1,
        server=Server(service=Deterministic(service), workers=workers),
    )
    report = simulation_of(site=site, rate=100.0, attempts=2, timeout=0.5).run(20.0)
    assert len(report.lost[tier]) > 0.9 * sum(map(len, report.lost.values()))
    assert all(list(times) == sorted(times) for times in report.lost.values())
    last = report.columns["ended"] - report.columns["arrived"] - report.columns["retries"]
    assert last.max() <= 0.5 + 1e-9
    assert last[~report.served] == pytest.approx(0.5)
    assert report.columns["retries"][report.attempts == 2] == pytest.approx(1.0)
    assert 0.9 < report.busy["s0"][tier] <= 1.0


@pytest.mark.parametrize("tier", ["l4", "l7", "server"])
def test_losses_one_after_the_other_are_felt_in_any_order_of_the_list(tier):
    """A loss that begins as another one of the same thing ends takes effect, whichever is listed first."""
    losses = [Loss(tier=tier, site="s0", node=0, at=at, seconds=4.0) for at in (4.0, 8.0)]
    site = site_of(l4=1, l7=1, servers=1)
    first, second = (
        simulation_of(site=site, losses=listed, attempts=1, l4_down=100.0).run(14.0)
        for listed in (losses, losses[::-1])
    )
    assert first == second
    assert first.failed((8.0, 12.0)) > 0.9 * first.failed((4.0, 8.0)) > 0


def test_a_router_waits_as_long_for_each_loss_of_an_l4_node():
    """A node that returns before the router has noticed, and is lost again, is withdrawn ``l4_down`` after the second loss."""
    losses = [
        Loss(tier="l4", site="s0", node=0, at=5.0, seconds=DOWN - 0.5),
        Loss(tier="l4", site="s0", node=0, at=5.0 + DOWN - 0.25, seconds=9.0),
    ]
    report = simulation_of(losses=losses).run(20.0)
    assert [at for at, who, _, _ in report.detected if who == "router of s0"] == [5.0 + DOWN - 0.25 + DOWN]


@pytest.mark.parametrize("returns", [0.01, 9.0])
def test_what_waits_in_an_l4_node_is_lost_with_it(returns):
    """A request in the queue of an L4 node that dies is never answered, even if the node is back when its turn would have come."""
    site = site_of(l4=1, rate=50.0)
    busy = site.replace(l7=Nodes(count=4, requests_per_second=5_000.0))
    loss = Loss(tier="l4", site="s0", node=0, at=5.0, seconds=returns)
    report = simulation_of(site=busy, rate=75.0, attempts=1, timeout=2.0, losses=[loss]).run(5.0 + 1e-6)
    reached = report.columns["arrived"] + report.columns["l4"]
    assert (reached[report.served] <= 5.0).all()
    assert len(report.lost["l4"]) > 20


def some_simulation(rng):
    """Return a simulation of a few small nodes, some of them overloaded, with some losses at different times."""

    def nodes():
        return Nodes(count=rng.randint(1, 3), requests_per_second=rng.choice([60.0, 150.0, 2_000.0]))

    sites = {}
    for number in range(rng.randint(1, 2)):
        service = rng.choice([Exponential(0.05), Deterministic(0.1)])
        server = Server(service=service, workers=rng.randint(1, 8))
        sites[f"s{number}"] = Site(l4=nodes(), l7=nodes(), servers=rng.randint(1, 3), server=server)
    losses = []
    for at in rng.sample([0.5, 1.0, 1.5, 2.0, 2.5], rng.randint(0, 5)):
        tier, site = rng.choice(["site", "l4", "l7", "server"]), rng.choice(list(sites))
        node = rng.randrange(sites[site].count(tier))
        if (tier, site, node) not in [(loss.tier, loss.site, loss.node) for loss in losses]:
            losses.append(Loss(tier=tier, site=site, node=node, at=at, seconds=rng.choice([0.01, 1.0, 3.0])))
    options = {
        "requests_per_second": 120.0,
        "attempts": rng.randint(1, 3),
        "timeout": rng.choice([0.3, 1.0]),
        "pause": rng.choice([0.0, 0.2]),
        "connections": 100,
        "per_connection": rng.choice([1, 20]),
        "ttl": Ttl(minimum=2, maximum=2),
    }
    return lambda listed: TierSimulation(sites, losses=listed, **options).run(5.0), losses


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_lost_time_goes_forward_and_adds_up(seed):
    """For any sites and losses events are in the order of their times, and stages add up.

    The order of the list of losses does not matter.
    """
    run, losses = some_simulation(Random(seed))
    report = run(losses)
    arrived, ended = report.columns["arrived"], report.columns["ended"]
    assert (np.diff(ended) >= 0.0).all()
    assert all(list(times) == sorted(times) for times in report.lost.values())
    assert [row[0] for row in report.detected] == sorted(row[0] for row in report.detected)
    stages = np.array([report.columns[name][report.served] for name in STAGES])
    assert stages.min(initial=0.0) >= -1e-9
    assert stages.sum(axis=0) == pytest.approx((ended - arrived)[report.served])
    assert (ended - arrived - report.columns["retries"]).max() <= 1.0 + 1e-9
    assert all(0.0 <= share <= 1.0 + 1e-9 for site in report.busy.values() for share in site.values())
    assert run(losses[::-1]) == report


def test_a_lost_server_costs_no_request():
    """A lost server costs no request.

    Its requests are tried elsewhere at once, and the balancers of all L7 nodes notice by themselves.
    """
    report = simulation_of(losses=[Loss(tier="server", site="s0", node=0, at=5.0)]).run(15.0)
    assert report.failures == 0
    assert not report.lost


def test_a_lost_l7_node_is_felt_until_checks_have_seen_it():
    """Attempts fail from the loss until each L4 node has seen ``fall`` failed checks, and later only on its connections."""
    loss = Loss(tier="l7", site="s0", node=2, at=5.0)
    report = simulation_of(losses=[loss]).run(20.0)
    assert report.failures == 0  # the fourth attempt comes 3.5 s after the first
    assert set(report.lost) == {"l7"}
    seen = [at for at, _, what, up in report.detected if not up and what.endswith("s0/l7-2")]
    assert len(seen) == 2
    assert all(5.0 < at <= 5.0 + FALL * INTERVAL for at in seen)
    new = report.columns["retries"] > 0
    first_tries = report.columns["arrived"][new]
    assert first_tries.min() >= 5.0 - 0.5
    # Connections that the node had are told when they are used next: 300 of them, a quarter on this node.
    assert 0 < len(report.lost["l7"]) < report.requests / 10


def test_several_lost_l7_nodes_are_all_avoided_once_checks_have_seen_them():
    """Of four nodes two die at once: after ``fall * interval`` no new connection goes to either."""
    losses = [Loss(tier="l7", site="s0", node=node, at=5.0) for node in (0, 2)]
    report = simulation_of(losses=losses, per_connection=1).run(15.0)
    assert min(report.lost["l7"]) >= 5.0
    assert max(report.lost["l7"]) <= 5.0 + FALL * INTERVAL


def test_a_lost_l4_node_is_felt_until_the_router_has_noticed_and_breaks_no_connection():
    """Requests through it vanish for ``l4_down`` seconds; the other one has an equal table, so connections stay whole."""
    loss = Loss(tier="l4", site="s0", node=0, at=5.0)
    report = simulation_of(losses=[loss]).run(20.0)
    assert set(report.lost) == {"l4"}
    assert min(report.lost["l4"]) > 5.0
    assert max(report.lost["l4"]) <= 5.0 + DOWN + 0.5  # its time-out ends later than it was sent
    assert report.broken == 0
    assert report.failures == 0
    during = np.mean([5.0 <= at < 5.0 + DOWN for at in report.columns["arrived"][report.attempts > 1]])
    assert during == 1.0


def test_tables_that_differ_break_connections():
    """Connections from before an L7 node returned break when they reach an empty table."""
    losses = [
        Loss(tier="l7", site="s0", node=0, at=2.0, seconds=8.0),
        Loss(tier="l4", site="s0", node=0, at=14.0, seconds=4.0),
    ]
    report = simulation_of(losses=losses, per_connection=1_000, l4_down=0.1).run(24.0)
    assert report.broken > 0


@pytest.mark.parametrize("stubborn", [0, 20])
def test_a_lost_site_is_felt_for_detection_and_ttl_unless_a_resolver_is_stubborn(stubborn):
    """The last request of a new connection that fails arrives at most ``fall * interval + TTL`` after the death."""
    loss = Loss(tier="site", site="s0", at=10.0)
    report = simulation_of(sites=2, attempts=1, per_connection=1, stubborn=stubborn, losses=[loss]).run(30.0)
    bound = 10.0 + FALL * INTERVAL + TTL
    failed = report.columns["arrived"][~report.served]
    # Requests on their way when the site died fail too.
    assert failed.min() >= 10.0 - 0.5
    last = report.last_failure()
    assert report.failed((0.0, 9.0)) == 0
    assert (last <= bound) is (stubborn == 0)
    if stubborn:
        late = report.failed((bound, 30.0)) / report.requests * 30.0 / (30.0 - bound)
        share = stubborn / 100 / 2  # of all resolvers, and of those the half that was answered with this site
        assert abs(late - share) <= Z * sqrt(share * (1 - share) / 20)


def test_a_site_returns_when_checks_and_caches_have_seen_it():
    """Traffic fails over to the second site and back, by the policy."""
    policy = Failover([("first", WeightedOne({"s0": 1})), ("second", WeightedOne({"s1": 1}))])
    report = simulation_of(
        sites=2, policy=policy, losses=[Loss(tier="site", site="s0", at=5.0, seconds=6.0)], per_connection=5
    ).run(30.0)
    seen = [(what, up) for _, _, what, up in report.detected]
    assert seen == [("s0", False), ("s0", True)]
    assert report.busy["s1"]["l4"] > 0
    assert report.failed((12.0, 30.0)) == 0


def plan_of(*, spare):
    """Return a plan whose nodes are so full that one less in a tier is too few."""
    tiers = [
        Gslb(sites=1),
        L4(connections_per_second=100.0),
        L7(requests_per_second=140.0),
        Backends(workers=8),
    ]
    survive = {"l4": 1, "l7": 1, "backends": 1} if spare else {}
    return plan_capacity(Demand(requests=500.0, per_connection=3), tiers, survive=survive, utilisation=0.9)


def test_a_plan_with_one_spare_node_a_tier_holds_and_without_fails():
    """With a spare node a tier, the 99th percentile stays within twice as long when a node of each tier is lost.

    Without a spare it does not.
    """
    found = {}
    for spare in (True, False):
        scenario = scenario_of(
            plan_of(spare=spare), requests_per_second=500.0, lose={"l4": 1, "l7": 1, "backends": 1}, seed=1
        )
        report = scenario.run()
        found[spare] = scenario.growth(report)
        if spare:
            assert report.failures == 0
    assert max(found[True].values()) <= 2.0, found
    assert min(found[False].values()) > 2.0, found


@pytest.mark.parametrize(
    ("l4", "full"),
    [
        (L4(connections_per_second=1_000.0, gbps=1.2), 0.8 / 1.2),
        (L4(gbps=1.2, connections_per_second=1_000.0), 0.8 / 1.2),
        (L4(connections_per_second=150.0, gbps=2.0), 100.0 / 150.0),
    ],
    ids=["bytes", "bytes first", "connections"],
)
def test_a_node_of_a_scenario_is_as_full_as_the_limit_that_fills_it_most(l4, full):
    """A node is as full as planned also where several limits need the same number of nodes."""
    demand = Demand(requests=1_000.0, per_connection=10, request_bytes=0, response_bytes=100_000)
    plan = plan_capacity(demand, [Gslb(sites=1), l4, L7(requests_per_second=900.0), Backends(workers=32)])
    assert plan.utilisation_after()["l4"] == pytest.approx(full)
    (site,) = scenario_of(plan, requests_per_second=1_000.0, spell=6.0).run().busy.values()
    assert site["l4"] == pytest.approx(full, abs=0.05)


def test_nodes_of_a_scenario_take_no_time_for_requests_that_use_nothing_of_them():
    """Requests without bytes never fill a node that is limited in bytes only."""
    demand = Demand(requests=100.0, request_bytes=0, response_bytes=0)
    plan = plan_capacity(
        demand, [Gslb(sites=1), L4(gbps=1), L7(requests_per_second=90.0), Backends(workers=8)]
    )
    report = scenario_of(plan, requests_per_second=100.0).run()
    (site,) = report.busy.values()
    assert (report.failures, site["l4"]) == (0, 0.0)


@pytest.mark.parametrize("name", ["sites", "l4", "l7", "backends"])
def test_a_scenario_loses_at_most_the_nodes_that_it_has(name):
    """All nodes of a tier may be lost; one more is refused by the parameter."""
    plan = plan_of(spare=True)
    (site,) = plan.sites
    most = 1 if name == "sites" else dict(site.tiers())[name].count
    assert name in scenario_of(plan, requests_per_second=500.0, lose={name: most}).spans
    with pytest.raises(ConfigurationError, match=rf"lose\[{name}\]={most + 1} .* <= {most}$"):
        scenario_of(plan, requests_per_second=500.0, lose={name: most + 1})


def test_routes_decide_at_l7_and_their_answers_count():
    """A path without a route fails; the others go to the pool of theirs."""

    def routes(pool):
        return RouteTable([Route("api", pool, path=prefix("/api"))])

    report = simulation_of(routes=routes, paths=["/api/x", "/other"], attempts=1).run(10.0)
    share = report.failures / report.requests
    assert abs(share - 0.5) <= Z * sqrt(0.25 / report.requests)


def test_any_balancer_may_be_the_one_of_an_l7_node():
    """Each L7 node makes its own balancer over the servers of its site, of any kind."""
    made = []

    def balancer(endpoints, clock, rng):
        made.append(len(endpoints))
        return LoadBalancer(endpoints, clock=clock, rng=rng)

    simulation_of(sites=2, balancer=balancer).run(1.0)
    assert made == [6] * 8


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"requests_per_second": 0.0}, "requests_per_second"),
        ({"connections": 0}, "connections"),
        ({"per_connection": 0}, "per_connection"),
        ({"attempts": 0}, "attempts"),
        ({"timeout": 0.0}, "timeout"),
        ({"pause": -1.0}, "pause"),
        ({"paths": "/"}, "paths"),
        ({"paths": []}, "paths"),
        ({"resolvers": 70_000}, "resolvers"),
        ({"stubborn": 300}, "stubborn"),
        ({"ttl": 30}, "ttl"),
        ({"checks": None}, "checks"),
        ({"interval": 0.0}, "interval"),
        ({"balancer": None}, "balancer"),
        ({"policy": WeightedOne({"elsewhere": 1})}, "policy"),
        ({"losses": [Loss(tier="l4", site="s9", at=1.0)]}, "losses"),
        ({"losses": [Loss(tier="l4", site="s0", node=2, at=1.0)]}, "losses"),
        ({"losses": ["l4"]}, "losses"),
        (
            {
                "losses": [
                    Loss(tier="l7", site="s0", at=1.0, seconds=2.0),
                    Loss(tier="l7", site="s0", at=2.0, seconds=2.0),
                ]
            },
            "losses",
        ),
        ({"paths": ["api"]}, "paths"),
    ],
)
def test_wrong_values_are_refused_by_name(change, name):
    """A wrong value is refused at construction, with the parameter and what is allowed."""
    options = {"requests_per_second": 10.0} | change
    with pytest.raises(ConfigurationError, match=name):
        TierSimulation({"s0": site_of()}, **options)


class Passing:
    """A balancer of one's own, which passes calls on."""

    def __init__(self, balancer):
        self._balancer = balancer

    def __getattr__(self, name):
        return getattr(self._balancer, name)


def test_a_balancer_of_ones_own_is_simulated_like_the_one_that_it_wraps():
    """Sites take any observable balancer, and so do simulations of one pool."""

    def plain(endpoints, clock, rng):
        return LoadBalancer(endpoints, clock=clock, rng=rng)

    def wrapped(endpoints, clock, rng):
        return Passing(plain(endpoints, clock, rng))

    servers, arrivals = {"a": Server(service=Exponential(mean=1.0))}, Poisson(rate=0.5)
    for run in (
        lambda made: simulation_of(balancer=made).run(2.0).columns["ended"],
        lambda made: simulate(servers, arrivals, requests=50, balancer=made).latency,
    ):
        assert (run(wrapped) == run(plain)).all()


def test_what_functions_return_and_what_reports_are_asked_is_checked():
    """Each wrong value raises ConfigurationError, which names the parameter."""
    for change in ("routes", "balancer"):
        with pytest.raises(ConfigurationError, match=change):
            simulation_of(**{change: lambda *_: None}).run(1.0)
    one = []
    with pytest.raises(ConfigurationError, match="a fresh balancer at each call"):
        simulation_of(balancer=lambda e, c, r: one.append(LoadBalancer(e, clock=c, rng=r)) or one[0]).run(1.0)
    report = simulation_of().run(1.0)
    for ask, name in (
        (lambda: report.quantile(2.0), "share"),
        (lambda: report.spent(-1.0), "share"),
        (lambda: report.quantile(0.5, (2.0, 1.0)), "between"),
        (lambda: report.failed((1.0,)), "between"),
        (lambda: report.course(0), "intervals"),
    ):
        with pytest.raises(ConfigurationError, match=name):
            ask()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Nodes(count=0, requests_per_second=1.0), "count"),
        (lambda: Nodes(count=1, requests_per_second=0.0), "requests_per_second"),
        (lambda: Loss(tier="l5", site="s0", at=0.0), "tier"),
        (lambda: Loss(tier="l4", site="s0", at=-1.0), "at"),
        (lambda: Loss(tier="l4", site="s0", at=0.0, seconds=0.0), "seconds"),
        (lambda: site_of(servers=0), "servers"),
        (lambda: site_of(weight=0), "weight"),
        (lambda: Site(l4=1, l7=1, servers=1, server=Server(service=Exponential(1.0))), "l4"),
        (lambda: TierSimulation({}, requests_per_second=1.0), "sites"),
        (lambda: scenario_of(plan_of(spare=True), requests_per_second=501.0), "requests_per_second"),
        (lambda: scenario_of(plan_of(spare=True), requests_per_second=50.0, lose={"x": 1}), "lose"),
        (lambda: scenario_of(plan_of(spare=True), requests_per_second=50.0, spell=1.0), "spell"),
        (
            lambda: scenario_of(plan_capacity(Demand(requests=9.0), [L7(requests_per_second=3.0)])),
            "requests_per_second",
        ),
    ],
)
def test_wrong_parts_are_refused_by_name(make, name):
    """A wrong part is refused at construction, with the parameter and what is allowed."""
    with pytest.raises(ConfigurationError, match=name):
        make()
