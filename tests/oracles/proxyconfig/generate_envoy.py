"""Configurations of Envoy for tests: shapes of its documentation's examples written anew, and random ones.

Six servers are given by their addresses. The same seed makes the same configuration; requests are those of
``generate.requests_of`` with a cookie, and a number that draws.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.oracles.proxyconfig import generate, shapes

__all__ = ["COUNT", "envoy_text", "requests_of", "suffix"]

DRAWN = 30
COUNT = DRAWN + len(shapes.ENVOY)
MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
POLICIES = ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV")
HASHES = (
    [{"header": {"header_name": "x-user"}}],
    [{"query_parameter": {"name": "user"}}],
    [{"connection_properties": {"source_ip": True}}],
    [{"cookie": {"name": "session"}}],
    [{"header": {"header_name": "x-user"}, "terminal": True}, {"connection_properties": {"source_ip": True}}],
    [{"header": {"header_name": ":path"}}],
    [{"query_parameter": {"name": "n"}}, {"header": {"header_name": "x-user"}}],
)


def envoy_text(seed: int, addresses: list[str], port: int) -> str:
    """Return a bootstrap: every third as YAML with anchors, every third as JSON, the others as block YAML."""
    if seed >= DRAWN:
        return shapes.ENVOY[seed - DRAWN](addresses, port)
    rng = Random(f"envoy {seed}")
    clusters = [
        _cluster(f"p{number}", POLICIES[(seed + 2 * number) % 5], rng, addresses) for number in range(3)
    ]
    clusters.append(
        _subsets("sub", rng, addresses) if seed % 3 == 0 else _localities("zones", rng, addresses)
    )
    clusters += [_single(f"one{number}", address) for number, address in enumerate(addresses[:2])]
    document = {
        "static_resources": {
            "listeners": [
                {
                    "name": "web",
                    "address": _address(f"127.0.0.1:{port}"),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": _manager(seed, rng)}]}],
                }
            ],
            "clusters": clusters,
        }
    }
    if seed % 3 == 1:
        return json.dumps(document, indent=1) + "\n"
    return _yaml(document) + "\n"


def requests_of(seed: int) -> list[dict[str, Any]]:
    """Return the requests for a configuration."""
    rng = Random(f"envoy requests {seed}")
    found = generate.requests_of(seed)
    for one in found:
        if rng.random() < 0.8:
            one["headers"].append(["Cookie", f"a=b; session=s{rng.randint(1, 40)}"])
        if rng.random() < 0.8:
            one["headers"].append(["X-Draw", str(rng.randint(0, 1000))])
        if rng.random() < 0.2:
            one["headers"].append(
                ["X-Forwarded-For", f"10.0.0.{rng.randint(1, 9)}, 10.1.0.{rng.randint(1, 9)}"]
            )
    return found


def suffix(seed: int) -> str:
    """Return how the file's name ends."""
    return ".json" if seed % 3 == 1 and seed < DRAWN else ".yaml"


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _single(name: str, address: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(address)}}]}],
        },
    }


def _cluster(name: str, policy: str, rng: Random, addresses: list[str]) -> dict[str, Any]:
    """Return a cluster with weights, priorities and health."""
    hosts: list[dict[str, Any]] = []
    weighted = rng.random() < 0.6
    for place, address in enumerate(rng.sample(addresses, rng.randint(2, 5))):
        host: dict[str, Any] = {"endpoint": {"address": _address(address)}}
        if weighted:
            host["load_balancing_weight"] = rng.choice((1, 2, 4))
        if place == 2 and policy in {"RING_HASH", "MAGLEV", "RANDOM"} and rng.random() < 0.4:
            host["health_status"] = rng.choice(("UNHEALTHY", "DRAINING", "HEALTHY"))
        hosts.append(host)
    levels: list[dict[str, Any]] = [{"lb_endpoints": hosts}]
    if policy != "RANDOM" and len(hosts) > 3 and rng.random() < 0.5:
        levels = [{"lb_endpoints": hosts[:-1]}, {"priority": 1, "lb_endpoints": hosts[-1:]}]
    found: dict[str, Any] = {
        "name": name,
        "type": rng.choice(("STATIC", "STRICT_DNS")),
        "connect_timeout": "1s",
        "lb_policy": policy,
        "load_assignment": {"cluster_name": name, "endpoints": levels},
    }
    if policy == "RING_HASH" and rng.random() < 0.7:
        found["ring_hash_lb_config"] = {
            "minimum_ring_size": rng.choice((16, 128, 1500)),
            "hash_function": rng.choice(("XX_HASH", "MURMUR_HASH_2")),
        }
    if policy == "MAGLEV":
        found["maglev_lb_config"] = {"table_size": rng.choice((251, 509))}
    if policy == "LEAST_REQUEST" and rng.random() < 0.5:
        found["least_request_lb_config"] = {"choice_count": rng.choice((2, 3))}
    return found


def _subsets(name: str, rng: Random, addresses: list[str]) -> dict[str, Any]:
    """Return a cluster whose hosts have versions and stages, as in the documentation of subsets."""
    hosts = []
    for place, address in enumerate(addresses):
        metadata = {"version": "1.0" if place < 3 else "1.1", "stage": ("prod", "dev")[place % 2]}
        hosts.append(
            {
                "endpoint": {"address": _address(address)},
                "metadata": {"filter_metadata": {"envoy.lb": metadata}},
            }
        )
    return {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "RING_HASH",
        "lb_subset_config": {
            "fallback_policy": rng.choice(("ANY_ENDPOINT", "DEFAULT_SUBSET", "NO_FALLBACK")),
            "default_subset": {"stage": "prod"},
            "subset_selectors": [{"keys": ["version", "stage"]}, {"keys": ["version"]}],
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
    }


def _localities(name: str, rng: Random, addresses: list[str]) -> dict[str, Any]:
    """Return a cluster of three zones, weighted."""
    groups = [
        {
            "locality": {"region": "r", "zone": f"z{zone}"},
            "load_balancing_weight": rng.randint(1, 4),
            "lb_endpoints": [
                {"endpoint": {"address": _address(address)}} for address in addresses[2 * zone : 2 * zone + 2]
            ],
        }
        for zone in range(3)
    ]
    return {
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "RANDOM",
        "common_lb_config": {"locality_weighted_lb_config": {}},
        "load_assignment": {"cluster_name": name, "endpoints": groups},
    }


def _manager(seed: int, rng: Random) -> dict[str, Any]:
    order = rng.sample(range(3), 3)

    def to(name: str, **more: Any) -> dict[str, Any]:
        return {"cluster": name, "hash_policy": rng.choice(HASHES), **more}

    kind = "sub" if seed % 3 == 0 else "zones"
    subset = rng.choice(
        ({"version": "1.0"}, {"version": "1.1", "stage": "dev"}, {"version": "2"}, {"stage": "dev"})
    )
    more = {"metadata_match": {"filter_metadata": {"envoy.lb": subset}}} if kind == "sub" else {}
    shares = [{"name": "one0", "weight": rng.randint(1, 9)}, {"name": "one1", "weight": rng.randint(1, 9)}]
    weighted: dict[str, Any] = {"clusters": shares}
    if seed % 4 == 1:
        weighted["header_name"] = "x-draw"
    elif seed % 4 == 2:
        weighted["use_hash_policy"] = True
    shop = [
        {"match": {"path": "/shop"}, "direct_response": {"status": 410, "body": {"inline_string": "gone"}}},
        {
            "match": {"prefix": "/img/x1"},
            "redirect": rng.choice(
                (
                    {"host_redirect": "static.test", "https_redirect": True},
                    {"path_redirect": "/moved", "response_code": "FOUND"},
                    {"port_redirect": 8443, "strip_query": True, "response_code": "PERMANENT_REDIRECT"},
                )
            ),
        },
        {
            "match": {
                "safe_regex": {"regex": "/(a|x1)/[a-z]+.*"},
                "headers": [{"name": "x-user", "present_match": True}],
            },
            "route": {"weighted_clusters": weighted, "hash_policy": HASHES[0]},
        },
        {
            "match": {
                "prefix": "/a",
                "case_sensitive": rng.random() < 0.5,
                "query_parameters": [{"name": "n", "string_match": {"exact": str(rng.randint(1, 9))}}],
            },
            "route": to(f"p{order[1]}"),
        },
        {"match": {"path_separated_prefix": "/api"}, "route": to(f"p{order[1]}", prefix_rewrite="/")},
        {"match": {"prefix": "/"}, "route": to(f"p{order[0]}", timeout="15s")},
    ]
    api = [
        {
            "match": {"prefix": "/", "headers": [{"name": "x-user", "string_match": {"prefix": "u1"}}]},
            "route": to(kind, **more),
        },
        {
            "match": {
                "prefix": "/",
                "headers": [
                    {
                        "name": "x-user",
                        "string_match": {"safe_regex": {"regex": "u[2-5].*"}},
                        "invert_match": True,
                    }
                ],
            },
            "route": to(f"p{order[2]}"),
        },
    ]
    hosts = [
        {"name": "shop", "domains": ["shop.test", "www.shop.test"], "routes": shop},
        {"name": "api", "domains": ["*.shop.test"], "routes": api},
    ]
    if seed % 2:
        rest = {"match": {"prefix": "/"}, "route": to(f"p{order[2]}")}
        hosts.append({"name": "rest", "domains": ["*"], "routes": [rest]})
    found: dict[str, Any] = {
        "@type": MANAGER,
        "stat_prefix": "web",
        "codec_type": "AUTO",
        "normalize_path": rng.random() < 0.5,
        "merge_slashes": rng.random() < 0.5,
        "route_config": {"name": "local", "virtual_hosts": hosts},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    if rng.random() < 0.5:
        found["use_remote_address"] = True
    return found


def _yaml(value: Any, indent: str = "") -> str:
    """Write a document as block YAML, texts with quotes where words would mean something else."""
    if isinstance(value, dict) and value:
        lines = []
        for key, inner in value.items():
            name = json.dumps(key) if key[0] in "@:" else key
            if isinstance(inner, dict | list) and inner:
                lines.append(f"{indent}{name}:\n{_yaml(inner, indent + '  ')}")
            else:
                lines.append(f"{indent}{name}: {_scalar(inner)}")
        return "\n".join(lines)
    if isinstance(value, list) and value:
        return "\n".join(f"{indent}- {_yaml(inner, indent + '  ').lstrip()}" for inner in value)
    return indent + _scalar(value)


def _scalar(value: Any) -> str:
    if (
        isinstance(value, str)
        and value.replace("_", "").replace("-", "").isalpha()
        and value.lower() not in {"y", "n"}
    ):
        return value
    return json.dumps(value)
