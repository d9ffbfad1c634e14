"""Random sampling of nodes for selectors: by weight if weights differ, among the nodes not excluded.

Uniform draws take thirty random bits, one digit of a Python integer and the cheapest there is; the bias at
n endpoints is ``n / 2**30``. Draws by weight go through an alias table, made once per snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Final, NamedTuple

from balancekit.scheduling import AliasTable
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = [
    "SamplingTable",
    "by_weight",
    "equal_weights",
    "sample",
    "sampler",
    "sampling_table",
    "uniform_sampler",
]

MAX_REDRAWS: Final = 16
"""Draws that may fall on unwanted nodes before the wanted ones are listed instead."""


class SamplingTable(NamedTuple):
    """The eligible nodes of a snapshot, and a table if their weights differ."""

    nodes: Sequence[Node]
    table: AliasTable[Node] | None


def sampling_table(snapshot: Snapshot) -> SamplingTable:
    """Return the sampling table of a snapshot, made once. O(n) the first time."""
    return snapshot.derive(_make_table)


def _make_table(snapshot: Snapshot) -> SamplingTable:
    nodes = snapshot.eligible
    if equal_weights(nodes):
        return SamplingTable(nodes, None)
    return SamplingTable(nodes, AliasTable(nodes, [node.weight for node in nodes]))


def equal_weights(nodes: Sequence[Node]) -> bool:
    """Return whether all weights are the same."""
    return len({node.weight for node in nodes}) <= 1


def sampler(snapshot: Snapshot, rng: Random) -> Callable[..., Node]:
    """Return a picker that draws one eligible node."""
    nodes, table = sampling_table(snapshot)
    if table is None:
        return uniform_sampler(nodes, rng)
    own, alias, cut, size = table.own, table.alias, table.cut, table.size
    random = rng.random

    def pick(_now: float = 0.0, /) -> Node:
        x = random() * size
        column = int(x)
        return own[column] if x < cut[column] else alias[column]

    return pick


def uniform_sampler(nodes: Sequence[Node], rng: Random) -> Callable[..., Node]:
    """Return a picker that draws one of some nodes, all equally likely."""
    bits, size = rng.getrandbits, len(nodes)

    def pick(_now: float = 0.0, /) -> Node:
        return nodes[bits(30) % size]

    return pick


def sample(snapshot: Snapshot, ctx: PickContext, but: Collection[Node] = ()) -> Node | None:
    """Draw a candidate that is not among ``but``, by weight; ``None`` if there is none.

    O(1) while most of the eligible are wanted, else O(n).
    """
    nodes, table = sampling_table(snapshot)
    if not nodes:
        return None
    rng, exclude = ctx.rng, ctx.exclude
    for _ in range(MAX_REDRAWS if exclude or but else 1):
        node = nodes[rng.getrandbits(30) % len(nodes)] if table is None else table.draw(rng.random)
        if node.id not in exclude and node not in but:
            return node
    return by_weight([node for node in snapshot.candidates(ctx) if node not in but], rng)


def by_weight(nodes: Sequence[Node], rng: Random) -> Node | None:
    """Draw one of some nodes by weight, uniformly if all weigh nothing; ``None`` from none. O(n)."""
    if not nodes:
        return None
    weights = [node.weight for node in nodes]
    return rng.choices(nodes, weights if any(weights) else None)[0]
