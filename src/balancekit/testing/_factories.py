"""Factories of the inputs of a selector: nodes, snapshots and contexts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from random import Random
from typing import cast

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.loads import InFlight
from balancekit.protocols import LoadPolicy
from balancekit.snapshot import Key, Members, Node, PickContext, Snapshot

__all__ = ["make_context", "make_nodes", "make_snapshot"]


@checked_arguments
def make_nodes(
    endpoints: Mapping[str, float] | Iterable[str | Endpoint[object]],
    *,
    load: LoadPolicy | None = None,
    inflight: Mapping[str, int] | None = None,
) -> tuple[Node, ...]:
    """Return nodes with the capacities that a balancer would set.

    Parameters
    ----------
    endpoints
        Weights by id, or a sequence of ids and endpoints.
    load
        Load policy of the nodes; ``InFlight()`` if left out.
    inflight
        Number of open leases by id; 0 for ids that are left out.

    Raises
    ------
    ConfigurationError
        If an id or a weight is not allowed for an endpoint, an id occurs twice, or ``inflight`` has an unknown id or a
        number that is not whole and >= 0.

    Example
    -------
    >>> from balancekit.testing import make_nodes
    >>> [node.weight for node in make_nodes({"a": 5, "b": 1})]
    [5.0, 1.0]
    """
    chosen: list[Endpoint[object]]
    if isinstance(endpoints, Mapping):
        shares = cast("Mapping[str, float]", endpoints)
        chosen = [Endpoint(id, id, weight=weight) for id, weight in shares.items()]
    else:
        chosen = [Endpoint(each, each) if isinstance(each, str) else each for each in endpoints]
    policy: LoadPolicy = InFlight() if load is None else load
    for_pool = getattr(policy, "for_pool", None)
    if for_pool is not None:
        policy = for_pool()
    nodes = _distinct("endpoints", tuple([Node(endpoint, policy) for endpoint in chosen]))
    counts = {id: valid.integer("inflight", count, minimum=0) for id, count in (inflight or {}).items()}
    _require_known("inflight", counts, nodes)
    total = sum(node.weight for node in nodes)
    for node in nodes:
        node.capacity = node.weight * len(nodes) / total if node.weight else 1.0
        node.inflight = counts.get(node.id, 0)
    return nodes


@checked_arguments
def make_snapshot(
    nodes: Mapping[str, float] | Iterable[str | Node],
    *,
    down: Collection[str] = (),
    version: int = 1,
) -> Snapshot:
    """Return a snapshot in which all endpoints except those in ``down`` are eligible.

    Parameters
    ----------
    nodes
        Weights by id, or a sequence of ids and nodes.
    down
        Ids of the endpoints that are not eligible.
    version
        Version of the snapshot and of its members.

    Raises
    ------
    ConfigurationError
        If ``nodes`` has anything but ids and nodes, an id or a weight is not allowed for an endpoint, an id occurs twice, or
        ``down`` has an unknown id.

    Example
    -------
    >>> from balancekit.testing import make_snapshot
    >>> [node.id for node in make_snapshot({"a": 5, "b": 1}, down={"a"}).eligible]
    ['b']
    """
    if isinstance(nodes, Mapping):
        made = make_nodes(cast("Mapping[str, float]", nodes))
    else:
        given = list(nodes)
        for one in given:
            if not isinstance(one, str | Node):
                raise ConfigurationError("nodes", one, "ids and nodes")
        new = iter(make_nodes([one for one in given if not isinstance(one, Node)]))
        made = tuple([one if isinstance(one, Node) else next(new) for one in given])
    _require_known("down", down, _distinct("nodes", made))
    members = Members(made, version=version)
    return Snapshot(members, tuple([node for node in made if node.id not in down]), version=version)


@checked_arguments
def make_context(
    seed: int | Random = 0,
    *,
    key: Key | None = None,
    exclude: Collection[str] = (),
    now: float = 0.0,
    cost: float = 1.0,
) -> PickContext:
    """Return the pick context of one attempt.

    Parameters
    ----------
    seed
        Seed of the context's random generator, or the generator itself.
    key
        Key of the request, or ``None``.
    exclude
        Ids of endpoints that must not be picked.
    now
        The time in seconds.
    cost
        Cost of the request.

    Raises
    ------
    ConfigurationError
        If ``seed`` is neither a ``Random`` nor a whole number, ``key`` is no key, ``cost`` is not > 0, ``now`` is no
        finite number, or ``exclude`` is a string.

    Example
    -------
    >>> from balancekit.testing import make_context
    >>> make_context(7, key="user:1").key
    'user:1'
    """
    rng = seed if isinstance(seed, Random) else Random(valid.integer("seed", seed, minimum=-(2**64)))
    valid.request(key, cost, None)
    return PickContext(rng=rng, now=now, key=key, cost=cost, exclude=exclude)


def _distinct(parameter: str, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return nodes of which no two have the same id."""
    known: set[str] = set()
    for node in nodes:
        if node.id in known:
            raise ConfigurationError(parameter, node.id, "each id once")
        known.add(node.id)
    return nodes


def _require_known(parameter: str, ids: Iterable[str], nodes: Iterable[Node]) -> None:
    """Raise ``ConfigurationError`` for an id that no node has."""
    known = [node.id for node in nodes]
    for id in ids:
        if id not in known:
            raise ConfigurationError(
                parameter, id, f"ids of the nodes: {', '.join(known) or 'there are none'}"
            )
