"""The cost of the same decision in other Python packages that are installed, in the same run.

These peers pick a node, and some also mark a node as live or free. None of them opens a lease. They are compared with two
costs of balancekit: that of the fast path, and that of a whole request with a lease.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from balancekit import Endpoint

__all__ = ["PEERS", "PICKS", "Peer", "installed"]

Cases = dict[str, tuple[str, dict[str, Any]]]


PICKS = {"p()", "next(p())"}
"""Statements that only pick."""


class Peer(NamedTuple):
    """The decision of a package, and the selector of balancekit that makes the same decision."""

    name: str
    module: str
    selector: str
    statement: str
    make: Callable[[Any, list[Endpoint[str]]], dict[str, Any]]


def _call(
    function: Callable[..., Any], *, pairs: bool
) -> Callable[[Any, list[Endpoint[str]]], dict[str, Any]]:
    def make(module: Any, pool: list[Endpoint[str]]) -> dict[str, Any]:
        items = [(e.id, int(e.weight)) for e in pool] if pairs else [e.id for e in pool]
        return {"p": function(module)(items)}

    return make


def _sticky(module: Any, pool: list[Endpoint[str]]) -> dict[str, Any]:
    balancer = module.Po2CBalancer([e.id for e in pool])
    return {"p": balancer.get_next, "r": balancer.release}


def _cassandra(module: Any, pool: list[Endpoint[str]]) -> dict[str, Any]:
    policy = module.RoundRobinPolicy()
    policy.populate(None, [e.id for e in pool])
    return {"p": policy.make_query_plan}


def _elastic(module: Any, pool: list[Endpoint[str]]) -> dict[str, Any]:
    configs = [module.NodeConfig("http", f"h{k}", 9200) for k, _ in enumerate(pool)]
    nodes = module.NodePool(configs, module.Urllib3HttpNode)
    return {"p": nodes.get, "r": nodes.mark_live}


PEERS = (
    Peer("roundrobin.basic", "roundrobin", "RoundRobin", "p()", _call(lambda m: m.basic, pairs=False)),
    Peer(
        "roundrobin.weighted",
        "roundrobin",
        "SmoothWeightedRoundRobin",
        "p()",
        _call(lambda m: m.weighted, pairs=True),
    ),
    Peer(
        "roundrobin.smooth",
        "roundrobin",
        "SmoothWeightedRoundRobin",
        "p()",
        _call(lambda m: m.smooth, pairs=True),
    ),
    Peer("stickybalancer.Po2C", "stickybalancer", "PowerOfChoices, in-flight", "r(p())", _sticky),
    Peer("cassandra RoundRobinPolicy", "cassandra.policies", "RoundRobin", "next(p())", _cassandra),
    Peer("elastic_transport.NodePool", "elastic_transport", "RoundRobin", "r(p())", _elastic),
)


def installed(pool: list[Endpoint[str]], weighted: list[Endpoint[str]]) -> Cases:
    """Return the statement and its names for each peer that can be imported."""
    found: Cases = {}
    for peer in PEERS:
        try:
            module = importlib.import_module(peer.module)
        except ImportError:
            continue
        by_weight = peer.selector == "SmoothWeightedRoundRobin"
        found[peer.name] = (peer.statement, peer.make(module, weighted if by_weight else pool))
    return found
