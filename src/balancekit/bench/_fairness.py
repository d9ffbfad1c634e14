"""Fairness of round robin selectors: the maximum distance of an endpoint from its exact share.

After t picks, the exact share of an endpoint of weight w is ``t * w / W`` picks, where W is the sum of weights. The *lead*
of an endpoint is the number of its picks minus that; a negative lead is a *lag*. With smooth weighted round robin, the
lead is always less than one pick. With random selection, it grows with the square root of t.

Source: nginx smooth weighted round robin; Waldspurger (1995) for stride scheduling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from balancekit.balancer import LoadBalancer
from balancekit.bench._claims import Claim, Column, Findings, Table
from balancekit.endpoint import Endpoint
from balancekit.protocols import Selector
from balancekit.selectors import RoundRobin, SmoothWeightedRoundRobin, StrideScheduling, WeightedRandom

__all__ = ["turns"]

PICKS: Final = 700
MAX_PLOTTED_PICKS: Final = 70
FIVE: Final = {"a": 5.0, "b": 1.0, "c": 1.0}
CROWD: Final = {"heavy": 100.0, **{f"light-{number:02}": 1.0 for number in range(99)}}
EQUAL: Final = {f"{number}": 1.0 for number in range(10)}

SELECTORS: Final[Mapping[str, Callable[[], Selector]]] = {
    "RoundRobin": RoundRobin,
    "SmoothWeightedRoundRobin": SmoothWeightedRoundRobin,
    "StrideScheduling": StrideScheduling,
    "WeightedRandom": WeightedRandom,
}


def picks(selector: str, weights: Mapping[str, float], count: int, seed: int) -> list[str]:
    """Return the first picks of a balancer with this selector, in order."""
    pool = [Endpoint(id, weight=weight) for id, weight in weights.items()]
    balancer = LoadBalancer(pool, selector=SELECTORS[selector](), rng=Random(seed))
    found = []
    for _ in range(count):
        with balancer.acquire() as lease:
            found.append(lease.target)
    return found


def deviations(order: list[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the lead of each endpoint after each pick: one row per pick, one column per endpoint."""
    number = {id: k for k, id in enumerate(weights)}
    had = np.zeros((len(order), len(weights)))
    had[np.arange(len(order)), [number[id] for id in order]] = 1.0
    shares = np.array(list(weights.values())) / sum(weights.values())
    return np.cumsum(had, axis=0) - np.outer(np.arange(1, len(order) + 1), shares)


def turns(*, seed: int) -> Findings:
    """Measure lead and lag of each round robin selector, and of one that selects at random."""
    claims, rows, curves = [], [], []
    for what, weights in (("ten equal", EQUAL), ("5, 1, 1", FIVE), ("100 and 99 of 1", CROWD)):
        for selector in SELECTORS:
            if selector == "RoundRobin" and weights is not EQUAL:
                continue
            order = picks(selector, weights, PICKS if weights is not CROWD else 10 * 199, seed)
            away = deviations(order, weights)
            rows.append((selector, what, float(away.max()), float(-away.min())))
            if selector in {"RoundRobin", "SmoothWeightedRoundRobin"}:
                claims.append(_never_ahead(selector, what, float(away.max())))
            if weights is FIVE:
                curves += [(selector, pick + 1, float(away[pick, 0])) for pick in range(MAX_PLOTTED_PICKS)]
    smooth = picks("SmoothWeightedRoundRobin", FIVE, PICKS, seed)
    claims.append(
        Claim.near(
            "smooth cycle",
            "Smooth weighted round robin turns weights 5, 1 and 1 into aabacaa (matching picks of each seven)",
            sum(one == other for one, other in zip("".join(smooth), "aabacaa" * (PICKS // 7), strict=True))
            / (PICKS / 7),
            7.0,
            0.0,
            form=".2f",
            source="nginx, ngx_http_upstream_round_robin.c",
        )
    )
    form = Column(name="lead", form=".2f")
    return Findings(
        claims=tuple(claims),
        tables=(
            Table(
                name="turns",
                title="Farthest any endpoint is ahead of its exact share (lead) and behind it (lag), in turns",
                columns=(Column(name="selector"), Column(name="weights"), form, form.replace(name="lag")),
                rows=tuple(rows),
            ),
            Table(
                name="lead by pick",
                title="Turns ahead of its exact share: the endpoint of weight 5 of 7",
                columns=(Column(name="selector"), Column(name="pick", form="d"), form),
                rows=tuple(curves),
            ),
        ),
    )


def _never_ahead(selector: str, what: str, lead: float) -> Claim:
    return Claim(
        name=f"lead, {selector}, {what}",
        text=f"{selector} with weights {what}: none is ever a whole turn ahead",
        measured=lead,
        right=None,
        low=-math.inf,
        high=1.0 - 1e-9,
        source="the picked endpoint had a positive credit, so its lead stays below one turn",
    )
