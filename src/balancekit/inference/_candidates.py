"""Candidates of a prompt's pick, reduced to those that can win."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from balancekit.snapshot import Node

__all__ = ["Candidates", "cached_by", "contenders_of", "idlest", "least_loaded", "mean_of"]


class Candidates(NamedTuple):
    """The candidate nodes of a pick, and the bit of each in sets of holders."""

    nodes: Sequence[Node]
    bits: Sequence[int]
    positions: Mapping[int, int]
    all: int
    added: Sequence[float]
    """The increase of each node's load with one more lease."""
    counted: bool
    """Whether the load of every node is its open leases."""
    even: bool
    """Whether these loads are undivided, because all nodes have the same weight."""


def contenders_of(
    candidates: Candidates,
    runs: Sequence[tuple[int, int]],
    loads: Sequence[float],
    added: Sequence[float],
    rng: Random,
) -> list[tuple[float, int]]:
    """Return the least loaded candidates for each number of cached blocks: that number, and their positions.

    A candidate with no more cached blocks and no less load than another cannot win, so most candidates need no score.
    """
    found: list[tuple[float, int]] = []
    totals = loads if candidates.even else [load + more for load, more in zip(loads, added, strict=True)]
    least = min(totals)
    seen, base, everyone, positions = 0, 0, candidates.all, candidates.positions
    for holders, depth in reversed(runs):
        wanted = holders & everyone
        if wanted == everyone:
            base = depth
            break
        wanted &= ~seen
        if wanted:
            seen |= wanted
            at = positions.get(wanted, -1)
            if at < 0:  # a tie
                at = least_loaded([at for at, bit in enumerate(candidates.bits) if bit & wanted], totals, rng)
            found.append((float(depth), at))
            if totals[at] == least:
                return found
    if not seen:
        return [(float(base), idlest(candidates, loads, added, rng))]
    bits = candidates.bits
    free = [at for at, total in enumerate(totals) if total == least and not bits[at] & seen]
    found.append((float(base), free[0] if len(free) == 1 else least_loaded(free, loads, rng)))
    return found


def idlest(candidates: Candidates, loads: Sequence[float], added: Sequence[float], rng: Random) -> int:
    """Return the position with the least load including this request; break ties by load without it, then at random."""
    if candidates.even:
        least = min(loads)
        ties = loads.count(least)
        if ties == 1:
            return loads.index(least)
        at = rng.getrandbits(30) % ties
        return at if ties == len(loads) else [at for at, load in enumerate(loads) if load == least][at]
    totals = [load + more for load, more in zip(loads, added, strict=True)]
    least = min(totals)
    return least_loaded([at for at, total in enumerate(totals) if total == least], loads, rng)


def least_loaded(ties: Sequence[int], loads: Sequence[float], rng: Random) -> int:
    """Return the position with the least load; break ties at random."""
    least = min([loads[at] for at in ties])
    among = [at for at in ties if loads[at] == least]
    return among[0] if len(among) == 1 else among[rng.getrandbits(30) % len(among)]


def mean_of(loads: Sequence[float]) -> float:
    """Return the mean of at least one load."""
    return sum(loads) / len(loads)


def cached_by(candidates: Candidates, runs: Sequence[tuple[int, int]]) -> list[float]:
    """Return the number of leading blocks of each candidate."""
    cached = [0.0] * len(candidates.nodes)
    for holders, depth in runs:
        for at, bit in enumerate(candidates.bits):
            if holders & bit:
                cached[at] = float(depth)
    return cached
