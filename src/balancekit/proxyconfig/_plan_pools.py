"""The key space of a pool, by proxy and method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from balancekit.compat import envoy, haproxy, nginx
from balancekit.compat.envoy import _tables as tables
from balancekit.compat.envoy._hash import RING_HASHES
from balancekit.compat.haproxy._members import Group, Member
from balancekit.compat.haproxy._table import Table, divisor_of
from balancekit.compat.nginx._methods import ring as nginx_ring
from balancekit.compat.nginx._peers import Group as NginxGroup
from balancekit.compat.nginx._peers import Peer
from balancekit.proxyconfig._envoy_decide import host_of
from balancekit.proxyconfig._model import Pool, PoolServer
from balancekit.proxyconfig._plan_shares import CIRCLE, haproxy_arcs, serving
from balancekit.proxyconfig._plan_space import Arcs, ByWeight, Levels, Networks, Slots, Space

__all__ = ["key_space"]

CRC_HASHES: Final = 1 << 15
"""Values that nginx's ``hash`` takes of a CRC-32."""


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


# ---------------------------------------------------------------------- nginx


def _nginx(pool: Pool) -> Space | None:
    servers = [server for server in pool.servers if not server.backup]
    if any(server.down for server in servers) and "consistent" not in pool.method:
        return None  # keys of a server that is down are hashed once more
    weighted = ByWeight((server.address, server.weight) for server in servers)
    if pool.settings["directive"] == "ip_hash":
        return Networks("ip_hash", weighted)
    if "consistent" not in pool.method:
        hashes = [weighted.of(value) for value in range(CRC_HASHES)]
        return Slots(f"crc32 of {pool.key}, 15 bits", hashes)
    peers = [Peer(nginx.Server(s.name, address=s.address, weight=s.weight)) for s in servers]
    points, labels = nginx_ring(NginxGroup(peers))
    down = {server.address for server in servers if server.down}
    down -= {server.address for server in servers if not server.down}
    ends = [(point, label) for point, label in zip(points, labels, strict=True) if label not in down]
    if not ends:
        return None
    return Arcs(f"crc32 of {pool.key}", CIRCLE, ends)


# ---------------------------------------------------------------------- HAProxy


def _haproxy(pool: Pool) -> Space | None:
    words = [str(word) for word in pool.settings["hash-type"]]
    servers = serving("haproxy", pool)
    if not servers:
        return None
    consistent = words[:1] == ["consistent"]
    mixed = "avalanche" in words[1:] or (consistent and len(words) == 1)
    function = next((word for word in words[1:] if word != "avalanche"), "sdbm")
    hash = f"{'mixed ' if mixed else ''}{function} of {pool.method.partition(' hash-type')[0]}"
    if consistent:
        return Arcs(hash, CIRCLE, haproxy_arcs(pool, servers))
    owners = _haproxy_owners(pool, servers)
    return None if owners is None else Slots(hash, owners)


def _haproxy_owners(pool: Pool, servers: Sequence[PoolServer]) -> list[str] | None:
    """Return the address that each slot of a map-based table leads to; ``None`` if one leads nowhere."""
    every = [
        Member(haproxy.Server(s.name, weight=s.weight, backup=s.backup), number)
        for number, s in enumerate(pool.servers, 1)
    ]
    addresses = {server.name: server.address for server in pool.servers if not server.down and server.weight}
    members = [member for member in every if member.server.name in addresses]
    divisor = divisor_of([member.weight for member in every])
    first_only = not pool.settings["allbackups"]
    table = Table(
        Group([member for member in members if not member.server.backup]),
        divisor,
        Group([member for member in members if member.server.backup], first_only=first_only),
    )
    size = sum(server.weight // divisor for server in servers)
    if servers[0].backup and first_only:  # then only a parameter is hashed
        size = servers[0].weight // divisor if "url_param" in pool.method else 1
    found = [table.find(slot, None) for slot in range(size)]
    owners = [addresses[member.server.name] for member in found if member is not None]
    return owners if len(owners) == size else None


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
    labels = [host_of(server).endpoint().metadata["hostname" if by_name else "address"] for server in hosts]
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
