"""Driver of ``balancekit.compat.haproxy`` for traces of HAProxy.

:func:`candidates` takes a trace without its outputs and yields what the recorded members may be: one answer,
or for time lines one for every moment at which the checks may have begun. Nothing here knows a trace by its
name: directives and run-time commands become calls of a :class:`~balancekit.compat.haproxy.Backend`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from _events import events_of

from balancekit.compat import haproxy
from balancekit.errors import ConfigurationError

__all__ = ["candidates"]

Json = Mapping[str, Any]

SEED = 20_250_103
OFFSETS = 60
"""Into how many parts an interval is cut to find where its timer started."""
LATENCIES = (0.0015, 0.003, 0.005, 0.008, 0.012, 0.0005, 0.001, 0.002, 0.0025, 0.004, 0.006, 0.01)
"""Seconds a health check may take."""
REFUSE, ACCEPT, SILENT = "refuse", "accept", None
"""What a server is set to besides a status."""
FAILED_BY: dict[Any, str] = {REFUSE: "Layer4 connection problem", SILENT: "Layer7 timeout"}
CHECK_TIMEOUT = 0.4
"""Seconds of ``timeout check`` in the recordings whose backend states none; see their README."""
NO_RETRY = 1_000_000
"""``option redispatch 0``: more retries than a request has, so only requests move that neither a hash nor a cookie placed."""
METHODS = {"roundrobin", "static-rr", "leastconn", "first"}
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "": 1e-3}


def candidates(trace: Json) -> Iterator[Json]:
    """Yield what the recorded members may be, computed from configuration and inputs alone."""
    if trace["kind"] == "timeline":
        yield from _time_line(trace)
        return
    if trace["kind"] == "distribution":
        yield {"outputs": {"counts": _counts(trace)}}
        return
    inputs = trace["inputs"]
    world = World(trace)
    for text in inputs.get("before", ()):
        world.command(text)
    for event in events_of(trace):
        world.play(event)
    yield {"outputs": world.outputs, "dequeued": world.dequeued}


class World:
    """The backend, the servers behind it, the clients in front of it, and the requests that are held open."""

    def __init__(self, trace: Json) -> None:
        self.backend = _backend(trace)
        self.cookie = _cookie_name(trace)
        self.refusing: set[str] = set()
        self.jars: dict[Any, str] = {}
        self.held: dict[Any, haproxy.Request] = {}
        self.outputs: list[Any] = []
        self.dequeued: list[Json] = []

    def play(self, event: Json) -> None:
        """Let one event happen."""
        match event["op"]:
            case "get":
                for _ in range(event.get("n", 1)):
                    self._get(event)
            case "hold":
                request = self._asked(event)
                self.held[event["id"]] = request
                self.outputs.append(self._answer(request))
            case "release":
                request = self.held.pop(event["id"])
                if request.server is not None:
                    self._note(event["id"], request.done())
            case "refuse":
                self.refusing.add(event["server"])
            case "accept":
                self.refusing.discard(event["server"])
            case "cmd":
                self.command(event["text"])
            case _:
                raise ValueError(f"an event we do not have: {event}")

    def command(self, text: str) -> None:
        """Carry out a run-time command; one that HAProxy refuses changes nothing."""
        match = re.fullmatch(r"(disable|enable) server \S+/(\S+)", text)
        if match:
            text = f"set server x/{match[2]} state {'maint' if match[1] == 'disable' else 'ready'}"
        match = re.fullmatch(r"set server \S+/(\S+) state (\S+)", text)
        if match:
            self.backend.set_state(match[1], match[2])
            return
        match = re.fullmatch(r"(?:set weight \S+/(\S+)|set server \S+/(\S+) weight) (\d+)(%?)", text)
        if match is None:
            raise ValueError(f"a command we do not have: {text}")
        name, number = match[1] or match[2], int(match[3])
        try:
            if match[4]:
                self.backend.set_share(name, number / 100)
            else:
                self.backend.set_weight(name, number)
        except ConfigurationError:
            return

    def _get(self, event: Json) -> None:
        request = self._asked(event)
        client = event.get("client")
        self.outputs.append(self._answer(request))
        if client is not None and request.set_cookie is not None:
            self.jars[client] = request.set_cookie
        if request.server is not None:
            self._note(None, request.done())

    def _asked(self, event: Json) -> haproxy.Request:
        request = self.backend.request(event.get("key"), cookie=self.jars.get(event.get("client"), ""))
        while request.server in self.refusing:
            if request.refused() is None:
                break
        return request

    def _answer(self, request: haproxy.Request) -> Any:
        server = "QUEUED" if request.waiting else request.server or 503
        if self.cookie is None:
            return server
        return [server, None if request.set_cookie is None else f"{self.cookie}={request.set_cookie}"]

    def _note(self, released: Any, served: list[haproxy.Request]) -> None:
        for following in served:
            for id in [id for id, request in self.held.items() if request is following]:
                self.dequeued.append({"after_release_of": released, "id": id, "server": following.server})


# ---------------------------------------------------------------------- configuration


def _backend(trace: Json) -> haproxy.Backend:
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for line in trace["config"]["directives"]:
        word, *rest = line.split()
        if word == "balance":
            settings |= _balance(rest)
        elif word == "hash-type":
            settings |= _hash_type(rest)
        elif word == "hash-balance-factor":
            settings["balance_factor"] = int(rest[0])
        elif word == "cookie":
            options["cookies"] = True
        elif word == "retries":
            options["retries"] = int(rest[0])
        elif line.startswith("option redispatch"):
            options["redispatch"] = (int(rest[1]) or NO_RETRY) if len(rest) > 1 else -1
        elif line == "option allbackups":
            options["allbackups"] = True
        elif not line.startswith(("option httpchk", "option httplog", "mode ", "http-reuse ", "timeout ")):
            raise ValueError(f"a directive we do not have: {line}")
    if settings.get("method") != "hash":  # hash-type is then without effect
        settings = {k: v for k, v in settings.items() if k in {"method", "draws", "balance_factor"}}
    known = set(haproxy.Server._fields)
    servers = [
        haproxy.Server(**{name: value for name, value in server.items() if name in known})
        for server in trace["config"]["servers"]
    ]
    return haproxy.Backend(servers, haproxy.Balance(**settings), rng=Random(SEED), **options)


def _balance(words: list[str]) -> dict[str, Any]:
    text = " ".join(words)
    if words[0] in METHODS:
        return {"method": words[0]}
    drawn = re.fullmatch(r"random(?:\((\d+)\))?", text)
    if drawn:
        return {"method": "random", "draws": int(drawn[1] or 2)}
    if words[0].startswith("hdr("):
        return {"method": "hash", "by": haproxy.Header(use_domain_only="use_domain_only" in words)}
    if words[0] == "url_param":
        return {"method": "hash", "by": haproxy.UrlParam()}
    if words[0] == "source":
        return {"method": "hash", "by": haproxy.Source()}
    if words[0] == "uri":
        options: dict[str, Any] = {"whole": "whole" in words, "path_only": "path-only" in words}
        for name, field in (("len", "length"), ("depth", "depth")):
            if name in words:
                options[field] = int(words[words.index(name) + 1])
        return {"method": "hash", "by": haproxy.Uri(**options)}
    raise ValueError(f"a balancing method we do not have: {text}")


def _hash_type(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"consistent": words[0] == "consistent"}
    for word in words[1:]:
        if word == "avalanche":
            found["avalanche"] = True
        else:
            found["function"] = word
    return found


def _cookie_name(trace: Json) -> str | None:
    for line in trace["config"]["directives"]:
        if line.startswith("cookie "):
            return str(line.split()[1])
    return None


def _counts(trace: Json) -> dict[str, int]:
    inputs = trace["inputs"]
    backend = _backend(trace)
    for name, count in inputs.get("held_connections", {}).items():
        backend.hold(name, count)
    counts: Counter[str] = Counter()
    for _ in range(inputs["requests"]):
        counts[backend.get() or "503"] += 1
    return dict(counts)


# ---------------------------------------------------------------------- time lines


def _time_line(trace: Json) -> Iterator[Json]:
    if "plan" not in trace["inputs"]:
        yield {"outputs": _slow_start(trace)}
        return
    stated = re.search(
        r"^\s*timeout check (\S+)", "\n".join(trace["config"].get("directives", ())), re.MULTILINE
    )
    timeout = _seconds(stated[1]) if stated else CHECK_TIMEOUT
    servers = trace["config"]["servers"]
    yield {"apart": {server["name"]: _check_runs(trace["inputs"], server, timeout) for server in servers}}


def _check_runs(inputs: Json, server: Json, timeout: float) -> Iterator[list[Json]]:
    """Play the plan against the checker of one server, from every moment at which it may have begun.

    A check that is not answered fails after ``timeout check``, or after ``inter`` if that is longer: HAProxy does not always move
    the timer that it set for the connection to an earlier time.
    """
    check = _check(server["check"])
    plan = sorted(
        (step for step in inputs["plan"] if step["server"] == server["name"]), key=lambda step: step["t"]
    )
    timeouts = sorted({timeout, max(timeout, check.inter)})
    for wait, latency, part in itertools.product(timeouts, LATENCIES, range(OFFSETS)):
        checker = haproxy.Checker(check, now=check.inter * (part + 0.5) / OFFSETS)
        yield _check_run(server["name"], checker, plan, inputs["seconds"], wait, latency)


def _options(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)(us|ms|s|m|)", text)
    if match is None:
        raise ValueError(f"a time we do not have: {text}")
    return int(match[1]) * UNITS[match[2]]


def _check(text: str) -> haproxy.Check:
    options = _options(text)
    times = {name: _seconds(options[name]) for name in ("inter", "fastinter", "downinter") if name in options}
    counts = {name: int(options[name]) for name in ("rise", "fall") if name in options}
    return haproxy.Check(**times, **counts)


def _check_run(
    server: str, checker: haproxy.Checker, plan: list[Json], seconds: float, timeout: float, latency: float
) -> list[Json]:
    answer: Any = 200
    steps = iter([*plan, {"t": math.inf}])
    step = next(steps)
    seen: list[Json] = []
    while True:
        now = checker.deadline
        while step["t"] <= min(now, seconds):
            answer = 200 if step["set"] == ACCEPT else step["set"]
            seen.append({"t": step["t"], "server": server, "set": step["set"]})
            step = next(steps)
        if now > seconds:
            return seen
        if answer != REFUSE:  # a server that refuses does not see the check
            seen.append({"t": now, "server": server, "check": answer})
        passed = isinstance(answer, int) and 200 <= answer < 400
        end = now + (timeout if answer is SILENT else latency)
        if checker.observe(passed=passed, now=end) and end <= seconds:
            reason = "Layer7 check passed" if checker.up else FAILED_BY.get(answer, "Layer7 wrong status")
            seen.append(
                {"t": end, "server": server, "state": "UP" if checker.up else "DOWN", "reason": reason}
            )


def _slow_start(trace: Json) -> list[Json]:
    """Return the weight shown, whenever it changes: the effective one over sixteen, rounded up."""
    inputs = trace["inputs"]
    match = re.fullmatch(r"server (\S+) comes up at t=([\d.]+)", inputs["event"])
    if match is None:
        raise ValueError(f"an event we do not have: {inputs['event']}")
    server = next(one for one in trace["config"]["servers"] if one["name"] == match[1])
    ramp = _seconds(_options(server["check"])["slowstart"])
    if _static(trace["config"]["directives"]):
        ramp = 0.0
    since = float(match[2])
    fraction = inputs.get("fraction_of_second_at_t0", 0.0)
    outputs: list[Json] = []
    for second in range(int(inputs["seconds"]) + 1):
        now = since if second == 0 else second - fraction
        effective = haproxy.slow_start(server.get("weight", 1), seconds=ramp, elapsed=second)
        shown = -(-effective // 16)
        if not outputs or outputs[-1]["weight"] != shown:
            outputs.append({"t": now, "weight": shown})
    return outputs


def _static(directives: list[str]) -> bool:
    """Whether the method lays its table out once, so that weights do not change, nor start slowly."""
    lines = [line.split() for line in directives]
    balance = next((words[1:] for words in lines if words[0] == "balance"), ["roundrobin"])
    consistent = any(words[:2] == ["hash-type", "consistent"] for words in lines)
    hashed = _balance(balance)["method"] == "hash"
    return balance[0] == "static-rr" or (hashed and not consistent)
