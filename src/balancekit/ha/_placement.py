"""Placement of addresses on nodes without coordination: active-active with one election per address.

:func:`place` ranks the nodes of every address by rendezvous hashing: each node computes the same ranking from the
same two lists. :func:`priorities_for` turns a node's ranks into priorities, one virtual router per address. The
first of the ranking holds the address; when it is lost, the second one does, and no other address moves.

*Guarantee.* The expected share of addresses of a node is its share of the weights. A lost node moves exactly its
own addresses, to all others in proportion to their weights; a new one takes its share and moves nothing else.

Cost: O(addresses * nodes * log(nodes)).

Source: Thaler and Ravishankar (1998), highest random weight hashing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.hashing import RendezvousHash

__all__ = ["place", "priorities_for"]

MAX_PRIORITY: Final = 254
"""The highest priority of a router that does not own its addresses."""


@checked_arguments
def place(
    addresses: Iterable[str], nodes: Iterable[str], *, weights: Mapping[str, float] | None = None
) -> dict[str, tuple[str, ...]]:
    """Rank the nodes of every address, the one that should hold it first.

    Parameters
    ----------
    addresses
        The addresses to be held, or names of virtual routers.
    nodes
        The ids of the nodes.
    weights
        A finite weight > 0 for each node; equal if left out.

    Raises
    ------
    ConfigurationError
        If there are no nodes, one is listed twice, or a weight is wrong or missing.

    *When not to use it:* where an exactly even split matters more than few moves: with k addresses and n nodes
    some nodes get one or two more than ``k / n``.

    Example
    -------
    >>> from balancekit.ha import place
    >>> rankings = place(["192.0.2.100", "192.0.2.101"], ["lb1", "lb2", "lb3"])
    >>> rankings["192.0.2.100"]
    ('lb2', 'lb3', 'lb1')
    """
    for parameter, ids in (("addresses", addresses), ("nodes", nodes)):
        if isinstance(ids, str):
            raise ConfigurationError(parameter, ids, f"a list: [{ids!r}]")
    names = list(nodes)
    if not names or len(set(names)) < len(names):
        raise ConfigurationError("nodes", names, "one id or more, each once")
    if weights is not None and set(weights) != set(names):
        raise ConfigurationError("weights", dict(weights), f"one for each of {', '.join(names)}")
    ranking = RendezvousHash(dict(weights) if weights is not None else names)
    return {address: tuple(ranking.candidates(address)) for address in addresses}


@checked_arguments
def priorities_for(rankings: Mapping[str, Sequence[str]], node: str, *, step: int = 1) -> dict[str, int]:
    """Return the priority of a node for every address: 254 where it is ranked first, ``step`` less for each rank.

    Parameters
    ----------
    rankings
        What :func:`place` returned.
    node
        The id of this node.
    step
        The difference between two ranks, >= 1. Timers of neighbours differ by ``step / 256`` of the interval;
        under some 20 ms two of them may become active at once for the time of one advert.

    Raises
    ------
    ConfigurationError
        If the node is missing in a ranking, or the last rank would get a priority < 1.

    Example
    -------
    >>> from balancekit.ha import place, priorities_for
    >>> rankings = place(["192.0.2.100", "192.0.2.101"], ["lb1", "lb2", "lb3"])
    >>> priorities_for(rankings, "lb2"), priorities_for(rankings, "lb2", step=50)
    ({'192.0.2.100': 254, '192.0.2.101': 253}, {'192.0.2.100': 254, '192.0.2.101': 204})
    """
    valid.integer("step", step, minimum=1)
    found = {}
    for address, ranking in rankings.items():
        if node not in ranking:
            raise ConfigurationError("node", node, f"one of {', '.join(ranking)}, the ranking of {address}")
        if MAX_PRIORITY - step * (len(ranking) - 1) < 1:
            raise ConfigurationError("step", step, f"one that leaves {len(ranking)} ranks above 0")
        found[address] = MAX_PRIORITY - step * ranking.index(node)
    return found
