"""Fill of a Maglev table: nodes take turns, and each turn takes the node's next free slot.

Node ``i`` prefers slots in the order ``(offset + j * skip) mod size``, which visits all of them because the
size is prime. Worked example, size 7::

    a: offset 3, skip 4 -> 3 0 4 1 5 2 6        turn   1 2 3 4 5 6 7
    b: offset 0, skip 2 -> 0 2 4 6 1 3 5        node   a b a b a b a
                                                slot   3 0 4 2 1 6 5

*Weights.* The paper leaves them open. Here, as in Envoy, each round every node adds its weight and takes a turn
whenever the sum reaches another multiple of the largest weight; so the k-th turn of a node is in round
``ceil(k * largest / weight)``, and counts differ from the exact shares by less than one turn per node.

*The tail.* With f slots left a turn probes ``size / f`` slots on average, so the last few hundred turns cost as much
as thousands before. For them the search is inverted: slot ``s`` is at place ``(s - offset) / skip mod size``
of a node's order, so the few free slots are sorted by their place instead.

Source: Eisenbud et al., "Maglev" (NSDI 2016), section 3.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

__all__ = ["populate", "turns"]


def turns(weights: Sequence[float], size: int) -> list[int]:
    """Return which node has each of ``size`` turns.

    Example
    -------
    >>> turns([1.0, 0.5], 6)
    [0, 0, 1, 0, 0, 1]
    """
    if min(weights) == max(weights):
        return (list(range(len(weights))) * (size // len(weights) + 1))[:size]
    shares = np.asarray(weights) / max(weights)
    # Each node may be short of a part of a turn at the end; one more turn for each makes up for it.
    rounds = int(np.ceil((size + len(shares)) / shares.sum()))
    counts = np.floor(rounds * shares).astype(np.int64)
    node = np.repeat(np.arange(len(shares)), counts)
    number = np.arange(len(node)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    # A quotient that is whole but for rounding must not fall into the next round.
    turn = np.ceil(number / shares[node] - 1e-9)
    order: list[int] = node[np.lexsort((node, turn))][:size].tolist()
    return order


def populate(offsets: Sequence[int], skips: Sequence[int], order: Sequence[int]) -> list[int]:
    """Return the node of each slot.

    Parameters
    ----------
    offsets, skips
        Of each node: from 0 and from 1 to ``len(order) - 1``.
    order
        Which node has each turn; as many as there are slots, a prime number.

    Example
    -------
    >>> populate([3, 0], [4, 2], [0, 1, 0, 1, 0, 1, 0])
    [1, 0, 1, 0, 0, 0, 1]
    """
    size = len(order)
    table, taken, next_slot = [-1] * size, bytearray(size), list(offsets)
    tail = min(size, max(32, int(size**0.5) // 2))
    for node in islice(order, size - tail):
        slot = next_slot[node]
        if taken[slot]:
            skip = skips[node]
            slot = (slot + skip) % size
            while taken[slot]:
                slot += skip
                if slot >= size:
                    slot -= size
            next_slot[node] = slot
        taken[slot] = 1
        table[slot] = node
    free = [slot for slot, node in enumerate(table) if node < 0]
    _finish(table, free, offsets, skips, order[size - tail :])
    return table


def _finish(
    table: list[int],
    free: Iterable[int],
    offsets: Sequence[int],
    skips: Sequence[int],
    order: Iterable[int],
) -> None:
    """Give the free slots to the last turns."""
    size, left = len(table), set(free)
    wishes: dict[int, list[int]] = {}
    for node in order:
        if node not in wishes:
            inverse, offset = pow(skips[node], -1, size), offsets[node]
            places = {slot: (slot - offset) * inverse % size for slot in left}
            wishes[node] = sorted(left, key=places.__getitem__, reverse=True)
        wish = wishes[node]
        slot = wish.pop()
        while slot not in left:
            slot = wish.pop()
        left.remove(slot)
        table[slot] = node
