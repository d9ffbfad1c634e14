"""The Maglev rings of Katran, Meta's L4 load balancer.

Both versions of its ring have 65,537 slots by default. They differ in the effect of weights:

======  =========================================================================================================
``V1``  in the first round, an endpoint takes as many turns as its weight; after that, one turn per round. So weights
        have almost no effect: 2/1/1 gives 33.3 % each
``V2``  weights are added up in each round; an endpoint takes a turn when its sum reaches the largest weight, which is
        then subtracted. 2/1/1 gives 50 %, 25 % and 25 %
======  =========================================================================================================

The ring identifies an endpoint by a number (``hash``), not by its address. Slots are computed in 32 bits. In rings of more than
65,537 slots, products overflow, and the order of slots of an endpoint is not that of Maglev.

Source: Katran's ``MaglevHash.cpp``, ``MaglevHashV2.cpp`` and ``MurmurHash3.cpp``. Rings were computed from the published sources,
not observed on a running Katran.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, final, get_args

import mmh3

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.hashing._maglev import next_prime
from balancekit.hashing._maglev_fill import populate

__all__ = ["RING_SIZE", "Real", "Ring"]

Version = Literal["V1", "V2"]

RING_SIZE: Final = 65_537
"""Default size of a ring in Katran. A size must be a prime number."""
MAX_RING_SIZE: Final = 1 << 24
OFFSET_SEEDS: Final = (42, 0)
SKIP_SEEDS: Final = (2_718_281_828, 2_307)
MASK32: Final = 0xFFFF_FFFF
MAX_HASH: Final = (1 << 64) - 1
MAX_WEIGHT: Final = 65_535


@final
class Real(Record):
    """An endpoint of a ring.

    Parameters
    ----------
    hash
        Number that identifies the endpoint, 0 to ``2**64 - 1``. It must be the same on all balancers.
    weight
        Whole number, 0 to 65,535.

    Raises
    ------
    ConfigurationError
        If a parameter is outside its bounds.
    """

    hash: int
    weight: int = 1

    def _check(self) -> None:
        valid.integer("hash", self.hash, minimum=0, maximum=MAX_HASH)
        valid.integer("weight", self.weight, minimum=0, maximum=MAX_WEIGHT)


@final
class Ring:
    """A ring as Katran computes it. Immutable.

    Parameters
    ----------
    reals
        The endpoints, at least one, in the order in which they take turns. Katran itself sorts them by ``hash`` and leaves out
        those of weight 0. If all have weight 0, they have equal shares, as in Katran.
    size
        Number of slots, a prime number from 3 to 16,777,216.
    version
        ``"V1"`` or ``"V2"``.

    Raises
    ------
    ConfigurationError
        If ``reals`` is empty or no sequence of ``Real``, ``size`` is no prime number >= 3, or ``version`` is
        unknown.

    Notes
    -----
    *When not to use it:* for new systems. Use :class:`balancekit.hashing.MaglevTable`, which identifies endpoints by ids and
    whose shares follow the weights.

    Cost: O(size) to build, about 20 ms, or up to seconds with more than 65,537 slots; O(1) for a look-up.

    Example
    -------
    >>> from balancekit.compat.katran import Real, Ring
    >>> ring = Ring([Real(hash=0, weight=2), Real(hash=1), Real(hash=2)], version="V2")
    >>> [ring.table.count(position) for position in range(3)]
    [32769, 16384, 16384]
    """

    __slots__ = ("_table",)

    @checked_arguments
    def __init__(self, reals: Sequence[Real], *, size: int = RING_SIZE, version: Version = "V2") -> None:
        if version not in get_args(Version):
            raise ConfigurationError("version", version, "'V1' or 'V2'")
        slots = valid.integer("size", size, minimum=3, maximum=MAX_RING_SIZE)
        if next_prime(slots) != slots:
            raise ConfigurationError("size", size, f"a prime number, such as {next_prime(slots)}")
        if not _are_reals(reals):
            raise ConfigurationError("reals", reals, "a list of Real(hash=..., weight=...), at least one")
        weights = [real.weight for real in reals]
        turns = _first_round_turns if version == "V1" else _accumulated_turns
        offsets = [_hash(real.hash, OFFSET_SEEDS) % slots for real in reals]
        skips = [_hash(real.hash, SKIP_SEEDS) % (slots - 1) + 1 for real in reals]
        fill = _fill_in_32_bits if (max(skips) + 1) * slots > MASK32 else populate
        self._table: tuple[int, ...] = tuple(
            [0] * slots if len(reals) == 1 else fill(offsets, skips, turns(weights, slots))
        )

    @property
    def table(self) -> tuple[int, ...]:
        """Position of the endpoint in ``reals``, for each slot."""
        return self._table

    @checked_arguments
    def lookup(self, hash: int) -> int:
        """Return the position in ``reals`` of the endpoint for the hash of a flow, a whole number >= 0."""
        return self._table[valid.integer("hash", hash, minimum=0) % len(self._table)]

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<katran.Ring of {len(self)} slots>"


def _are_reals(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Real) for one in value)


def _hash(number: int, seeds: tuple[int, int]) -> int:
    data = number.to_bytes(8, "little") + seeds[0].to_bytes(8, "little")
    return mmh3.hash64(data, seeds[1], signed=False)[0]


def _first_round_turns(weights: Sequence[int], size: int) -> list[int]:
    order = [node for node, weight in enumerate(weights) for _ in range(weight)][:size]
    rounds = (size - len(order)) // len(weights) + 1
    return (order + list(range(len(weights))) * rounds)[:size]


def _accumulated_turns(weights: Sequence[int], size: int) -> list[int]:
    largest, sums, order = max(weights), [0] * len(weights), list[int]()
    while len(order) < size:
        for node, weight in enumerate(weights):
            sums[node] += weight
            if sums[node] >= largest:
                sums[node] -= largest
                order.append(node)
    return order[:size]


def _fill_in_32_bits(offsets: Sequence[int], skips: Sequence[int], order: Sequence[int]) -> list[int]:
    """Return the endpoint of each slot, with products that overflow 32 bits as in Katran."""
    size = len(order)
    table, steps = [-1] * size, [0] * len(offsets)
    for endpoint in order:
        offset, skip, step = offsets[endpoint], skips[endpoint], steps[endpoint]
        while table[slot := (offset + step * skip & MASK32) % size] >= 0:
            step += 1
        table[slot] = endpoint
        steps[endpoint] = step + 1
    return table
