"""Driver of ``balancekit.compat.gdnsd`` for traces of gdnsd.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be. Nothing here
knows a trace by its name: the configuration becomes policies, the queries clients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import _geo

from balancekit.compat import gdnsd
from balancekit.gslb import (
    Answer,
    Client,
    Policy,
    Query,
    Standing,
    SubnetError,
    Ttl,
    decode_subnet,
    encode_subnet,
    fixed_standings,
)

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_260_801
INHERITED = {"plugin", "up_thresh", "ignore_health", "multi"}
"""Options of a resource that its datacenters inherit."""
PLUGIN_OPTIONS = {*INHERITED, "skip_first", "service_types"}


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    if trace["kind"] == "timeline":
        yield from _timelines(trace)
    elif trace["algorithm"] == "client-subnet option":
        yield {
            "outputs": [
                _option_reply(trace["config"]["networks"], query) for query in trace["inputs"]["queries"]
            ]
        }
    elif trace["kind"] == "answers":
        yield _answers(trace)
    elif trace["kind"] == "distribution":
        yield _counts(trace)
    else:
        raise ValueError(f"a kind we do not have: {trace['kind']}")


def _answers(trace: Json) -> Json:
    config = trace["config"]
    policy, limits = _policy(trace), gdnsd.ttl_limits(config["ttl"])
    outputs = []
    for query in trace["inputs"]["queries"]:
        answer = _ask(policy, _geo.client(query), config)
        outputs.append(_geo.with_scope(_reply(answer, limits, config), query, answer.scope))
    return {"outputs": outputs}


def _counts(trace: Json) -> Json:
    policy, rng = _policy(trace), Random(SEED)
    config, client = trace["config"], Client(address="127.0.0.1")
    addresses, limits = _addresses(config), gdnsd.ttl_limits(config["ttl"])
    answers = [_ask(policy, client, config, rng) for _ in range(trace["inputs"]["requests"])]
    drawn = iter(answers)
    found = _geo.counted(lambda: [addresses[id] for id in next(drawn).chosen], len(answers))
    found["outputs"]["ttl"] = sorted({limits.of(answer.ttl) for answer in answers})
    return found


def _policy(trace: Json) -> Policy:
    config = trace["config"]
    directives = config["directives"]
    servers = [server["name"] for server in config["servers"]]
    plugin = trace["algorithm"].removeprefix("DNS ")
    threshold = directives.get("up_thresh", config.get("up_thresh", 0.5))
    if plugin == "multifo":
        return gdnsd.multifo(
            servers, up_thresh=threshold, ignore_health=directives.get("ignore_health", False)
        )
    if plugin == "simplefo":
        return gdnsd.Simplefo("primary", "secondary")
    if plugin == "weighted":
        weights = {server["name"]: server.get("weight", 1) for server in config["servers"]}
        groups: dict[str, dict[str, int]] = {}
        for server in config["servers"]:
            if "group" in server:
                groups.setdefault(server["group"], {})[server["name"]] = server.get("weight", 1)
        multi = directives.get("multi", config.get("multi"))
        return gdnsd.weighted(groups, None if groups else weights, multi=multi, up_thresh=threshold)
    skip = directives.get("skip_first", False)
    inherited = {name: value for name, value in directives.items() if name in INHERITED}
    centres = {name: _centre(entry, inherited, config) for name, entry in directives["dcmap"].items()}
    if plugin == "metafo":
        return gdnsd.metafo(directives["datacenters"], centres, skip_first=skip)
    if plugin == "geoip":
        entry = {key: value for key, value in config["map"].items() if key != "ignore_ecs"}
        geo = gdnsd.geo_map(entry, _geo.database(config.get("geo")))
        return gdnsd.geoip(geo, centres, skip_first=skip, ignore_ecs=config["map"].get("ignore_ecs", False))
    raise ValueError(f"a plugin we do not have: {plugin}")


def _centre(entry: Any, inherited: Json, config: Json) -> Policy:
    """Return the policy of a datacenter: that of its plugin; addresses are a multifo, and so is one CNAME.

    What its options do not say, those of the resource around it do.
    """
    ids = {address: id for id, address in _addresses(config).items()}
    if isinstance(entry, str | list):
        listed = [entry] if isinstance(entry, str) else entry
        entry = {"plugin": "multifo"} | {str(place): address for place, address in enumerate(listed)}
    entry = {**inherited, **entry}
    plugin = entry.get("plugin", "multifo")
    threshold = entry.get("up_thresh", 0.5)
    members = {name: value for name, value in entry.items() if name not in PLUGIN_OPTIONS}
    if plugin == "multifo":
        chosen = [ids[address] for address in members.values()]
        return gdnsd.multifo(chosen, up_thresh=threshold, ignore_health=entry.get("ignore_health", False))
    if plugin == "simplefo":
        return gdnsd.Simplefo(ids[members["primary"]], ids[members["secondary"]])
    if plugin == "weighted":
        groups = {
            name: {ids[address]: weight for address, weight in group.values()}
            for name, group in members.items()
            if isinstance(group, Mapping)
        }
        weights = {} if groups else {ids[address]: weight for address, weight in members.values()}
        return gdnsd.weighted(groups, weights, multi=entry.get("multi"), up_thresh=threshold)
    raise ValueError(f"a plugin we do not have: {plugin}")


def _ask(policy: Policy, client: Client, config: Json, rng: Random | None = None) -> Answer:
    limits = gdnsd.ttl_limits(config["ttl"])
    standings = fixed_standings(
        {
            server["name"]: Standing(
                up=server.get("state", "UP") == "UP", until=server.get("monitor_ttl", limits.maximum)
            )
            for server in config["servers"]
        }
    )
    return policy.answer(Query(name="www", client=client), standings, now=0.0, rng=rng or Random(SEED))


def _reply(answer: Answer, limits: Ttl, config: Json) -> dict[str, Any]:
    addresses = _addresses(config)
    chosen = sorted(addresses[id] for id in answer.chosen)
    return {"rcode": "NOERROR", "answers": chosen, "ttl": limits.of(answer.ttl) if chosen else None}


def _addresses(config: Json) -> dict[str, str]:
    return {server["name"]: server["address"] for server in config["servers"]}


def _option_reply(networks: Json, query: Json) -> Json:
    """Return a query with a raw option: a map of explicit networks, strict about the option."""
    try:
        subnet = decode_subnet(bytes.fromhex(query["ecs_hex"]))
    except SubnetError:
        return {"rcode": "FORMERR", "answers": []}
    nets = {network: [site] for network, site in networks.items() if network != "default"}
    sites = dict.fromkeys([networks["default"], *networks.values()])
    geo = gdnsd.geo_map({"datacenters": list(sites), "nets": nets})
    client = Client(address=query["source"], subnet=subnet)
    order, scope = geo.look_up(client.seen())
    reply = encode_subnet(subnet, scope if client.has_subnet else 0)
    return {"rcode": "NOERROR", "answers": list(order[:1]), "ecs_hex": reply.hex()}


def _timelines(trace: Json) -> Iterator[Json]:
    """Play the checks: the result of each, and what stood before the next.

    The last planned result goes on until the end. The second check falls anywhere in the first interval, so
    there may be one more or fewer, and it may come before the first result was seen.
    """
    directives, inputs = trace["config"]["directives"], trace["inputs"]
    limits = gdnsd.ttl_limits(trace["config"]["ttl"])
    thresholds = {name: directives[name] for name in ("up_thresh", "ok_thresh", "down_thresh", "interval")}
    usual = int(inputs["seconds"] // directives["interval"]) + 1
    for count in (usual, usual - 1, usual + 1):
        monitor = gdnsd.ServiceType(**thresholds)()
        outputs: list[dict[str, Any]] = []
        for k in range(count):
            passed = bool(inputs["checks"][min(k, len(inputs["checks"]) - 1)])
            monitor.observe(passed=passed)
            outputs.append(
                {"check": 200 if passed else 503, "state": monitor.state, "ttl": limits.of(monitor.ttl)}
            )
        yield {"outputs": outputs}
        yield {"outputs": [{"check": outputs[0]["check"]}, *outputs[1:]]}
