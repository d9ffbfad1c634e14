"""Modulo hashing: a key keeps its endpoint while the same endpoints are eligible."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar, final

from balancekit._selection.pickers import NO_KEY, Pickers
from balancekit._selection.sampling import uniform_sampler
from balancekit._support.display import ConstructorRepr
from balancekit.hashing import hash32
from balancekit.loads import InFlight
from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = ["SourceHash"]


@final
class SourceHash(ConstructorRepr):
    """``hash(key) % n`` over the eligible endpoints: the simplest affinity, lost when one of them joins or leaves.

    *Guarantee.* The same key goes to the same endpoint while exactly the same endpoints are eligible, in
    every process. There is no other guarantee: from four endpoints to five, 80 % of all keys move, and one
    ejection moves nearly all.

    *When to use it:* a fixed list, or a comparison with consistent hashing. *When not:* whenever endpoints join
    and leave. Weights other than zero are ignored. A request without a key goes to any endpoint.

    Cost: O(1), one hash; O(n) with exclusions.
    Source: nginx ``hash``, HAProxy ``balance source`` in spirit; for their exact choices use the presets.

    Example
    -------
    >>> from balancekit import LoadBalancer, SourceHash
    >>> lb = LoadBalancer(["a", "b", "c"], selector=SourceHash())
    >>> lb.explain("10.1.2.3").picked == lb.explain("10.1.2.3").picked
    True
    """

    keyed: ClassVar[bool] = True
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the candidate at the key's position modulo their number."""
        candidates = snapshot.candidates(ctx)
        if not candidates:
            return None
        if ctx.key is None:
            if ctx.trace is not None:
                ctx.trace.note(NO_KEY)
            return ctx.rng.choice(candidates)
        position = hash32(ctx.key)
        if ctx.trace is not None:
            ctx.trace.note(f"hash {position} % {len(candidates)} = {position % len(candidates)}")
        return candidates[position % len(candidates)]

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        nodes, size = snapshot.eligible, len(snapshot.eligible)

        def pick(key: Key, _now: float = 0.0, /) -> Node:
            return nodes[hash32(key) % size]

        return pick

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes; without a key, any node is picked at random."""
        return uniform_sampler(snapshot.eligible, rng), self.picker(snapshot, rng=rng)
