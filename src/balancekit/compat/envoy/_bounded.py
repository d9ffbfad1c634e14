"""Envoy's bounded-load hashing (``hash_balance_factor``): the host for a request if the key's owner is overloaded.

The number of slots is the number of requests in progress times the balance factor. Each host has a share of the slots by its
weight. If the owner of a key has more requests than slots, another host is chosen: the first one that is not overloaded in an
order that is shuffled by the key's hash. So each key has its own order, and the neighbour on the ring does not become the next
overloaded host.

Cost: O(1) if the owner is not overloaded; otherwise O(n) and the seeding of a Mersenne Twister, 624 steps in Python.
Source: Envoy 1.40, ``BoundedLoadHashingLoadBalancer``; Mirrokni, Thorup, Zadimoghaddam 2017 for the idea;
Matsumoto, Nishimura 2002, ``init_genrand``, for the seeding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from random import Random

__all__ = ["mersenne_twister", "overload", "shuffled", "within_bounds"]


def mersenne_twister(seed: int) -> Callable[[], int]:
    """Return a function that returns 32-bit outputs of MT19937, seeded with one 32-bit number as in C++.

    Python's ``Random(seed)`` seeds with an array of words and returns other numbers.

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
    """Yield the numbers from 0 to ``count - 1`` in the order in which Envoy shuffles them for a hash."""
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
    """Return the requests of a host divided by its slots. Above 1, the host is overloaded.

    Parameters
    ----------
    active
        Number of requests in progress on the host.
    total
        Number of requests in progress on all hosts.
    share
        The host's weight divided by the sum of weights.
    factor
        Maximum load of a host, in percent of its fair share.
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
    """Return the host for a key of ``owner``. If all hosts are overloaded, it is the least overloaded one."""
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
