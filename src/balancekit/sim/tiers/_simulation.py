"""Simulation of tiers with the decision objects of production.

A request passes a resolver, the GSLB policy, an L4 node, an L7 node and a server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from random import Random
from typing import Final, final

import numpy as np

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Policy, Query, ResolverCache, Ttl, WeightedOne
from balancekit.health import AccruedFailures
from balancekit.l7 import Route, RouteTable
from balancekit.protocols import ObservableBalancer
from balancekit.sim._context import Clock, MakeBalancer, fresh, maker
from balancekit.sim.tiers._report import TierReport
from balancekit.sim.tiers._site_state import MakeRoutes, SiteState
from balancekit.sim.tiers._sites import TIERS, Loss, Site
from balancekit.sim.tiers._tier_loop import TierRun
from balancekit.sim.tiers._tier_rules import Rules
from balancekit.sim.tiers._trace import TierTrace

__all__ = ["DEFAULT_TTL", "TierSimulation"]

DEFAULT_CHECKS: Final = AccruedFailures(fall=2, reset=2, rise=2)
DEFAULT_TTL: Final = Ttl(minimum=30, maximum=30)
NAME: Final = "www"


def _default_balancer(
    endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random
) -> LoadBalancer[str]:
    return LoadBalancer(endpoints, clock=clock, rng=rng)


def _one_route(pool: ObservableBalancer[str]) -> RouteTable[ObservableBalancer[str]]:
    return RouteTable([Route("all", pool)])


@final
class TierSimulation(ConstructorRepr):
    """A model of clients, resolvers, sites, L4 nodes, L7 nodes and servers. Run it with :meth:`run`.

    Clients hold connections and send requests over them at random times. A connection stays with its site and its L7 node.
    When an attempt fails, the client queries its resolver, opens another connection, and tries again.

    Parameters
    ----------
    sites
        Sites by id; at least one.
    requests_per_second
        Mean requests per second of all clients together, > 0. Arrivals are a Poisson process.
    policy
        The GSLB policy that answers resolvers. If left out, :class:`~balancekit.gslb.WeightedOne` with the weights of
        the sites. A policy with a fail-back has state: make a new one for each run.
    connections
        Number of clients, >= 1. Each holds one connection.
    per_connection
        Number of requests after which a client closes its connection, >= 1.
    resolvers
        Number of resolvers, 1 to 65,536. Each has a cache.
    stubborn
        Number of resolvers that keep each answer for at least ``stubborn_ttl`` seconds, whatever its TTL.
    stubborn_ttl
        Seconds for which these resolvers keep an answer, >= 0.
    ttl
        Bounds for the TTLs of answers.
    attempts
        Maximum attempts of a client per request, 1 to 100, each over a new connection.
    server_attempts
        Maximum attempts of an L7 node per request, >= 1, each at another server.
    timeout
        Seconds after which a client gives up an attempt, > 0.
    pause
        Seconds that a client waits before its second attempt, >= 0. The wait doubles before each further attempt.
    checks
        Rule by which checks decide that a site or an L7 node is down. The policy uses the checks of sites. Each L4 node
        has its own checks of L7 nodes. A check of a failed site or node fails at once.
    interval
        Seconds between two checks of one target, > 0.
    l4_down
        Seconds after which a router stops sending to an L4 node that has failed, >= 0.
    balancer
        Function that makes the balancer of an L7 node. Each L7 node has its own.
    routes
        Function that makes the route table of an L7 node from its balancer.
    paths
        Paths that clients request, each equally often; at least one.
    losses
        Losses of nodes and sites. Two losses of the same node must not overlap.
    seed
        Seed of all randomness, >= 0.

    Raises
    ------
    ConfigurationError
        If ``sites`` is empty or holds something other than ``Site``, or ``policy`` has a site that is not in
        ``sites``. If a number is outside its bounds, ``paths`` is empty, a loss names an unknown site or node, or
        losses overlap.

    Notes
    -----
    *Guarantee.* Equal arguments give equal reports, in any process. If a site fails and no resolver is stubborn, requests
    over new connections stop failing because of it at most ``fall * interval + TTL`` after the failure. A request over
    an existing connection to the failed site fails at any time, and is retried over a new connection.

    *Not modelled:* network latency, packets, and the slow start of connections.

    *When not to use it:* for one balancer and its servers. :class:`~balancekit.sim.Simulation` has more kinds of faults
    and takes a fifth of the time.

    Cost: 40 to 70 µs per request, and 90 bytes per request for the report.

    Example
    -------
    >>> from balancekit.sim import Exponential, Server
    >>> from balancekit.sim.tiers import Loss, Nodes, Site, TierSimulation
    >>> nodes = Nodes(count=2, requests_per_second=2000.0)
    >>> site = Site(l4=nodes, l7=nodes, servers=5, server=Server(service=Exponential(0.05), workers=8))
    >>> loss = Loss(tier="l7", site="eu", node=0, at=5.0)
    >>> report = TierSimulation({"eu": site}, requests_per_second=200.0, losses=[loss]).run(10.0)
    >>> report.failures, {tier: len(times) > 0 for tier, times in report.lost.items()}
    (0, {'l7': True})
    """

    @checked_arguments
    def __init__(
        self,
        sites: Mapping[str, Site],
        *,
        requests_per_second: float,
        policy: Policy | None = None,
        connections: int = 1_000,
        per_connection: int = 100,
        resolvers: int = 200,
        stubborn: int = 0,
        stubborn_ttl: float = 3_600.0,
        ttl: Ttl = DEFAULT_TTL,
        attempts: int = 4,
        server_attempts: int = 2,
        timeout: float = 2.0,
        pause: float = 0.5,
        checks: AccruedFailures = DEFAULT_CHECKS,
        interval: float = 1.0,
        l4_down: float = 3.0,
        balancer: MakeBalancer = _default_balancer,
        routes: MakeRoutes = _one_route,
        paths: Sequence[str] = ("/",),
        losses: Iterable[Loss] = (),
        seed: int = 0,
    ) -> None:
        self._sites: Final = _named(sites)
        self._resolvers: Final = valid.integer("resolvers", resolvers, minimum=1, maximum=1 << 16)
        self._stubborn: Final = valid.integer("stubborn", stubborn, minimum=0, maximum=resolvers)
        self._stubborn_ttl: Final = valid.number("stubborn_ttl", stubborn_ttl, minimum=0.0)
        self._rules: Final = Rules(
            requests_per_second=requests_per_second,
            connections=connections,
            per_connection=per_connection,
            attempts=attempts,
            server_attempts=server_attempts,
            timeout=timeout,
            pause=pause,
            paths=tuple(paths),
            policy=_policy_over(self._sites, policy),
            ttl=ttl,
            checks=checks,
            interval=interval,
            l4_down=l4_down,
        )
        self._balancer: Final = maker(balancer)
        self._routes: Final = plain_function(
            "routes", routes, "a function that makes a RouteTable from a balancer", takes=1
        )
        self._losses: Final = _non_overlapping([self._checked(loss) for loss in losses])
        self._seed: Final = valid.integer("seed", seed, minimum=0)

    def run(self, seconds: float, /) -> TierReport:
        """Simulate requests that arrive within ``seconds``, > 0, until each has ended.

        Raises
        ------
        ConfigurationError
            If ``seconds`` is not > 0, or ``balancer`` or ``routes`` returns something of another type.
        """
        seconds = valid.number("seconds", seconds, above=0.0)
        clock, make = Clock(), fresh(self._balancer)
        sites = {
            id: SiteState(id, site, make=make, routes=self._routes, clock=clock, generator=self._generator)
            for id, site in self._sites.items()
        }
        queries = [_query(number) for number in range(self._resolvers)]
        run = TierRun(sites, queries, self._caches(), self._rules, self._losses, clock, self._generator)
        trace = run.play(seconds)
        return _measure(
            trace, seconds, {id: _busy(site, max(seconds, clock.now)) for id, site in sites.items()}
        )

    def _caches(self) -> list[ResolverCache]:
        usual = self._resolvers - self._stubborn
        return [
            ResolverCache(min_ttl=0.0 if number < usual else self._stubborn_ttl)
            for number in range(self._resolvers)
        ]

    def _checked(self, loss: object) -> Loss:
        if not isinstance(loss, Loss):
            raise ConfigurationError("losses", loss, "Loss objects")
        site = self._sites.get(loss.site)
        if site is None:
            raise ConfigurationError("losses", loss.site, f"one of {', '.join(self._sites)}")
        if loss.node >= site.count(loss.tier):
            raise ConfigurationError(
                "losses", loss, f"one of the {site.count(loss.tier)} nodes of {loss.tier}"
            )
        return loss

    def _generator(self, name: str) -> Random:
        """Return a new random generator for the use with this name."""
        return Random(f"{self._seed} {name}")


def _named(sites: Mapping[str, Site]) -> dict[str, Site]:
    if (
        not isinstance(sites, Mapping)
        or not sites
        or not all(isinstance(site, Site) for site in sites.values())
    ):
        raise ConfigurationError("sites", sites, "Sites by id, at least one")
    return {valid.text("sites", id): site for id, site in sites.items()}


def _policy_over(sites: Mapping[str, Site], policy: Policy | None) -> Policy:
    """Return the policy, or that by the weights of the sites; one of other sites is refused."""
    if policy is None:
        return WeightedOne({id: site.weight for id, site in sites.items()})
    if not set(policy.members()) <= set(sites):
        raise ConfigurationError("policy", policy, f"a policy over {', '.join(sites)}")
    return policy


def _non_overlapping(losses: list[Loss]) -> tuple[Loss, ...]:
    """Return losses in the order of their times.

    Raises
    ------
    ConfigurationError
        If two losses of the same node or site overlap.
    """
    until: dict[tuple[str, str, int], float] = {}
    losses = sorted(losses, key=lambda loss: loss.at)
    for loss in losses:
        what = (loss.tier, loss.site, loss.node)
        if loss.at < until.get(what, 0.0):
            raise ConfigurationError("losses", loss, "losses of one node or site that do not overlap")
        until[what] = loss.at + loss.seconds
    return tuple(losses)


def _query(number: int) -> Query:
    network = IPv4Network((10 << 24 | number << 8, 24))
    return Query(name=NAME, client=Client(address=network.network_address + 53, subnet=network))


def _busy(site: SiteState, seconds: float) -> dict[str, float]:
    """Return the utilization of the busiest node of each tier."""
    workers = site.site.server.workers
    return {
        "l4": max([node.worked(seconds) for node in site.l4.values()]) / seconds,
        "l7": max([node.worked(seconds) for node in site.l7.values()]) / seconds,
        "server": max([server.worked(seconds) for server in site.servers.values()]) / (seconds * workers),
    }


def _measure(trace: TierTrace, seconds: float, busy: Mapping[str, Mapping[str, float]]) -> TierReport:
    arrived, sent, reached, chosen, length, ended = (
        np.frombuffer(column, dtype=np.float64)
        for column in (trace.arrived, trace.sent, trace.reached, trace.chosen, trace.length, trace.ended)
    )
    # From `sent` to `reached` is L4. From `reached` to `chosen` is L7: retries at other servers take no time.
    columns = {
        "arrived": arrived,
        "ended": ended,
        "retries": sent - arrived,
        "l4": reached - sent,
        "l7": chosen - reached,
        "server line": ended - chosen - length,
        "service": length,
    }
    tiers = ("gslb", *TIERS)
    lost = {tier: tuple([at for at, where in trace.lost if where == tier]) for tier in tiers}
    return TierReport(
        columns={name: np.array(times) for name, times in columns.items()},
        served=np.frombuffer(trace.served, dtype=np.int8).astype(np.bool_),
        attempts=np.frombuffer(trace.tries, dtype=np.int8).copy(),
        lost={tier: times for tier, times in lost.items() if times},
        broken=trace.broken,
        detected=tuple(trace.detected),
        busy=busy,
        seconds=seconds,
    )
