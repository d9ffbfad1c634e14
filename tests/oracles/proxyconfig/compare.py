"""Whether what a proxy served is what its configuration, read, says: exactly where nothing is drawn, else by shares."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

from balancekit.compat.haproxy._hashes import avalanche
from balancekit.proxyconfig import ProxyRequest

__all__ = ["asked", "compare", "expected", "random_two"]

SIGMAS = 5.0
TRIES = 20
"""Draws that nginx may discard before it takes turns instead."""
CIRCLE = 1 << 32


def asked(requests: list[dict[str, Any]]) -> list[ProxyRequest]:
    """Return requests as configurations are asked."""
    return [
        ProxyRequest(
            one["target"], host=one["host"], headers=tuple(map(tuple, one["headers"])), client=one["client"]
        )
        for one in requests
    ]


class Started(Random):
    """Draws one number again and again: the start of a rotation."""

    def __init__(self, start: int) -> None:
        super().__init__(0)
        self.start = start

    def getrandbits(self, _: int) -> int:
        return self.start


def compare(config: Any, requests: list[dict[str, Any]], answers: list[str]) -> int:
    """Check every answer; return how many were compared one by one.

    Drawn ones are compared by shares within five standard deviations; Envoy's rotations up to where they start.
    """
    rows = list(zip(asked(requests), config.follow(asked(requests)), answers, strict=True))
    groups: dict[Any, list[tuple[ProxyRequest, Any, str]]] = {}
    equal = 0
    for request, (routing, name), answer in rows:
        if routing.shares:
            groups.setdefault(routing.rule, []).append((request, routing, answer))
            continue
        if routing.pool is None:
            own = f"{routing.status} {routing.location}" if routing.location else str(routing.status)
            assert answer == (own if config.kind == "envoy" else str(routing.status)), (request, routing)
            equal += 1
            continue
        pool = config.pools[routing.pool]
        keyless = config.kind == "envoy" and pool.keyed and pool.key_of(request, routing) is None
        if pool.deterministic and not keyless:
            addresses = {server.name: server.address for server in pool.servers}
            assert answer == addresses.get(name, "503"), (request, routing, pool.method)
            equal += 1
        else:
            groups.setdefault((pool.name, str(routing.metadata)), []).append((request, routing, answer))
    for group in groups.values():
        equal += _drawn(config, group)
    return equal


def _drawn(config: Any, group: list[tuple[ProxyRequest, Any, str]]) -> int:
    request, routing, _ = group[0]
    answers = [answer for _, _, answer in group]
    if routing.shares:
        by_address = Counter[str]()
        for name, share in routing.shares.items():
            (server,) = config.pools[name].servers
            by_address[server.address] += share
        within(Counter(answers), by_address)
        return 0
    pool = config.pools[routing.pool]
    weights = {server.weight for server in pool.servers}
    if pool.method == "round_robin" or (pool.method == "least_request" and len(weights) > 1):
        assert any(
            _rotation(pool, group, start) == answers
            for start in range(2 * sum(s.weight for s in pool.servers))
        )
        return len(answers)
    within(Counter(answers), expected(pool, request, routing, config.kind))
    return 0


def _rotation(pool: Any, group: list[tuple[ProxyRequest, Any, str]], start: int) -> list[str]:
    chooser = pool.start(Started(start))
    addresses = {server.name: server.address for server in pool.servers}
    return [addresses[chooser.pick(request, routing)] for request, routing, _ in group]


def within(counts: Counter[str], shares: dict[str, float]) -> None:
    """Check that counts are those of shares, each within five standard deviations."""
    total = counts.total()
    assert set(counts) <= {name for name, share in shares.items() if share > 0}, (counts, shares)
    for name, share in shares.items():
        spread = math.sqrt(total * share * (1 - share))
        assert abs(counts[name] - total * share) <= SIGMAS * spread + 1e-9, (counts, shares)


def expected(pool: Any, request: ProxyRequest, routing: Any, kind: str) -> dict[str, float]:
    """Return the share of each address of a pool that draws, while no request is in progress.

    nginx ``random``: in proportion to the weights. ``random two``: :func:`random_two`. HAProxy ``random``: of two draws
    with equal load the last counts, so the shares are those of the ring. Envoy ``RANDOM`` and ``LEAST_REQUEST`` with
    equal weights: each host alike, within a locality that is drawn by weight. Envoy's hash methods without a key:
    the shares of the ring or table, here by 4,000 draws.
    """
    usable = [server for server in pool.servers if not server.down and not server.backup and server.weight]
    if kind == "haproxy":
        return _ring(pool, usable)
    if kind == "nginx" and pool.method.startswith("random two"):
        return random_two(pool.servers)
    if kind == "nginx":
        total = sum(server.weight for server in usable)
        return {server.address: server.weight / total for server in usable}
    if pool.keyed:
        chooser = pool.start(Random(1))
        names = Counter(chooser.pick(request, routing) for _ in range(4_000))
        addresses = {server.name: server.address for server in pool.servers}
        return {addresses.get(name, "503"): count / 4_000 for name, count in names.items()}
    zones = pool.settings.get("locality_weights") or dict.fromkeys((s.options["zone"] for s in usable), 1)
    if "locality_weights" not in pool.settings:
        return {server.address: 1 / len(usable) for server in usable}
    sizes = Counter(server.options["zone"] for server in usable)
    total = sum(zones[zone] for zone in sizes)
    return {s.address: zones[s.options["zone"]] / total / sizes[s.options["zone"]] for s in usable}


def _ring(pool: Any, usable: list[Any]) -> dict[str, float]:
    """Return the parts of HAProxy's ring: a hash belongs to the nearest node, each server has 16 nodes per weight."""
    ids: dict[str, int] = {}
    taken = {server.options["id"] for server in pool.servers if "id" in server.options}
    free = 1
    for server in pool.servers:
        while free in taken:
            free += 1
        ids[server.name] = server.options.get("id") or free
        taken.add(ids[server.name])
    nodes = sorted(
        (avalanche(ids[server.name] * 4096 + number), server.address)
        for server in usable
        for number in range(16 * server.weight)
    )
    shares = Counter[str]()
    for place, (key, address) in enumerate(nodes):
        before, after = nodes[place - 1][0], nodes[(place + 1) % len(nodes)][0]
        shares[address] += ((key - before) % CIRCLE + (after - key) % CIRCLE) / 2 / CIRCLE
    return dict(shares)


def random_two(servers: tuple[Any, ...]) -> dict[str, float]:
    """Return the shares of nginx's ``random two`` while no request is in progress.

    Both draws are by weight, over all servers. One that cannot serve, or that equals the first, is discarded. Of two
    without requests the second wins. After more than 20 discarded draws nginx takes turns by weight.
    """
    total = sum(server.weight for server in servers)
    usable = [server for server in servers if not server.down and not server.backup]
    up = sum(server.weight for server in usable)
    shares = {server.address: 0.0 for server in usable}

    def turns(chance: float) -> None:
        for server in usable:
            shares[server.address] += chance * server.weight / up

    none = 1.0
    """The chance that no server is drawn so far, by discarded draws; then of each first server."""
    first = {server.address: [0.0] * (TRIES + 1) for server in usable}
    for tries in range(TRIES + 1):
        for server in usable:
            first[server.address][tries] = none * server.weight / total
        none *= (total - up) / total
    turns(none)
    for server in usable:
        chances = first[server.address]
        for tries in range(TRIES + 1):
            chance = chances[tries]
            others = [other for other in usable if other is not server]
            for other in others:
                shares[other.address] += chance * other.weight / total
            discarded = chance * (total - sum(other.weight for other in others)) / total
            if tries < TRIES:
                chances[tries + 1] += discarded
            else:
                turns(discarded)
    return shares
