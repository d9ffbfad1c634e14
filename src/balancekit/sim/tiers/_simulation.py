"""Simulation in tiers, with the decision objects of production.

One request passes resolver, GSLB, L4, L7 and server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network
from random import Random
from typing import Final, TypeVar, final

import numpy as np

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.balancer import LoadBalancer
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.gslb import Client, Policy, Query, ResolverCache, Ttl, WeightedOne
from balancekit.health import AccruedFailures
from balancekit.l7 import Route, RouteTable
from balancekit.protocols import ObservableBalancer
from balancekit.sim._context import Clock, MakeBalancer
from balancekit.sim.tiers._report import TierReport
from balancekit.sim.tiers._site_state import MakeRoutes, SiteState
from balancekit.sim.tiers._sites import TIERS, Loss, Site
from balancekit.sim.tiers._tier_loop import Rules, TierRun
from balancekit.sim.tiers._trace import TierTrace

__all__ = ["DEFAULT_TTL", "TierSimulation"]

DEFAULT_CHECKS: Final = AccruedFailures(fall=2, reset=2, rise=2)
DEFAULT_TTL: Final = Ttl(minimum=30, maximum=30)
NAME: Final = "www"

T = TypeVar("T")


def _default_balancer(
    endpoints: list[Endpoint[str]], clock: Callable[[], float], rng: Random
) -> LoadBalancer[str]:
    return LoadBalancer(endpoints, clock=clock, rng=rng)


def _one_route(pool: ObservableBalancer[str]) -> RouteTable[ObservableBalancer[str]]:
    return RouteTable([Route("all", pool)])


@final
class TierSimulation(ConstructorRepr):
    """A model of clients in front of four tiers. Run it with :meth:`run`.

    Clients hold connections and send requests over them at random; a connection stays with its site, and with its L7 node.
    When an attempt fails, the client opens another connection and tries again, after another query to its resolver.

    Parameters
    ----------
    sites
        By id; at least one.
    requests_per_second
        Of all clients together, > 0; times are exponential.
    policy
        What answers resolvers; :class:`~balancekit.gslb.WeightedOne` by the weights of the sites if left out. A policy
        with a fail-back keeps its machines: make a new one for each run.
    connections
        How many clients hold one, >= 1.
    per_connection
        Requests until a client closes its connection, >= 1.
    resolvers
        How many, each with a cache, >= 1, at most 65,536.
    stubborn
        How many of them keep every answer for ``stubborn_ttl`` seconds, whatever its TTL.
    ttl
        Limits of TTLs.
    attempts
        How often a client tries, >= 1, each time over a new connection.
    server_attempts
        How often an L7 node tries, >= 1, each time another server.
    timeout
        Seconds after which a client gives up an attempt, > 0.
    pause
        Seconds before a client's second attempt, >= 0; twice as long before each further one.
    checks, interval
        What decides from checks that a site (for the policy) or an L7 node (for each L4 node by itself) is down; and the
        seconds between two of them, > 0. A check of what is down fails at once.
    l4_down
        Seconds after which a router stops sending to an L4 node that has fallen silent, >= 0.
    balancer
        Makes the balancer of an L7 node; each has its own.
    routes, paths
        Makes the route table of an L7 node; and the paths that clients request, equally often.
    losses
        What is lost when.
    seed
        Of all randomness.

    Raises
    ------
    ConfigurationError
        If ``sites`` is empty or holds something other than ``Site``, or ``policy`` answers another site. If a
        number is outside its bounds, ``paths`` is empty, or a loss names something else.

    Notes
    -----
    *Guarantee.* Equal arguments give equal reports, in any process. No request over a new connection fails because of a
    site's death later than ``fall * interval + TTL`` after it, if no resolver is stubborn; one over a connection to the
    dead site fails whenever it comes, and is tried again over a new one.

    Not modelled: the time on wires, which only adds; packets; a slow start of connections.

    *When not to use it:* for one balancer and its servers: :class:`~balancekit.sim.Simulation` has more kinds of faults,
    and costs a fifth.

    Cost: 40 to 70 µs a request; 90 bytes a request for the report.

    Example
    -------
    >>> from balancekit.sim import Exponential, Server
    >>> from balancekit.sim.tiers import Loss, Nodes, Site
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
        if (
            not isinstance(sites, Mapping)
            or not sites
            or not all(isinstance(s, Site) for s in sites.values())
        ):
            raise ConfigurationError("sites", sites, "Sites by id, at least one")
        self._sites: Final = {valid.text("sites", id): site for id, site in sites.items()}
        if policy is None:
            policy = WeightedOne({id: site.weight for id, site in sites.items()})
        if not set(policy.members()) <= set(self._sites):
            raise ConfigurationError("policy", policy, f"a policy over {', '.join(self._sites)}")
        self._resolvers: Final = valid.integer("resolvers", resolvers, minimum=1, maximum=1 << 16)
        self._stubborn: Final = valid.integer("stubborn", stubborn, minimum=0, maximum=resolvers)
        self._stubborn_ttl: Final = valid.number("stubborn_ttl", stubborn_ttl, minimum=0.0)
        if isinstance(paths, str) or not paths:
            raise ConfigurationError("paths", paths, "paths, at least one")
        self._rules: Final = Rules(
            rate=valid.number("requests_per_second", requests_per_second, above=0.0),
            connections=valid.integer("connections", connections, minimum=1),
            per_connection=valid.integer("per_connection", per_connection, minimum=1),
            attempts=valid.integer("attempts", attempts, minimum=1, maximum=100),
            server_attempts=valid.integer("server_attempts", server_attempts, minimum=1),
            timeout=valid.number("timeout", timeout, above=0.0),
            pause=valid.number("pause", pause, minimum=0.0),
            paths=tuple([_path(path) for path in paths]),
            policy=policy,
            ttl=_instance("ttl", ttl, Ttl),
            checks=_instance("checks", checks, AccruedFailures),
            interval=valid.number("interval", interval, above=0.0),
            l4_down=valid.number("l4_down", l4_down, minimum=0.0),
        )
        for parameter, value in (("balancer", balancer), ("routes", routes)):
            if not callable(value):
                raise ConfigurationError(parameter, value, "a function")
        self._balancer: Final = balancer
        self._routes: Final = routes
        self._losses: Final = _non_overlapping([self._checked(loss) for loss in losses])
        self._seed: Final = valid.integer("seed", seed, minimum=0)

    def run(self, seconds: float, /) -> TierReport:
        """Simulate: requests arrive for so many seconds, > 0, and every one ends."""
        seconds = valid.number("seconds", seconds, above=0.0)
        clock = Clock()
        sites = {
            id: SiteState(
                id, site, make=self._balancer, routes=self._routes, clock=clock, generator=self._generator
            )
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
        """Return the generator of that name, new."""
        return Random(f"{self._seed} {name}")


def _instance(parameter: str, value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ConfigurationError(parameter, value, f"a {kind.__name__}")
    return value


def _path(path: object) -> str:
    text = valid.text("paths", path)
    if not text.startswith("/"):
        raise ConfigurationError("paths", path, "paths that begin with /")
    return text


def _non_overlapping(losses: list[Loss]) -> tuple[Loss, ...]:
    """Return losses in the order of their times, no two of the same thing at the same time."""
    until: dict[tuple[str, str, int], float] = {}
    losses = sorted(losses, key=lambda loss: loss.at)
    for loss in losses:
        what = (loss.tier, loss.site, loss.node)
        if loss.at < until.get(what, 0.0):
            raise ConfigurationError("losses", loss, "no loss of what is lost at that time")
        until[what] = loss.at + loss.seconds
    return tuple(losses)


def _query(number: int) -> Query:
    network = IPv4Network((10 << 24 | number << 8, 24))
    return Query(name=NAME, client=Client(address=network.network_address + 53, subnet=network))


def _busy(site: SiteState, seconds: float) -> dict[str, float]:
    """Return how busy the busiest node of each tier was."""
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
    # L4 is what lies before `reached`; of the rest until `chosen` all is L7: one server after another is tried at once.
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
