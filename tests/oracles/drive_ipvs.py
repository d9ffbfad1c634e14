"""Answers of ``balancekit.compat.ipvs`` to vectors of the Maglev scheduler of IPVS.

:func:`candidates` takes a trace without its outputs and yields the one answer that the rules allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from drive_katran import table_facts

from balancekit.compat import ipvs

__all__ = ["candidates"]

Json = Mapping[str, Any]


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    yield {"outputs": [_facts(service) for service in trace["inputs"]["services"]]}


def _facts(service: Json) -> Json:
    servers = [
        ipvs.Destination(address=address, port=port, weight=weight)
        for address, port, weight in service["destinations"]
    ]
    plain, with_port = (ipvs.MaglevScheduler(servers, port=port) for port in (False, True))
    clients = list(zip(service["clients"], service["ports"], strict=True))
    return {
        **table_facts(plain.table),
        "by_address": [plain.lookup(client, port) for client, port in clients],
        "by_address_and_port": [with_port.lookup(client, port) for client, port in clients],
    }
