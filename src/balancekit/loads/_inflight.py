"""Requests in flight, counted exactly.

The count is the balancer's own (``node.inflight``), so this load stores nothing, needs no clock and
costs nothing when a request starts or ends. :class:`InFlightCost` adds up the declared costs of requests instead of
counting them: tokens of a language model, bytes of an upload. :class:`WaitingCost` adds up a cost only until the answer
begins.

All divide by ``node.capacity``, so an endpoint of twice the weight may hold twice the load. Without requests every value
is 0, and weights must come from the sampling (HAProxy ``random`` and nginx ``random two`` do the same).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from balancekit._support.display import StateRepr
from balancekit._support.record import Policy
from balancekit.outcome import Completion

if TYPE_CHECKING:
    from balancekit.snapshot import Node

__all__ = ["CountedLoad", "InFlight", "InFlightCost", "WaitingCost"]


class InFlight(Policy):
    """Load policy: the number of open leases; exact, and the cheapest.

    *When not to use it:* if requests may end at once without an answer, because they fail fast or end ``ignored`` or
    ``cancelled``. Such an endpoint looks idle and attracts traffic: one of ten, under 20 callers, got 0.19 of all requests with
    :class:`~balancekit.selectors.PowerOfChoices`, and 0.92 with a scan of all endpoints. Health ejects an endpoint that fails,
    but not one whose requests end ignored or cancelled. Use :class:`ExpectedDelay` or :class:`FailureAware`.

    Example
    -------
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.loads import InFlight
    >>> lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=InFlight())
    """

    timed: ClassVar[bool] = False

    def __call__(self, node: Node) -> CountedLoad:
        """Make the load of one node."""
        return CountedLoad(node)


class InFlightCost(Policy):
    """Load policy: the summed ``cost`` of the open leases; exact, and free for requests without a cost.

    *When not to use it:* if no caller passes ``cost=`` to ``acquire``; it then equals :class:`InFlight`, which selectors compare
    more cheaply. The limits of :class:`InFlight` apply too.
    """

    timed: ClassVar[bool] = False

    def __call__(self, node: Node) -> SummedLoad:
        """Make the load of one node."""
        return SummedLoad(node)


class WaitingCost(Policy):
    """Load policy: the summed ``cost`` of the open leases whose answer has not begun.

    For language models, with the tokens of the prompt as cost, this is the prompt work ahead of a new request. The prompt work
    of a request is done when its first token arrives. Call ``lease.first_byte()`` then; adapters do.

    *When not to use it:* if answers take most of the work; use :class:`InFlightCost`. If no caller passes ``cost=`` to
    ``acquire``, it counts the requests that wait for their answers. The limits of :class:`InFlight` apply too.

    Example
    -------
    >>> from balancekit import LeastResponseTime, LoadBalancer
    >>> from balancekit.loads import WaitingCost
    >>> lb = LoadBalancer(["a", "b"], selector=LeastResponseTime(), load=WaitingCost())
    >>> first = lb.acquire(cost=900.0)
    >>> first.first_byte()      # its prompt has been computed
    >>> lb.acquire(cost=100.0).node.load.value(now=0.0)
    100.0
    """

    timed: ClassVar[bool] = True

    def __call__(self, node: Node) -> WaitingLoad:
        """Make the load of one node."""
        return WaitingLoad(node)


class _ReadLoad(StateRepr):
    """A load read from its node, which counts open leases and adds up their costs itself."""

    __slots__ = ("_node",)

    needs_start: ClassVar[bool] = False
    needs_end: ClassVar[bool] = False

    def __init__(self, node: Node) -> None:
        self._node = node

    def started(self, *, now: float, cost: float) -> None:
        """Do nothing: the node counts."""

    def finished(self, completion: Completion, /) -> None:
        """Do nothing: the node counts."""

    def succeeded(self, latency: float, now: float) -> None:
        """Do nothing: the node counts."""


@final
class CountedLoad(_ReadLoad):
    """Open leases relative to capacity."""

    __slots__ = ()

    def value(self, *, now: float) -> float:
        """Return open leases / capacity. O(1)."""
        return self._node.inflight / self._node.capacity


@final
class SummedLoad(_ReadLoad):
    """Open cost relative to capacity."""

    __slots__ = ()

    def value(self, *, now: float) -> float:
        """Return open cost / capacity. O(1)."""
        node = self._node
        return (node.inflight - node.costed + node.open_cost) / node.capacity


@final
class WaitingLoad:
    """Cost of requests without an answer yet, relative to capacity."""

    __slots__ = ("_node", "_waiting")

    needs_start: ClassVar[bool] = True

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting = 0.0

    def started(self, *, now: float, cost: float) -> None:
        """Add the cost."""
        self._waiting += cost

    def answering(self, *, now: float, cost: float) -> None:
        """Subtract the cost, because the answer has begun."""
        self._waiting = max(0.0, self._waiting - cost)

    def finished(self, completion: Completion, /) -> None:
        """Subtract the cost if no answer has begun; the sum is exactly zero without open costs, despite rounding."""
        if not self._node.inflight:
            self._waiting = 0.0
        elif completion.first_byte_at is None:
            self._waiting = max(0.0, self._waiting - completion.cost)

    def value(self, *, now: float) -> float:
        """Return waiting cost / capacity. O(1)."""
        return self._waiting / self._node.capacity
