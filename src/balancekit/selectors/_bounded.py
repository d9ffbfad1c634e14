"""Consistent hashing with bounded loads: a full owner passes a key on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import ClassVar, Protocol, final

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError
from balancekit.hashing import load_bound
from balancekit.loads import InFlight
from balancekit.selectors._consistent_hash import RingHash
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["BoundedLoad", "RankingSelector"]


class RankingSelector(Protocol):
    """A keyed selector that knows not only the first candidate for a key."""

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build what ``ranking`` needs."""
        ...

    def structure(self, weights: Mapping[str, float]) -> object:
        """Return the owners."""
        ...

    def ranking(self, snapshot: Snapshot, ctx: PickContext, /) -> Iterator[Node]:
        """Yield every candidate of the snapshot once, always in the same order for the same key."""
        ...

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path to the first one."""
        ...


@final
class BoundedLoad:
    """A hashed selector whose endpoints never hold more than a factor of their part of all open leases.

    *Guarantee.* An endpoint is picked only while it has fewer than ``ceil(factor * m * w / W)`` open leases, where
    m are the open leases of all candidates and the new one, w its weight and W that of all candidates. There is
    always one below its bound. As long as none is full, every key goes to its owner.

    *When to use it:* affinity is worth having, but a hot key must not take an endpoint down: caches, model
    servers with prefix caches. *When not:* affinity is a must (state that only the owner has); use the
    hashed selector itself, and bound nothing.

    Parameters
    ----------
    selector
        :class:`RingHash`, :class:`MaglevHash` or :class:`RendezvousHash`; ``RingHash()`` if left out.
    factor
        How much more than its part an endpoint may hold, >= 1. HAProxy recommends 1.25 to 2.

    Notes
    -----
    Cost: the selector's, while the owner is idle. When it is not, open leases are added up: O(n), 2 µs for a
    hundred endpoints.

    Source: Mirrokni, Thorup, Zadimoghaddam (2016); HAProxy ``hash-balance-factor``.

    Example
    -------
    >>> from balancekit import LoadBalancer
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
        if isinstance(chosen, type) or not callable(getattr(chosen, "ranking", None)):
            raise ConfigurationError("selector", selector, "RingHash(), MaglevHash() or RendezvousHash()")
        self._selector: RankingSelector = chosen
        self._factor: float = valid.number("factor", factor, minimum=1.0)

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Let the selector build its tables."""
        return self._selector.prepare(snapshot)

    def structure(self, weights: Mapping[str, float]) -> object:
        """Return the owners while none is full."""
        return self._selector.structure(weights)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the first candidate in the key's order that is below its bound."""
        candidates = snapshot.candidates(ctx)
        if not candidates:
            return None
        total, whole = _sums(candidates)
        for node in self._selector.ranking(snapshot, ctx):
            most = load_bound(total + 1, _part(node, whole, len(candidates)), self._factor)
            if node.inflight < most:
                if ctx.trace is not None:
                    ctx.trace.note(f"{node.id!r} holds {node.inflight} of at most {most}")
                return node
            if ctx.trace is not None:
                ctx.trace.note(f"{node.id!r} is full: {node.inflight} of at most {most}")
        # Leases were opened meanwhile: an endpoint below the bound was passed before that became true.
        return min(candidates, key=lambda node: node.inflight)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        owner = self._selector.picker(snapshot, rng=rng)
        generator = Random(0) if rng is None else rng

        def pick(key: Key, now: float = 0.0, /) -> Node:
            node = owner(key)
            if not node.inflight and node.weight:  # every bound is at least one
                return node
            found = self.select(snapshot, PickContext(rng=generator, now=now, key=key))
            return node if found is None else found

        return pick


def _sums(nodes: tuple[Node, ...]) -> tuple[int, float]:
    return sum([node.inflight for node in nodes]), math.fsum([node.weight for node in nodes])


def _part(node: Node, whole: float, count: int) -> float:
    """Return a node's part of all weights, or of all nodes if no weight is positive."""
    return node.weight / whole if whole else 1.0 / count
