"""Plans as text and as data: a table of tiers, formulas, and findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from balancekit._support.text import figure
from balancekit.capacity._demand import Demand
from balancekit.capacity._erlang import Waiting
from balancekit.capacity._sites import SitePlan, TierPlan

__all__ = ["plan_as_text", "plan_to_dict"]

Sites: TypeAlias = Sequence[SitePlan]
Findings: TypeAlias = Sequence[str]

NEGLIGIBLE: Final = 1e-9
"""A share of requests below which no figure is printed."""


def plan_to_dict(demand: Demand, sites: Sites, waiting: Waiting | None, findings: Findings) -> dict[str, Any]:
    """Return a plan as data."""
    return {
        "demand": {
            "requests_per_second": demand.requests,
            "requests_per_day": demand.per_day,
            "gbps_in": demand.gbps_in,
            "gbps_out": demand.gbps_out,
            "gbps_total": demand.total_gbps,
            "connections_per_second": demand.connections_per_second,
            "open_connections": demand.open_connections,
            "in_flight": demand.in_flight,
        },
        "sites": [_site(site) for site in sites],
        "waiting": None if waiting is None else {"probability": waiting.probability, "mean": waiting.mean},
        "findings": list(findings),
    }


def plan_as_text(demand: Demand, sites: Sites, waiting: Waiting | None, findings: Findings) -> str:
    """Return a plan as a table with its formulas."""
    lines = [
        f"{figure(demand.requests, ',.0f')} requests/s, {figure(demand.per_day, ',.0f')} a day",
        f"{figure(demand.gbps_in)} Gbps in + {figure(demand.gbps_out)} Gbps out = {figure(demand.total_gbps)} Gbps",
        _flows(demand),
    ]
    for count, first, site in _groups(sites):
        lines += [
            "",
            _heading(count, first, site),
            f"{'tier':10}{'nodes':>8}{'spare':>7}{'count':>8}  forced by",
        ]
        for name, tier in site.tiers():
            lines.append(f"{name:10}{tier.needed:8,}{tier.spare:7,}{tier.count:8,}  {tier.binding}")
        for name, tier in site.tiers():
            lines += [f"  {name} {need.load.name}: {need.formula}" for need in tier.needs]
    if waiting is not None:
        share = f"{waiting.probability:.3g}" if waiting.probability >= NEGLIGIBLE else f"below {NEGLIGIBLE:g}"
        mean = f"{waiting.mean * 1e3:.3g} ms"
        lines += [
            "",
            f"waiting for a worker, one queue (Erlang C): share {share} of requests, {mean} in the mean",
        ]
    if findings:
        lines += ["", *[f"note: {finding}" for finding in findings]]
    return "\n".join(lines)


def _flows(demand: Demand) -> str:
    return (
        f"{figure(demand.connections_per_second, ',.0f')} connections/s, {figure(demand.open_connections, ',.0f')} open, "
        f"{figure(demand.in_flight, ',.0f')} requests in flight"
    )


def _site(site: SitePlan) -> dict[str, Any]:
    return {
        "requests_per_second": site.demand.requests,
        "planned_for": site.worst.requests,
        "gbps_in": site.demand.gbps_in,
        "gbps_out": site.demand.gbps_out,
        **{name: _tier(tier) for name, tier in site.tiers()},
    }


def _tier(tier: TierPlan) -> dict[str, Any]:
    return {
        "needed": tier.needed,
        "spare": tier.spare,
        "count": tier.count,
        "binding": tier.binding,
        "limits": [
            {
                "name": need.load.name,
                "load": need.load.load,
                "per_node": need.load.per_node,
                "unit": need.load.unit,
                "nodes": need.nodes,
                "formula": need.formula,
            }
            for need in tier.needs
        ],
    }


def _groups(sites: Sites) -> list[tuple[int, int, SitePlan]]:
    """Return sites that need the same, as their number, the first of them, and what they need."""
    groups: dict[SitePlan, tuple[int, int]] = {}
    for number, site in enumerate(sites):
        count, first = groups.get(site, (0, number))
        groups[site] = (count + 1, first)
    return [(count, first, site) for site, (count, first) in groups.items()]


def _heading(count: int, first: int, site: SitePlan) -> str:
    which = f"site {first + 1}" if count == 1 else f"{count} sites"
    planned = "" if site.worst == site.demand else f", planned for {figure(site.worst.requests, ',.0f')}"
    return (
        f"{which}: {figure(site.demand.requests, ',.0f')} requests/s{planned}; "
        f"{figure(site.demand.gbps_in)} Gbps in, {figure(site.demand.gbps_out)} out"
    )
