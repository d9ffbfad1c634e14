"""Session stickiness: a signed value leads a client back to its endpoint.

``_signed_values.py`` describes the value and why it cannot be forged. A bound request goes to its endpoint even while
the endpoint drains, so sessions survive a drain. It is re-homed when the endpoint is gone, ejected or tried, or has more
than ``bound`` times its fair share of the requests in flight.

Source: HAProxy's persistence under drain; bounded loads against pinned saturation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Final, final

from balancekit._selection.grouping import WHOLE_POOL, ChildSelectors, Learn, MakeSelector
from balancekit._selection.pickers import Pickers
from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError, Reason, StickyValueError
from balancekit.protocols import LoadPolicy
from balancekit.routing._signed_values import StickyValues
from balancekit.selectors import ShortestExpectedDelay
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["STICKY", "Sticky"]

STICKY: Final = "sticky"
"""The attribute of a request that carries the value its client sent."""


@final
class Sticky(ConstructorRepr, makers=("child",)):
    """Send a request that carries a valid value to the endpoint it names, the others to a child.

    Parameters
    ----------
    values
        Reads the values. The request's value is ``attributes={"sticky": value}``.
    child
        Makes the selector for clients that are not bound. ``ShortestExpectedDelay`` if left out.
    bound
        The multiple of its fair share of the requests in flight that an endpoint may have before its clients are
        re-homed, > 1, or infinity. Four more are allowed, so that quiet pools do not re-home.

    Raises
    ------
    ConfigurationError
        If ``values`` is no ``StickyValues``, ``bound`` is not > 1, or ``child`` makes no selector.

    *Guarantee.* A forged, changed or foreign value is treated as none. Its contents are not used before its
    signature has been verified.

    Cost: O(1) plus the child's; O(n) for a request whose endpoint has four requests in flight or more, unless the
    bound is infinite.

    *When to use it:* sessions or caches in the endpoint's memory. *When not:* where a key will do
    (:class:`~balancekit.selectors.RingHash`), which needs no cookie.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.routing import Sticky, StickyValues
    >>> values = StickyValues("orders", [b"sixteen secrets!"])
    >>> lb = LoadBalancer(["a", "b", "c"], selector=Sticky(values))
    >>> with lb.acquire() as lease:
    ...     cookie = values.issue(lease.endpoint.id)
    >>> with lb.acquire(attributes={"sticky": cookie}) as again:
    ...     again.target == lease.target
    True
    """

    ALLOWANCE: Final = 4
    """Requests that an endpoint may have beyond its bound, so that a bound of few requests moves no client."""

    def __init__(
        self,
        values: StickyValues,
        *,
        child: MakeSelector = ShortestExpectedDelay,
        bound: float = 1.5,
    ) -> None:
        if not isinstance(values, StickyValues):
            raise ConfigurationError("values", values, "StickyValues(pool, secrets)")
        self._values = values
        self._bound = valid.number("bound", bound, above=1.0, infinite=True)
        self._children = ChildSelectors(child)
        self.default_load: LoadPolicy = self._children.default_load
        self.thread_safe: bool = self._children.thread_safe
        self.timed: bool = self._children.timed
        if self._children.learns:
            self.learn: Learn = self._children.learn

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the endpoint the request is bound to, or what the child picks."""
        value = ctx.attributes.get(STICKY)
        if value is not None:
            node = self._home(snapshot, ctx, value)
            if node is not None:
                return node
        return self._children.of(WHOLE_POOL).select(snapshot, ctx)

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child."""
        self._children.prepare({WHOLE_POOL: snapshot})

    def pickers(self, snapshot: Snapshot, /, *, rng: Random) -> Pickers:
        """Return the fast paths for a snapshot with eligible nodes: those of the child, as plain requests are not bound."""
        return self._children.pickers(WHOLE_POOL, snapshot, rng)

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return the reasons of the child."""
        return self._children.refusals(WHOLE_POOL, snapshot, ctx)

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the child would pick an endpoint."""
        return self._children.retry_at(WHOLE_POOL, snapshot, ctx)

    def _home(self, snapshot: Snapshot, ctx: PickContext, value: object) -> Node | None:
        try:
            id = self._values.read(value)
        except StickyValueError as error:
            _note(ctx, f"{error}: balanced again")
            return None
        node = snapshot.derive(_by_id).get(id)
        if node is None or id in ctx.exclude:
            _note(ctx, f"its endpoint {id!r} is gone or was tried: re-homed")
            return None
        if self._crowded(snapshot, node):
            _note(ctx, f"its endpoint {id!r} has more than its part: re-homed")
            return None
        _note(ctx, f"bound to {id!r}")
        return node

    def _crowded(self, snapshot: Snapshot, node: Node) -> bool:
        """Return whether a node has more than ``bound`` times its part in flight. O(n) if it is busy at all."""
        if node.inflight < self.ALLOWANCE or self._bound == math.inf:
            return False
        total = sum(other.inflight for other in snapshot.eligible)
        part = total * node.capacity / max(1, len(snapshot.eligible))
        return node.inflight + 1 > self._bound * part + self.ALLOWANCE


def _by_id(snapshot: Snapshot) -> dict[str, Node]:
    return {node.id: node for node in (*snapshot.eligible, *snapshot.draining)}


def _note(ctx: PickContext, text: str) -> None:
    if ctx.trace is not None:
        ctx.trace.note(text)
