"""Load from probes: the last figure of a server, and the requests sent to it since.

.. code-block:: text

    value = (figure + per_request * (in flight now - in flight at the probe)) / capacity

The figure is the load from all callers; the requests counted since are the caller's own. If the figure of an endpoint is
missing or too old, the load from other callers is the mean over the known endpoints. If none is known, only own requests
count.

Cost: O(1) per comparison; O(n) a few times per ``max_age`` for the mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Final, final

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.record import Policy, field
from balancekit.errors import ConfigurationError
from balancekit.outcome import Completion
from balancekit.reported._attributes import NodeAttributes

if TYPE_CHECKING:
    from balancekit.node import Node

__all__ = ["Probed", "ProbedNodeLoad", "ProbedPool"]

MEANS_PER_AGE: Final = 6
"""The number of times that the mean is computed in ``max_age`` seconds."""


class Probed(Policy):
    """Load policy that adds own requests to the last probed figure.

    Parameters
    ----------
    attributes
        The store of figures: :class:`NodeAttributes`, filled by ``ThreadScrapes`` or ``AsyncScrapes`` of
        :mod:`balancekit.checks`, or by your own code.
    name
        The name of the figure: ``"requests"``, ``"waiting"``, ``"kv_utilization"``.
    per_request
        The increase of the figure with one more request, >= 0; 1 if it counts requests.

    *When to use it:* with ``PowerOfChoices``, if many callers share servers that publish their load. *When not:* if figures
    are older than a few service times, because all callers then herd on the same endpoint.

    Raises
    ------
    ConfigurationError
        If ``attributes`` is no ``NodeAttributes``, ``name`` is empty, or ``per_request`` is negative.

    Example
    -------
    >>> from balancekit import LoadBalancer, PowerOfChoices
    >>> from balancekit.reported import NodeAttributes, Probed
    >>> from balancekit.testing import ManualClock
    >>> attributes = NodeAttributes()
    >>> lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=Probed(attributes), clock=ManualClock())
    >>> attributes.record("a", {"requests": 9.0}, now=0.0)
    >>> attributes.record("b", {"requests": 2.0}, now=0.0)
    >>> lb.acquire().target
    'b'
    """

    timed: ClassVar[bool] = True

    attributes: NodeAttributes = field(kw_only=False)
    name: str = "requests"
    per_request: float = 1.0

    def _check(self) -> None:
        if not isinstance(self.attributes, NodeAttributes):
            raise ConfigurationError("attributes", self.attributes, "NodeAttributes")
        valid.text("name", self.name)
        valid.number("per_request", self.per_request, minimum=0.0)

    def for_pool(self) -> ProbedPool:
        """Return the shared state for the loads of one pool."""
        return ProbedPool(self)

    def __call__(self, node: Node) -> ProbedNodeLoad:
        """Return the load of a node that is alone in its pool."""
        return self.for_pool()(node)


@final
class ProbedPool:
    """The mean over the known endpoints of one pool; created by :class:`Probed`."""

    __slots__ = ("__weakref__", "_loads", "_lock", "config", "mean", "taken_at")

    def __init__(self, config: Probed) -> None:
        self.config: Probed = config
        self.mean: float = 0.0
        """The load of the known endpoints beyond own requests, per unit of capacity."""
        self._lock = new_lock()
        self._loads: dict[str, tuple[ProbedNodeLoad, ...]] = {}
        """The loads by endpoint id; two while the target of an endpoint is being changed."""
        self.taken_at: float = -math.inf
        """The time at which the mean was computed."""
        config.attributes.observe(self.recorded)

    def __call__(self, node: Node) -> ProbedNodeLoad:
        """Return the load of one node."""
        load = ProbedNodeLoad(self, node)
        with self._lock:
            self._loads[node.id] = (*self._loads.get(node.id, ()), load)
        return load

    def forget(self, node: Node) -> None:
        """Remove a node."""
        with self._lock:
            loads = self._loads.get(node.id, ())
            left = tuple(filter(lambda load: load.node is not node, loads))  # no loop under a lock
            if left:
                self._loads[node.id] = left
            else:
                self._loads.pop(node.id, None)

    def recorded(self, endpoint: str, now: float) -> None:
        """Record the own requests that a new figure includes; recompute the mean if it is due."""
        for load in self._loads.get(endpoint, ()):
            load.recorded(now)
        attributes = self.config.attributes
        if abs(now - self.taken_at) * MEANS_PER_AGE >= attributes.max_age:
            self.taken_at = now
            known = [
                load
                for loads in tuple(self._loads.values())
                for load in loads
                if attributes.value(load.node.id, self.config.name, now=now) is not None
            ]
            capacity = math.fsum(load.node.capacity for load in known)
            self.mean = math.fsum(load.others for load in known) / capacity if known else 0.0


@final
class ProbedNodeLoad:
    """The probed load of one endpoint; created by :class:`Probed`."""

    __slots__ = ("_pool", "node", "others")

    needs_start: ClassVar[bool] = False

    def __init__(self, pool: ProbedPool, node: Node) -> None:
        self._pool = pool
        self.node: Node = node
        self.others: float = 0.0
        """The last figure without own requests; may be negative, because a page is older than its response."""

    def recorded(self, now: float) -> None:
        """Record that there is a new figure."""
        config = self._pool.config
        figure = config.attributes.value(self.node.id, config.name, now=now)
        if figure is not None:
            self.others = figure - config.per_request * self.node.inflight

    def started(self, *, now: float, cost: float) -> None:
        """Do nothing: the node counts."""

    def finished(self, completion: Completion, /) -> None:
        """Do nothing: the node counts."""

    def succeeded(self, latency: float, now: float) -> None:
        """Do nothing: the node counts."""

    def value(self, *, now: float) -> float:
        """Return the figure plus own requests since, relative to capacity. O(1)."""
        pool, node = self._pool, self.node
        config = pool.config
        known = config.attributes.value(node.id, config.name, now=now) is not None
        if known:
            others = self.others
        else:
            others = (
                pool.mean * node.capacity if abs(now - pool.taken_at) <= config.attributes.max_age else 0.0
            )
        own = config.per_request * node.inflight
        return max(own, others + own) / node.capacity
