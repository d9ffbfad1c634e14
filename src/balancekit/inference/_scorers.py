"""Scorers: what else than load and cached prompts makes an endpoint worse, in requests that it counts as busier.

===========================  ================================================================================
:class:`CacheUtilization`    the cache of keys and values is nearly full, so something will be thrown out
:class:`LoadedAdapters`      the adapter (LoRA) of the request has to be loaded first
===========================  ================================================================================

Figures of endpoints come from pages of metrics: :class:`~balancekit.checks.MetricsPage` reads them,
:class:`~balancekit.reported.NodeAttributes` holds them. An endpoint of which nothing is known counts as it is.

Cost: one look-up a candidate and scorer, on the slow path. Source: the scorers ``kv-cache-utilization`` and ``lora-affinity`` of
llm-d (ebab687), of which only the order of cases is taken: there they are shares of a weighted sum, here they are requests, the
unit of the load that they are added to.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from balancekit._support import validation as valid
from balancekit._support.record import Policy, field
from balancekit.errors import ConfigurationError
from balancekit.snapshot import Node

__all__ = [
    "ADAPTER_PREFIX",
    "FREE_ADAPTERS",
    "CacheUtilization",
    "LoadedAdapters",
    "NodeFigures",
    "NodeScorer",
]

ADAPTER_PREFIX: Final = "adapter:"
"""Begins the figure of an adapter that an endpoint has loaded."""
FREE_ADAPTERS: Final = "adapters_free"
"""The figure of how many adapters an endpoint can load without unloading another."""


class NodeFigures(Protocol):
    """Where figures of endpoints are held, such as :class:`~balancekit.reported.NodeAttributes`."""

    def value(self, endpoint: str, name: str, *, now: float) -> float | None:
        """Return one figure; ``None`` if it is not known or too old."""
        ...


class NodeScorer(Protocol):
    """Something that makes endpoints worse, for :class:`~balancekit.inference.PrefixAffinity`."""

    def busier(self, node: Node, adapter: str, *, now: float) -> float:
        """Return how many requests busier an endpoint counts for a request of an adapter ("" for none), >= 0.

        Called in the thread of the request, once a candidate and pick, under no lock: several threads may call it at a time.
        """
        ...


def _checked(attributes: Any) -> None:
    if isinstance(attributes, type) or not callable(getattr(attributes, "value", None)):
        raise ConfigurationError("attributes", attributes, "NodeAttributes()")


class CacheUtilization(Policy):
    """Endpoints whose cache of keys and values is nearly full count as busier.

    Parameters
    ----------
    attributes
        Where the figures are, such as ``NodeAttributes()``.
    name
        Of the figure, a share of the cache from 0 to 1.
    above
        The share up to which nothing is added, 0 <= above < 1.
    weight
        Requests that are added when the cache is full, >= 0; between, in proportion.

    *When to use it:* engines that preempt running requests when the cache is full. *When not:* the load is itself made of probed
    figures, which show the same.

    Example
    -------
    >>> from balancekit.reported import NodeAttributes
    >>> attributes = NodeAttributes()
    >>> attributes.record("a", {"kv_utilization": 0.95}, now=0.0)
    >>> from balancekit.testing import make_snapshot
    >>> (node,) = make_snapshot(["a"]).members.nodes
    >>> round(CacheUtilization(attributes).busier(node, "", now=1.0), 3)
    6.0
    """

    attributes: NodeFigures = field(kw_only=False)
    name: str = "kv_utilization"
    above: float = 0.8
    weight: float = 8.0

    def _check(self) -> None:
        _checked(self.attributes)
        valid.text("name", self.name)
        if valid.number("above", self.above, minimum=0.0, maximum=1.0) == 1.0:
            raise ConfigurationError("above", self.above, "a share less than 1")
        valid.number("weight", self.weight, minimum=0.0)

    def busier(self, node: Node, adapter: str, *, now: float) -> float:
        """Return ``weight`` x the part of the room above ``above`` that is taken."""
        share = self.attributes.value(node.id, self.name, now=now)
        if share is None or share <= self.above:
            return 0.0
        return self.weight * (min(share, 1.0) - self.above) / (1.0 - self.above)


class LoadedAdapters(Policy):
    """Endpoints that would have to load the request's adapter first count as busier.

    Parameters
    ----------
    attributes
        Where the figures are: ``"adapter:NAME"`` of each adapter that is loaded, and ``"adapters_free"``. For vLLM,
        ``MetricsPage("vllm")`` reads both.
    loading
        Requests that are added where the adapter is not loaded and there is room for it, >= 0.
    full
        Requests that are added where another adapter would have to go, >= ``loading``.

    The request names its adapter as an attribute: ``lb.acquire(prompt, attributes={"adapter": "legal"})``. For one without an
    adapter nothing is added.

    *When to use it:* more adapters than one engine holds. *When not:* all endpoints hold all adapters.

    Example
    -------
    >>> from balancekit.reported import NodeAttributes
    >>> from balancekit.testing import make_snapshot
    >>> attributes = NodeAttributes()
    >>> attributes.record("a", {"adapter:legal": 1.0, "adapters_free": 0.0}, now=0.0)
    >>> attributes.record("b", {"adapters_free": 3.0}, now=0.0)
    >>> scorer = LoadedAdapters(attributes)
    >>> [scorer.busier(node, "legal", now=1.0) for node in make_snapshot(["a", "b"]).members.nodes]
    [0.0, 2.0]
    >>> [scorer.busier(node, "medical", now=1.0) for node in make_snapshot(["a", "b"]).members.nodes]
    [8.0, 2.0]
    """

    attributes: NodeFigures = field(kw_only=False)
    loading: float = 2.0
    full: float = 8.0

    def _check(self) -> None:
        _checked(self.attributes)
        valid.number("full", self.full, minimum=valid.number("loading", self.loading, minimum=0.0))

    def busier(self, node: Node, adapter: str, *, now: float) -> float:
        """Return nothing where the adapter is loaded or nothing is known, else ``loading`` or ``full``."""
        if not adapter or self.attributes.value(node.id, ADAPTER_PREFIX + adapter, now=now):
            return 0.0
        free = self.attributes.value(node.id, FREE_ADAPTERS, now=now)
        if free is None:
            return 0.0
        return self.loading if free >= 1.0 else self.full
