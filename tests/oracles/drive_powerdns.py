"""Driver of ``balancekit.compat.powerdns`` for traces of PowerDNS.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be: one answer, or
one for each service of a GeoIP backend, for the question does not say which name was asked. Nothing here knows a
trace by its name: Lua records and YAML services are read as the server reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import _geo

from balancekit.compat import powerdns
from balancekit.gslb import Client, encode_subnet

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_260_802
DRAWS = 300
"""How often a random answer is drawn to know all that it may be."""
DEFAULT_TTL = 60
"""Of a record whose configuration was not recorded."""


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    config, inputs = trace["config"], trace["inputs"]
    native = config.get("native", "")
    if trace["kind"] == "keys":
        yield {"outputs": [_hashed(config, _geo.client({"ecs": key})) for key in inputs["keys"]]}
    elif trace["kind"] == "distribution":
        yield _counts(config, inputs)
    elif trace["kind"] == "timeline":
        outputs = _settled(native, inputs, config)
        yield {"outputs": outputs}
        yield {"outputs": [answers or [""] for answers in outputs]}  # no answer, written as an empty one
    elif trace["kind"] != "answers":
        raise ValueError(f"a kind we do not have: {trace['kind']}")
    elif trace["algorithm"] == "client-subnet option":
        yield {"outputs": [_option_reply(config["networks"], query) for query in inputs["queries"]]}
    elif "services:" in native:
        for service in _services(native)[0]:
            yield {"outputs": [_geo_reply(config, service, query) for query in inputs["queries"]]}
    else:
        rng = Random(SEED)
        yield {"outputs": [_lua_reply(config, query, rng) for query in inputs["queries"]]}


# ---------------------------------------------------------------------- Lua records


def _call(native: str) -> tuple[str, list[Any], int]:
    """Return function, arguments and TTL of a Lua record."""
    ttl = re.match(r"\S+ (\d+) IN LUA", native)
    text = native[native.index('"') + 1 : native.rindex('"')] if ttl else native
    name, _, rest = text.partition("(")
    return name, _Lua(rest).arguments(), int(ttl[1]) if ttl else DEFAULT_TTL


class _Lua:
    """Literals of Lua: numbers, texts, and tables as lists or dictionaries."""

    def __init__(self, text: str) -> None:
        self.tokens = re.findall(r"'[^']*'|[{}(),;=]|[\w.]+", text)
        self.place = 0

    def arguments(self) -> list[Any]:
        found = []
        while self.tokens[self.place] != ")":
            if self.tokens[self.place] == ",":
                self.place += 1
                continue
            found.append(self._value())
        return found

    def _value(self) -> Any:
        token = self.tokens[self.place]
        self.place += 1
        if token.startswith("'"):
            return token[1:-1]
        if token != "{":
            return int(token) if token.isdecimal() else token
        items: list[Any] = []
        named: dict[str, Any] = {}
        while self.tokens[self.place] != "}":
            if self.tokens[self.place] in {",", ";"}:
                self.place += 1
            elif self.tokens[self.place + 1] == "=":
                name = self.tokens[self.place]
                self.place += 2
                named[name] = self._value()
            else:
                items.append(self._value())
        self.place += 1
        return named or items


def _hashed(config: Json, client: Client) -> str:
    name, arguments, _ = _call(config["native"]) if "native" in config else ("", [], 0)
    if name == "pickwhashed":
        return powerdns.pickwhashed(client, [(weight, entry) for weight, entry in arguments[0]])
    if name == "pickhashed":
        return powerdns.pickhashed(client, arguments[0])
    raise ValueError(f"a hash we do not have: {name}")


def _counts(config: Json, inputs: Json) -> Json:
    rng = Random(SEED)
    weights = [(server.get("weight", 1), server["address"]) for server in config["servers"]]
    native = config.get("native", "")
    if "services:" in native:
        return _geo.counted(lambda: [powerdns.pickwrandom(weights, rng)], inputs["requests"])
    name, arguments, _ = _call(native)
    draws = {
        "pickwrandom": lambda: [powerdns.pickwrandom([(w, e) for w, e in arguments[0]], rng)],
        "pickrandom": lambda: powerdns.pickrandomsample(1, arguments[0], rng),
        "pickrandomsample": lambda: powerdns.pickrandomsample(arguments[0], arguments[1], rng),
        "all": lambda: powerdns.pickrandomsample(len(arguments[0]), arguments[0], rng),
    }
    return _geo.counted(draws[name], inputs["requests"])


def _lua_reply(config: Json, query: Json, rng: Random) -> Json:
    name, arguments, ttl = _call(config["native"])
    client = _geo.client(query)
    if name == "pickclosest":
        found = [powerdns.pickclosest(client, arguments[0], _geo.location_of(config["geo"]), rng)]
    elif name == "view":
        drawn = powerdns.view(client, [(networks, entries) for networks, entries in arguments[0]], rng)
        if drawn is None:
            return _geo.with_scope({"rcode": "SERVFAIL", "answers": [], "ttl": None}, query, 0)
        found = [drawn]
    else:
        raise ValueError(f"a function we do not have: {name}")
    return _geo.with_scope(
        {"rcode": "NOERROR", "answers": found, "ttl": ttl}, query, powerdns.lua_scope(client)
    )


def _settled(native: str, inputs: Json, config: Json) -> list[list[str]]:
    """Return all answers that may be given after each step of the plan."""
    name, arguments, _ = _call(native)
    groups = arguments[1]
    nested = isinstance(groups[0], list)
    if name == "ifportup" and nested:
        return [[] for _ in inputs["plan"]]  # that version answers nothing
    options = arguments[2] if len(arguments) > 2 else {}
    pool = powerdns.IfUp(
        groups if nested else [groups],
        selector=options.get("selector", "random"),
        backup_selector=options.get("backupSelector", "random"),
        location_of=_geo.location_of(config.get("geo", ())),
    )
    client, rng = _geo.client(inputs), Random(SEED)
    up: dict[str, bool] = {}
    outputs = []
    for step in inputs["plan"]:
        up.update(step["up"])
        alive = [address for address, works in up.items() if works]
        outputs.append(sorted({" ".join(sorted(pool.pick(client, alive, rng))) for _ in range(DRAWS)}))
    return outputs


# ---------------------------------------------------------------------- GeoIP backend


def _services(native: str) -> tuple[dict[str, Any], dict[str, dict[str, list[str]]], int]:
    """Return services, records by name and type, and the TTL of a domains file (the few forms of YAML that it has)."""
    services: dict[str, Any] = {}
    names: dict[str, dict[str, list[str]]] = {}
    section, current = "", ""
    for line in native.splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip().removeprefix("- ")
        name, _, value = (part.strip() for part in text.partition(": "))
        if indent == 2 and text in {"records:", "services:"}:
            section = text[:-1]
        elif section == "records" and indent == 4:
            current = text[:-1]
            names[current] = {}
        elif section == "records":
            content = re.sub(r"\{content: ([^,]+),.*", r"\1", value)
            names[current].setdefault(name.upper(), []).append(content)
        elif section == "services" and indent == 4:
            current = name.removesuffix(":")
            services[current] = _texts(value) if value else {}
        elif section == "services":
            services[current][name] = _texts(value)
    ttl = re.search(r"ttl: (\d+)", native)
    return services, names, int(ttl[1]) if ttl else DEFAULT_TTL


def _texts(value: str) -> list[str]:
    return re.findall(r"'([^']*)'", value)


def _geo_reply(config: Json, service: str, query: Json) -> Json:
    services, names, ttl = _services(config["native"])
    backend = powerdns.GeoIpBackend(names, services, _geo.location_of(config.get("geo", ())))
    client = _geo.client(query)
    found = backend.look_up(service, client)
    answers = [] if found.name is None else sorted(names[found.name].get(query["type"], []))
    if found.alias is not None:
        answers = [f"{found.alias}."]
    reply = {"rcode": found.rcode, "answers": answers, "ttl": ttl if answers else None}
    return _geo.with_scope(reply, query, found.scope if answers else 0)


# ---------------------------------------------------------------------- options


def _option_reply(networks: Json, query: Json) -> Json:
    """Return a query with a raw option by a view of explicit networks."""
    subnet = powerdns.read_subnet(bytes.fromhex(query["ecs_hex"]))
    client = Client(address=query["source"], subnet=subnet)
    seen = client.address if subnet is None else subnet.network_address
    explicit = {ip_network(text): entry for text, entry in networks.items() if text != "default"}
    holding = [network for network in explicit if ip_address(seen) in network]
    answer = explicit[max(holding, key=lambda one: one.prefixlen)] if holding else networks["default"]
    reply: dict[str, Any] = {"rcode": "NOERROR", "answers": [answer]}
    if subnet is not None:
        reply["ecs_hex"] = encode_subnet(subnet, powerdns.lua_scope(client)).hex()
    return reply
