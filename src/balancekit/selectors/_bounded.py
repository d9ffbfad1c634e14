"""Consistent hashing with bounded loads: a full owner passes a key on."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random
from typing import ClassVar, Final, NamedTuple, Protocol, final

from balancekit._selection.pickers import Pickers, keyless
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit._support.fork import new_lock
from balancekit.hashing import load_bound
from balancekit.loads import InFlight
from balancekit.scheduling import OpenTotal
from balancekit.selectors._consistent_hash import RingHash, eligible_by_id
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["BoundedLoad", "RankingSelector"]

ROUNDING: Final = 1e-6
"""Weights that are left of a sum are added up again if they are less than this part of it."""


class RankingSelector(Protocol):
    """A keyed selector that knows not only the first candidate for a key."""

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build what ``ranking`` needs."""
        ...

    def structure(self, weights: Mapping[str, float]) -> object:
        """Return the owners."""
        ...

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the first of them."""
        ...

    def ranking(self, snapshot: Snapshot, ctx: PickContext, /) -> Iterator[Node]:
        """Yield every candidate of the snapshot once, always in the same order for the same key."""
        ...

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path to the first one."""
        ...


@final
class BoundedLoad(ConstructorRepr):
    """A hashed selector whose endpoints never hold more than a factor of their share of all open leases.

    *Guarantee.* An endpoint is picked only while it has fewer than ``ceil(factor * m * w / W)`` open leases, where
    m are the open leases of all candidates and the new one, w its weight and W that of all candidates. There is
    always one below its bound. As long as none is full, every key goes to its owner.

    *When to use it:* affinity is useful, but a hot key must not overload an endpoint: caches, model
    servers with prefix caches. *When not:* affinity is required (state that only the owner has); use the
    hashed selector itself, without a bound.

    Parameters
    ----------
    selector
        :class:`RingHash`, :class:`MaglevHash` or :class:`RendezvousHash`; ``RingHash()`` if left out.
    factor
        The factor of its share that an endpoint may hold, >= 1. HAProxy recommends 1.25 to 2.

    Raises
    ------
    ConfigurationError
        If ``selector`` does not rank endpoints by key, or ``factor`` is not a finite number >= 1.

    Notes
    -----
    Cost: about 20 empty method calls more than the selector's, at any number of endpoints, because open leases are
    counted as they begin and end. O(n) if other selectors open leases too, and all endpoints look full.

    Source: Mirrokni, Thorup, Zadimoghaddam (2016); HAProxy ``hash-balance-factor``.

    Example
    -------
    >>> from balancekit import BoundedLoad, LoadBalancer
    >>> lb = LoadBalancer(["a", "b", "c", "d"], selector=BoundedLoad(factor=1.25))
    >>> leases = [lb.acquire("the one hot key") for _ in range(16)]
    >>> max(endpoint.inflight for endpoint in lb.stats().endpoints)
    5
    """

    keyed: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def __init__(self, selector: RankingSelector | None = None, *, factor: float = 1.25) -> None:
        chosen = RingHash() if selector is None else selector
        allowed = "RingHash(), MaglevHash() or RendezvousHash()"
        self._selector: RankingSelector = valid.instance("selector", chosen, "ranking", allowed=allowed)
        self._factor: float = valid.number("factor", factor, minimum=1.0)
        self._open: Open | None = None

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Let the selector build its tables."""
        return self._selector.prepare(snapshot)

    def structure(self, weights: Mapping[str, float]) -> object:
        """Return the owners while none is full."""
        return self._selector.structure(weights)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the first candidate in the key's order that is below its bound."""
        open = self._open
        if open is None or open.snapshot is not snapshot:
            open = None
        elif ctx.trace is None:  # an owner that is idle is below any bound, and cheaper to find than an order
            owner = self._selector.select(snapshot, ctx)
            if owner is None:
                return None
            if not owner.inflight and owner.weight:
                open.total.starting(owner)
                return owner
        total, whole, count = _sums(snapshot, ctx.exclude, None if open is None else open.total.read())
        if not count:
            return None
        chosen: Node | None = None
        for node in self._selector.ranking(snapshot, ctx):
            most = load_bound(total + 1, _part(node, whole, count), self._factor)
            if node.inflight < most:
                if ctx.trace is not None:
                    ctx.trace.note(f"{node.id!r} holds {node.inflight} of at most {most}")
                chosen = node
                break
            if ctx.trace is not None:
                ctx.trace.note(f"{node.id!r} is full: {node.inflight} of at most {most}")
        if chosen is None:
            # Leases were opened meanwhile: an endpoint below the bound was passed before that became true.
            chosen = min(snapshot.candidates(ctx), key=lambda node: node.inflight)
        if open is not None and ctx.trace is None:
            open.total.starting(chosen)
        return chosen

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        owner = self._selector.picker(snapshot, rng=rng)
        generator = Random(0) if rng is None else rng
        total = OpenTotal(snapshot.eligible, new_lock())
        for node in snapshot.eligible:
            node.on_low_water = total.record_fall
        self._open = Open(snapshot, total)
        starting, read, factor = total.starting, total.read, self._factor
        whole, count = _whole(snapshot), len(snapshot.eligible)

        def pick(key: Key, now: float = 0.0, /) -> Node:
            node = owner(key)
            if not node.weight or (
                node.inflight and node.inflight >= load_bound(read() + 1, _part(node, whole, count), factor)
            ):
                return self.select(snapshot, PickContext(rng=generator, now=now, key=key)) or node
            starting(node)
            return node

        return pick

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes; without a key, that of a key drawn at random."""
        pick_by_key = self.picker(snapshot, rng=rng)
        return keyless(pick_by_key, rng), pick_by_key


class Open(NamedTuple):
    """The open leases of one snapshot. While it is the published one, those that begin were picked here."""

    snapshot: Snapshot
    total: OpenTotal[Node]


def _sums(snapshot: Snapshot, exclude: Collection[str], total: int | None) -> tuple[int, float, int]:
    """Return open leases, weight and number of the candidates. O(excluded) if the total is known."""
    if total is None:
        total = sum([node.inflight for node in snapshot.eligible])
    whole, count = snapshot.derive(_whole), len(snapshot.eligible)
    if exclude:
        nodes = snapshot.derive(eligible_by_id)
        for id in exclude:
            node = nodes.get(id)
            if node is not None:
                total -= node.inflight
                whole -= node.weight
                count -= 1
        if whole < ROUNDING * snapshot.derive(_whole):
            whole = math.fsum([node.weight for node in snapshot.eligible if node.id not in exclude])
    return max(0, total), whole, count


def _whole(snapshot: Snapshot) -> float:
    return math.fsum([node.weight for node in snapshot.eligible])


def _part(node: Node, whole: float, count: int) -> float:
    """Return a node's part of all weights, or of all nodes if no weight is positive."""
    return node.weight / whole if whole else 1.0 / count
