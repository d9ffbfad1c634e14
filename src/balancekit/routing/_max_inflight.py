"""A limit of requests in flight for each endpoint.

An endpoint at its limit is passed over. When all are at their limits, the caller gets an error at once
(``SaturatedError``) instead of joining a queue. The limit is a number, or adapts to each endpoint:
:class:`Gradient`, :class:`Aimd`.

Source: Envoy 1.40, circuit breakers (``max_requests``), here per endpoint; nginx ``max_conns``.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final, TypeAlias, final

from balancekit._selection.grouping import WHOLE_POOL, ChildSelectors, Learn, MakeSelector
from balancekit._selection.pickers import NO_PICKERS, Pick, Pickers
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError, Reason
from balancekit.outcome import Completion
from balancekit.protocols import LoadPolicy
from balancekit.routing._adaptive_limits import Aimd, AimdLimit, Gradient, GradientLimit
from balancekit.routing._returning_nodes import ReturningNodes
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["MaxInFlight"]

ROUNDING: Final = 1e-9
"""A limit times a weight that is nearly whole is whole."""
MAX_SINGLE_EXCLUSIONS: Final = 4
"""Endpoints at their limit that are excluded one by one before all of them are."""

_Known: TypeAlias = tuple[Node, GradientLimit | AimdLimit]
"""A limit that adapts, and the endpoint it was made for."""


@final
class MaxInFlight(ConstructorRepr, makers=("child",)):
    """Pass over endpoints whose requests in flight have reached a limit.

    Parameters
    ----------
    max_inflight
        Per endpoint: a whole number >= 1, or how it adapts, :class:`Gradient` or :class:`Aimd`. With these the balancer measures
        latency, whatever the load.
    per_weight
        Whether the limit is for an endpoint of the pool's mean weight, and others in proportion. Not with a limit that adapts.
    child
        Makes the selector. ``ShortestExpectedDelay`` if left out.

    Raises
    ------
    ConfigurationError
        If ``max_inflight`` is neither a whole number >= 1 nor a ``Gradient`` or ``Aimd``. If ``per_weight``
        is no bool, or True with a limit that adapts. If ``child`` makes no selector.

    *Guarantee.* While one thread picks, no endpoint exceeds its limit. Threads that pick at the very same
    moment may each see the last free slot; the excess is at most the number of such threads.

    *When not to use it:* against endpoints that fail; health ejects those. The limit is for endpoints that are
    slow.

    Open leases of an endpoint that was removed count when it returns to the same target, unless a router around this one
    had no other endpoint beside it. An adaptive limit starts over for an endpoint that leaves the pool and returns, or gets a new target.

    Cost: O(1) plus the child's; O(n) when it picks endpoints at their limit four times in a row.

    Example
    -------
    >>> from balancekit import LoadBalancer, SaturatedError
    >>> from balancekit.routing import MaxInFlight
    >>> lb = LoadBalancer(["a", "b"], selector=MaxInFlight(1))
    >>> first, second = lb.acquire(), lb.acquire()
    >>> try:
    ...     lb.acquire()
    ... except SaturatedError as error:
    ...     print(error)
    MaxInFlight picked none of 2 eligible endpoints: 2 at the limit; shed load, or wait for a lease to end
    >>> first.release(), second.release()
    (True, True)
    """

    def __init__(
        self,
        max_inflight: int | Gradient | Aimd,
        *,
        per_weight: bool = False,
        child: MakeSelector = ShortestExpectedDelay,
    ) -> None:
        self._adaptive: Gradient | Aimd | None = (
            max_inflight if isinstance(max_inflight, Gradient | Aimd) else None
        )
        self._machines: dict[str, _Known] = {}  # by id
        self._returning = ReturningNodes()
        self._random = Random()
        self._limit = valid.integer("max_inflight", max_inflight, minimum=1) if self._adaptive is None else 0
        self._per_weight = valid.flag("per_weight", per_weight)
        if self._adaptive is not None and per_weight:
            raise ConfigurationError("per_weight", per_weight, "False with a limit that adapts")
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        self.thread_safe: bool = self._children.thread_safe
        self.timed: bool = self._children.timed
        if self._adaptive is not None:
            self.learn: Learn = self._adapt
        elif self._children.learns:
            self.learn = self._children.learn

    @property
    def limits(self) -> Mapping[str, int]:
        """The present limit of each endpoint, by id, if limits adapt; empty otherwise."""
        return {id: machine.limit for id, (_, machine) in list(self._machines.items())}

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return what the child picks among those that have room."""
        child = self._children.of(WHOLE_POOL)
        full: set[str] = set()
        # What a timed child picks, it has charged.
        while len(full) < MAX_SINGLE_EXCLUSIONS and not self._children.timed:
            node = child.select(snapshot, ctx.excluding(full) if full else ctx)
            if node is None or self._has_room(node):
                return node
            full.add(node.id)
        return child.select(snapshot, ctx.excluding(self._full(snapshot)))

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes: the child's, while what it picks has room."""
        if self._children.timed:
            return NO_PICKERS
        pick, pick_by_key = self._children.pickers(WHOLE_POOL, snapshot, rng)
        return (
            None if pick is None else self._limited(pick),
            None if pick_by_key is None else self._limited_by_key(pick_by_key),
        )

    def _quick_limit(self) -> int:
        """Return the requests in flight below which a node has room; 0 if that needs a closer look."""
        return 0 if self._per_weight or self._returning.predecessors else self._limit

    def _limited(self, pick: Pick) -> Pick:
        limit, has_room = self._quick_limit(), self._has_room

        def pick_limited(now: float = 0.0, /) -> Node | None:
            node = pick(now)
            return node if node is None or node.inflight < limit or has_room(node) else None

        return pick_limited

    def _limited_by_key(self, pick: Pick) -> Pick:
        limit, has_room = self._quick_limit(), self._has_room

        def pick_limited(key: Key, now: float = 0.0, /) -> Node | None:
            node = pick(key, now)
            return node if node is None or node.inflight < limit or has_room(node) else None

        return pick_limited

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child, and start over with new endpoints."""
        if self._adaptive is not None:
            known, machines = self._machines, dict[str, _Known]()
            for node in snapshot.members.nodes:
                before = known.get(node.id)
                kept = before[1] if before is not None and _same(before[0], node) else None
                machines[node.id] = node, kept or self._adaptive(rng=self._random)
            self._machines = machines
        self._returning.update(snapshot.members.nodes)
        self._children.prepare({WHOLE_POOL: snapshot})

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the endpoints at their limit, and the child's reasons."""
        full = [node.id for node in snapshot.candidates(ctx) if not self._has_room(node)]
        return self._children.refusals_at_limit(snapshot, ctx, full)

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the child would pick one that is not at its limit."""
        return self._children.retry_at(WHOLE_POOL, snapshot, ctx.excluding(self._full(snapshot)))

    def _full(self, snapshot: Snapshot) -> set[str]:
        return {node.id for node in snapshot.eligible if not self._has_room(node)}

    def _adapt(self, node: Node, completion: Completion) -> None:
        known = self._machines.get(node.id)
        if known is not None and _same(known[0], node):
            known[1].record(completion, inflight=node.inflight + 1)
        if self._children.learns:
            self._children.learn(node, completion)

    def _has_room(self, node: Node) -> bool:
        if self._adaptive is not None:
            known = self._machines.get(node.id)
            return known is None or self._inflight(node) < known[1].limit
        limit = max(1, int(self._limit * node.capacity + ROUNDING)) if self._per_weight else self._limit
        return self._inflight(node) < limit

    def _inflight(self, node: Node) -> int:
        return self._returning.inflight(node) if self._returning.predecessors else node.inflight


def _same(one: Node, other: Node) -> bool:
    """Return whether two nodes are those of one server: the same, or one that was recreated in a forked child."""
    return one is other or one.endpoint.target is other.endpoint.target
