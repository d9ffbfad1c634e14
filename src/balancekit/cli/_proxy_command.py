"""The command ``balancekit explain`` for configurations of nginx, HAProxy and Envoy. Needs the extra ``proxyconfig``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from balancekit._support.parser import Parser
from balancekit.errors import ConfigurationError

if TYPE_CHECKING:
    from balancekit.proxyconfig import Decision, ProxyRequest

__all__ = ["explain_proxy"]

EXIT_NO_SERVER = 1
"""Exit status if no server can be named."""


def explain_proxy(path: str, words: Sequence[str]) -> int:
    """Print the server to which a proxy sends a request, and the reasons; return the exit status."""
    parser = Parser(
        prog=f"balancekit explain {path}",
        description="Print where the proxy sends a request if it is the first after a start, and why. Exit status 1 if no "
        "server can be named.",
    )
    parser.add_argument(
        "--request",
        default="GET /",
        metavar="LINE",
        help="the request line, such as 'GET /api/x?user=7' (default GET /)",
    )
    parser.add_argument("--host", help="the Host header (default localhost)")
    parser.add_argument("--client", default="127.0.0.1", metavar="ADDRESS", help="the client's IP address")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="a header; may be repeated"
    )
    parser.add_argument(
        "--port", type=int, help="the port at which it arrives; the first that is configured if left out"
    )
    parser.add_argument(
        "--kind",
        choices=("nginx", "haproxy", "envoy"),
        help="the kind of the file; recognised by its text if left out",
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of random methods (default 0)")
    parser.add_argument("--json", action="store_true", help="print data")
    options = parser.parsed(words)
    from balancekit.proxyconfig import read_config  # noqa: PLC0415 - needs a package of an extra

    decision = read_config(path, kind=options.kind).explain(_request(options), seed=options.seed)
    sys.stdout.write((json.dumps(_data(decision), indent=1) if options.json else str(decision)) + "\n")
    return 0 if decision.server is not None or decision.routing.status is not None else EXIT_NO_SERVER


def _request(options: argparse.Namespace) -> ProxyRequest:
    from balancekit.proxyconfig import ProxyRequest  # noqa: PLC0415 - needs a package of an extra

    method, blank, target = options.request.partition(" ")
    if not blank:
        method, target = "GET", options.request
        if not target.startswith(("/", "http://", "https://")):
            raise ConfigurationError(
                "--request", target, "a method and a path, as 'GET /api', or a path alone"
            )
    headers = []
    for text in options.header:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError("--header", text, "NAME:VALUE")
        headers.append((name.strip(), value.strip()))
    hosts = [value for name, value in headers if name.lower() == "host"]
    hosts += [] if options.host is None else [options.host]
    if len(hosts) > 1:
        raise ConfigurationError("--host, --header", ", ".join(hosts), "one Host header")
    return ProxyRequest(
        target.strip() or "/",
        method=method,
        host=hosts[0] if hosts else "localhost",
        headers=tuple([header for header in headers if header[0].lower() != "host"]),
        client=options.client,
        port=options.port,
    )


def _data(decision: Decision) -> dict[str, object]:
    server, pool, routing = decision.server, decision.pool, decision.routing
    return {
        "request": str(decision.request),
        "pool": None if pool is None else pool.name,
        "server": None if server is None else server.name,
        "address": None if server is None else server.address,
        "origin": None if server is None else str(server.origin),
        "status": routing.status,
        "location": routing.location,
        "key": decision.key,
        "shares": dict(decision.shares),
        "why": list(decision.why),
        "not_modelled": [str(one) for one in decision.not_modelled],
    }
