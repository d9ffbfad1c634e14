"""Judgement of strict parsers by what several servers made of the same bytes.

Three servers read PROXY headers and ClientHellos differently, so a strict parser cannot equal each of them. The rule is
about the cases in which servers agree:

==================  ============================================================================================
``proxy-protocol``  a header that all three refuse is refused (or waited for); one that all three take is taken, with
                    the same addresses. With Envoy's "optional" beside it: a connection that only the optional
                    listener takes has no header for ours either
``client-hello``    where nginx and Envoy agree about the name, ours is equal to nginx's; where both read no ClientHello,
                    ours is none
==================  ============================================================================================

Envoy shows no name, only a filter chain; it agrees with nginx if nginx's reading leads to the same chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from balancekit.compat import envoy
from balancekit.l4 import NeedMore, client_hello, proxy_protocol

__all__ = ["KINDS", "beside", "differences", "group_of"]

Json = Mapping[str, Any]

KINDS = frozenset({"proxy-protocol", "client-hello"})
"""Kinds of traces that are judged together."""

SERVERS = ("nginx", "haproxy", "envoy")
FOLLOWS = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
"""What a connection says behind a header, or behind a part of one."""
ENDS = (("1.2.3.4", 0), ("5.6.7.8", 0))


def group_of(trace: Json) -> str:
    """Return the name that the traces of the same bytes share."""
    return trace["id"].removeprefix(f"{trace['server']}-").replace("-optional-", "-")


def beside(trace: Json, folder: Path) -> list[Path]:
    """Return the files of the other traces of the same bytes that are in a folder."""
    group = group_of(trace)
    kind = f"{trace['kind']}-"
    names = [f"{server}-{group}" for server in SERVERS] + [
        f"envoy-{group.replace(kind, f'{kind}optional-', 1)}"
    ]
    paths = [folder / f"{name}.json" for name in names if name != trace["id"]]
    return [path for path in paths if path.exists()]


def differences(traces: list[Json]) -> Iterator[tuple[str, str]]:
    """Yield each case on which servers agree, and how ours differs: an empty text if it does not."""
    by_server = {trace["server"]: trace for trace in traces if "-optional-" not in trace["id"]}
    [optional] = [trace for trace in traces if "-optional-" in trace["id"]] or [None]
    missing = [name for name in SERVERS if name not in by_server]
    if missing:
        raise ValueError(f"no trace of {' and '.join(missing)} beside it")
    cases = by_server["nginx"]["inputs"]["cases"]
    if any(trace["inputs"]["cases"] != cases for trace in traces):
        raise ValueError("traces of other bytes beside it")
    judge = _hello if by_server["nginx"]["kind"] == "client-hello" else _header
    for place, (name, text) in enumerate(cases):
        seen = {server: by_server[server]["outputs"][place] for server in SERVERS}
        for difference in judge(bytes.fromhex(text), seen, by_server):
            yield name, difference
        if optional is not None and optional["outputs"][place]["accepted"] > seen["envoy"]["accepted"]:
            ours = proxy_protocol.parse(bytes.fromhex(text) + FOLLOWS, mode="optional")
            same = isinstance(ours, proxy_protocol.NoHeader)
            yield f"{name}, optional", "" if same else f"ours {ours}"


def _header(data: bytes, seen: Json, _: Json) -> Iterator[str]:
    taken = {server: answer["accepted"] for server, answer in seen.items()}
    ours = proxy_protocol.parse(data + FOLLOWS)
    if not any(taken.values()):
        yield "" if isinstance(ours, NeedMore | proxy_protocol.Refused) else f"all refuse it, ours {ours}"
    elif all(taken.values()):
        same = isinstance(ours, proxy_protocol.ProxyHeader) and all(
            answer.get("src") is None
            or (_end(answer, "src") == _read(ours.src) and _end(answer, "dst") == _read(ours.dst))
            for answer in seen.values()
        )
        yield "" if same else f"all take it as {seen['nginx']}, ours {ours}"


def _end(answer: Json, name: str) -> tuple[object, int]:
    return ip_address(answer[name]), int(answer[f"{name}_port"] or 0)


def _read(end: tuple[str, int] | None) -> tuple[object, int] | None:
    return end and (ip_address(end[0]), end[1])


def _hello(data: bytes, seen: Json, traces: Json) -> Iterator[str]:
    chains = envoy.filter_chains(traces["envoy"]["config"]["rules"])
    nginx = seen["nginx"]
    theirs = None
    if nginx.get("protocol"):
        alpn = tuple([name for name in nginx["alpn"].split(",") if name])
        theirs = client_hello.ClientHello(sni=nginx["sni"] or None, alpn=alpn, versions=())
    if chains.match(*ENDS, theirs) != seen["envoy"]["pool"]:
        return
    ours = client_hello.peek(data)
    name = ours.sni if isinstance(ours, client_hello.ClientHello) else None
    same = isinstance(ours, client_hello.ClientHello) == (theirs is not None) and (
        theirs is None or name == theirs.sni
    )
    yield "" if same else f"nginx and Envoy agree on {nginx}, ours {ours}"
