"""Scorers: penalties of endpoints besides load and cached prompts, in units of requests.

===========================  ================================================================================
:class:`CacheUtilization`    the cache of keys and values is nearly full, so entries will be evicted
:class:`LoadedAdapters`      the adapter (LoRA) of the request must be loaded first
===========================  ================================================================================

Figures of endpoints come from pages of metrics: :class:`~balancekit.checks.MetricsPage` reads them,
:class:`~balancekit.reported.NodeAttributes` holds them. An endpoint without figures gets no penalty.

Cost: one look-up per candidate and scorer, on the slow path.

Source: the scorers ``kv-cache-utilization`` and ``lora-affinity`` of llm-d (ebab687), for the order of cases only. There they
are shares of a weighted sum; here they are requests, the unit of the load to which they are added.
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
"""The prefix of the figure of an adapter that an endpoint has loaded."""
FREE_ADAPTERS: Final = "adapters_free"
"""The figure of the number of adapters that an endpoint can load without unloading another."""


class NodeFigures(Protocol):
    """A store of figures of endpoints, such as :class:`~balancekit.reported.NodeAttributes`."""

    def value(self, endpoint: str, name: str, *, now: float) -> float | None:
        """Return one figure; ``None`` if it is unknown or too old."""
        ...


class NodeScorer(Protocol):
    """A penalty of endpoints, for :class:`~balancekit.inference.PrefixAffinity`."""

    def busier(self, node: Node, adapter: str, *, now: float) -> float:
        """Return the penalty of an endpoint for a request of an adapter ("" for none), in requests, >= 0.

        Called in the thread of the request, once per candidate and pick, without a lock; several threads may call it at a time.
        """
        ...


def _checked(attributes: Any) -> None:
    valid.instance("attributes", attributes, "value", allowed="NodeAttributes()")


class CacheUtilization(Policy):
    """Penalty for endpoints whose cache of keys and values is nearly full.

    Parameters
    ----------
    attributes
        The store of figures, such as ``NodeAttributes()``.
    name
        The name of the figure, the used share of the cache from 0 to 1.
    above
        The used share up to which nothing is added, 0 <= above < 1.
    weight
        The requests added when the cache is full, >= 0; in proportion between ``above`` and 1.

    Raises
    ------
    ConfigurationError
        If ``attributes`` cannot be read, ``name`` is empty, or a number is outside its bounds.

    *When to use it:* with engines that preempt running requests when the cache is full. *When not:* if the load already
    consists of probed figures, which contain the same information.

    Example
    -------
    >>> from balancekit.inference import CacheUtilization
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
        """Return ``weight`` x the used part of the range from ``above`` to 1."""
        share = self.attributes.value(node.id, self.name, now=now)
        if share is None or share <= self.above:
            return 0.0
        return self.weight * (min(share, 1.0) - self.above) / (1.0 - self.above)


class LoadedAdapters(Policy):
    """Penalty for endpoints that would have to load the request's adapter first.

    Parameters
    ----------
    attributes
        The store of figures: ``"adapter:NAME"`` of each loaded adapter, and ``"adapters_free"``. For vLLM,
        ``MetricsPage("vllm")`` reads both.
    loading
        The requests added if the adapter is not loaded and there is room for it, >= 0.
    full
        The requests added if another adapter would have to be unloaded, >= ``loading``.

    The request names its adapter as an attribute: ``lb.acquire(prompt, attributes={"adapter": "legal"})``. Without an adapter,
    nothing is added.

    *When to use it:* with more adapters than one engine holds. *When not:* if all endpoints hold all adapters.

    Raises
    ------
    ConfigurationError
        If ``attributes`` cannot be read, or a number is outside its bounds.

    Example
    -------
    >>> from balancekit.inference import LoadedAdapters
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
        """Return 0 if the adapter is loaded or nothing is known, otherwise ``loading`` or ``full``."""
        if not adapter or self.attributes.value(node.id, ADAPTER_PREFIX + adapter, now=now):
            return 0.0
        free = self.attributes.value(node.id, FREE_ADAPTERS, now=now)
        if free is None:
            return 0.0
        return self.loading if free >= 1.0 else self.full
