"""Disruption: the share of keys that move when a server joins or leaves, compared with the minimum.

The minimum is the share of the server that joined or left: ``1 / (N + 1)`` if one joins N servers, ``1 / N`` if one of N
leaves. A key has moved *needlessly* if it moved between two servers that were there before and after.

Source: Karger et al. (1997); Eisenbud et al. (2016), section 5.3; Appleton and O'Reilly (2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from balancekit.bench._claims import Claim, Column, Findings, Step, Table, Z, deviation
from balancekit.bench._registry import STRUCTURES, names, places
from balancekit.bench._theory import MAGLEV_EXCESS, MAGLEV_RUNS

__all__ = ["disruption_steps", "owners"]

MODULO: Final = "hash % N"
SIZES: Final = (4, 10, 100)
JOINS: Final = "joins"
LAST: Final = "leaves, the last"
MIDDLE: Final = "leaves, in the middle"
MAGLEV_SIZES: Final = (10, 100, 1_000)


def disruption_steps(*, seed: int, quick: bool) -> Iterator[Step]:
    """Yield the parts of the topic. They may run in any order."""
    keys = 30_000 if quick else 200_000
    for name in (MODULO, *STRUCTURES):
        for nodes in SIZES:
            yield Step(label=f"{name}, {nodes} servers", run=partial(_moves, name, nodes, seed, keys))
    for nodes in MAGLEV_SIZES:
        yield Step(
            label=f"Maglev tables of {nodes} servers",
            run=partial(_maglev, nodes, seed, 2 if quick else 8),
        )


def _moves(name: str, nodes: int, seed: int, count: int) -> Findings:
    ids, keys = names(nodes + 1, seed), places(count, seed)
    changes = {
        JOINS: (ids[:-1], ids),
        LAST: (ids, ids[:-1]),
        MIDDLE: (ids, [*ids[: nodes // 2], *ids[nodes // 2 + 1 :]]),
    }
    rows, claims = [], []
    for change, (before, after) in changes.items():
        old, new = owners(name, before, after, keys)
        moved = old != new
        changed = next(iter(set(before) ^ set(after)))
        number = ids.index(changed)
        had_to = (new if change == JOINS else old) == number
        share, needless = float(moved.mean()), float((moved & ~had_to).mean())
        least = 1.0 / (nodes + 1)
        rows.append((name, change, len(before), len(after), share, needless, least))
        claims += _claims(name, change, nodes, share, needless, count)
    table = Table(
        name="moved",
        title="Part of all keys that move, and that move needlessly, when one server joins or leaves",
        columns=(
            Column(name="structure"),
            Column(name="change"),
            Column(name="before", form="d"),
            Column(name="after", form="d"),
            *tuple([Column(name=what, form=".2%") for what in ("moved", "needlessly", "least possible")]),
        ),
        rows=tuple(rows),
    )
    return Findings(claims=tuple(claims), tables=(table,))


def owners(
    name: str, before: list[str], after: list[str], keys: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the owner of each key before and after a change, as numbers of servers that the change does not alter."""
    if name == MODULO:
        return _numbers(before)[keys % len(before)], _numbers(after)[keys % len(after)]
    case = STRUCTURES[name]
    structure = case.make(before)
    old = _numbers(structure.nodes)[structure.lookup_many(keys)]
    if case.history:  # owners depend on earlier changes, so the structure itself must be changed
        for id in set(before) - set(after):
            structure.remove(id)
        for id in set(after) - set(before):
            structure.add(id)
    else:
        structure = case.make(after)
    return old, _numbers(structure.nodes)[structure.lookup_many(keys)]


def _numbers(ids: Iterable[str]) -> NDArray[np.int64]:
    return np.array([int(id.rsplit(".", 1)[1]) for id in ids])


def _claims(name: str, change: str, nodes: int, share: float, needless: float, count: int) -> list[Claim]:
    before, after = (nodes, nodes + 1) if change == JOINS else (nodes + 1, nodes)
    what = f"{name}, {before} to {after}" + (", in the middle" if change == MIDDLE else "")
    least, root = 1.0 / (nodes + 1), math.sqrt(count)
    if name == MODULO:
        if change == MIDDLE:
            return []
        right = nodes / (nodes + 1)
        return [
            Claim.near(
                what,
                f"hash % N from {before} to {after} servers moves {right:.0%} of all keys",
                share,
                right,
                deviation(right) / root,
                form=".2%",
                source=f"1 - 1 / max(N, M); binomial over {count:,} keys",
            )
        ]
    if change == MIDDLE and STRUCTURES[name].last_only:
        return []
    claims = []
    if name != "MaglevTable":
        claims.append(
            Claim.near(
                f"{what}, needless",
                f"{name}, {before} to {after}{_where(change)}: no key moves needlessly",
                needless,
                0.0,
                0.0,
                form=".2%",
                source="the definition of consistent hashing: exact",
            )
        )
    error = math.hypot(_spread(name, nodes), deviation(least) / root)
    excess = MAGLEV_EXCESS[100][0] if name == "MaglevTable" else 0.0
    claims.append(
        Claim(
            name=what,
            text=f"{name}, {before} to {after}{_where(change)}: moves {least:.2%} of all keys",
            measured=share,
            right=least,
            low=0.0 if name == "MultiProbeHash" else least - Z * error,
            high=least + Z * error + 2.0 * excess,
            form=".2%",
            source=_why(name, count),
        )
    )
    return claims


def _where(change: str) -> str:
    return " (one in the middle leaves)" if change == MIDDLE else ""


def _spread(name: str, nodes: int) -> float:
    """Return the standard deviation of the share of one of ``nodes + 1`` servers.

    With multiple probes, the share of a server divided by the mean is ``k / (k - 1) * (1 - u ** (k - 1))`` for a uniform
    ``u``. It is never much more than 1, and less than a fifth for one server in a hundred.
    """
    mean = 1.0 / (nodes + 1)
    if name == "HashRing":
        return mean * math.sqrt(nodes / ((nodes + 1) * 150 + 1))
    if name == "MultiProbeHash":
        return mean / math.sqrt(2 * 21 - 1)
    return 0.0


def _why(name: str, count: int) -> str:
    chance = f"binomial over {count:,} keys"
    return {
        "HashRing": f"its share is Beta(v, N v), v = 150; {chance}",
        "MultiProbeHash": f"spread of a share 1 / sqrt(2 k - 1), k = 21, and none is too small; {chance}",
        "MaglevTable": f"its share, and at most twice the published needless moves; {chance}",
    }.get(name, chance)


def _maglev(nodes: int, seed: int, tables: int) -> Findings:
    """Measure the share of slots of a Maglev table that the removal of one server changes needlessly."""
    make = STRUCTURES["MaglevTable"].make
    excess = []
    for run in range(tables):
        ids = names(nodes, seed, run)
        gone = (seed + 7 * run) % nodes
        before = make(ids)
        moved = before.moved(make([*ids[:gone], *ids[gone + 1 :]]))
        excess.append(moved - before.shares()[ids[gone]])
    right, spread = MAGLEV_EXCESS[nodes]
    claim = Claim.near(
        f"Maglev, {nodes} servers, excess",
        f"One of {nodes:,} servers leaving a Maglev table changes {right:.2%} of it needlessly",
        float(np.mean(excess)),
        right,
        spread * math.sqrt(1.0 / tables + 1.0 / MAGLEV_RUNS),
        form=".3%",
        source=f"the protocol of Eisenbud et al., 5.3, repeated {MAGLEV_RUNS} times by an independent program",
    )
    row = (nodes, float(np.mean(excess)), right, 1.0 / nodes)
    table = Table(
        name="Maglev",
        title="Part of a Maglev table of 65 537 slots that changes needlessly when one server leaves",
        columns=(
            Column(name="servers", form="d"),
            *tuple([Column(name=what, form=".3%") for what in ("needlessly", "right", "least possible")]),
        ),
        rows=(row,),
    )
    return Findings(claims=(claim,), tables=(table,))
