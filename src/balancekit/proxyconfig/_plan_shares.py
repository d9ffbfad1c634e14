"""Shares of servers where no key decides, while no request is in progress and every server is well.

Cost: O(n) in the servers; of HAProxy's ``random`` and of Envoy's subsets, that of a ring and of some thousand picks.
Source: nginx 1.22.1, HAProxy 2.6.12, Envoy 1.40.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from balancekit.compat import envoy
from balancekit.compat.haproxy._hashes import avalanche
from balancekit.compat.haproxy._members import server_ids
from balancekit.proxyconfig._decide import expected_shares
from balancekit.proxyconfig._model import Pool, PoolServer, ProxyRequest, Routing
from balancekit.proxyconfig._plan_space import Arcs, Shares

__all__ = ["CIRCLE", "haproxy_arcs", "idle_shares", "serving"]

CIRCLE: Final = 1 << 32
NODES_PER_WEIGHT: Final = 16
"""Nodes of a server on the ring of HAProxy for each unit of weight."""
FACTOR: Final = 4096
TRIES: Final = 20
"""Samples that nginx may discard before it uses round robin instead."""


def serving(kind: str, pool: Pool) -> list[PoolServer]:
    """Return the servers that take requests without a cookie while all that are not marked as down are well."""
    usable = [server for server in pool.servers if not server.down and server.weight]
    if kind == "envoy":
        if pool.settings["subsets"] is not None or "locality_weights" in pool.settings:
            return usable
        return [host for hosts, load in _levels(pool) if load for host in hosts]
    servers = [server for server in usable if not server.backup]
    if servers:
        return servers
    return usable if kind == "nginx" or pool.settings["allbackups"] else usable[:1]


def idle_shares(kind: str, pool: Pool) -> Shares:
    """Return the share of each address of requests without a key.

    Rotations follow the weights. nginx ``least_conn`` rotates by weight, and so do hashes in the mean of keys; HAProxy
    ``leastconn`` rotates over idle servers alike. nginx ``random`` draws by weight; HAProxy ``random`` takes the last of
    its draws, so its shares are those of the ring; Envoy ``RANDOM`` and ``LEAST_REQUEST`` with equal weights draw each host
    of a level alike.
    """
    servers = [] if pool.start is None else serving(kind, pool)
    if not servers:
        return {}
    makers: Mapping[str, Callable[[Pool, Sequence[PoolServer]], Shares]] = {
        "nginx": _nginx,
        "haproxy": _haproxy,
        "envoy": _envoy,
    }
    return makers[kind](pool, servers)


def _merged(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for address, part in parts:
        found[address] = found.get(address, 0.0) + part
    total = sum(found.values())
    return {address: part / total for address, part in found.items()}


def _by_weight(servers: Sequence[PoolServer]) -> dict[str, float]:
    return _merged([(server.address, float(server.weight)) for server in servers])


def _alike(servers: Sequence[PoolServer]) -> dict[str, float]:
    return _merged([(server.address, 1.0) for server in servers])


# ---------------------------------------------------------------------- nginx


def _nginx(pool: Pool, servers: Sequence[PoolServer]) -> Shares:
    return _random_two(pool.servers, servers) if pool.method.startswith("random two") else _by_weight(servers)


def _random_two(servers: Sequence[PoolServer], usable: Sequence[PoolServer]) -> dict[str, float]:
    """Return the shares of nginx's ``random two``.

    Both draws are by weight, over all servers. One that cannot serve, or that equals the first, is discarded. Of two
    without requests the second wins. After more than 20 discarded draws nginx takes turns by weight.
    """
    total = sum([server.weight for server in servers])
    parts = [server.weight / total for server in usable]
    some = sum(parts)
    turns = _by_weight(usable)
    shares = dict.fromkeys(turns, 0.0)
    none = 1.0
    chances = [0.0] * len(usable)
    for _ in range(TRIES + 1):
        # The second draw ends it, unless it is the first server again or one that is down.
        firsts = [chance + none * part for chance, part in zip(chances, parts, strict=True)]
        first = sum(firsts)
        for server, chance, part in zip(usable, firsts, parts, strict=True):
            shares[server.address] += (first - chance) * part
        chances = [chance * (1.0 - some + part) for chance, part in zip(firsts, parts, strict=True)]
        none *= 1.0 - some
    left = none + sum(chances)
    return {address: share + left * turns[address] for address, share in shares.items()}


# ---------------------------------------------------------------------- HAProxy


def _haproxy(pool: Pool, servers: Sequence[PoolServer]) -> Shares:
    method = pool.settings["machine"].method
    if method == "random":
        return Arcs("", CIRCLE, haproxy_arcs(pool, servers)).shares()
    if method == "first":
        ids = _ids(pool)
        return {min(servers, key=lambda server: ids[server.name]).address: 1.0}
    return _alike(servers) if method == "leastconn" else _by_weight(servers)


def _ids(pool: Pool) -> dict[str, int]:
    names = [server.name for server in pool.servers]
    return dict(zip(names, server_ids(server.options.get("id") for server in pool.servers), strict=True))


def haproxy_arcs(pool: Pool, servers: Sequence[PoolServer]) -> list[tuple[int, str]]:
    """Return the arcs of HAProxy's ring: a hash belongs to the nearest node, to the one before on a tie."""
    ids = _ids(pool)
    nodes = sorted(
        (avalanche(ids[server.name] * FACTOR + number), server.address)
        for server in servers
        for number in range(NODES_PER_WEIGHT * server.weight)
    )
    ends = []
    for place, (key, address) in enumerate(nodes):
        after = nodes[(place + 1) % len(nodes)][0] + (CIRCLE if place + 1 == len(nodes) else 0)
        ends.append(((key + after) // 2 % CIRCLE, address))
    return ends


# ---------------------------------------------------------------------- Envoy


def _envoy(pool: Pool, servers: Sequence[PoolServer]) -> Shares:
    several = any(server.down or server.options["degraded"] or server.backup for server in pool.servers)
    if pool.settings["subsets"] is not None or ("locality_weights" in pool.settings and several):
        counted = expected_shares(pool, ProxyRequest(), Routing(pool.name, ""))
        addresses = {server.name: server.address for server in pool.servers}
        return _merged([(addresses[name], share) for name, share in counted.items() if share])
    alike = pool.method == "random" or (
        pool.method == "least_request" and len({server.weight for server in servers}) == 1
    )
    divide = _alike if alike else _by_weight
    if "locality_weights" in pool.settings:
        weights: Mapping[str, int] = pool.settings["locality_weights"]
        parts = [
            (weight, [one for one in servers if one.options["zone"] == zone])
            for zone, weight in weights.items()
        ]
    else:
        parts = [(load, hosts) for hosts, load in _levels(pool) if load]
    return _merged(
        [(address, weight * share) for weight, hosts in parts for address, share in divide(hosts).items()]
    )


def _levels(pool: Pool) -> list[tuple[list[PoolServer], int]]:
    """Return the hosts of each priority level, healthy, in panic or degraded, and its load in percent."""
    levels: list[list[PoolServer]] = [
        [] for _ in range(max(server.options["priority"] for server in pool.servers) + 1)
    ]
    for server in pool.servers:
        levels[server.options["priority"]].append(server)
    degraded = [[one for one in level if one.options["degraded"]] for level in levels]
    healthy = [[one for one in level if not (one.down or one.options["degraded"])] for level in levels]
    found = envoy.distribute(
        [len(level) for level in levels],
        [len(level) for level in healthy],
        factor=pool.settings["overprovisioning_factor"],
        threshold=pool.settings["healthy_panic_threshold"],
        degraded=[len(level) for level in degraded],
    )
    hosts = [
        level if panic else well for level, well, panic in zip(levels, healthy, found.panic, strict=True)
    ]
    return [
        *zip(hosts, found.loads, strict=True),
        *zip(degraded, found.degraded, strict=False),
    ]
