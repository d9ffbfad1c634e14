"""The scenario of a capacity plan.

The same nodes at a fraction of their rates, and the losses that the plan promises to survive.
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
"""The tiers of a simulation by what a plan calls them."""
QUIET: Final = "nothing lost"


@final
class TierScenario(Record):
    """A simulation with losses one after another, and the spans in which to look at it.

    Parameters
    ----------
    simulation
        What to run, for ``seconds``.
    seconds
        How long.
    spans
        By name, ``"nothing lost"`` first: from when to when. That of a loss begins when it has been noticed and ends with the
        loss.
    """

    simulation: TierSimulation
    seconds: float
    spans: Mapping[str, tuple[float, float]]

    def run(self) -> TierReport:
        """Simulate."""
        return self.simulation.run(self.seconds)

    def growth(self, report: TierReport, share: float = 0.99) -> dict[str, float]:
        """Return a quantile of latency during each loss over that when nothing was lost.

        Example
        -------
        >>> from balancekit.capacity import L4, L7, Backends, Demand, Gslb, plan_capacity
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
    """Return the scenario of a plan, scaled down, in which what it promises to survive is lost.

    All L4 and L7 nodes of the plan are there, each at a fraction of its rate; of the servers' workers as many as the
    fraction leaves, at least one each, on as many servers as these then need. So every node is as full as planned.

    Parameters
    ----------
    plan
        With sites and all tiers.
    requests_per_second
        To simulate, > 0, at most the plan's.
    lose
        How many of ``sites``, ``l4``, ``l7`` and ``backends`` are lost in the first site, one kind after the other; what the plan
        promises to survive if left out.
    spell
        Seconds that each loss lasts, and that nothing is lost before the first and after each, above ``settle``.
    settle
        Seconds after which a loss should have been noticed, >= 0.
    attempts, timeout, pause, ttl, interval, l4_down, seed
        As of :class:`TierSimulation`.

    Raises
    ------
    ConfigurationError
        For a plan that lacks a tier, or a wrong value.

    Example
    -------
    >>> from balancekit.capacity import L4, L7, Backends, Demand, Gslb, plan_capacity
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
        if not valid.integer(name, count, minimum=0):
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
    """Return a site at the fraction of its rates that makes the whole plan take ``rate`` requests a second."""
    scale = rate / plan.demand.requests
    service = plan.demand.service
    if site.l4 is None or site.l7 is None or site.backends is None or not service:
        raise ConfigurationError("plan", plan, "a plan with l4, l7, backends and a time of service")
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
    """Return how many requests a second one node can take: what binds it most says."""
    load = tier.needs[0].load
    return site.worst.requests * load.per_node / load.load


def _nodes(tier: TierPlan, site: SitePlan, scale: float) -> Nodes:
    return Nodes(count=tier.count, requests_per_second=_capacity(tier, site) * scale)


def _loss(tier: str, number: int, begin: float, end: float) -> Loss:
    node = 0 if tier == "site" else number
    site = f"site-{number if tier == 'site' else 0}"
    return Loss(tier=tier, site=site, node=node, at=begin, seconds=end - begin)
