"""Driver of ``balancekit.compat.unbound`` for traces of Unbound in front of gdnsd.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be: the resolver asks a
map of networks where it has no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import _geo

from balancekit.compat import gdnsd
from balancekit.compat.unbound import SubnetResolver
from balancekit.gslb import Answer, Query, fixed_standings

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_260_805


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    config = trace["config"]
    if trace["kind"] != "answers":
        raise ValueError(f"a kind we do not have: {trace['kind']}")
    addresses = config["datacenters"]
    geo = gdnsd.geo_map({"datacenters": list(addresses), "nets": config["networks"]})
    authority = gdnsd.geoip(geo, {name: gdnsd.multifo([name]) for name in addresses})
    rng = Random(SEED)
    now = 0.0

    def ask(query: Query) -> Answer:
        answer = authority.answer(query, fixed_standings({}), now=now, rng=rng)
        return answer._replace(ttl=float(config["ttl"]))

    queries = trace["inputs"]["queries"]
    resolver = SubnetResolver(ask, address=queries[0]["source"], **_settings(config["native"]["unbound"]))
    outputs = []
    for query in queries:
        now = query["t"]
        found = resolver.resolve(Query(name="www", kind=query["type"], client=_geo.client(query)), now=now)
        reply: dict[str, Any] = {
            "rcode": "REFUSED" if found.answer is None else "NOERROR",
            "answers": sorted(addresses[id] for id in found.answer.chosen) if found.answer else [],
            "asked_authority": sum(subnet is not None for subnet in found.queries),
        }
        if found.answer and any(found.queries):
            reply["ttl"] = found.answer.ttl
        if found.scope is not None:
            reply["scope"] = found.scope
        outputs.append(reply)
    yield {"outputs": outputs}


def _settings(native: str) -> dict[str, Any]:
    """Return what the resolver's configuration says about subnets and limits."""
    found = re.findall(
        r"^ *((?:max-client|min-client|max-ecs-tree)-\S+|cache-m(?:in|ax)-ttl): (\d+)", native, re.MULTILINE
    )
    return {
        **{name.replace("-", "_"): int(value) for name, value in found},
        "send_client_subnet": "send-client-subnet:" in native,
        "client_subnet_always_forward": "client-subnet-always-forward: yes" in native,
    }
