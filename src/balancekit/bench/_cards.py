"""Figures for the cards of algorithms. A card is a small picture on the page that explains an algorithm.

For a selector: traffic shares and latency when one of ten endpoints is three times slower than the others. For a hashing
structure: shares of keys, and the new owners of keys when one of ten servers leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.bench._disruption import owners
from balancekit.bench._latency import SERVERS, SLOW, STEADY, capacity
from balancekit.bench._registry import SELECTORS, STRUCTURES, names, places
from balancekit.bench._selection import key
from balancekit.errors import ConfigurationError
from balancekit.sim import Exponential, Poisson, Server, simulate

__all__ = ["CARDS", "STRUCTURE_CARDS", "HashingCard", "SelectorCard", "figures_of"]

STRUCTURE_CARDS: Final[Mapping[str, str]] = {
    f"hashing.{name}" if name in SELECTORS else name: name for name in STRUCTURES
}
"""Names of structures by the names of their cards. ``RendezvousHash`` is also the name of a selector."""
CARDS: Final[tuple[str, ...]] = (*[name for name in SELECTORS if "," not in name], *STRUCTURE_CARDS)
"""The names of all algorithms that have a card."""
REQUESTS: Final = 20_000
KEYS: Final = 200_000
LEFT: Final = 4
"""Index of the server that leaves, in the middle of ten. For a structure that can remove only the last server, it is that."""


class SelectorCard(Record):
    """Measurements of a selector with ten endpoints at 80 % load. The first endpoint is three times slower.

    Parameters
    ----------
    shares
        The share of the requests that each endpoint received.
    serves
        The share of the requests that the slow endpoint can serve.
    quantiles
        Quantiles of latency in mean service times: p50, p90, p99.
    drowned
        Whether an endpoint received over 20 % more than it can serve. Its queue then grows without limit.
    """

    shares: tuple[float, ...]
    serves: float
    quantiles: tuple[float, ...]
    drowned: bool


class HashingCard(Record):
    """Measurements of a hashing structure with ten servers, one of which leaves.

    Parameters
    ----------
    shares
        The share of the keys that each server owned before.
    left
        Number of the server that left, from 0.
    gained
        The share of all keys that moved to each server from the one that left.
    needless
        The share of all keys that moved to each server from another one that stayed.
    """

    shares: tuple[float, ...]
    left: int
    gained: tuple[float, ...]
    needless: tuple[float, ...]


def figures_of(name: str, *, seed: int = 1) -> SelectorCard | HashingCard:
    """Return the figures that a card shows.

    Parameters
    ----------
    name
        Name of the card, one of :data:`CARDS`.
    seed
        Seed of all randomness, >= 0.

    Raises
    ------
    ConfigurationError
        If there is no such algorithm, or the seed is no whole number >= 0.
    """
    valid.integer("seed", seed, minimum=0)
    if name not in CARDS:
        raise ConfigurationError("name", name, f"one of {', '.join(CARDS)}")
    return _selector(name, seed) if name in SELECTORS else _structure(STRUCTURE_CARDS[name], seed)


def _selector(name: str, seed: int) -> SelectorCard:
    case = SELECTORS[name]
    ids = [f"s{number}" for number in range(SERVERS)]
    report = simulate(
        {id: Server(service=Exponential(mean=1.0), speed=1.0 / SLOW if id == ids[0] else 1.0) for id in ids},
        Poisson(rate=STEADY * capacity(slow=True)),
        balancer=case.balancer(),
        keys=key if case.keyed else None,
        seed=seed,
        requests=REQUESTS,
        warm_up=REQUESTS // 10,
    )
    shares = report.shares
    rate = STEADY * capacity(slow=True)
    most = [1.0 / SLOW / rate, *[1.0 / rate] * (SERVERS - 1)]
    return SelectorCard(
        shares=tuple([shares[id] for id in ids]),
        serves=most[0],
        quantiles=tuple([report.quantile(share) for share in (0.5, 0.9, 0.99)]),
        drowned=any(shares[id] > 1.2 * part for id, part in zip(ids, most, strict=True)),
    )


def _structure(name: str, seed: int) -> HashingCard:
    ids, keys = names(SERVERS, seed), places(KEYS, seed)
    left = SERVERS - 1 if STRUCTURES[name].last_only else LEFT
    before, after = owners(name, ids, [*ids[:left], *ids[left + 1 :]], keys)
    moved, had_to = before != after, before == left
    return HashingCard(
        shares=_parts(before),
        left=left,
        gained=_parts(after, moved & had_to),
        needless=_parts(after, moved & ~had_to),
    )


def _parts(numbers: NDArray[np.int64], of: NDArray[np.bool_] | None = None) -> tuple[float, ...]:
    counted = np.bincount(numbers if of is None else numbers[of], minlength=SERVERS)
    return tuple((counted / len(numbers)).tolist())
