"""Findings in configurations of Envoy.

Source: Envoy 1.40, ``config.cluster.v3``, ``config.route.v3`` and ``config.core.v3``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._envoy_cluster import address_of
from balancekit.proxyconfig._envoy_message import Message, Notes
from balancekit.proxyconfig._envoy_policies import lb_policy_of
from balancekit.proxyconfig._envoy_yaml import read_values
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._lint_finding import MIN_POINTS, LintFinding, is_loopback, repeated
from balancekit.proxyconfig._model import Origin, Pool

__all__ = ["leads_to", "lint_envoy", "managers_of", "resources_of", "routes_of"]

DEFAULT_RING: Final = 1024
MIN_SLOW_PERCENT: Final = 1.0
PATHS: Final = ("prefix", "path", "path_separated_prefix")
HASHED: Final = ("RING_HASH", "MAGLEV")


def lint_envoy(config: ProxyConfig) -> Iterator[LintFinding]:
    """Yield the findings of a configuration."""
    resources = resources_of(config.path)
    if resources is None:
        return
    clusters = {cluster.text("name"): cluster for cluster in resources.messages("clusters")}
    managers = list(managers_of(resources))
    routes = [route for manager, _ in managers for route in routes_of(manager)]
    for name, cluster in clusters.items():
        pool = config.pools[name]
        yield from repeated(pool.servers)
        yield from _cluster(cluster, pool)
    for manager, address in managers:
        yield from _one_address(manager, address)
        for host in _hosts(manager):
            yield from _order(host)
    yield from _targets(routes, clusters)


def resources_of(path: str) -> Message | None:
    """Return the static resources of a file."""
    text = Files().read(path, Origin(path, 1))
    notes = Notes(path, json=path.endswith(".json"))
    return Message(read_values(text, path), notes).message("static_resources")


def _finding(message: Message, field: str, rule: str, text: str, advice: str) -> LintFinding:
    origin = message.notes.origin(message.line_of(field))
    return LintFinding(origin=origin, rule=rule, text=text, advice=advice)


def managers_of(resources: Message) -> Iterator[tuple[Message, str]]:
    """Yield the connection managers, each with the address it listens on."""
    for listener in resources.messages("listeners"):
        address = listener.message("address")
        for chain in listener.messages("filter_chains"):
            for one in chain.messages("filters"):
                typed = one.message("typed_config")
                if typed is not None and typed.type.endswith("HttpConnectionManager"):
                    yield typed, "" if address is None else address_of(address)


def _hosts(manager: Message) -> list[Message]:
    routes = manager.message("route_config")
    return [] if routes is None else routes.messages("virtual_hosts")


def routes_of(manager: Message) -> Iterator[Message]:
    """Yield the routes of a connection manager."""
    for host in _hosts(manager):
        yield from host.messages("routes")


def _cluster(cluster: Message, pool: Pool) -> Iterator[LintFinding]:
    hosts = [server for server in pool.servers if not server.down]
    policy = lb_policy_of(cluster)
    if pool.servers and not hosts:
        yield _finding(
            cluster,
            "load_assignment",
            "all-down",
            "every host is marked unhealthy or draining",
            "Remove health_status",
        )
    for server in pool.servers:
        total = sum(
            [one.weight for one in hosts if one.options.get("priority") == server.options.get("priority")]
        )
        if not server.down and server.weight * 2000 < total:
            yield LintFinding(
                origin=server.origin,
                rule="never-serves",
                text=f"its weight is {server.weight} of {total}: less than one request of 2000",
                advice="Raise load_balancing_weight, or remove the host",
            )
    if policy == "RANDOM" and len({server.weight for server in hosts}) > 1:
        yield _finding(
            cluster,
            "lb_policy",
            "weights-ignored",
            "RANDOM looks at no weights",
            "Write lb_policy: ROUND_ROBIN",
        )
    yield from _ring(cluster, len(hosts))
    yield from _slow_start(cluster, policy)
    yield from _checks(cluster)
    yield from _ejections(cluster, len(hosts))


def _checks(cluster: Message) -> Iterator[LintFinding]:
    for check in cluster.messages("health_checks"):
        timeout, interval = check.seconds("timeout"), check.seconds("interval")
        if timeout is not None and interval is not None and timeout > interval:
            yield _finding(
                check,
                "timeout",
                "check-slower-than-its-time-out",
                f"a check may take {timeout:g} s, but is due every {interval:g} s: a host that hangs is found later than "
                "interval and unhealthy_threshold allow",
                f"Write a timeout below {interval:g}s, or a longer interval",
            )


def _ejections(cluster: Message, hosts: int) -> Iterator[LintFinding]:
    outliers = cluster.message("outlier_detection")
    if outliers is None:
        return
    percent = outliers.whole("max_ejection_percent", 10, maximum=100)
    if hosts > 1 and percent * hosts < 100:
        yield _finding(
            outliers,
            "max_ejection_percent",
            "ejects-one-at-most",
            f"{percent} % of {hosts} hosts is less than one: one is ejected, and no second one beside it",
            f"Write max_ejection_percent: {min(100, 2 * -(-100 // hosts))} or more",
        )


def _ring(cluster: Message, hosts: int) -> Iterator[LintFinding]:
    settings = cluster.message("ring_hash_lb_config")
    if lb_policy_of(cluster) != "RING_HASH" or settings is None or hosts < 2:
        return
    least = settings.whole("minimum_ring_size", DEFAULT_RING)
    most = settings.whole("maximum_ring_size", 8_388_608)
    if min(least, most) < hosts * MIN_POINTS:
        field = "minimum_ring_size" if least <= most else "maximum_ring_size"
        points = min(least, most) / hosts
        yield _finding(
            settings,
            field,
            "ring-of-few-points",
            f"the ring has about {points:.0f} points a host: shares of equal hosts differ by about {max(1.0, points) ** -0.5:.0%}",
            f"Write a ring of {hosts * 100} or more, or leave it out",
        )


def _slow_start(cluster: Message, policy: str) -> Iterator[LintFinding]:
    for name in ("round_robin_lb_config", "least_request_lb_config"):
        settings = cluster.message(name)
        slow = None if settings is None else settings.message("slow_start_config")
        if settings is None or slow is None:
            continue
        if policy in HASHED or policy == "RANDOM":
            yield _finding(
                settings,
                "slow_start_config",
                "slow-start-without-effect",
                f"{policy} has no slow start",
                "Write lb_policy: ROUND_ROBIN or LEAST_REQUEST, or remove it",
            )
        percent = slow.message("min_weight_percent")
        least = 10.0 if percent is None else percent.number("value", 0.0, minimum=0.0, maximum=100.0)
        if least < MIN_SLOW_PERCENT:
            yield _finding(
                slow,
                "min_weight_percent",
                "slow-start-starves",
                f"a new host begins with {least:g} % of its weight: it gets next to nothing for most of the window",
                "Write min_weight_percent: { value: 10 }",
            )


def _one_address(manager: Message, address: str) -> Iterator[LintFinding]:
    hops = manager.whole("xff_num_trusted_hops", 0)
    if not is_loopback(address) or hops or manager.flag("use_remote_address"):
        return
    for route in routes_of(manager):
        action = route.message("route")
        for policy in action.messages("hash_policy") if action is not None else ():
            properties = policy.message("connection_properties")
            if properties is not None and properties.flag("source_ip"):
                yield _finding(
                    policy,
                    "connection_properties",
                    "hash-of-one-address",
                    "Envoy listens on this machine only: all connections have one address, and all go to one host",
                    "Hash a header or a cookie, or set xff_num_trusted_hops",
                )


def _order(host: Message) -> Iterator[LintFinding]:
    """Yield routes that no request reaches, because earlier routes take all of them. Only prefixes of a path are compared."""
    before: dict[str, list[tuple[int, str, Message]]] = {}
    lengths: set[int] = set()
    for number, route in enumerate(host.messages("routes")):
        match = route.message("match")
        if match is None:
            continue
        kind = next((word for word in PATHS if word in match), "")
        text = match.text(kind) if kind else ""
        starts = {text[:length] for length in lengths} if kind else {"", "/"}
        covering = [
            (place, known, start, earlier)
            for start in starts
            for place, known, earlier in before.get(start, ())
            if _covers(known, start, kind, text)
        ]
        if covering:
            _, known, start, earlier = min(covering, key=lambda one: one[0])
            yield _finding(
                route,
                "match",
                "unreachable-route",
                f"{known}: {start} in line {earlier.line} takes every request that this route would",
                "Write it before that route, or remove it",
            )
        if kind and _plain(match):
            same = before.setdefault(text, [])
            if all(known != kind for _, known, _ in same):
                same.append((number, kind, match))
            lengths.add(len(text))


def _plain(match: Message) -> bool:
    """Whether only the path is compared."""
    return not any(
        word in match
        for word in (
            "headers",
            "query_parameters",
            "runtime_fraction",
            "grpc",
            "tls_context",
            "dynamic_metadata",
            "filter_state",
            "cookies",
        )
    ) and match.flag("case_sensitive", default=True)


def _covers(kind: str, text: str, other: str, wanted: str) -> bool:
    """Whether a path pattern matches whatever another one does."""
    if not other:
        return kind == "prefix" and text in {"", "/"}
    if kind == "prefix":
        return wanted.startswith(text)
    if kind == "path_separated_prefix":
        return (other != "prefix" and wanted == text) or wanted.startswith(f"{text}/")
    return other == "path" and wanted == text


def _targets(routes: list[Message], clusters: dict[str, Message]) -> Iterator[LintFinding]:
    for route in routes:
        action = route.message("route")
        if action is None:
            continue
        name = action.text("cluster")
        if name in clusters and lb_policy_of(clusters[name]) in HASHED and "hash_policy" not in action:
            yield _finding(
                action,
                "cluster",
                "nothing-to-hash",
                f"cluster {name} hashes, but this route has no hash_policy: hosts are drawn at random",
                "Write a hash_policy on the route",
            )
        retry = action.message("retry_policy")
        whole = action.seconds("timeout")
        if retry is not None:
            yield from _retries(retry, 15.0 if whole is None else whole)
    led = [leads_to(route) for route in routes]
    named = {name for found in led if found is not None for name in found}
    for name, cluster in clusters.items() if routes and None not in led else ():
        if name not in named:
            yield _finding(
                cluster,
                "name",
                "unused-pool",
                f"no route leads to cluster {name}",
                "Name it in a route, or remove it",
            )


def _retries(retry: Message, whole: float) -> Iterator[LintFinding]:
    if not retry.text("retry_on"):
        yield _finding(
            retry,
            "num_retries",
            "no-retries",
            "without retry_on nothing is retried",
            "Write retry_on: connect-failure",
        )
    per_try = retry.seconds("per_try_timeout")
    if per_try is not None and whole and per_try >= whole:
        yield _finding(
            retry,
            "per_try_timeout",
            "no-way-around",
            f"one try may take {per_try:g} s, and all together {whole:g} s: a host that hangs leaves no time for another",
            f"Write a per_try_timeout below {whole / 2:g}s",
        )


def leads_to(route: Message) -> list[str] | None:
    """Return the clusters that a route leads to, ``None`` if only a request names it."""
    action = route.message("route")
    if action is None:
        return []
    if "cluster_header" in action:
        return None
    weighted = action.message("weighted_clusters")
    shares = [] if weighted is None else weighted.messages("clusters")
    if any("cluster_header" in one for one in shares):
        return None
    listed = [one.text("name") for one in shares]
    return [action.text("cluster"), *listed]
