"""Driver of ``balancekit.compat.knot`` for traces of Knot DNS.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be. Nothing here
knows a trace by its name: the module's configuration is read as the server reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

import _geo

from balancekit.compat import knot
from balancekit.compat.rotation import RrsetOrder
from balancekit.gslb import Client, SubnetError, encode_subnet

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_260_803
TTL = 40
"""Of the module in all recordings; their configurations do not have it."""


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    config, inputs = trace["config"], trace["inputs"]
    if trace["kind"] == "distribution":
        yield _counts(config, inputs)
    elif trace["kind"] != "answers":
        raise ValueError(f"a kind we do not have: {trace['kind']}")
    elif trace["algorithm"] == "client-subnet option":
        yield {"outputs": [_option_reply(config["networks"], query) for query in inputs["queries"]]}
    else:
        module = _module(config)
        outputs = []
        for query in inputs["queries"]:
            found = module.look_up(_geo.client(query))
            records = _of_type(found.records, query["type"])
            reply = {"rcode": found.rcode, "answers": sorted(records), "ttl": TTL if records else None}
            outputs.append(_geo.with_scope(reply, query, found.scope if records else 0))
        yield {"outputs": outputs}


def _module(config: Json) -> knot.Subnets | knot.GeoDb:
    entries: dict[str, list[str]] = {}
    geo = False
    current = ""
    for line in config["native"].splitlines():
        if head := re.match(r'\s*- (net|geo): "?([^"]+)"?$', line):
            geo, current = head[1] == "geo", head[2]
            entries[current] = []
        elif record := re.match(r"\s*(A|AAAA|CNAME): (\S+)$", line):
            entries[current].append(f"{record[1]} {record[2]}")
    return knot.GeoDb(entries, _geo.location_of(config["geo"])) if geo else knot.Subnets(entries)


def _of_type(records: Iterable[str], kind: str) -> list[str]:
    """Return the records that answer a question of a type: those of that type, or else a CNAME."""
    typed = [record.split() for record in records]
    return [text for type, text in typed if type == kind] or [text for type, text in typed if type == "CNAME"]


def _counts(config: Json, inputs: Json) -> Json:
    rng = Random(SEED)
    addresses = [server["address"] for server in config["servers"]]
    if all("weight" in server for server in config["servers"]):
        weights = {server["address"]: server.get("weight", 1) for server in config["servers"]}
        return _geo.counted(lambda: [knot.weighted(weights, rng)], inputs["requests"])
    if config["directives"].get("answer") == "on":
        return _geo.counted(lambda: knot.rotated(addresses, rng)[:1], inputs["requests"])
    first = RrsetOrder("none").arrange(addresses, rng)[:1]
    return _geo.counted(lambda: first, inputs["requests"])


def _option_reply(networks: Json, query: Json) -> Json:
    """Return a query with a raw option by the module's subnet mode."""
    try:
        subnet, carried = knot.read_subnet(bytes.fromhex(query["ecs_hex"]))
    except SubnetError:
        return {"rcode": "FORMERR", "answers": []}
    explicit = {network: [entry] for network, entry in networks.items() if network != "default"}
    explicit |= {everything: [networks["default"]] for everything in ("0.0.0.0/0", "::/0")}
    client = Client(address=query["source"], subnet=subnet)
    found = knot.Subnets(explicit).look_up(client)
    reply: dict[str, Any] = {"rcode": found.rcode, "answers": list(found.records)}
    if carried:
        reply["ecs_hex"] = encode_subnet(subnet, found.scope).hex()
    return reply
