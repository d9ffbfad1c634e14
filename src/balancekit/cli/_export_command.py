"""The command ``balancekit export``: converts configurations of balancers to one of nginx, HAProxy or Envoy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balancekit._support.files import in_file
from balancekit.cli._file_kinds import are_proxies, read_document
from balancekit.cli._route_command import read_routes
from balancekit.cli._status import remark
from balancekit.errors import ConfigurationError
from balancekit.l7 import RouteTable

__all__ = ["add_export", "run_export"]

WANTED = (
    "the configuration of a balancer in TOML or JSON; for that of a proxy see balancekit lint, balancekit plan and "
    "balancekit simulate --proxy"
)
"""Error text for a file that is the configuration of a proxy."""


def add_export(commands: Any) -> None:
    """Add ``balancekit export`` to the commands."""
    parser = commands.add_parser(
        "export",
        help="write the configuration of nginx, HAProxy or Envoy",
        description="Write the configurations of balancers as one of a proxy. Differences are in comments and on standard "
        "error.",
        epilog="example: balancekit export orders.toml --to haproxy --key header:x-user > haproxy.cfg",
    )
    parser.add_argument(
        "pools",
        nargs="+",
        metavar="FILE",
        help="configurations of balancers; NAME=FILE gives a pool its name",
    )
    parser.add_argument("--to", required=True, choices=("nginx", "haproxy", "envoy"), help="the proxy")
    parser.add_argument(
        "--key",
        default="",
        help="the part of a request that is the key: header:NAME, cookie:NAME, query:NAME, client or target",
    )
    parser.add_argument("--routes", metavar="FILE", help="a route file that leads to the pools by name")
    parser.add_argument("--listen", default="127.0.0.1:8080", help="address and port of the proxy")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if anything differs")


def run_export(options: argparse.Namespace) -> int:
    """Print the proxy's configuration, and the differences on standard error; return the exit status."""
    from balancekit.proxyconfig import export_config, export_pool  # noqa: PLC0415 - needs a package of an extra

    pools = []
    for text in options.pools:
        name, equals, path = text.partition("=")
        name, path = (name, path) if equals else (Path(text).stem, text)
        document = read_document(Path(_own_file(path)))
        if "route" in document:
            raise ConfigurationError(
                "FILE", path, "the configuration of a balancer; for a file of routes write --routes"
            )
        with in_file(path), _by_option("key"):
            pools.append(export_pool(name, document, key=options.key, environ=os.environ))
    with _by_option("routes", "listen"):
        found = export_config(pools, options.to, routes=_routes(options.routes), listen=options.listen)
    sys.stdout.write(found.text)
    for one in found.differences:
        remark(f"differs: {one}")
    return 1 if options.strict and found.differences else 0


@contextmanager
def _by_option(*parameters: str) -> Iterator[None]:
    """Name a parameter in errors by the option that sets it."""
    try:
        yield
    except ConfigurationError as error:
        if error.parameter not in parameters:
            raise
        raise ConfigurationError(f"--{error.parameter}", error.value or None, error.allowed) from None


def _own_file(path: str) -> str:
    """Return a path, if it does not name the configuration of a proxy.

    Raises
    ------
    ConfigurationError
        If it does.
    """
    if are_proxies(path):
        raise ConfigurationError("FILE", path, WANTED)
    return path


def _routes(path: str | None) -> RouteTable[Any] | None:
    return None if path is None else read_routes(Path(path), read_document(Path(path)))
