"""Driver of ``balancekit.compat.nginx`` for traces of nginx.

:func:`candidates` takes a trace without its outputs and yields the one answer that the rules allow. Nothing
here knows a trace by its name: directives become an :class:`~balancekit.compat.nginx.Upstream`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from _events import events_of

from balancekit.compat import nginx

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_250_102
NEVER_FAILURES = {403, 404}
"""Statuses that may be followed by another attempt, but are no failure of the server."""
METHODS = {
    "least_conn": nginx.LeastConn(),
    "ip_hash": nginx.IpHash(),
    "random": nginx.Random(),
    "random two": nginx.Random(two=True),
    "random two least_conn": nginx.Random(two=True),
}


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    inputs = trace["inputs"]
    if trace["kind"] == "distribution":
        yield {"outputs": {"counts": _counts(trace)}}
        return
    world = World(trace)
    for server in inputs.get("refusing", ()):
        world.refusing.add(server)
    for event in events_of(trace):
        world.play(event)
    plain = trace["kind"] != "script" and "refusing" not in inputs
    yield {
        "outputs": [tried[-1] for tried in world.tried] if plain else world.tried,
        "statuses": world.statuses,
    }


class World:
    """The upstream, the servers behind it, and the requests that are held open."""

    def __init__(self, trace: Json) -> None:
        self.location = _location(trace["inputs"].get("location", []))
        self.upstream = _upstream(trace, self.location)
        self.by_address = any(line.startswith("ip_hash") for line in trace["config"]["directives"])
        self.refusing: set[str] = set()
        self.answers: dict[str, int] = {}
        self.held: dict[Any, nginx.Request] = {}
        self.now = 0.0
        self.tried: list[list[str]] = []
        self.statuses: list[int] = []

    def play(self, event: Json) -> None:
        """Let one event happen."""
        match event["op"]:
            case "at":
                self.now = float(event["t"])
            case "refuse":
                self.refusing.add(event["server"])
            case "accept":
                self.refusing.discard(event["server"])
            case "status":
                self.answers[event["server"]] = event["code"]
            case "get":
                for _ in range(event.get("n", 1)):
                    self._request(event.get("key"))
            case "hold":
                self._request(event.get("key"), held=event["id"])
            case "release":
                request = self.held.pop(event["id"], None)
                if request is not None:
                    request.succeeded()
            case _:
                raise ValueError(f"an event we do not have: {event}")

    def _request(self, key: Any, *, held: Any = None) -> None:
        text = "" if key is None else key
        request = self.upstream.request(nginx.IpHash.key_of(text) if self.by_address and text else text)
        status = self._attempts(request, held)
        # Of a request that is held only the server that took it is recorded.
        self.tried.append(request.tried[-1:] if held in self.held else request.tried)
        self.statuses.append(status)

    def _attempts(self, request: nginx.Request, held: Any) -> int:
        while True:
            server = request.next(now=self.now)
            if server is None:
                return 502
            if server in self.refusing:
                request.failed(now=self.now)
                if "error" in self.location["next"]:
                    continue
                return 502
            code = self.answers.get(server, 200)
            if f"http_{code}" in self.location["next"] and not request.last:
                if code in NEVER_FAILURES:
                    request.succeeded()
                else:
                    request.failed(now=self.now)
                continue
            if held is None:
                request.succeeded()
            else:
                self.held[held] = request
            return code


def _location(lines: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"next": {"error", "timeout"}, "tries": 0}
    for line in lines:
        name, *words = line.rstrip(";").split()
        if name == "proxy_next_upstream":
            found["next"] = set(words)
        elif name == "proxy_next_upstream_tries":
            found["tries"] = int(words[0])
        else:
            raise ValueError(f"a directive we do not have: {line}")
    return found


def _upstream(trace: Json, location: Mapping[str, Any]) -> nginx.Upstream:
    method: nginx.Method = nginx.RoundRobin()
    for line in trace["config"]["directives"]:
        text = line.rstrip(";")
        if text in METHODS:
            method = METHODS[text]
        elif re.fullmatch(r"hash \S+ consistent", text):
            method = nginx.ConsistentHash()
        elif re.fullmatch(r"hash \S+", text):
            method = nginx.Hash()
        elif not text.startswith(("zone ", "keepalive ")):
            raise ValueError(f"a directive we do not have: {line}")
    known = set(nginx.Server._fields)
    servers = [
        nginx.Server(**{name: value for name, value in server.items() if name in known})
        for server in trace["config"]["servers"]
    ]
    return nginx.Upstream(
        servers,
        method,
        tries=location["tries"],
        next_upstream="off" not in location["next"],
        rng=Random(SEED),
    )


def _counts(trace: Json) -> dict[str, int]:
    inputs = trace["inputs"]
    upstream = _upstream(trace, _location(inputs.get("location", [])))
    for name, count in inputs.get("held_connections", {}).items():
        upstream.hold(name, count)
    counts: Counter[str] = Counter()
    for _ in range(inputs["requests"]):
        counts[upstream.request().get(now=0.0) or "502"] += 1
    return dict(counts)
