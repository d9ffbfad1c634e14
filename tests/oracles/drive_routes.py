"""Answers of ``balancekit.compat`` to route traces: which pool gets a request.

:func:`candidates` takes a trace without its outputs and yields the one answer, computed from the rules alone, in their order of
kinds and servers. Nothing here knows a trace by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from balancekit.compat import envoy, gateway, haproxy, nginx
from balancekit.compat.nginx import RawRequest, Routed

__all__ = ["candidates"]

Json = Mapping[str, Any]

MACHINES: dict[str, tuple[Callable[[Json], Any], str | None]] = {
    "nginx": (nginx.locations, "uri"),
    "haproxy": (haproxy.use_backend, "path"),
    "envoy": (envoy.route_config, None),
    "gateway-api": (gateway.http_routes, None),
}
"""The machine of each server, and what its traces call the path that it shows."""


def candidates(trace: Json) -> Iterator[Json]:
    """Yield the one answer to a trace of kind ``routes``."""
    make, path = MACHINES[trace["server"]]
    machine = make(trace["config"]["rules"])
    yield {
        "outputs": [_answer(machine.route(_request(asked)), path) for asked in trace["inputs"]["requests"]]
    }


def _request(asked: Json) -> RawRequest:
    fields = {name: asked[name] for name in ("target", "host", "method", "http") if name in asked}
    return RawRequest(**fields, headers=tuple((name, value) for name, value in asked.get("headers", ())))


def _answer(routed: Routed, path: str | None) -> Json:
    if routed.status is not None:
        return {"status": routed.status} | ({} if routed.location is None else {"location": routed.location})
    return {"pool": routed.pool} | ({} if path is None else {path: routed.path})
