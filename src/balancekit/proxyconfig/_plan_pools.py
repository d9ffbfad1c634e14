"""The key space of a pool, by proxy and method, and shares where no key decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from balancekit.compat import envoy, haproxy, nginx
from balancekit.compat.envoy import _tables as tables
from balancekit.compat.envoy._hash import RING_HASHES
from balancekit.compat.haproxy._hashes import avalanche
from balancekit.compat.haproxy._members import Group, Member, server_ids
from balancekit.compat.haproxy._table import Table, divisor_of
from balancekit.compat.nginx._methods import ring as nginx_ring
from balancekit.compat.nginx._peers import Group as NginxGroup
from balancekit.compat.nginx._peers import Peer
from balancekit.proxyconfig._decide import expected_shares
from balancekit.proxyconfig._model import Pool, PoolServer, ProxyRequest, Routing
from balancekit.proxyconfig._plan_space import Arcs, Levels, Networks, Shares, Slots, Space

__all__ = ["idle_shares", "key_space"]

CIRCLE: Final = 1 << 32
NODES: Final = 16
"""Of a server of HAProxy for each unit of weight."""
FACTOR: Final = 4096
CRC_HASHES: Final = 1 << 15
"""Values that nginx's ``hash`` takes of a CRC-32."""
TRIES: Final = 20
"""Draws that nginx may discard before it takes turns instead."""


def key_space(kind: str, pool: Pool) -> Space | None:
    """Return how a pool divides hashes; ``None`` if no key decides, or more than the key does."""
    if not pool.keyed or pool.start is None:
        return None
    makers: Mapping[str, Callable[[Pool], Space | None]] = {
        "nginx": _nginx,
        "haproxy": _haproxy,
        "envoy": _envoy,
    }
    return makers[kind](pool)


def idle_shares(kind: str, pool: Pool) -> Shares:
    """Return the share of each address of requests without a key, while no request is in progress.

    Methods that take turns are carried out over whole cycles. nginx ``random`` draws by weight; HAProxy ``random`` takes
    the last of its draws, so its shares are those of the ring; Envoy ``RANDOM`` and ``LEAST_REQUEST`` with equal weights
    draw each host of a level alike.
    """
    usable = [server for server in pool.servers if not server.down and not server.backup and server.weight]
    if pool.start is None or not usable:
        return {}
    if not pool.deterministic and kind == "nginx":
        two = pool.method.startswith("random two")
        return _random_two(pool.servers) if two else _by_weight(usable)
    if not pool.deterministic and kind == "haproxy":
        return Arcs("", CIRCLE, _nearest(pool, usable)).shares()
    if kind == "envoy" and pool.settings.get("subsets") is None and not _several_levels(pool):
        if "locality_weights" in pool.settings:
            return _by_locality(pool, usable)
        drawn = pool.method == "random" or (
            pool.method == "least_request" and len({server.weight for server in usable}) == 1
        )
        return _merged([(server.address, 1.0) for server in usable]) if drawn else _by_weight(usable)
    counted = expected_shares(pool, ProxyRequest(), Routing(pool.name, ""))
    addresses = {server.name: server.address for server in pool.servers}
    return _merged([(addresses[name], share) for name, share in counted.items() if share])


def _several_levels(pool: Pool) -> bool:
    """Whether more than one priority level may take requests, or hosts that are not well."""
    return any(
        server.down or server.options["degraded"] or server.options["priority"] for server in pool.servers
    )


def _by_locality(pool: Pool, servers: Sequence[PoolServer]) -> dict[str, float]:
    """Return shares by the weight of localities, and within them by weight or alike."""
    weights: Mapping[str, int] = pool.settings["locality_weights"]
    parts: list[tuple[str, float]] = []
    for zone, weight in weights.items():
        hosts = [server for server in servers if server.options["zone"] == zone]
        alike = pool.method == "random"
        total = sum(1 if alike else server.weight for server in hosts)
        parts += [(server.address, weight * (1 if alike else server.weight) / total) for server in hosts]
    return _merged(parts)


def _merged(parts: Sequence[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for address, part in parts:
        found[address] = found.get(address, 0.0) + part
    total = sum(found.values())
    return {address: part / total for address, part in found.items()}


def _by_weight(servers: Sequence[PoolServer]) -> dict[str, float]:
    return _merged([(server.address, float(server.weight)) for server in servers])


# ---------------------------------------------------------------------- nginx


def _nginx(pool: Pool) -> Space | None:
    servers = [server for server in pool.servers if not server.backup]
    if any(server.down for server in servers) and "consistent" not in pool.method:
        return None  # keys of a server that is down are hashed once more
    weighted = [server.address for server in servers for _ in range(server.weight)]
    if pool.settings["directive"] == "ip_hash":
        return Networks("ip_hash", weighted)
    if "consistent" not in pool.method:
        hashes = [weighted[value % len(weighted)] for value in range(CRC_HASHES)]
        return Slots(f"crc32 of {pool.key}, 15 bits", hashes)
    peers = [Peer(nginx.Server(s.name, address=s.address, weight=s.weight)) for s in servers]
    points, labels = nginx_ring(NginxGroup(peers))
    down = {server.address for server in servers if server.down}
    down -= {server.address for server in servers if not server.down}
    ends = [(point, label) for point, label in zip(points, labels, strict=True) if label not in down]
    if not ends:
        return None
    return Arcs(f"crc32 of {pool.key}", CIRCLE, ends)


def _random_two(servers: Sequence[PoolServer]) -> dict[str, float]:
    """Return the shares of nginx's ``random two``.

    Both draws are by weight, over all servers. One that cannot serve, or that equals the first, is discarded. Of two
    without requests the second wins. After more than 20 discarded draws nginx takes turns by weight.
    """
    total = sum(server.weight for server in servers)
    usable = [server for server in servers if not server.down and not server.backup]
    turns = _by_weight(usable)
    shares = dict.fromkeys(turns, 0.0)
    none = 1.0
    chances = [0.0] * len(usable)
    for _ in range(TRIES + 1):
        following = [0.0] * len(usable)
        for place, server in enumerate(usable):
            # The second draw ends it, unless it is the first server again or one that is down.
            for other in usable:
                if other is not server:
                    shares[other.address] += chances[place] * other.weight / total
            lost = total - sum(other.weight for other in usable if other is not server)
            following[place] = chances[place] * lost / total
        first = [none * server.weight / total for server in usable]
        for place, server in enumerate(usable):
            for other in usable:
                if other is not server:
                    shares[other.address] += first[place] * other.weight / total
            lost = total - sum(other.weight for other in usable if other is not server)
            following[place] += first[place] * lost / total
        none *= (total - sum(server.weight for server in usable)) / total
        chances = following
    left = none + sum(chances)
    return {address: share + left * turns[address] for address, share in shares.items()}


# ---------------------------------------------------------------------- HAProxy


def _ids(pool: Pool) -> dict[str, int]:
    names = [server.name for server in pool.servers]
    return dict(zip(names, server_ids(server.options.get("id") for server in pool.servers), strict=True))


def _nearest(pool: Pool, servers: Sequence[PoolServer]) -> list[tuple[int, str]]:
    """Return the arcs of HAProxy's ring: a hash belongs to the nearest node, to the one before on a tie."""
    ids = _ids(pool)
    nodes = sorted(
        (avalanche(ids[server.name] * FACTOR + number), server.address)
        for server in servers
        for number in range(NODES * server.weight)
    )
    ends = []
    for place, (key, address) in enumerate(nodes):
        after = nodes[(place + 1) % len(nodes)][0] + (CIRCLE if place + 1 == len(nodes) else 0)
        ends.append(((key + after) // 2 % CIRCLE, address))
    return ends


def _haproxy(pool: Pool) -> Space | None:
    words = [str(word) for word in pool.settings["hash-type"]]
    usable = [server for server in pool.servers if not server.down and server.weight]
    servers = [server for server in usable if not server.backup]
    if not servers:
        servers = [server for server in usable if server.backup]
    if not servers:
        return None
    first_only = servers[0].backup and not pool.settings["allbackups"]
    consistent = words[:1] == ["consistent"]
    mixed = "avalanche" in words[1:] or (consistent and len(words) == 1)
    function = next((word for word in words[1:] if word != "avalanche"), "sdbm")
    hash = f"{'mixed ' if mixed else ''}{function} of {pool.method.partition(' hash-type')[0]}"
    if consistent:
        return Arcs(hash, CIRCLE, _nearest(pool, servers[:1] if first_only else servers))
    every = [
        Member(haproxy.Server(s.name, weight=s.weight, backup=s.backup), number)
        for number, s in enumerate(pool.servers, 1)
    ]
    addresses = {server.name: server.address for server in usable}
    members = [member for member in every if member.server.name in addresses]
    divisor = divisor_of([member.weight for member in every])
    table = Table(
        Group([member for member in members if not member.server.backup]),
        divisor,
        Group(
            [member for member in members if member.server.backup], first_only=not pool.settings["allbackups"]
        ),
    )
    owners = []
    size = sum(server.weight // divisor for server in servers)
    if first_only:  # then only a parameter is hashed
        size = servers[0].weight // divisor if "url_param" in pool.method else 1
    for slot in range(size):
        member = table.find(slot, None)
        if member is None:
            return None
        owners.append(addresses[member.server.name])
    return Slots(hash, owners)


# ---------------------------------------------------------------------- Envoy


def _envoy(pool: Pool) -> Space | None:
    settings = pool.settings
    if settings["subsets"] is not None or "locality_weights" in settings:
        return None  # the route or a draw decides too
    options: Mapping[str, Any] = settings["policy"]
    if options.get("hash_balance_factor"):
        return None  # what is in progress decides too
    levels = [
        [server for server in pool.servers if server.options["priority"] == level]
        for level in range(max(server.options["priority"] for server in pool.servers) + 1)
    ]
    if any(server.options["degraded"] for server in pool.servers):
        return None
    healthy = [[server for server in level if not server.down] for level in levels]
    loads = envoy.distribute(
        [len(level) for level in levels],
        [len(level) for level in healthy],
        factor=settings["overprovisioning_factor"],
        threshold=settings["healthy_panic_threshold"],
    )
    spaces: dict[int, Space] = {}
    chosen: list[Space] = []
    for position in range(100):
        level = loads.level(position)
        if level not in spaces:
            hosts = levels[level] if loads.panic[level] else healthy[level]
            if not hosts:
                return None
            spaces[level] = _hashed(pool.method, options, hosts)
        chosen.append(spaces[level])
    return Levels(f"xxh64 of {pool.key}", chosen)


def _hashed(method: str, options: Mapping[str, Any], hosts: Sequence[PoolServer]) -> Space:
    by_name = options.get("use_hostname_for_hashing")
    labels = [server.options["hostname"] if by_name else server.address for server in hosts]
    shares = tables.normalised([float(server.weight) for server in hosts])
    if method == "maglev":
        found = tables.maglev(labels, shares, size=options.get("table_size", 65537))
        return Slots("xxh64", [hosts[owner].address for owner in found.owners])
    place = RING_HASHES[options.get("hash_function", "XX_HASH")]
    ring = tables.ring(
        labels,
        shares,
        minimum=options.get("minimum_ring_size", 1024),
        maximum=options.get("maximum_ring_size", 8_388_608),
        place=place,
    )
    ends = [(point, hosts[owner].address) for point, owner in zip(ring.points, ring.owners, strict=True)]
    return Arcs("xxh64", 1 << 64, ends)
