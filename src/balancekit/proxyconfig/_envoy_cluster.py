"""Clusters of an Envoy configuration, as pools."""

from __future__ import annotations

import contextlib
import ipaddress
from collections import Counter
from random import Random
from typing import Any, Final

from balancekit.proxyconfig._envoy_decide import ClusterChooser, ClusterOptions, key_of
from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._envoy_policies import TYPES, read_policy, read_subsets
from balancekit.proxyconfig._envoy_words import ENDPOINT, HEALTH_ASSUMED
from balancekit.proxyconfig._model import MAX_SERVERS, Pool, PoolServer

__all__ = ["address_of", "read_cluster"]

HEALTH: Final = ("UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED")
POLICY_KEY: Final = "the route's hash policy"
DROPPED: Final = "requests may be dropped"


def read_cluster(cluster: Message, name: str) -> Pool:
    """Return a cluster as a pool.

    Raises
    ------
    ProxyConfigError
        For a value outside Envoy's bounds, too many hosts, or weights whose sum is too large.
    """
    cluster.owner = name
    policy = read_policy(cluster)
    subsets = read_subsets(cluster)
    kind = cluster.choice("type", TYPES, "STATIC")
    if kind in {"EDS", "ORIGINAL_DST"}:
        cluster.note("type", "its hosts are found at run time")
    servers, factor, weights = _servers(cluster, kind)
    if kind == "LOGICAL_DNS" and len(servers) > 1:
        raise cluster.fail("type", "LOGICAL_DNS has one host")
    settings: dict[str, Any] = {
        "type": kind,
        "overprovisioning_factor": factor,
        "healthy_panic_threshold": policy.panic,
        "policy": policy.options,
        "subsets": subsets,
    }
    if policy.by_locality:
        settings["locality_weights"] = weights
    usable = policy.make is not None and bool(servers)
    options = None
    if policy.make is not None and servers:
        options = ClusterOptions(
            policy.make, factor, policy.panic, weights if policy.by_locality else None, subsets
        )

    def start(rng: Random) -> ClusterChooser:
        if options is None:
            raise AssertionError(name)
        return ClusterChooser(servers, options, rng)

    return Pool(
        name=name,
        origin=cluster.origin,
        method=policy.method,
        servers=servers,
        key=POLICY_KEY if policy.keyed else "",
        settings=settings,
        deterministic=policy.keyed or len(servers) == 1,
        start=start if usable else None,
        key_of=key_of if policy.keyed else None,
    )


def _servers(cluster: Message, kind: str) -> tuple[tuple[PoolServer, ...], int, dict[str, int]]:
    """Return the hosts, the overprovisioning factor, and the weights of localities."""
    assignment = cluster.message("load_assignment", neutral=["cluster_name", "named_endpoints"])
    found: list[PoolServer] = []
    weights: dict[str, int] = {}
    factor = 140
    if assignment is None:
        return (), factor, weights
    policy = assignment.message("policy", ignored={"drop_overloads": DROPPED, "weighted_priority_health": ""})
    if policy is not None:
        factor = policy.whole("overprovisioning_factor", 140, minimum=100)
        policy.note("endpoint_stale_after", HEALTH_ASSUMED)
    names: Counter[str] = Counter()
    for group in assignment.messages(
        "endpoints", neutral=["proximity", "metadata"], ignored={"leds_cluster_locality_config": ""}
    ):
        priority = group.whole("priority", 0, maximum=128)
        zone = f"{priority}:{_locality(group)}"
        weight = group.whole("load_balancing_weight", 0, minimum=1)
        weights[zone] = weight if weight and "locality" in group else weights.get(zone, 0)
        for one in group.messages("lb_endpoints"):
            server = _server(one, priority, zone, kind)
            names[server.address] += 1
            if names[server.address] > 1:
                server = server.replace(name=f"{server.address}#{names[server.address]}")
            found.append(server)
            if len(found) > MAX_SERVERS:
                raise one.notes.error(one.line, f"more than {MAX_SERVERS} hosts")
    if sum(server.weight for server in found) > 2**32 - 1:
        raise assignment.notes.error(assignment.line, "the sum of weights is more than 4294967295")
    return tuple(found), factor, weights


def _locality(group: Message) -> str:
    locality = group.message("locality")
    if locality is None:
        return "//"
    return "/".join([locality.text(part) for part in ("region", "zone", "sub_zone")])


def _server(one: Message, priority: int, zone: str, kind: str) -> PoolServer:
    weight = one.whole("load_balancing_weight", 1, minimum=1)
    health = one.choice("health_status", HEALTH, "UNKNOWN")
    metadata = one.lb_metadata("metadata")
    endpoint = one.message("endpoint", neutral=ENDPOINT)
    if endpoint is None:
        raise one.notes.error(one.line, "an endpoint is expected")
    if "hostname" in endpoint and not endpoint.text("hostname"):
        raise endpoint.fail("hostname", "a name is expected")
    address = endpoint.message("address")
    if address is None:
        raise endpoint.notes.error(endpoint.line, "an address is expected")
    where = address_of(address)
    hostname = endpoint.text("hostname")
    socket = address.message("socket_address")
    if socket is not None:
        if not _is_ip(socket.text("address")):
            if kind == "STATIC":
                raise socket.fail("address", "an IP address is expected, or a cluster of type STRICT_DNS")
            socket.note("address", "which addresses a name has, and how many, is not known here")
        if kind != "STATIC":
            hostname = hostname or socket.text("address")
    return PoolServer(
        name=where,
        address=where,
        origin=one.origin,
        weight=weight,
        backup=priority > 0,
        down=health in {"UNHEALTHY", "DRAINING", "TIMEOUT"},
        options={
            "priority": priority,
            "zone": zone,
            "hostname": hostname,
            "metadata": metadata,
            "degraded": health == "DEGRADED",
        },
    )


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def address_of(address: Message) -> str:
    """Return an address as text: ``10.0.0.1:80``, ``[::1]:80``, a path, or ``envoy://listener/id`` within the process.

    Raises
    ------
    ProxyConfigError
        If it is none.
    """
    address.one_of("pipe", "socket_address", "envoy_internal_address")
    pipe = address.message("pipe", neutral=["mode"])
    if pipe is not None:
        return pipe.text("path")
    inner = address.message("envoy_internal_address")
    if inner is not None:
        return f"envoy://{inner.text('server_listener_name')}/{inner.text('endpoint_id')}"
    socket = address.message(
        "socket_address",
        neutral=["protocol", "ipv4_compat", "network_namespace_filepath"],
        ignored={"resolver_name": "", "named_port": "the port is not known"},
    )
    if socket is None:
        raise address.notes.error(address.line, "a socket_address or a pipe is expected")
    host = socket.text("address")
    if not host:
        raise socket.notes.error(socket.line, "an address is expected")
    socket.one_of("port_value", "named_port")
    if "port_value" not in socket and "named_port" not in socket:
        raise socket.notes.error(socket.line, "port_value is expected")
    port = socket.whole("port_value", 0, maximum=65535)
    with contextlib.suppress(ValueError):
        host = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"{host}:{port}"
