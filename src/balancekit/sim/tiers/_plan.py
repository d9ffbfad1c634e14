"""Scenarios from capacity plans.

A scenario has the nodes of the plan at a fraction of their rates, and the losses that the plan must survive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.capacity import Backends, CapacityPlan, SitePlan, TierPlan, plan_capacity
from balancekit.errors import ConfigurationError
from balancekit.gslb import Ttl
from balancekit.sim._queues import Server
from balancekit.sim._services import Exponential
from balancekit.sim.tiers._report import TierReport
from balancekit.sim.tiers._simulation import DEFAULT_TTL, TierSimulation
from balancekit.sim.tiers._sites import Loss, Nodes, Site

__all__ = ["TierScenario", "scenario_of"]

TIER_OF: Final[Mapping[str, str]] = {"sites": "site", "l4": "l4", "l7": "l7", "backends": "server"}
"""Names of tiers in a simulation, by their names in a plan."""
QUIET: Final = "nothing lost"


@final
class TierScenario(Record):
    """A simulation with several losses one after another. Made by :func:`scenario_of`.

    Parameters
    ----------
    simulation
        The simulation.
    seconds
        Its length in seconds.
    spans
        Begin and end in seconds of the time in which each loss is measured, by name of the lost tier. The span begins
        ``settle`` seconds after the loss and ends with it. The span ``"nothing lost"``, before the first loss, comes
        first.
    """

    simulation: TierSimulation
    seconds: float
    spans: Mapping[str, tuple[float, float]]

    def run(self) -> TierReport:
        """Run the simulation for ``seconds``."""
        return self.simulation.run(self.seconds)

    def growth(self, report: TierReport, share: float = 0.99) -> dict[str, float]:
        """Return how much a latency quantile grows during each loss: its ratio to the quantile while nothing is lost.

        Parameters
        ----------
        report
            The report of :meth:`run`.
        share
            The quantile, 0 to 1.

        Raises
        ------
        ConfigurationError
            If ``share`` is outside [0, 1].

        Example
        -------
        >>> from balancekit.capacity import L4, L7, Backends, Demand, Gslb, plan_capacity
        >>> from balancekit.sim.tiers import scenario_of
        >>> tiers = [Gslb(sites=1), L4(connections_per_second=100), L7(requests_per_second=300), Backends(workers=4)]
        >>> plan = plan_capacity(Demand(requests=400.0), tiers, survive={"l7": 1, "backends": 1})
        >>> scenario = scenario_of(plan, requests_per_second=400.0, spell=8.0)
        >>> sorted(scenario.growth(scenario.run()))
        ['backends', 'l7']
        """
        usual = report.quantile(share, self.spans[QUIET])
        return {
            name: report.quantile(share, span) / usual for name, span in self.spans.items() if name != QUIET
        }


@checked_arguments
def scenario_of(
    plan: CapacityPlan,
    /,
    *,
    requests_per_second: float = 2_000.0,
    lose: Mapping[str, int] | None = None,
    spell: float = 20.0,
    settle: float = 5.0,
    attempts: int = 4,
    timeout: float = 2.0,
    pause: float = 0.5,
    ttl: Ttl = DEFAULT_TTL,
    interval: float = 1.0,
    l4_down: float = 3.0,
    seed: int = 0,
) -> TierScenario:
    """Return a scenario that tests a capacity plan at a smaller scale, with the losses that the plan must survive.

    All rates are multiplied by ``requests_per_second`` divided by the request rate of the plan. The scenario has all L4
    and L7 nodes of the plan, each with its scaled rate. Each server has its scaled number of workers, at least one, and the
    number of servers is planned again for that. So the utilization of each node is as planned.

    Parameters
    ----------
    plan
        A plan with sites, L4, L7 and backends, and with a service time.
    requests_per_second
        Requests per second to simulate, > 0, at most those of the plan.
    lose
        Number of nodes that are lost in the first site for each of ``sites``, ``l4``, ``l7`` and ``backends``, at most
        those of the scenario. The tiers are lost one after another. If left out, these are the losses that the plan
        must survive.
    spell
        Length of each loss in seconds, more than ``settle``. Before the first loss and after each loss, nothing is lost
        for the same time.
    settle
        Seconds after which a loss should have been detected, >= 0.
    attempts, timeout, pause, ttl, interval, l4_down, seed
        See :class:`TierSimulation`.

    Raises
    ------
    ConfigurationError
        If the plan lacks a tier or a service time, ``lose`` names an unknown tier, or a number is outside its bounds.

    Example
    -------
    >>> from balancekit.capacity import L4, L7, Backends, Demand, Gslb, plan_capacity
    >>> from balancekit.sim.tiers import scenario_of
    >>> tiers = [Gslb(sites=2), L4(gbps=25), L7(requests_per_second=50_000), Backends(workers=32)]
    >>> plan = plan_capacity(Demand(requests=1e6), tiers, survive={"l7": 1}, utilisation=0.7)
    >>> scenario_of(plan).spans
    {'nothing lost': (5.0, 20.0), 'l7': (25.0, 40.0)}
    """
    rate = valid.number("requests_per_second", requests_per_second, above=0.0, maximum=plan.demand.requests)
    settle = valid.number("settle", settle, minimum=0.0)
    spell = valid.number("spell", spell, above=settle)
    counts = dict(plan.survive if lose is None else lose)
    if not counts.keys() <= TIER_OF.keys():
        raise ConfigurationError("lose", lose, f"numbers of {', '.join(TIER_OF)}")
    sites = {f"site-{number}": _site(plan, site, rate) for number, site in enumerate(plan.sites)}
    losses: list[Loss] = []
    spans = {QUIET: (settle, spell)}
    begin = spell
    for name, count in counts.items():
        most = len(sites) if name == "sites" else sites["site-0"].count(TIER_OF[name])
        if not valid.integer(f"lose[{name}]", count, minimum=0, maximum=most):
            continue
        end = begin + spell
        losses += [_loss(TIER_OF[name], number, begin, end) for number in range(count)]
        spans[name] = (begin + settle, end)
        begin = end + spell
    held = min(1_000_000, math.ceil(plan.demand.scaled(rate / plan.demand.requests).open_connections))
    simulation = TierSimulation(
        sites,
        requests_per_second=rate,
        connections=held,
        per_connection=max(1, round(plan.demand.per_connection)),
        attempts=attempts,
        timeout=timeout,
        pause=pause,
        ttl=ttl,
        interval=interval,
        l4_down=l4_down,
        losses=losses,
        seed=seed,
    )
    return TierScenario(simulation=simulation, seconds=begin, spans=spans)


def _site(plan: CapacityPlan, site: SitePlan, rate: float) -> Site:
    """Return a site whose rates are scaled so that the whole plan receives ``rate`` requests per second."""
    scale = rate / plan.demand.requests
    service = plan.demand.service
    if site.l4 is None or site.l7 is None or site.backends is None or not service:
        raise ConfigurationError("plan", plan, "a plan with l4, l7, backends and a service time")
    workers = max(1, round(_capacity(site.backends, site) * service * scale))
    scaled = plan_capacity(
        site.worst.scaled(scale),
        [Backends(workers=workers, utilisation=site.backends.needs[0].utilisation)],
        survive={"backends": site.backends.spare},
    )
    servers = scaled.sites[0].backends
    assert servers is not None  # it was planned
    return Site(
        l4=_nodes(site.l4, site, scale),
        l7=_nodes(site.l7, site, scale),
        servers=servers.count,
        server=Server(service=Exponential(service), workers=workers),
        weight=max(1, round(1_000 * site.demand.requests / plan.demand.requests)),
    )


def _capacity(tier: TierPlan, site: SitePlan) -> float:
    """Return the requests per second that one node can serve, by the resource that limits it most.

    Infinite if requests use nothing that is limited.
    """
    load = tier.needs[0].load
    return site.worst.requests * load.per_node / load.load if load.load else math.inf


def _nodes(tier: TierPlan, site: SitePlan, scale: float) -> Nodes:
    return Nodes(count=tier.count, requests_per_second=_capacity(tier, site) * scale)


def _loss(tier: str, number: int, begin: float, end: float) -> Loss:
    node = 0 if tier == "site" else number
    site = f"site-{number if tier == 'site' else 0}"
    return Loss(tier=tier, site=site, node=node, at=begin, seconds=end - begin)
