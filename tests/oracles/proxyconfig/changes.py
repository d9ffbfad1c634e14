"""Planted changes of configurations of nginx, HAProxy and Envoy: two hashed pools, and one that takes turns.

``main`` is a ring, ``other`` a table, both hashed by the header X-User; a request for ``/o`` goes to ``other``.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = ["CHANGES", "KINDS", "Shape", "requests", "text"]

KINDS = ("nginx", "haproxy", "envoy")
KEYS = 300


class Host(NamedTuple):
    """A server of both pools: its place among six addresses, and what is said of it."""

    place: int
    name: str
    weight: int = 1
    down: bool = False
    backup: bool = False


class Shape(NamedTuple):
    """A configuration."""

    hosts: tuple[Host, ...] = (Host(0, "a"), Host(1, "b", 2), Host(2, "c"), Host(3, "d"))
    ring: str = "ring"
    key: str = "X-User"
    function: int = 0
    extra: bool = False
    """Whether ``/a`` goes to ``other`` too."""


BASE = Shape()
CHANGES: dict[str, Shape] = {
    "nothing": BASE,
    "added at the end": BASE._replace(hosts=(*BASE.hosts, Host(4, "e"))),
    "added in front": BASE._replace(hosts=(Host(4, "e"), *BASE.hosts)),
    "removed": BASE._replace(hosts=(BASE.hosts[0], *BASE.hosts[2:])),
    "weight changed": BASE._replace(hosts=(Host(0, "a", 3), *BASE.hosts[1:])),
    "order changed": BASE._replace(hosts=(BASE.hosts[2], BASE.hosts[1], BASE.hosts[0], BASE.hosts[3])),
    "algorithm changed": BASE._replace(ring="table"),
    "renamed": BASE._replace(hosts=(Host(0, "z"), *BASE.hosts[1:])),
    "port changed": BASE._replace(hosts=(*BASE.hosts[:3], Host(5, "d"))),
    "taken out": BASE._replace(hosts=(*BASE.hosts[:2], Host(2, "c", down=True), BASE.hosts[3])),
    "key changed": BASE._replace(key="X-Other"),
    "function changed": BASE._replace(function=1),
    "route moved": BASE._replace(extra=True),
}
"""By name: a shape that follows ``BASE``. ``nothing`` plans a change that is none."""


def requests() -> list[dict[str, Any]]:
    """Return a request for each key and pool, and some for ``/a``."""
    found = []
    for number in range(KEYS):
        path = ("/", "/o", "/a/")[number % 3] if number % 6 < 5 else "/"
        headers = [["X-User", f"user-{number * 7919}"], ["X-Other", f"other-{number * 104729}"]]
        found.append(
            {
                "target": path,
                "host": "shop.test",
                "headers": headers,
                "client": f"127.1.{number // 200}.{number % 200 + 2}",
            }
        )
    return found


def text(kind: str, shape: Shape, addresses: list[str], port: int) -> str:
    """Return a configuration."""
    return {"nginx": _nginx, "haproxy": _haproxy, "envoy": _envoy}[kind](shape, addresses, port)


def _nginx(shape: Shape, addresses: list[str], port: int) -> str:
    servers = "\n".join(
        f"        server {addresses[host.place]} weight={host.weight}{' down' if host.down else ''};"
        for host in shape.hosts
    )
    key = "$http_" + shape.key.lower().replace("-", "_") + ("$host" if shape.function else "")
    ring = " consistent" if shape.ring == "ring" else ""
    return f"""worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    upstream main {{
        hash {key}{ring};
{servers}
    }}
    upstream other {{
        hash {key};
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://main; }}
        location /o {{ proxy_pass http://other; }}
        location /a/ {{ proxy_pass http://{"other" if shape.extra else "main"}; }}
    }}
}}
"""


def _haproxy(shape: Shape, addresses: list[str], port: int) -> str:
    servers = "\n".join(
        f"    server {host.name} {addresses[host.place]} weight {host.weight}{' disabled' if host.down else ''}"
        for host in shape.hosts
    )
    function = " djb2" if shape.function else " sdbm"
    ring = "consistent" if shape.ring == "ring" else "map-based"
    return f"""global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind 127.0.0.1:{port}
    acl other path /o
    acl extra path_beg /{"a" if shape.extra else "nothing"}
    use_backend other if other or extra
    default_backend main
backend main
    balance hdr({shape.key})
    hash-type {ring}{function} avalanche
{servers}
backend other
    balance hdr({shape.key})
    hash-type map-based{function} avalanche
{servers}
"""


def _envoy(shape: Shape, addresses: list[str], port: int) -> str:
    def where(address: str) -> dict[str, Any]:
        host, _, number = address.rpartition(":")
        return {"socket_address": {"address": host, "port_value": int(number)}}

    hosts = []
    for host in shape.hosts:
        one: dict[str, Any] = {
            "endpoint": {"address": where(addresses[host.place]), "hostname": host.name},
            "load_balancing_weight": host.weight,
        }
        if host.down:
            one["health_status"] = "UNHEALTHY"
        hosts.append(one)

    def cluster(name: str, policy: str) -> dict[str, Any]:
        found = {
            "name": name,
            "lb_policy": policy,
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        }
        if policy == "MAGLEV":
            found["maglev_lb_config"] = {"table_size": 1021 if shape.function else 509}
        else:
            found["ring_hash_lb_config"] = {"hash_function": "MURMUR_HASH_2" if shape.function else "XX_HASH"}
        return found

    def to(name: str) -> dict[str, Any]:
        return {"cluster": name, "hash_policy": [{"header": {"header_name": shape.key.lower()}}]}

    routes = [
        {"match": {"path": "/o"}, "route": to("other")},
        {"match": {"prefix": "/a/"}, "route": to("other" if shape.extra else "main")},
        {"match": {"prefix": "/"}, "route": to("main")},
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    listener = {
        "address": where(f"127.0.0.1:{port}"),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    document = {
        "static_resources": {
            "listeners": [listener],
            "clusters": [
                cluster("main", "RING_HASH" if shape.ring == "ring" else "MAGLEV"),
                cluster("other", "MAGLEV"),
            ],
        }
    }
    return json.dumps(document, indent=1) + "\n"
