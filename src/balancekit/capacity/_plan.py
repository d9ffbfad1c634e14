"""Capacity plans: the nodes of each tier, the limit behind each number, and the rest when nodes or sites are lost.

``nodes = ceil(load / (per node * utilisation)) + survive``, for the limit that needs most. The load of a site is its
share of the demand when as many of the largest other sites are lost as the plan has to survive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, inf
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit._support.text import figure
from balancekit.capacity._demand import Demand
from balancekit.capacity._erlang import MAX_WORKERS, Waiting, erlang_c
from balancekit.capacity._sites import Need, SitePlan, TierPlan
from balancekit.capacity._text import plan_as_text, plan_to_dict
from balancekit.capacity._tiers import L4, L7, Backends, Gslb, Tier
from balancekit.errors import ConfigurationError

__all__ = ["TIERS", "CapacityPlan", "plan_capacity"]

TIERS: Final[Mapping[str, type[Tier]]] = {"l4": L4, "l7": L7, "backends": Backends}
ROUNDING: Final = 1e-9
"""A quotient that is whole but for rounding needs no further node."""
MAX_LOST: Final = 1_000_000_000
"""Nodes or sites that may be lost: more than there are."""


@final
class CapacityPlan(Record):
    """A plan: sites, tiers, nodes.

    Parameters
    ----------
    demand
        The demand on all sites together.
    gslb
        The sites.
    tiers
        The limits of a node, by the name of the tier.
    sites
        The nodes of each site.
    survive
        How many nodes of each tier, and how many sites, may be lost.
    """

    demand: Demand
    gslb: Gslb
    tiers: Mapping[str, Tier]
    sites: tuple[SitePlan, ...]
    survive: Mapping[str, int]

    @property
    def total_gbps(self) -> float:
        """Gigabits per second in both directions, of all sites."""
        return self.demand.total_gbps

    @property
    def binding(self) -> dict[str, str]:
        """What forces the number of nodes of each tier, in the largest site."""
        largest = max(self.sites, key=lambda site: site.worst.requests)
        return {name: tier.binding for name, tier in largest.tiers()}

    @property
    def utilisation(self) -> dict[str, float]:
        """How full the nodes of each tier are planned to be at most."""
        return {name: tier.needs[0].utilisation for name, tier in self.sites[0].tiers()}

    @property
    def waiting(self) -> Waiting | None:
        """How requests wait for a worker in the largest site when its spare servers are lost.

        ``None`` without workers, and with more than 1e12 of them. A part of a worker counts as a whole one, so that
        requests wait at least so long.
        """
        site = max(self.sites, key=lambda site: site.worst.requests)
        tier = self.tiers.get("backends")
        if not isinstance(tier, Backends) or tier.workers is None or site.backends is None:
            return None
        workers = ceil(round(site.backends.needed * tier.workers, 6))
        if workers > MAX_WORKERS:
            return None
        return erlang_c(workers, site.worst.in_flight, service=site.worst.service or 1.0)

    @checked_arguments
    def utilisation_after(self, **lost: int) -> dict[str, float]:
        """Return how full each tier is, in the worst site, when nodes or sites are lost.

        Parameters
        ----------
        **lost
            How many of ``sites``, ``l4``, ``l7``, ``backends``, of the tiers in the plan; nodes are lost in every site.

        Raises
        ------
        ConfigurationError
            For another name, a number that is not whole, or for all sites.

        Example
        -------
        >>> from balancekit.capacity import L7, Demand, Gslb, plan_capacity
        >>> plan = plan_capacity(Demand(requests=1e6), [Gslb(sites=4), L7(requests_per_second=50_000)],
        ...     utilisation=1.0)
        >>> plan.utilisation_after(sites=1)  # five nodes a site do not carry a third of everything
        {'l7': 1.3333333333333333}
        """
        counts = _losses("", lost, self.tiers)
        found: dict[str, float] = {}
        for share, site in zip(self.gslb.worst_shares(counts["sites"]), self.sites, strict=True):
            growth = share * self.demand.requests / site.worst.requests
            for name, tier in site.tiers():
                full = tier.utilisation_after(counts[name], growth=growth)
                found[name] = max(found.get(name, 0.0), full)
        return found

    @checked_arguments
    def survives(self, **lost: int) -> bool:
        """Return whether every node stays within its planned utilisation when nodes or sites are lost."""
        after = self.utilisation_after(**lost)
        return all(after[name] <= full * (1.0 + ROUNDING) for name, full in self.utilisation.items())

    @property
    def findings(self) -> tuple[str, ...]:
        """Findings for the reader: which loss of one site, or of one node, is not survived, in figures."""
        found = []
        count = len(self.sites)
        if count == 1:
            found.append("one site: its loss is the loss of everything")
        elif not self.survives(sites=1):
            left = self.demand.requests * max(self.gslb.worst_shares(1))
            planned = max(site.worst.requests for site in self.sites)
            found.append(
                f"does not survive the loss of one of {count} sites: {figure(left, ',.0f')} requests/s for a site planned for "
                f"{figure(planned, ',.0f')}; {self._over(sites=1)}"
            )
        found += [
            f"does not survive the loss of one {name} node in a site: {self._over(**{name: 1})}"
            for name in self.tiers
            if not self.survives(**{name: 1})
        ]
        return tuple(found)

    @checked_arguments
    def to_dict(self) -> dict[str, Any]:
        """Return the plan as data, every number with its formula."""
        return {
            "survive": dict(self.survive),
            "binding": self.binding,
            **plan_to_dict(self.demand, self.sites, self.waiting, self.findings),
        }

    def __str__(self) -> str:
        return plan_as_text(self.demand, self.sites, self.waiting, self.findings)

    def _over(self, **lost: int) -> str:
        """Return which tier exceeds its planned utilisation most, in figures."""
        after, planned = self.utilisation_after(**lost), self.utilisation
        name = max(after, key=lambda tier: after[tier] / planned[tier])
        if after[name] == inf:
            return "it is the only one"
        digits = 0 if f"{after[name]:.0%}" != f"{planned[name]:.0%}" else 3
        return f"{name} at {after[name]:.{digits}%} instead of {planned[name]:.{digits}%}"


@checked_arguments
def plan_capacity(
    demand: Demand,
    tiers: Sequence[Gslb | Tier],
    *,
    survive: Mapping[str, int] | None = None,
    utilisation: float = 0.7,
) -> CapacityPlan:
    """Return how many nodes of each tier a demand needs.

    Parameters
    ----------
    demand
        The demand on all sites together.
    tiers
        At most one each of :class:`Gslb`, :class:`L4`, :class:`L7` and :class:`Backends`; without ``Gslb`` there is one
        site.
    survive
        How many of ``"sites"``, and in every site of ``"l4"``, ``"l7"``, ``"backends"``, may be lost while every node
        stays within its planned utilisation, 0 to 1e9. Zero for a name that is left out.
    utilisation
        How full nodes are planned to be, above 0, at most 1; a tier may have its own.

    Raises
    ------
    ConfigurationError
        For a tier that is twice there, no tier at all, or a wrong value.

    *When not to use it:* as a forecast of latencies: it counts rates and workers, and assumes that load is balanced.

    Example
    -------
    >>> from balancekit.capacity import L7, Demand, Gslb, plan_capacity
    >>> plan = plan_capacity(
    ...     Demand(requests=1e6), [Gslb(sites=4), L7(requests_per_second=50_000)], survive={"l7": 1}
    ... )
    >>> plan.sites[0].l7.count, plan.binding["l7"], plan.total_gbps
    (9, 'requests', 96.0)
    """
    if not isinstance(demand, Demand):
        raise ConfigurationError("demand", demand, "a Demand(requests=...)")
    gslb, by_name = _by_name(tiers)
    spare = _losses("survive", {} if survive is None else survive, by_name)
    if spare["sites"] >= gslb.sites:
        raise ConfigurationError(
            "survive.sites", spare["sites"], f"fewer than all {gslb.sites} sites to lose"
        )
    usual = valid.number("utilisation", utilisation, above=0.0, maximum=1.0)
    made: dict[tuple[float, float], SitePlan] = {}  # sites of equal shares need the same
    sites = []
    for number, worst_share in enumerate(gslb.worst_shares(spare["sites"])):
        share = gslb.share_of(number)
        site = made.get((share, worst_share))
        if site is None:
            worst = demand.scaled(worst_share)
            planned = {name: _tier_plan(tier, worst, spare[name], usual) for name, tier in by_name.items()}
            site = made[share, worst_share] = SitePlan(demand=demand.scaled(share), worst=worst, **planned)
        sites.append(site)
    return CapacityPlan(demand=demand, gslb=gslb, tiers=by_name, sites=tuple(sites), survive=spare)


def _by_name(tiers: object) -> tuple[Gslb, dict[str, Tier]]:
    if not isinstance(tiers, list | tuple):
        raise ConfigurationError("tiers", tiers, "a list of Gslb, L4, L7 and Backends")
    sites = [tier for tier in tiers if isinstance(tier, Gslb)]
    found: dict[str, Tier] = {}
    for name, kind in TIERS.items():
        of_kind = [tier for tier in tiers if isinstance(tier, kind)]
        if len(of_kind) == 1:
            found[name] = of_kind[0]
    if not found or len(sites) > 1 or len(sites) + len(found) != len(tiers):
        raise ConfigurationError(
            "tiers", tiers, "at most one each of Gslb, L4, L7 and Backends, and not Gslb alone"
        )
    return (sites[0] if sites else Gslb(sites=1)), found


def _losses(parameter: str, lost: object, tiers: Iterable[str]) -> dict[str, int]:
    names = ("sites", *tiers)
    if not isinstance(lost, Mapping) or not lost.keys() <= {*names}:
        raise ConfigurationError(parameter or "lost", lost, f"numbers by name, of {', '.join(names)}")
    place = f"{parameter}." if parameter else ""
    return {
        name: valid.integer(f"{place}{name}", lost.get(name, 0), minimum=0, maximum=MAX_LOST)
        for name in ("sites", *TIERS)
    }


def _tier_plan(tier: Tier, demand: Demand, spare: int, usual: float) -> TierPlan:
    utilisation = usual if tier.utilisation is None else tier.utilisation
    needs = []
    for load in tier.loads(demand):
        quotient = load.load / (load.per_node * utilisation)
        needs.append(
            Need(load=load, utilisation=utilisation, nodes=max(1, ceil(quotient * (1.0 - ROUNDING))))
        )
    needs.sort(key=lambda need: need.load.load / need.load.per_node, reverse=True)
    return TierPlan(needs=tuple(needs), spare=spare)
