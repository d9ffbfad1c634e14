"""Lookups of other packages that are installed, and a Maglev table in plain Python."""

from __future__ import annotations

import contextlib
import importlib
import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import mmh3

__all__ = ["COMPILED", "lookups", "plain_populate"]

COMPILED = {"fastring", "jump-consistent-hash"}
SLOW = {"clandestined": 1_000, "cassandra TokenAwarePolicy": 1_000}
"""The largest number of nodes for slow packages: they hash a string per node, or build an object per token."""


def lookups(names: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the statement and the local names of a lookup of the key ``k()``, by the name of the package."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for package, module, make in (
        ("uhashring", "uhashring", lambda m: ("p(k())", {"p": m.HashRing(names, vnodes=150).get_node})),
        ("clandestined", "clandestined", lambda m: ("p(k())", {"p": m.RendezvousHash(names).find_node})),
        (
            "jump-consistent-hash",
            "jump",
            lambda m: ("p(h(k(), 0, False), n)", {"p": m.hash, "h": mmh3.hash, "n": len(names)}),
        ),
        ("cassandra TokenAwarePolicy", "cassandra.policies", lambda m: _cassandra(m, names)),
        ("fastring", "fastring", lambda m: ("p(k())", {"p": _fastring(m, names)})),
    ):
        if len(names) <= SLOW.get(package, len(names)):
            _try(found, package, module, make)
    return found


def _cassandra(module: Any, names: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the lookup of the first host of a query plan. The token map has 150 tokens per host and needs no cluster."""
    metadata = importlib.import_module("cassandra.metadata")
    hosts, rng = [Host(name) for name in names], random.Random(1)
    world = metadata.Metadata()
    world.keyspaces["ks"] = metadata.KeyspaceMetadata(
        "ks", True, "SimpleStrategy", {"replication_factor": "1"}
    )
    tokens = {host: [str(rng.randrange(-1 << 63, 1 << 63)) for _ in range(150)] for host in hosts}
    world.rebuild_token_map("Murmur3Partitioner", tokens)
    policy = module.TokenAwarePolicy(module.RoundRobinPolicy(), shuffle_replicas=False)
    policy.populate(SimpleNamespace(metadata=world), hosts)
    query = SimpleNamespace(keyspace="ks", routing_key=b"")
    return "q.routing_key = k().encode(); next(p('ks', q))", {"p": policy.make_query_plan, "q": query}


class Host:
    """The attributes of a host that the driver's policies read."""

    def __init__(self, address: str) -> None:
        self.address, self.is_up, self.datacenter, self.rack = address, True, None, None

    def __lt__(self, other: Host) -> bool:
        return self.address < other.address


def _fastring(module: Any, names: list[str]) -> Callable[[str], str]:
    ring = module.HashRing(150)
    for name in names:
        ring.add_node(name)
    lookup: Callable[[str], str] = ring.get_node
    return lookup


def _try(
    found: dict[str, tuple[str, dict[str, Any]]],
    package: str,
    module: str,
    make: Callable[[Any], tuple[str, dict[str, Any]]],
) -> None:
    with contextlib.suppress(ImportError):
        found[package] = make(importlib.import_module(module))


def plain_populate(offsets: Sequence[int], skips: Sequence[int], size: int) -> list[int]:
    """Fill a Maglev table as the pseudo-code of the paper does. Preferences are computed when they are needed."""
    following, entry, filled = [0] * len(offsets), [-1] * size, 0
    while True:
        for node in range(len(offsets)):
            slot = (offsets[node] + following[node] * skips[node]) % size
            while entry[slot] >= 0:
                following[node] += 1
                slot = (offsets[node] + following[node] * skips[node]) % size
            entry[slot] = node
            following[node] += 1
            filled += 1
            if filled == size:
                return entry
