"""Figures for the card of each algorithm: a small picture for the page that explains it.

Of a selector: traffic shares when one of ten endpoints is three times slower, and what that does to latency. Of a
hashing structure: shares of keys, and where keys go when one of ten servers leaves.
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
"""Structures by the name of their card; ``RendezvousHash`` is a selector, too."""
CARDS: Final[tuple[str, ...]] = (*[name for name in SELECTORS if "," not in name], *STRUCTURE_CARDS)
"""The names of all algorithms that have a card."""
REQUESTS: Final = 20_000
KEYS: Final = 200_000
LEFT: Final = 4
"""Which of ten servers leaves: one in the middle; the last where only that one may."""


class SelectorCard(Record):
    """What a selector did with ten endpoints, the first three times slower, at 80 % load.

    Parameters
    ----------
    shares
        Part of all requests of each endpoint.
    serves
        Part of all requests that the slow one can serve.
    quantiles
        Latency in mean service times: p50, p90, p99.
    drowned
        Whether the slow one got more than it can serve, so that its queue grows without end.
    """

    shares: tuple[float, ...]
    serves: float
    quantiles: tuple[float, ...]
    drowned: bool


class HashingCard(Record):
    """What a structure did with ten servers, one of which left.

    Parameters
    ----------
    shares
        Part of all keys of each server before.
    left
        The number of the one that left.
    gained
        Part of all keys that each server got from the one that left.
    needless
        Part of all keys that each server got from others, which had not to move.
    """

    shares: tuple[float, ...]
    left: int
    gained: tuple[float, ...]
    needless: tuple[float, ...]


def figures_of(name: str, *, seed: int = 1) -> SelectorCard | HashingCard:
    """Return the figures that a card shows.

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
