"""Requests in flight, counted exactly.

The count is the balancer's own (``node.inflight``), so this load stores nothing, needs no clock and
costs nothing when a request starts or ends. :class:`InFlightCost` adds up what the requests said they
would cost instead of counting heads: tokens of a language model, bytes of an upload. :class:`WaitingCost` adds it up only
until the answer begins.

All divide by ``node.capacity``, so an endpoint of twice the weight may hold twice as much. At rest every
value is 0 and weights must come from the draw (HAProxy ``random``, nginx ``random two`` do the same).
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
    """Load policy: the number of open leases. The cheapest, and exact.

    *When not to use it:* where requests may end at once without an answer: they fail fast, or end ``ignored`` or
    ``cancelled``. An endpoint where they do looks idle and attracts traffic: one of ten, under 20 callers, 0.19 of it with
    :class:`~balancekit.selectors.PowerOfChoices` and 0.92 with a scan of all. Health ejects one that fails, but not one
    whose requests end ignored or cancelled. Use :class:`ExpectedDelay` or :class:`FailureAware`.

    Example
    -------
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=InFlight())
    """

    timed: ClassVar[bool] = False

    def __call__(self, node: Node) -> CountedLoad:
        """Make the load of one node."""
        return CountedLoad(node)


class InFlightCost(Policy):
    """Load policy: the summed ``cost`` of the open leases. Exact; a request without a cost pays nothing for it.

    *When not to use it:* if no caller passes ``cost=`` to ``acquire``; it then equals :class:`InFlight`, which selectors compare
    more cheaply. Nor where :class:`InFlight` is not to be used.
    """

    timed: ClassVar[bool] = False

    def __call__(self, node: Node) -> SummedLoad:
        """Make the load of one node."""
        return SummedLoad(node)


class WaitingCost(Policy):
    """Load policy: the summed ``cost`` of the open leases whose answer has not begun.

    For language models: with the tokens of the prompt as cost, it is the prompt work ahead of a new request, for that of a
    request is done when its first token comes. Call ``lease.first_byte()`` then; adapters do.

    *When not to use it:* if answers take most of the work; use :class:`InFlightCost`. If no caller passes ``cost=`` to
    ``acquire``, it counts the requests that wait for their answers. Nor where :class:`InFlight` is not to be used.

    Example
    -------
    >>> from balancekit import LeastResponseTime, LoadBalancer
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
    """A load that is read from its node, which counts open leases and adds up their costs by itself."""

    __slots__ = ("_node",)

    needs_start: ClassVar[bool] = False

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
        """Take the cost off: the answer has begun."""
        self._waiting = max(0.0, self._waiting - cost)

    def finished(self, completion: Completion, /) -> None:
        """Take the cost off if no answer has begun; exactly zero when nothing is left, whatever was rounded."""
        if not self._node.inflight:
            self._waiting = 0.0
        elif completion.first_byte_at is None:
            self._waiting = max(0.0, self._waiting - completion.cost)

    def value(self, *, now: float) -> float:
        """Return waiting cost / capacity. O(1)."""
        return self._waiting / self._node.capacity
