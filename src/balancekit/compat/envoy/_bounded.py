"""Envoy's bounded-load hashing: the host for a request when the key's owner is over its share.

Envoy's ``hash_balance_factor``: of the slots that the requests in progress call for, each host has its share
by weight. A host whose requests exceed its slots passes the key on: not to its neighbour on the ring, which
would then be the next to overflow, but to the first host that is not overloaded in an order shuffled by the
key's hash, so every key has its own order.

Cost: O(1) while the owner has room, else O(n) and the seeding of a Mersenne Twister, 624 steps in Python.
Source: Envoy 1.40, ``BoundedLoadHashingLoadBalancer``; Mirrokni, Thorup, Zadimoghaddam 2017 for the idea;
Matsumoto, Nishimura 2002, ``init_genrand``, for the seeding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from random import Random

__all__ = ["mersenne_twister", "overload", "shuffled", "within_bounds"]


def mersenne_twister(seed: int) -> Callable[[], int]:
    """Return the 32-bit outputs of MT19937, seeded with one 32-bit number as in C++.

    Python's own ``Random(seed)`` seeds from an array of words and gives other numbers.

    Example
    -------
    >>> mersenne_twister(5489)()
    3499211612
    """
    word = seed & 0xFFFF_FFFF
    state = [word]
    for index in range(1, 624):
        word = (1_812_433_253 * (word ^ (word >> 30)) + index) & 0xFFFF_FFFF
        state.append(word)
    generator = Random()
    generator.setstate((3, (*state, 624), None))
    return lambda: generator.getrandbits(32)


def shuffled(count: int, seed: int) -> Iterator[int]:
    """Yield ``0 .. count - 1`` in the order Envoy shuffles them into for a hash."""
    draw = mersenne_twister(seed)
    order = list(range(count))
    for place in range(count):
        left = count - place
        step = left
        while step >= left:
            step = draw() // (2**32 // left)
        other = place + step
        order[place], order[other] = order[other], order[place]
        yield order[place]


def overload(active: int, total: int, share: float, factor: int) -> float:
    """Return a host's requests over its slots; above 1 it takes no more.

    Parameters
    ----------
    active
        Requests in progress on the host.
    total
        Requests in progress altogether.
    share
        The host's weight over the sum of weights.
    factor
        Percent of the fair share that a host may take.
    """
    allowed = ((total + 1) * factor + 99) // 100
    return active / max(1, math.ceil(allowed * share))


def within_bounds(
    owner: int,
    position: int,
    *,
    active: Sequence[int],
    total: int,
    shares: Sequence[float],
    factor: int,
) -> int:
    """Return the host that takes a key of ``owner``: the least overloaded one if all are over."""
    best, least = owner, overload(active[owner], total, shares[owner], factor)
    if least <= 1:
        return owner
    for host in shuffled(len(shares), position):
        if host == owner:
            continue
        found = overload(active[host], total, shares[host], factor)
        if found <= 1:
            return host
        if found < least:
            best, least = host, found
    return best
