"""Driver of ``balancekit.gslb.ResolverCache`` for traces of Unbound in front of gdnsd.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be: the cache asks a
map of networks where it has no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import _geo

from balancekit.compat import gdnsd
from balancekit.gslb import Client, Query, ResolverCache, fixed_standings

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
    cache, rng = ResolverCache(**_prefixes(config["native"]["unbound"])), Random(SEED)
    outputs = []
    for query in trace["inputs"]["queries"]:
        asked = Query(name="www", kind=query["type"], client=_client(query))
        found = cache.look_up(asked, now=query["t"])
        reply: dict[str, Any] = {"rcode": "NOERROR", "asked_authority": int(found is None)}
        if found is None:
            sent = cache.upstream(asked)
            answer = authority.answer(sent, fixed_standings({}), now=query["t"], rng=rng)
            answer = answer._replace(ttl=float(config["ttl"]))
            for each in (asked, asked.replace(client=_geo.client(query))):
                cache.store(each, answer, now=query["t"])
            found = cache.look_up(asked, now=query["t"])
            reply["ttl"] = config["ttl"]
        reply["answers"] = sorted(addresses[id] for id in found.chosen) if found else []
        outputs.append(_geo.with_scope(reply, query, found.scope if found else 0))
    yield {"outputs": outputs}


def _client(query: Json) -> Client:
    """Return who asks: the server takes a client's own address where there is no subnet.

    What it learns for that address also answers a subnet of length 0, which says that the client wants none.
    """
    client = _geo.client(query)
    return client if query["ecs"] is not None else client.replace(subnet=client.address)


def _prefixes(native: str) -> dict[str, int]:
    """Return how many bits of an address the resolver sends at most."""
    found = re.findall(r"max-client-subnet-ipv([46]): (\d+)", native)
    return {f"prefix{version}": int(bits) for version, bits in found}
