"""Writer of Envoy's configuration, as YAML: one listener, its routes in the order of the table, the clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml

from balancekit.checks import HttpCheck
from balancekit.l7 import PathPattern, ValueCondition
from balancekit.l7._patterns import Exact, Prefix, Regex, TextPrefix
from balancekit.proxyconfig._export_facts import Exported
from balancekit.proxyconfig._export_pool import key_parts
from balancekit.proxyconfig._export_routes import RouteRule, path_expression, whole_value
from balancekit.proxyconfig._export_text import literal, spans

__all__ = ["envoy_text"]

TYPES: Final = "type.googleapis.com/envoy.extensions."
MANAGER: Final = "filters.network.http_connection_manager.v3.HttpConnectionManager"
LEAST_REQUEST: Final = "load_balancing_policies.least_request.v3.LeastRequest"
MAX_RING: Final = 8_388_608
NEGATED: Final = frozenset({"is not", "absent"})
TEXTS: Final = {"is": "exact", "is not": "exact", "starts with": "prefix", "contains": "contains"}
POINTS: Final = 1_024
WHOLE: Final = 1_000_000

MAX_LEVEL: Final = 127
MAX_TABLE: Final = 5_000_011
MAX_PERCENT: Final = 1_000_000
"""The largest overprovisioning and balance factor that is written; a larger one changes no choice."""

Table = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writer of YAML that quotes ``y`` and ``n``, which Envoy's parser reads as flags."""


def _written(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text in {*"yYnN"} else None)


_Dumper.add_representer(str, _written)


def envoy_text(pools: Sequence[Exported], rules: Sequence[RouteRule], listen: str) -> str:
    """Return the configuration of Envoy, without comments."""
    by_name = {pool.pool.name: pool for pool in pools}
    routes: list[Table] = [
        {"name": rule.name, "match": _match(rule, pools[0]), "route": _action(rule, by_name)}
        for rule in rules
    ]
    if not rules:
        only = pools[0]
        routes.append({"match": {"prefix": "/"}, "route": {"cluster": only.pool.name, **_keyed(only)}})
    manager = {
        "@type": f"{TYPES}{MANAGER}",
        "stat_prefix": "balancekit",
        "route_config": {
            "name": "balancekit",
            "virtual_hosts": [{"name": "balancekit", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}filters.http.router.v3.Router"},
            }
        ],
    }
    host, _, port = listen.rpartition(":")
    chain = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    listener = {
        "name": "balancekit",
        "address": _socket(host, int(port)),
        "filter_chains": [{"filters": chain}],
    }
    document = {"static_resources": {"listeners": [listener], "clusters": [_cluster(pool) for pool in pools]}}
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)
    return text


def _socket(host: str, port: int) -> Table:
    return {"socket_address": {"address": host.strip("[]"), "port_value": port}}


def _cluster(pool: Exported) -> Table:
    found = pool.pool
    endpoints = []
    levels = [min(member.level, MAX_LEVEL) for member in pool.members]
    if levels != [member.level for member in pool.members]:
        pool.fidelity = "nearest"
        pool.differ(f"Envoy has {MAX_LEVEL + 1} priority levels: the further ones share the last")
    for level in sorted(set(levels)):
        hosts = [
            {
                "endpoint": {"address": _socket(*member.address)},
                "load_balancing_weight": max(1, member.weight),
                **({} if member.weight else {"health_status": "DRAINING"}),
            }
            for member, its in zip(pool.members, levels, strict=True)
            if its == level
        ]
        endpoints.append({"priority": level, "lb_endpoints": hosts})
    assignment: Table = {"cluster_name": found.name, "endpoints": endpoints}
    priority = found.router("Priority")
    if priority is not None and "overprovisioning" in priority:
        assignment["policy"] = {
            "overprovisioning_factor": min(round(priority["overprovisioning"] * 100), MAX_PERCENT)
        }
    named = not all(member.address.numeric for member in pool.members)
    cluster: Table = {
        "name": found.name,
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": "5s",
        **_policy(pool),
        "load_assignment": assignment,
    }
    if pool.bound is not None:
        if found.keyed:
            consistent = {"hash_balance_factor": min(max(100, round(pool.bound * 100)), MAX_PERCENT)}
            cluster["common_lb_config"] = {"consistent_hashing_lb_config": consistent}
        else:
            pool.differ("BoundedLoad needs a hash; it is not written")
    if pool.max_inflight is not None:
        limit = pool.max_inflight * len(pool.members)
        cluster["circuit_breakers"] = {"thresholds": [{"max_requests": limit}]}
        pool.differ("MaxInFlight is one limit for the whole cluster, not one for each endpoint")
    return {**cluster, **_health(pool)}


def _policy(pool: Exported) -> Table:
    found, policy = pool.pool, pool.method.words
    options = found.options
    if found.selector == "LeastRequest":
        settings = {"@type": f"{TYPES}{LEAST_REQUEST}", "selection_method": "FULL_SCAN"}
        extension = {"name": "envoy.load_balancing_policies.least_request", "typed_config": settings}
        return {"load_balancing_policy": {"policies": [{"typed_extension_config": extension}]}}
    if found.selector == "PowerOfChoices":
        draws = options.get("d", 2)
        if draws == 1:
            return {"lb_policy": "RANDOM"}
        return {"lb_policy": policy, "least_request_lb_config": {"choice_count": draws}}
    if policy == "RING_HASH":
        size = max(POINTS, min(MAX_RING, options.get("vnodes", 150) * len(pool.members)))
        return {"lb_policy": policy, "ring_hash_lb_config": {"minimum_ring_size": size}}
    if policy == "MAGLEV" and options.get("size", 0) > MAX_TABLE:
        pool.differ(f"Envoy's table has at most {MAX_TABLE:,} slots; it has the 65,537 of the default")
    elif policy == "MAGLEV" and "size" in options:
        return {"lb_policy": policy, "maglev_lb_config": {"table_size": options["size"]}}
    return {"lb_policy": policy}


def _health(pool: Exported) -> Table:
    found = pool.pool
    made: Table = {}
    health = found.health
    if health is not None:
        ejection = health.ejection
        made["outlier_detection"] = {
            "consecutive_5xx": health.failures.threshold,
            "interval": "1s",
            "base_ejection_time": _time(pool, ejection.base),
            "max_ejection_time": _time(pool, max(ejection.base, ejection.max_duration)),
            "max_ejection_percent": round(ejection.max_share * 100),
            "enforcing_success_rate": 0,
        }
        pool.differ("ejections end by Envoy's interval of 1 s; their length grows by steps, not by a factor")
        if health.warm_up is not None:
            pool.differ("slow start is not written")
    if found.check is not None:
        check: Table = {
            "timeout": _time(pool, found.schedule.timeout),
            "interval": _time(pool, found.schedule.interval),
            "healthy_threshold": health.thresholds.rise if health else 2,
            "unhealthy_threshold": health.thresholds.fall if health else 3,
        }
        if isinstance(found.check, HttpCheck):
            http: Table = {"path": found.check.path}
            check["http_health_check"] = http
            if found.check.host is not None:
                http["host"] = found.check.host
            statuses = [status for status in sorted(found.check.statuses) if 100 <= status < 600]
            http["expected_statuses"] = [{"start": low, "end": high + 1} for low, high in spans(statuses)]
            if found.check.body is not None or found.check.headers:
                pool.differ("the body and the headers of the check are not written")
        else:
            check["tcp_health_check"] = {}
        made["health_checks"] = [check]
    return made


def _keyed(pool: Exported) -> Table:
    """Return the action of a route to a pool: its hash, its retries, its time-out."""
    found: Table = {}
    if pool.pool.keyed:
        kind, name = key_parts(pool.pool.key)
        policy: Table = {"connection_properties": {"source_ip": True}}
        if kind == "cookie":
            policy = {"cookie": {"name": name}}
        elif kind == "query":
            policy = {"query_parameter": {"name": name}}
        elif kind != "client":
            policy = {"header": {"header_name": ":path" if kind == "target" else name}}
        found["hash_policy"] = [policy]
    return found | _retries(pool, pool.pool.attempts, pool.pool.timeout, ())


def _time(pool: Exported, value: float) -> str:
    """Return a time in seconds as Envoy reads it, in whole milliseconds."""
    return f"{pool.milliseconds(value) / 1000:.3f}".rstrip("0").rstrip(".") + "s"


def _retries(pool: Exported, attempts: int, timeout: float | None, statuses: Sequence[int]) -> Table:
    found: Table = {"timeout": _time(pool, timeout) if timeout is not None else "0s"}
    if attempts > 1:
        policy: Table = {
            "retry_on": "connect-failure,refused-stream,reset-before-request"
            + (",retriable-status-codes" if statuses else ""),
            "num_retries": attempts - 1,
        }
        if statuses:
            policy["retriable_status_codes"] = list(statuses)
        found["retry_policy"] = policy
    return found


def _action(rule: RouteRule, pools: dict[str, Exported]) -> Table:
    first = pools[rule.targets[0][0]]
    found = _keyed(first)
    if rule.timeout is not None or rule.attempts > 1:
        found.pop("retry_policy", None)
        found |= _retries(first, rule.attempts, rule.timeout or first.pool.timeout, rule.retry_on)
    if rule.rewrite is not None:
        first.differ(f"route {rule.name}: the rewrite is not written")
    if len(rule.targets) == 1:
        return {"cluster": first.pool.name, **found}
    if rule.by is not None:
        first.differ(
            f"route {rule.name}: the shares are the same, but requests are drawn, not assigned by {rule.by}"
        )
    if len({pools[name].pool.key for name, _ in rule.targets if pools[name].pool.keyed}) > 1:
        first.differ(f"route {rule.name}: its pools hash what the first of them hashes")
    weights = [{"name": name, "weight": round(share * WHOLE)} for name, share in rule.targets]
    return {"weighted_clusters": {"clusters": weights}, **found}


def _match(rule: RouteRule, pool: Exported) -> Table:
    found: Table = _path(rule.path)
    headers: list[Table] = []
    parameters: list[Table] = []
    if rule.host and rule.host != "*":
        name = rule.host.removeprefix("*.")
        start = "" if name == rule.host else r"[^ ]+\."
        expression = rf"(?i){start}{literal(name)}\.?(?::[0-9]+)?"
        headers.append({"name": ":authority", "string_match": {"safe_regex": {"regex": expression}}})
    if rule.methods:
        wanted = "|".join(map(literal, rule.methods))
        headers.append({"name": ":method", "string_match": {"safe_regex": {"regex": wanted}}})
    for condition in rule.conditions:
        test = _condition(condition)
        (parameters if _native(condition) else headers).append(test)
        if condition.kind == "header" and condition.operator == "is not" and not condition.argument:
            pool.differ(f"{condition!r}: an empty value counts as absent")
        if condition.operator == "matches":
            pool.differ(f"{condition!r}: the expression is read as RE2, byte by byte")
        if condition.kind != "header" and not _native(condition):
            pool.differ(f"{condition!r}: of a {condition.kind} sent twice every value counts")
    if isinstance(rule.path, Regex):
        pool.differ(f"route {rule.name}: the expression is read as RE2, and searched for in the path")
    tests: dict[str, list[Table]] = {"headers": headers, "query_parameters": parameters}
    return {**found, **{name: listed for name, listed in tests.items() if listed}}


def _native(condition: ValueCondition) -> bool:
    """Whether Envoy has a test for a condition: one of a parameter, and not negated."""
    return condition.kind == "query" and condition.operator not in NEGATED


def _path(pattern: PathPattern | None) -> Table:
    if pattern is None:
        return {"prefix": "/"}
    if isinstance(pattern, Exact):
        return {"path": pattern.literal}
    if isinstance(pattern, TextPrefix):
        return {"prefix": pattern.literal}
    if isinstance(pattern, Prefix):
        return {"path_separated_prefix": pattern.literal} if pattern.literal else {"prefix": "/"}
    if isinstance(pattern, Regex):
        return {"safe_regex": {"regex": f".*(?:{pattern.expression.pattern}).*"}}
    return {"safe_regex": {"regex": path_expression(pattern, end="")}}


def _condition(condition: ValueCondition) -> Table:
    operator, argument = condition.operator, condition.argument
    negated = {"invert_match": True, "treat_missing_header_as_empty": True}
    if condition.kind == "header" and operator == "is not" and not argument:
        return {
            "name": condition.name,
            "string_match": {"safe_regex": {"regex": ".*"}},
            "treat_missing_header_as_empty": True,
        }
    if condition.kind == "header" and operator in {"present", "absent"}:
        return {"name": condition.name, "present_match": operator == "present"}
    wanted = whole_value(condition)
    if condition.kind == "cookie" or (condition.kind == "query" and operator in NEGATED):
        expression = _inside(condition, wanted)
        name = "cookie" if condition.kind == "cookie" else ":path"
        match: Table = {"safe_regex": {"regex": expression}}
        return {"name": name, "string_match": match, **(negated if operator in NEGATED else {})}
    match = {"safe_regex": {"regex": ".*" if operator in {"present", "absent"} else wanted}}
    if operator in TEXTS:
        match = {TEXTS[operator]: str(argument)}
    return {"name": condition.name, "string_match": match, **(negated if operator in NEGATED else {})}


def _inside(condition: ValueCondition, wanted: str) -> str:
    """Return an expression for a header of cookies, or a path, in which a value occurs."""
    end = ";" if condition.kind == "cookie" else "&"
    anything = f"[^{end}]*"
    if condition.operator in {"present", "absent"}:
        wanted = anything
    elif condition.operator in {"starts with", "contains"}:
        wanted = wanted.replace(".*", anything)
    name = literal(condition.name)
    if condition.kind == "cookie":
        return rf"(?:.*;[ \t]*)?{name}={wanted}[ \t]*(?:;.*)?"
    value = (
        f"(?:={wanted})?" if condition.accepts("") is (condition.operator not in NEGATED) else f"={wanted}"
    )
    return rf"[^?]*\?(?:.*&)?{name}{value}(?:&.*)?"
