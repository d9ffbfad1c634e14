"""First: always the first eligible endpoint, in the order of configuration.

It suits an active endpoint with stand-bys: the next one serves only while those before it are out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import ClassVar, final

from balancekit._support.display import ConstructorRepr
from balancekit.loads import InFlight
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["First"]


@final
class First(ConstructorRepr):
    """The first eligible endpoint in the order of configuration. Weights other than zero are ignored.

    *When not to use it:* to spread load: all traffic moves to the next endpoint at once when the
    first one is out.

    Cost: O(1); O(excluded) with exclusions.

    Example
    -------
    >>> from balancekit import First, LoadBalancer
    >>> lb = LoadBalancer(["primary", "stand-by"], selector=First())
    >>> lb.acquire().target
    'primary'
    """

    keyed: ClassVar[bool] = False
    thread_safe: ClassVar[bool] = True
    default_load: ClassVar[InFlight] = InFlight()

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the first candidate."""
        exclude = ctx.exclude
        for node in snapshot.eligible:
            if node.id not in exclude:
                return node
        return None

    def picker(self, snapshot: Snapshot, /, *, rng: Random | None = None) -> Callable[..., Node]:
        """Return the fast path for a snapshot with eligible nodes."""
        first = snapshot.eligible[0]

        def pick(_now: float = 0.0, /) -> Node:
            return first

        return pick
