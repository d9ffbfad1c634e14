"""Driver of ``balancekit.gslb.ResolverCache`` for traces of Unbound in front of gdnsd.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be: the cache asks a
map of networks where it has no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import _geo

from balancekit.compat import gdnsd
from balancekit.gslb import Query, ResolverCache, fixed_standings

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_260_805


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    config = trace["config"]
    addresses = config["datacenters"]
    geo = gdnsd.geo_map({"datacenters": list(addresses), "nets": config["networks"]})
    authority = gdnsd.geoip(geo, {name: gdnsd.multifo([name]) for name in addresses})
    cache, rng = ResolverCache(), Random(SEED)
    outputs = []
    for query in trace["inputs"]["queries"]:
        asked = Query(name="www", kind=query["type"], client=_geo.client(query))
        found = cache.look_up(asked, now=query["t"])
        reply: dict[str, Any] = {"rcode": "NOERROR", "asked_authority": int(found is None)}
        if found is None:
            sent = cache.upstream(asked)
            answer = authority.answer(sent, fixed_standings({}), now=query["t"], rng=rng)
            cache.store(asked, answer._replace(ttl=float(config["ttl"])), now=query["t"])
            found = cache.look_up(asked, now=query["t"])
            reply["ttl"] = config["ttl"]
        reply["answers"] = sorted(addresses[id] for id in found.chosen) if found else []
        outputs.append(_geo.with_scope(reply, query, found.scope if found else 0))
    yield {"outputs": outputs}
