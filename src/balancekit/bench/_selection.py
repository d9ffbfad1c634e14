"""Traffic shares of each selector in a simulation, with equal and with different weights.

Shares of round robin selectors are compared with exact shares. Shares of random and keyed selectors are compared with a
multinomial distribution. Shares that depend on loads have no formula, and are only shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from random import Random
from typing import Final

from balancekit.bench._claims import (
    Claim,
    Column,
    Findings,
    Step,
    Table,
    chi_square,
    chi_square_limit,
)
from balancekit.bench._registry import SELECTORS, SelectorCase
from balancekit.sim import Exponential, Poisson, Server, SimulationReport, simulate

__all__ = ["key", "selection_steps"]

LOAD: Final = 0.7
EQUAL: Final = {f"s{number}": 1.0 for number in range(10)}
UNEQUAL: Final = {f"s{number}": 1.0 + number % 4 for number in range(10)}


def key(rng: Random) -> int:
    """Draw the key of a request. Keys are random, so nearly all are different."""
    return rng.getrandbits(48)


def selection_steps(*, seed: int, quick: bool) -> Iterator[Step]:
    """Yield one part of the topic for each selector."""
    for name in SELECTORS:
        yield Step(
            label=f"shares by {name}",
            run=partial(_shares, name, seed, 2_000 if quick else 10_000),
        )


def _shares(name: str, seed: int, requests: int) -> Findings:
    case = SELECTORS[name]
    found = {"equal": (EQUAL, _simulated(case, EQUAL, seed, requests))}
    if case.weighted:
        found["by weight"] = (UNEQUAL, _simulated(case, UNEQUAL, seed, requests))
    claims, rows = [], []
    for what, (weights, report) in found.items():
        shares = [report.shares[id] for id in weights]
        parts = _parts(weights)
        rows.append(
            (
                name,
                what,
                min(share / part for share, part in zip(shares, parts, strict=True)),
                max(share / part for share, part in zip(shares, parts, strict=True)),
                report.evenness if what == "equal" else None,
            )
        )
        claims += _claims(name, what, report, weights)
    ratio = Column(name="least", form=".3f")
    table = Table(
        name="selectors",
        title="Least and most of any of ten endpoints over its part, at a load of 0.7",
        columns=(
            Column(name="selector"),
            Column(name="endpoints"),
            ratio,
            ratio.replace(name="most"),
            Column(name="Jain's index", form=".4f"),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def _simulated(
    case: SelectorCase, weights: Mapping[str, float], seed: int, requests: int
) -> SimulationReport:
    servers = {
        id: Server(service=Exponential(mean=1.0), speed=weight, weight=weight)
        for id, weight in weights.items()
    }
    keys: Callable[[Random], int] | None = key if case.keyed else None
    return simulate(
        servers,
        Poisson(rate=LOAD * sum(weights.values())),
        balancer=case.balancer(),
        keys=keys,
        seed=seed,
        requests=requests,
    )


def _parts(weights: Mapping[str, float]) -> list[float]:
    """Return each endpoint's share of the sum of weights, in order."""
    whole = sum(weights.values())
    return [weight / whole for weight in weights.values()]


def _claims(name: str, what: str, report: SimulationReport, weights: Mapping[str, float]) -> list[Claim]:
    case, whole = SELECTORS[name], sum(weights.values())
    counts = [report.picks[id] for id in weights]
    total = sum(counts)
    if case.exact == "rotation":
        off = max(
            abs(count - total * weight / whole)
            for count, weight in zip(counts, weights.values(), strict=True)
        )
        # Stride scheduling is exact after a whole cycle. Within a cycle it is off by about one request, as measured.
        return [
            Claim(
                name=f"{name}, {what}",
                text=f"{name}, {what}: none is two turns from its exact share of {total:,} requests",
                measured=off,
                right=None,
                low=-math.inf,
                high=2.0,
                form=".2f",
                source="a turn is one request; the lag of smooth weighted round robin stays below 1.2",
            )
        ]
    structure = getattr(case.make(), "structure", None)
    if case.exact == "random" or name == "SourceHash":
        shares = _parts(weights)
    elif structure is not None and name != "BoundedLoad":
        owned = structure(weights).shares()
        shares = [owned[id] for id in weights]
    else:
        return []
    return [
        Claim(
            name=f"{name}, {what}",
            text=f"{name}, {what}: requests are spread as their exact shares say (chi-square over its freedom)",
            measured=chi_square(counts, shares),
            right=1.0,
            low=-math.inf,
            high=chi_square_limit(len(counts) - 1),
            source=f"multinomial over {total:,} requests",
        )
    ]
