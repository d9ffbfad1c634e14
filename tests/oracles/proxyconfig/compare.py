"""Whether what a proxy served is what its configuration, read, says: exactly where nothing is drawn, else by shares."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import Any

from balancekit.proxyconfig import ProxyRequest
from balancekit.proxyconfig._plan_shares import idle_shares

__all__ = ["asked", "compare", "expected"]

SIGMAS = 5.0


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
        assert any(_rotates(pool, group, start) for start in range(2 * sum(s.weight for s in pool.servers)))
        return len(answers)
    within(Counter(answers), expected(pool, request, routing, config.kind))
    return 0


def _rotates(pool: Any, group: list[tuple[ProxyRequest, Any, str]], start: int) -> bool:
    chooser = pool.start(Started(start))
    addresses = {server.name: server.address for server in pool.servers}
    return all(addresses[chooser.pick(request, routing)] == answer for request, routing, answer in group)


def within(counts: Counter[str], shares: dict[str, float]) -> None:
    """Check that counts are those of shares, each within five standard deviations."""
    total = counts.total()
    assert set(counts) <= {name for name, share in shares.items() if share > 0}, (counts, shares)
    for name, share in shares.items():
        spread = math.sqrt(total * share * (1 - share))
        assert abs(counts[name] - total * share) <= SIGMAS * spread + 1e-9, (counts, shares)


def expected(pool: Any, request: ProxyRequest, routing: Any, kind: str) -> dict[str, float]:
    """Return the share of each address of a pool that draws, while no request is in progress.

    By :func:`idle_shares`; of Envoy's hash methods without a key the shares of the ring or table, here by 4,000 draws.
    """
    if not pool.keyed:
        return idle_shares(kind, pool)
    chooser = pool.start(Random(1))
    names = Counter(chooser.pick(request, routing) for _ in range(4_000))
    addresses = {server.name: server.address for server in pool.servers}
    return {addresses.get(name, "503"): count / 4_000 for name, count in names.items()}
