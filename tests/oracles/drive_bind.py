"""Driver of ``balancekit.compat.rotation`` for traces of BIND or NSD.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be: one answer for
each place at which the rotation may have stood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import _geo

from balancekit.compat.rotation import RrsetOrder, nsd_order

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_260_804


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    addresses = [server["address"] for server in trace["config"]["servers"]]
    requests, rng = trace["inputs"]["requests"], Random(SEED)
    if trace["kind"] == "distribution":
        order = _order(trace["config"]["directives"], 0)
        yield _geo.counted(lambda: order.arrange(addresses, rng)[:1], requests)
        return
    if trace["kind"] != "sequence":
        raise ValueError(f"a kind we do not have: {trace['kind']}")
    for start in range(len(addresses)):
        order = _order(trace["config"]["directives"], start)
        yield {"outputs": [list(order.arrange(addresses, rng)) for _ in range(requests)]}


def _order(directives: Json, start: int) -> RrsetOrder:
    if directives.keys() not in ({"round-robin"}, {"rrset-order"}):
        raise ValueError(f"directives we do not have: {', '.join(directives)}")
    if "round-robin" in directives:
        return nsd_order(round_robin=directives["round-robin"] == "yes", start=start)
    return RrsetOrder(directives["rrset-order"], start=start)
