"""Distribution: shares of keys in hashing structures, measured and compared with theory.

Rings, tables and multi-probe structures report their exact shares. There, only the random positions of points vary. For
other structures, the owners of many keys are looked up.

Source: the shares of a ring have a Dirichlet distribution; Eisenbud et al. (2016) for Maglev; Appleton and O'Reilly (2015)
for multi-probe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from balancekit.bench._claims import (
    Cell,
    Claim,
    Column,
    Findings,
    Step,
    Table,
    Z,
    chi_square,
    chi_square_limit,
    deviation,
    student,
)
from balancekit.bench._fairness import turns
from balancekit.bench._registry import STRUCTURES, names, places
from balancekit.bench._selection import selection_steps
from balancekit.bench._theory import PEAK_SKEW, largest_arc_over, peak_moments, ring_spread
from balancekit.hashing import HashRing, MultiProbeHash, RendezvousHash

__all__ = ["distribution_steps"]

PEAK_RANGE: Final = (1.07, 1.29)
"""Expected share of the busiest server divided by the mean, for 3 and for 1 000 servers of 150 points each."""
SIZES: Final = (3, 10, 100, 1_000)
WEIGHTS: Final = (5.0, 3.0, 2.0)


def distribution_steps(*, seed: int, quick: bool) -> Iterator[Step]:
    """Yield the parts of the topic. They may run in any order."""
    for nodes in (3, 4, 5):
        yield Step(
            label=f"{nodes} servers without virtual nodes",
            run=partial(_one_point_each, nodes, seed, 400 if quick else 4_000),
        )
    for nodes in (3, 5, 10, 100, 1_000):
        yield Step(
            label=f"{nodes} servers of 150 points",
            run=partial(_default_points, nodes, seed, (6 if quick else 40) if nodes < 1_000 else 5),
        )
    for points in (1, 3, 10, 30, 100, 150, 300, 1_000):
        yield Step(
            label=f"rings of {points} points",
            run=partial(_ring_by_points, points, seed, quick=quick),
        )
    for name in STRUCTURES:
        yield Step(label=f"shares of {name}", run=partial(_structure, name, seed, quick=quick))
    yield Step(label="shares by weight", run=partial(_weighted, seed, quick=quick))
    yield Step(label="turns of round robin", run=partial(turns, seed=seed))
    yield from selection_steps(seed=seed, quick=quick)


def _relative(structure: Any) -> NDArray[np.float64]:
    """Return the exact shares of a structure, divided by their mean."""
    shares = np.array(list(structure.shares().values()))
    return shares * len(shares)


def _one_point_each(nodes: int, seed: int, rings: int) -> Findings:
    most = [_relative(HashRing(names(nodes, seed, run), vnodes=1)).max() / nodes for run in range(rings)]
    seen, exact = float(np.mean(np.array(most) > 0.6)), largest_arc_over(nodes, 0.6)
    claim = Claim.near(
        f"one point, {nodes}",
        f"Without virtual nodes, one of {nodes} servers owns over 60 % with probability {exact:.0%}",
        seen,
        exact,
        deviation(exact) / math.sqrt(rings),
        form=".1%",
        source=f"order statistics of {nodes} uniform points; binomial over {rings} rings",
    )
    table = Table(
        name="no virtual nodes",
        title="How often one server owns over 60 % of all keys, without virtual nodes",
        columns=(
            Column(name="servers", form="d"),
            Column(name="measured", form=".1%"),
            Column(name="exact", form=".1%"),
            Column(name="mean largest share", form=".1%"),
        ),
        rows=((nodes, seen, exact, float(np.mean(most))),),
    )
    return Findings(claims=(claim,), tables=(table,))


def _default_points(nodes: int, seed: int, rings: int) -> Findings:
    peaks = [float(_relative(HashRing(names(nodes, seed, run))).max()) for run in range(rings)]
    right, spread = peak_moments(nodes, 150)
    claim = Claim.near(
        f"150 points, {nodes}",
        f"With 150 points each, the busiest of {nodes:,} servers has {right:.2f} of the mean"
        f" (the range for 3 to 1,000 is {PEAK_RANGE[0]} to {PEAK_RANGE[1]})",
        float(np.mean(peaks)),
        right,
        spread / math.sqrt(rings),
        skew=PEAK_SKEW / math.sqrt(rings),
        source=f"largest of {nodes} Gamma(150) variables; mean of {rings} rings",
    )
    return Findings(claims=(claim,))


def _ring_by_points(points: int, seed: int, *, quick: bool) -> Findings:
    rows: list[tuple[int, int, float, float, float, float]] = []
    claims: list[Claim] = []
    for nodes, rings in ((10, 30), (100, 10), (1_000, 2)):
        if quick and nodes == 1_000 and points > 100:
            continue
        count = max(2, rings // 5) if quick else rings
        shares = [_relative(HashRing(names(nodes, seed, run), vnodes=points)) for run in range(count)]
        spread = math.sqrt(float(np.mean([np.mean((one - 1.0) ** 2) for one in shares])))
        peak, right, theory = float(np.mean([one.max() for one in shares])), *peak_moments(nodes, points)
        rows.append((nodes, points, peak, right, spread, ring_spread(nodes, points)))
        claims.append(
            Claim.near(
                f"ring of {nodes} x {points}, peak",
                f"Busiest of {nodes:,} servers of {points} points over the mean",
                peak,
                right,
                theory / math.sqrt(count),
                skew=PEAK_SKEW / math.sqrt(count),
                source=f"largest of {nodes} Gamma({points}) variables; mean of {count} rings",
            )
        )
        if points >= 10:
            exact = ring_spread(nodes, points)
            claims.append(
                Claim.near(
                    f"ring of {nodes} x {points}, spread",
                    f"Standard deviation of shares over the mean, {nodes:,} servers of {points} points",
                    spread,
                    exact,
                    exact / math.sqrt(2.0 * count * (nodes - 1)),
                    form=".4f",
                    source=f"sqrt((N - 1) / (N v + 1)), Dirichlet; {count} rings",
                )
            )
    table = Table(
        name="ring by points",
        title="Busiest server of a ring over the mean, by points per server",
        columns=(
            Column(name="servers", form="d"),
            Column(name="points", form="d"),
            *tuple(
                [Column(name=name, form=".3f") for name in ("peak", "exact peak", "spread", "exact spread")]
            ),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _structure(name: str, seed: int, *, quick: bool) -> Findings:
    case, rows, claims = STRUCTURES[name], [], []
    keys = places(100_000 if quick else 1_000_000, seed)
    for nodes in SIZES:
        if quick and nodes == 1_000:
            continue
        structure = case.make(names(nodes, seed))
        if case.exact:
            shares = _relative(structure)
            claims += _exactly(name, nodes, shares, seed)
        else:
            counts = np.bincount(structure.lookup_many(keys[:200_000] if nodes == 1_000 else keys))
            shares = counts / counts.mean()
            claims.append(_by_chance(name, nodes, counts))
        rows.append((name, nodes, float(shares.min()), float(shares.max()), float(shares.std())))
    table = Table(
        name="structures",
        title="Least and most of any server over the mean, and the standard deviation",
        columns=(
            Column(name="structure"),
            Column(name="servers", form="d"),
            *tuple([Column(name=what, form=".3f") for what in ("least", "most", "spread")]),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _by_chance(name: str, nodes: int, counts: NDArray[np.int64]) -> Claim:
    return Claim(
        name=f"{name}, {nodes}",
        text=f"{name} spreads keys over {nodes:,} servers as evenly as chance would (chi-square over its freedom)",
        measured=chi_square(counts, [1.0 / nodes] * nodes),
        right=1.0,
        low=-math.inf,
        high=chi_square_limit(nodes - 1),
        source=f"every server is expected to own the same; {counts.sum():,} keys",
    )


def _exactly(name: str, nodes: int, shares: NDArray[np.float64], seed: int) -> list[Claim]:
    """Return the claims about the exact shares of one structure. Rings have parts of their own."""
    if name == "MaglevTable":
        least, most = (size * nodes / 65_537 for size in (65_537 // nodes, -(-65_537 // nodes)))
        return [
            Claim(
                name=f"{name}, {nodes}",
                text=f"No server of {nodes:,} in a Maglev table has a slot more than another",
                measured=float(shares.max()),
                right=most,
                low=least - 1e-4,
                high=most + 1e-4,
                form=".4f",
                source="counts are floor or ceil of 65 537 / N; a slot is 65 535 or 65 536 hashes wide",
            )
        ]
    if name != "MultiProbeHash" or nodes != 1_000:
        return []
    rings = [_relative(MultiProbeHash(names(nodes, seed, run))) for run in range(30)]
    peaks = [float(one.max()) for one in rings]
    return [
        Claim.near(
            f"{name}, {nodes}",
            "With 21 probes and one point each, the busiest of 1,000 servers has 1.05 of the mean",
            float(np.mean(peaks)),
            21 / 20,
            float(np.std(peaks, ddof=1)) / math.sqrt(len(peaks)) * student(len(peaks) - 1) / Z + 0.0008,
            source="k / (k - 1), Appleton and O'Reilly; 0.004 for 1,000 servers being no limit; 30 rings and Student's t",
        )
    ]


def _weighted(seed: int, *, quick: bool) -> Findings:
    ids = names(3, seed)
    weights = dict(zip(ids, WEIGHTS, strict=True))
    wanted = [weight / sum(WEIGHTS) for weight in WEIGHTS]
    keys = places(100_000 if quick else 500_000, seed)
    counts = np.bincount(RendezvousHash(weights).lookup_many(keys), minlength=3)
    claims = [
        Claim(
            name="weighted rendezvous",
            text="Rendezvous hashing gives weights 5, 3 and 2 their exact shares (chi-square over its freedom)",
            measured=chi_square(counts, wanted),
            right=1.0,
            low=-math.inf,
            high=chi_square_limit(2),
            source=f"the probability of the highest bid is the weight's share; {len(keys):,} keys",
        )
    ]
    rows: list[tuple[Cell, ...]] = []
    for name, case in STRUCTURES.items():
        if not case.weighted:
            continue
        found = case.make(weights).shares() if case.exact else dict(zip(ids, counts / len(keys), strict=True))
        rows.append((name, *[float(found[id]) for id in ids]))
        if name == "MaglevTable":
            claims.append(_weighted_maglev([found[id] for id in ids], wanted))
        if name == "HashRing":
            claims.append(_weighted_ring(float(found[ids[0]])))
    table = Table(
        name="by weight",
        title="Shares of three servers of weights 5, 3 and 2",
        columns=(
            Column(name="structure"),
            *[Column(name=f"weight {weight:g}", form=".2%") for weight in WEIGHTS],
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _weighted_maglev(shares: Sequence[float], wanted: Sequence[float]) -> Claim:
    return Claim(
        name="weighted Maglev",
        text="A Maglev table is less than two slots from the exact shares of weights 5, 3 and 2",
        measured=float(max(abs(share - part) for share, part in zip(shares, wanted, strict=True)) * 65_537),
        right=None,
        low=-math.inf,
        high=2.0,
        form=".2f",
        source="turns by weight; a slot is 1 / 65 537",
    )


def _weighted_ring(share: float) -> Claim:
    alpha, total = 150 * WEIGHTS[0], 150 * sum(WEIGHTS)
    return Claim.near(
        "weighted ring",
        "A ring gives the server of weight 5 of 10 half of the keys",
        share,
        alpha / total,
        math.sqrt(alpha * (total - alpha) / (total**2 * (total + 1))),
        form=".2%",
        source="a Beta(750, 750) variable: 1 500 points",
    )
