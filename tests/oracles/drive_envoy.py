"""Driver of ``balancekit.compat.envoy`` for traces of Envoy.

:func:`candidates` takes a trace without its outputs and yields what they may be: one answer, or one for
every starting point where Envoy starts at a random one. Nothing here knows a trace by its name; what the
configuration says in Envoy's field names becomes a :class:`~balancekit.compat.envoy.Cluster`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random
from typing import Any

import _envoy_rules
from _choices import Choices
from _events import events_of

from balancekit.compat import envoy
from balancekit.compat.envoy._unkeyed import in_service
from balancekit.events import Ejected, EjectionRefused, Event, Restored
from balancekit.l4 import client_hello

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_250_101
DEFAULT_KEY = "x-key"
"""The header that carries the key where the configuration names none."""

STARTS = 100_000
"""How many starting points are tried at most."""

OFFSETS = 60
"""Into how many parts an interval is cut to find where its timer started."""

SAMPLES = 1_000
"""Requests a second while shares over time are counted."""

WINDOW = 0.1
"""Seconds over which they are counted."""

SETTLED = 1_000.0
"""Seconds that the cluster has been up before the observation begins."""

LATENCIES = (0.001, 0.003, 0.006, 0.01, 0.0005, 0.002, 0.0015, 0.0025, 0.004, 0.005, 0.008)
"""Seconds a health check may take."""

RUNS = 4_000
"""Runs with ejections that are tried at most."""

RESPONSE = 0.002
"""Seconds from a request until what its answer led to."""

NEAR = 0.01
"""Seconds within which either of two timers may be the first."""

REFUSED = 503
"""What a client gets if its server refuses."""

OK = 200
"""What a server answers that nothing was set for."""


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    cluster = trace["config"].get("cluster", {})
    if (
        trace["kind"] == "timeline"
        and "health_checks" in cluster
        and "outlier_detection" not in cluster
        and "plan" in trace["inputs"]
    ):
        yield from _checks(trace)
        return
    if trace["kind"] == "timeline" and "outlier_detection" in cluster and "plan" in trace["inputs"]:
        yield from _outliers(trace)
        return
    for outputs in _outputs(trace):
        yield {"outputs": outputs}


def _outputs(trace: Json) -> Iterator[Any]:
    kind = trace["kind"]
    if kind == "l4-routes":
        yield _filter_chains(trace)
        return
    cluster = trace["config"]["cluster"]
    if kind == "subsets":
        yield _sets(trace)
    elif "retry_budget" in str(cluster):
        yield _envoy_rules.retries(trace, _number)
    elif "token_bucket" in cluster:
        yield from _envoy_rules.limited(trace, _seconds)
    elif kind != "timeline":
        yield from _requests(trace)
    elif "answers" in trace["inputs"]:
        yield from _envoy_rules.rates(trace, _outlier_settings(cluster))
    else:
        yield _warm_up(trace)


def _filter_chains(trace: Json) -> list[Json]:
    """Return the chain that takes each connection; a name or a list of protocols needs a ClientHello."""
    routes = envoy.filter_chains(trace["config"]["rules"])
    found = []
    for connection in trace["inputs"]["connections"]:
        hello = None
        if "sni" in connection:
            alpn = tuple(connection.get("alpn") or ())
            hello = client_hello.ClientHello(sni=connection["sni"], alpn=alpn, versions=("TLSv1.2",))
        found.append({"pool": routes.match((connection["src"], 0), (connection["dst"], 0), hello)})
    return found


# ---------------------------------------------------------------------- configuration


def _number(value: Any) -> Any:
    """Return the number in a field: plain, quoted, or wrapped with its run-time key."""
    if isinstance(value, Mapping):
        return _number(value.get("value", value.get("default_value", 0)))
    return (
        float(value)
        if isinstance(value, str) and "." in value
        else int(value)
        if isinstance(value, str)
        else value
    )


def _seconds(value: str) -> float:
    return float(value.removesuffix("s"))


def _policy(cluster: Json, *, whole: bool = False) -> tuple[str, Json]:
    """Return the policy's name and fields, wherever they are: without the override of hosts, unless ``whole``."""
    if "load_balancing_policy" not in cluster:
        name = cluster.get("lb_policy", "ROUND_ROBIN")
        return name, cluster.get(f"{name.lower()}_lb_config", {})
    fields = cluster["load_balancing_policy"]["policies"][0]["typed_extension_config"]["typed_config"]
    kind = fields["@type"].rsplit(".", 1)[-1]
    if kind == "OverrideHost" and not whole:
        return _policy({"load_balancing_policy": fields["fallback_policy"]})
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).upper(), fields


def _maker(cluster: Json, start: int) -> Callable[[], Any]:
    """Return what makes the policy."""
    name, fields = _policy(cluster)
    common = cluster.get("common_lb_config", {}).get("consistent_hashing_lb_config", {})
    hashing = {**common, **fields.get("consistent_hashing_lb_config", {}), **fields}
    options: dict[str, Any] = {}
    if name in {"RING_HASH", "MAGLEV"}:
        for field in ("hash_balance_factor", "minimum_ring_size", "maximum_ring_size", "table_size"):
            if field in hashing:
                options[field] = _number(hashing[field])
        for field in ("hash_function", "use_hostname_for_hashing"):
            if field in hashing:
                options[field] = hashing[field]
        return lambda: (envoy.RingHash if name == "RING_HASH" else envoy.Maglev)(**options)
    if name == "LEAST_REQUEST":
        for field in ("choice_count", "active_request_bias"):
            if field in fields:
                options[field] = _number(fields[field])
        if "selection_method" in fields:
            options["selection_method"] = fields["selection_method"]
        return lambda: envoy.LeastRequest(start=start, **options)
    return envoy.Random if name == "RANDOM" else lambda: envoy.RoundRobin(start=start)


def _hash_policy(config: Json) -> list[envoy.HashPolicy]:
    found: list[envoy.HashPolicy] = []
    for policy in config.get("hash_policy", [{"header": {"header_name": DEFAULT_KEY}}]):
        terminal = bool(policy.get("terminal", False))
        if "header" in policy:
            found.append(envoy.Header(name=policy["header"]["header_name"], terminal=terminal))
        elif "query_parameter" in policy:
            found.append(envoy.QueryParameter(name=policy["query_parameter"]["name"], terminal=terminal))
        elif policy.get("connection_properties", {}).get("source_ip"):
            found.append(envoy.SourceAddress(terminal=terminal))
        else:
            raise ValueError(f"a hash policy we do not have: {policy}")
    return found


def _request(policies: list[envoy.HashPolicy], key: Any) -> envoy.Request:
    """Put the key, or one key per policy, where the policies look."""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    source = ""
    for policy, value in zip(policies, key if isinstance(key, list) else [key] * len(policies), strict=False):
        if value is None:
            continue
        if isinstance(policy, envoy.Header):
            headers[policy.name.lower()] = value
        elif isinstance(policy, envoy.QueryParameter):
            query[policy.name] = value
        else:
            source = value
    return envoy.Request(headers=headers, query=query, source=source)


def _hosts(config: Json) -> list[envoy.Host]:
    """Return the hosts; where names are looked up, one without a name of its own has the name that was looked up."""
    named = str(config["cluster"].get("type", "")).endswith("_DNS")
    return [
        envoy.Host(
            name=server["name"],
            address=server["address"],
            weight=server.get("weight", 1),
            priority=server.get("priority", 0),
            hostname=server.get("hostname") or (server["address"].rpartition(":")[0] if named else ""),
            zone=server.get("zone", ""),
            metadata=server.get("metadata", {}),
        )
        for server in config["servers"]
    ]


def _cluster(
    trace: Json,
    *,
    start: int = 0,
    since: float = -SETTLED,
    unhealthy: Collection[str] = (),
    policy: Callable[[], Any] | None = None,
    **options: Any,
) -> envoy.Cluster:
    """Return the cluster as it stands at time 0, some time after its hosts' health was learned."""
    config = trace["config"]
    cluster = config["cluster"]
    common = cluster.get("common_lb_config", {})
    if "lb_subset_config" in cluster:
        options["subsets"] = _envoy_rules.subsets(cluster["lb_subset_config"])
    found = envoy.Cluster(
        _hosts(config),
        policy or _maker(cluster, start),
        hash_policy=_hash_policy(config),
        overprovisioning_factor=config.get("overprovisioning_factor", 140),
        healthy_panic_threshold=round(_number(common.get("healthy_panic_threshold", 50))),
        update_merge_window=_seconds(common.get("update_merge_window", "1s")),
        rng=Random(SEED),
        now=since,
        **_envoy_rules.zones(config, _number),
        **options,
    )
    for server in config["servers"]:
        health = "UNHEALTHY" if server["name"] in unhealthy else server.get("health", "HEALTHY")
        if health in {"DEGRADED", "DRAINING"}:
            found.set_health(server["name"], envoy.Health(health), now=since)
        elif health not in {"HEALTHY", "UNKNOWN"}:
            found.set_health(server["name"], envoy.Health.UNHEALTHY, now=since)
    found.advance(now=0.0)
    return found


def _starts(trace: Json) -> int:
    """Return how many starting points differ: a whole cycle of the weights, and of every number of hosts."""
    if trace["match"] == "exact":
        return 1
    weights = [server.get("weight", 1) for server in trace["config"]["servers"]]
    if len(set(weights)) == 1:
        return math.lcm(*range(1, len(weights) + 1))
    return min(STARTS, sum(weights) // math.gcd(*weights))


# ---------------------------------------------------------------------- requests without a clock


def _requests(trace: Json) -> Iterator[Any]:
    if trace["kind"] == "distribution":
        yield {"counts": _counts(trace)}
        return
    events = events_of(trace)
    for start in range(_starts(trace)):
        yield _script(trace, events, start)


def _sets(trace: Json) -> list[Json]:
    """Count where requests go, each made several times: by their metadata, or to the hosts that they name."""
    cluster = _cluster(trace)
    kind, fields = _policy(trace["config"]["cluster"], whole=True)
    override: envoy.OverrideHost | None = None
    if kind == "OVERRIDE_HOST":
        headers = [source["header"] for source in fields["override_host_sources"]]
        override = envoy.OverrideHost(cluster, _hosts(trace["config"]), headers=headers)
    addresses = {server["name"]: server["address"] for server in trace["config"]["servers"]}
    outputs = []
    for request in trace["inputs"]["requests"]:
        if override is not None:
            wanted = ",".join(addresses.get(name, name) for name in request["want"] or ())
            asked = envoy.Request(headers={headers[0].lower(): wanted} if wanted else {})
        else:
            asked = envoy.Request(metadata=request)
        counts: Counter[str] = Counter()
        for _ in range(trace["inputs"]["times"]):
            host = (override or cluster).acquire(asked, now=0.0)
            counts["503" if host is None else host] += 1
            if host is not None:
                cluster.release(host, now=0.0)
        outputs.append(dict(counts))
    return outputs


def _script(trace: Json, events: list[Json], start: int) -> list[str]:
    cluster = _cluster(trace, start=start)
    policies = _hash_policy(trace["config"])
    picked: list[str] = []
    held: dict[Any, str] = {}
    for event in events:
        if event["op"] == "release":
            cluster.release(held.pop(event["id"]), now=0.0)
        elif event["op"] in {"get", "hold"}:
            for _ in range(event.get("n", 1)):
                host = cluster.acquire(_request(policies, event.get("key")), now=0.0)
                picked.append("503" if host is None else host)
                if event["op"] == "hold" and host is not None:
                    held[event["id"]] = host
                elif host is not None:
                    cluster.release(host, now=0.0)
        else:
            raise ValueError(f"an event we do not have: {event}")
    return picked


def _counts(trace: Json) -> dict[str, int]:
    cluster = _cluster(trace)
    inputs = trace["inputs"]
    _hold(cluster, inputs.get("held_requests", {}))
    counts: Counter[str] = Counter()
    for _ in range(inputs["requests"]):
        host = cluster.acquire(now=0.0)
        counts["503" if host is None else host] += 1
        if host is not None:
            cluster.release(host, now=0.0)
    return dict(counts)


def _hold(cluster: envoy.Cluster, wanted: Mapping[str, int]) -> None:
    """Get the hosts as busy as they were: acquire until each has enough, then let go of the rest."""
    taken: Counter[str] = Counter()
    for _ in range(1_000 * sum(wanted.values())):
        if all(taken[host] >= count for host, count in wanted.items()):
            break
        host = cluster.acquire(now=0.0)
        if host is not None:
            taken[host] += 1
    for host, count in taken.items():
        for _ in range(count - wanted.get(host, 0)):
            cluster.release(host, now=0.0)


# ---------------------------------------------------------------------- time lines


def _offsets(interval: float, parts: int = OFFSETS) -> Iterator[float]:
    """Yield where in its interval a timer may stand when the observation begins."""
    for part in range(parts):
        yield interval * (part + 0.5) / parts


def _outliers(trace: Json) -> Iterator[Json]:
    """Send requests at a steady rate; what is not known of the run is tried depth first.

    That is where the rotation and the interval timer were at the start, how many requests came before (in panic all hosts
    have a rotation of their own, which those have not moved), and the order of what came close together. ``tell`` may
    be told when the last answer and the recorded one parted: what did not matter by then is not varied.
    """
    settings = _outlier_settings(trace["config"]["cluster"])
    choices = Choices()
    for _ in range(RUNS):
        parted = [math.inf]
        yield {"outputs": _OutlierRun(trace, settings, choices).seen, "tell": parted.append}
        if not choices.advance(until=parted[-1]):
            return


class _Schedules:
    """Weighted round robin of a cluster whose hosts change: a choice of where the schedule of each set of hosts begins.

    Envoy begins every schedule after the same random number of picks, of which each tells the rest modulo its own length.
    """

    keyed = False
    default_load = envoy.RoundRobin.default_load

    def __init__(
        self, choices: Choices, begun: dict[tuple[str, ...], tuple[int, int]], now: Callable[[], float]
    ) -> None:
        self._choices, self._begun, self._now = choices, begun, now
        self._snapshot: Any = None
        self._policy: Any = None
        self._in_turn: Any = None
        """The rotation of hosts of one weight, which goes on when hosts change."""

    def select(self, snapshot: Any, ctx: Any, /) -> Any:
        """Return the next host by the schedule of the present hosts."""
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._policy = self._of(snapshot.derive(in_service))
        return self._policy.select(snapshot, ctx)

    def _of(self, nodes: Any) -> Any:
        weights = [round(node.weight) for node in nodes]
        equal = len(set(weights)) < 2
        if equal and self._in_turn is not None:
            return self._in_turn
        length = max(1, len(nodes)) if equal else sum(weights) // math.gcd(*weights)
        policy = envoy.RoundRobin(start=self._begin(tuple(node.id for node in nodes), length))
        if equal:
            self._in_turn = policy
        return policy

    def _begin(self, hosts: tuple[str, ...], length: int) -> int:
        if hosts not in self._begun:
            possible = [
                begin
                for begin in range(length)
                if all(
                    (begin - other) % math.gcd(length, whole) == 0 for other, whole in self._begun.values()
                )
            ]
            chosen = self._choices.of(("schedule", hosts), len(possible), since=self._now())
            self._begun[hosts] = possible[chosen], length
        return self._begun[hosts][0]


def _outlier_settings(cluster: Json) -> envoy.OutlierDetection:
    fields = cluster["outlier_detection"]
    return envoy.OutlierDetection(
        **{name: _setting(value) for name, value in fields.items() if name in envoy.OutlierDetection._fields}
    )


def _setting(value: Any) -> Any:
    return _seconds(value) if isinstance(value, str) and value.endswith("s") else _number(value)


class _OutlierRun:
    """One run of a time line with ejections, by the choices made for it; ``seen`` is what happens."""

    def __init__(self, trace: Json, settings: envoy.OutlierDetection, choices: Choices) -> None:
        self.seen: list[Json] = []
        self._choices = choices
        self._settings = settings
        self._plan = sorted(trace["inputs"]["plan"], key=lambda step: step["t"])
        self._gap = 1.0 / trace["inputs"]["requests_per_second"]
        self._out: set[str] = set()
        self._ejected = -math.inf
        self._back: dict[str, tuple[float, int]] = {}
        """When hosts returned, and what their base time was multiplied by."""
        self._slipped = False
        self._ending: list[Any] = []
        """Levels whose merge window ends at the request that is made."""
        # Between two requests it does not matter when a tick is.
        gaps = settings.interval / self._gap
        parts = min(OFFSETS, round(gaps)) if math.isclose(gaps, round(gaps)) else OFFSETS
        offsets = [*_offsets(settings.interval, parts)]
        starts = _starts(trace)
        start = choices.of("start", starts, since=0.0)
        before = choices.of("before", len(trace["config"]["servers"]))
        early = offsets[choices.of("tick", parts)]
        early -= settings.interval * math.ceil(SETTLED / settings.interval)
        begin = (start - before) % starts
        hosts = _hosts(trace["config"])
        weighted = len({host.weight for host in hosts}) > 1
        begun = {tuple(host.name for host in hosts): (begin, starts)}
        self._cluster = _cluster(
            trace,
            start=begin,
            policy=(lambda: _Schedules(choices, begun, lambda: self._cluster._now)) if weighted else None,
            since=early,
            listeners=[self._hear],
            outlier_detection=settings,
        )
        self._detector: Any = self._cluster._detector
        # Rates are judged in the order of a hash table; that matters where the cap stops some.
        failing = sorted({step["server"] for step in self._plan})
        order = choices.of("order", math.factorial(len(failing)))
        first = next(itertools.islice(itertools.permutations(failing), order, None))
        self._detector._records = {
            name: self._detector._records[name] for name in first
        } | self._detector._records
        if self._plan and (settings.enforcing_success_rate or settings.enforcing_failure_percentage):
            choices.matters("tick", since=self._plan[0]["t"] - self._gap)
            choices.matters("before", since=self._plan[0]["t"] - self._gap)
        for _ in range(before):
            host = self._cluster.acquire(now=0.0)
            if host is not None:
                self._cluster.release(host, now=0.0, status=OK)
        seconds = trace["inputs"]["seconds"]
        requests = round(seconds / self._gap)
        last = (requests - 1) * self._gap
        for request in range(requests):
            self._request(request * self._gap)
        if choices.of("end", 2, since=last):
            self._cluster.advance(now=seconds)
        self.seen += [
            {"t": step["t"], "set": step["server"], "status": step["status"]}
            for step in self._plan
            if step["t"] <= last
        ]
        self.seen.sort(key=lambda event: float(event["t"]))

    def _request(self, now: float) -> None:
        late = self._tick(now)
        host = self._cluster.acquire(now=late)
        if any(self._cluster.distribution.panic):
            self._choices.matters("before", since=now)
        if host is None:
            self.seen.append({"t": now, "picked": None, "status": REFUSED})
            return
        answer = self._answer(host, now)
        self.seen.append({"t": now, "picked": host, "status": REFUSED if answer == "refuse" else answer})
        self._keep_open(late)
        self._cluster.release(host, now=late, status=None if answer == "refuse" else answer)

    def _keep_open(self, now: float) -> None:
        """Let merge windows that end at a request end just after it."""
        window = self._cluster._window
        levels = self._cluster._all.levels if window else ()
        self._ending = [level for level in levels if abs(now - level.published - window) < RESPONSE]
        for level in self._ending:
            level.published = now - window + RESPONSE

    def _answer(self, host: str, now: float) -> Any:
        """Return what a host answers; if that changes between this request and one beside it, it may be either."""
        answers = [(-math.inf, OK)]
        answers += [(step["t"], step["status"]) for step in self._plan if step["server"] == host]
        place = max(place for place, (when, _) in enumerate(answers) if when <= now)
        places = [place]
        if now - answers[place][0] < self._gap:
            places.append(place - 1)
        if place + 1 < len(answers) and answers[place + 1][0] - now < self._gap:
            places.append(place + 1)
        answer = answers[places[self._choices.of(("answer", now), len(places), since=now)]][1]
        return OK if answer == "accept" else answer

    def _tick(self, now: float) -> float:
        """Before a tick at which hosts return, choose what is late, and what else is not known; return when the request is.

        Once, the timer is late by as much as lets a request pass before the tick, or a request lets the tick pass. Envoy's
        order of hosts is that of a hash table; it matters only if health changes are merged: the first host is shown at
        once, and those after it later.
        """
        detector, tick = self._detector, self._detector._tick
        returning = [name for name, watch in detector._records.items() if watch.out and watch.until <= tick]
        if not returning or tick > now + self._gap:
            return now
        if self._back and not self._slipped and self._choices.of(("late", now), 2, since=now):
            self._slipped = True
            if tick > now:
                return float(tick)
            detector._tick += self._gap
        elif tick <= now and self._cluster._window:
            self._order(tick, returning, now)
        return now

    def _order(self, tick: float, returning: list[str], now: float) -> None:
        """Choose which host returns first, and whether a merge window that ends about then has ended."""
        detector = self._detector
        first = returning[self._choices.of(("first", tick), len(returning), since=now)]
        detector._records = {first: detector._records[first], **detector._records}
        for level in self._cluster._all.levels:
            left = level.published + self._cluster._window - tick
            if abs(left) < NEAR:
                level.published -= (
                    left + NEAR if self._choices.of(("ended", tick), 2, since=now) else left - NEAR
                )

    def _hear(self, event: Event) -> None:
        if isinstance(event, Ejected):
            if event.endpoint in self._out:  # by both rates of one tick: nobody sees that
                return
            self._out.add(event.endpoint)
            self.seen.append({"t": event.at, "ejected": event.endpoint})
            self._choices.matters("tick", since=event.at + self._settings.base_ejection_time)
            self._decay(event)
            self._merge(event)
            self._end_now(event)
            self._ejected = event.at
        elif isinstance(event, EjectionRefused) and event.at == self._ejected:
            self._choices.matters("order", since=event.at)
        elif isinstance(event, Restored):
            self._out.discard(event.endpoint)
            self.seen.append({"t": event.at, "returned": event.endpoint})
            self._back[event.endpoint] = event.at, self._detector._records[event.endpoint].streak
            self._merge(event)

    def _decay(self, event: Ejected) -> None:
        """Let the first tick after the return have come a moment too early to count as an interval."""
        since, streak = self._back.get(event.endpoint, (event.at, 0))
        ticks = math.floor((event.at - since) / self._settings.interval)
        if not 1 <= ticks <= streak:
            return
        base, longest = self._settings.base_ejection_time, self._settings.longest
        effect = event.at + min(base * event.streak, longest)
        if self._choices.of(("decay", event.endpoint, since), 2, since=effect):
            watch = self._detector._records[event.endpoint]
            watch.streak += 1
            watch.until = event.at + min(base * watch.streak, longest)

    def _end_now(self, event: Ejected) -> None:
        """Let a merge window that ends at this request have ended before it, so that the ejection is shown at once."""
        if self._ending and self._choices.of(("ending", event.at), 2, since=event.at):
            for level in self._ending:
                level.due = event.at

    def _merge(self, event: Ejected | Restored) -> None:
        """Let a merge window that this began end before the request or the tick that is due then, or after it."""
        window, interval = self._cluster._window, self._settings.interval
        due = event.at + window
        if isinstance(event, Restored) and not math.isclose(window / interval, round(window / interval)):
            return
        for level in self._cluster._all.levels:
            if level.due == due and self._choices.of(("merge", due), 2, since=due):
                level.due += RESPONSE


def _checks(trace: Json) -> Iterator[Json]:
    """Check every server at its interval; when the first one was, and whether the cluster has had requests, is unknown."""
    settings, timeout = _health_check(trace["config"]["cluster"]["health_checks"][0])
    for traffic in (True, False):
        yield {
            "apart": {
                server["name"]: _check_runs(
                    trace["inputs"], server["name"], settings, timeout, traffic=traffic
                )
                for server in trace["config"]["servers"]
            }
        }


def _health_check(fields: Json) -> tuple[envoy.HealthCheck, float]:
    http = fields.get("http_health_check", {})
    options: dict[str, Any] = {
        name: _seconds(value)
        for name, value in fields.items()
        if name.endswith("interval") and name in envoy.HealthCheck._fields
    }
    for name in ("expected_statuses", "retriable_statuses"):
        if name in http:
            options[name] = {
                code for span in http[name] for code in range(int(span["start"]), int(span["end"]))
            }
    for name in ("healthy_threshold", "unhealthy_threshold"):
        options[name] = _number(fields[name])
    return envoy.HealthCheck(**options), _seconds(fields["timeout"])


def _check_runs(
    inputs: Json, server: str, settings: envoy.HealthCheck, timeout: float, *, traffic: bool
) -> Iterator[list[Json]]:
    """Play the plan against the checker of one server, from every moment at which it may have begun."""
    interval = settings.interval
    if not traffic:
        interval = settings.no_traffic_healthy_interval or settings.no_traffic_interval
    plan = sorted((step for step in inputs["plan"] if step["server"] == server), key=lambda step: step["t"])
    for latency, first in itertools.product(LATENCIES, _offsets(interval)):
        checker = envoy.HealthChecker(settings, now=first)
        checker.observe(OK, now=first)  # it has passed its first check already
        checker.deadline = first
        yield _check_run(server, checker, plan, inputs["seconds"], timeout, latency, traffic=traffic)


def _check_run(
    server: str,
    checker: envoy.HealthChecker,
    plan: list[Json],
    seconds: float,
    timeout: float,
    latency: float,
    *,
    traffic: bool,
) -> list[Json]:
    answer: Any = OK
    steps = iter([*plan, {"t": math.inf}])
    step = next(steps)
    seen: list[Json] = []
    while True:
        now = checker.deadline
        while step["t"] <= min(now, seconds):
            answer = OK if step["set"] == "accept" else step["set"]
            seen.append({"t": step["t"], "server": server, "set": step["set"]})
            step = next(steps)
        if now > seconds:
            return seen
        if answer != "refuse":  # a server that refuses does not see the check
            seen.append({"t": now, "server": server, "check": answer})
        status = answer if isinstance(answer, int) else None
        end = now + (timeout if answer is None else latency)
        changed = checker.observe(status, now=end, traffic=traffic)
        if changed is not None and end <= seconds:
            seen.append({"t": end, "server": server, "state": changed.value})


def _warm_up(trace: Json) -> list[Json]:
    """Count picks in windows, of more requests than were made: only their shares can be compared."""
    inputs = trace["inputs"]
    found = re.fullmatch(r"server (\S+) becomes healthy at t=([\d.]+)", inputs["event"])
    if found is None:
        raise ValueError(f"an event we do not have: {inputs['event']}")
    host, since = found[1], float(found[2])
    fields = _policy(trace["config"]["cluster"])[1]["slow_start_config"]
    settings = envoy.SlowStart(**{name: _setting(value) for name, value in fields.items()})
    cluster = _cluster(trace, slow_start=settings, unhealthy={host})
    cluster.set_health(host, envoy.Health.HEALTHY, now=since)
    outputs: list[Json] = []
    for window in range(round(inputs["seconds"] / WINDOW)):
        counts: Counter[str] = Counter()
        for sample in range(round(SAMPLES * WINDOW)):
            picked = cluster.acquire(now=since + window * WINDOW + sample / SAMPLES)
            if picked is not None:
                counts[picked] += 1
                cluster.release(picked, now=since + window * WINDOW + sample / SAMPLES)
        outputs.append({"from": window * WINDOW, "to": (window + 1) * WINDOW, "counts": dict(counts)})
    return outputs
