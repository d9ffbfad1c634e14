"""Random selection, uniform or by weight, without memory.

Use it where no state may be kept, and as a reference. With a thousand balancers that each see a thousandth of the
traffic, no strategy that uses only the view of one balancer is better.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar, final

from balancekit._selection.sampling import MAX_REDRAWS, sample, sampler, sampling_table, uniform_sampler
from balancekit._support.display import ConstructorRepr
from balancekit.loads import InFlight
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["UniformRandom", "WeightedRandom"]


@final
class UniformRandom(ConstructorRepr):
    """Any endpoint, all equally likely. Weights other than zero are ignored.

    *When not to use it:* whenever loads can be compared; two random choices are exponentially better
    than one (:class:`PowerOfChoices`).

    Cost: O(1), one random number; O(n) if most endpoints are excluded.

    Example
    -------
    >>> from balancekit import LoadBalancer, UniformRandom
    >>> lb = LoadBalancer(["a", "b"], selector=UniformRandom())
    >>> lb.explain().picked in {"a", "b"}
    True
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a candidate, all equally likely."""
        nodes = snapshot.eligible
        bits, exclude = ctx.rng.getrandbits, ctx.exclude
        if nodes:
            for _ in range(MAX_REDRAWS):
                node = nodes[bits(30) % len(nodes)]
                if node.id not in exclude:
                    return node
        candidates = snapshot.candidates(ctx)
        return ctx.rng.choice(candidates) if candidates else None

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        return uniform_sampler(snapshot.eligible, Random() if rng is None else rng)


@final
class WeightedRandom(ConstructorRepr):
    """Any endpoint, with a probability in proportion to its weight; never one of weight zero while another may serve.

    *When not to use it:* where evenness matters more than independence: after k picks shares are off by
    about ``sqrt(k)``, those of :class:`SmoothWeightedRoundRobin` by less than one pick.

    Cost: O(1), one random number; the table is O(n) per snapshot.
    Source: Vose 1991 (alias method).

    Example
    -------
    >>> from balancekit import Endpoint, LoadBalancer, WeightedRandom
    >>> pool = [Endpoint("a", weight=3), Endpoint("b", weight=0)]
    >>> lb = LoadBalancer(pool, selector=WeightedRandom())
    >>> {lb.explain().picked for _ in range(100)}
    {'a'}
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def prepare(self, snapshot: Snapshot, /) -> object:
        """Build the alias table."""
        return sampling_table(snapshot)

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return a candidate sampled by weight."""
        return sample(snapshot, ctx)

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        return sampler(snapshot, Random() if rng is None else rng)
