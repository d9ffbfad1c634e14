"""The command ``balancekit check``: one health check of each endpoint."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from balancekit._support import validation as valid
from balancekit._support.headers import without_secrets
from balancekit.checks import HttpCheck, TcpCheck, check_once
from balancekit.cli._file_kinds import are_files
from balancekit.cli._first_list import first_list
from balancekit.cli._status import print_answer
from balancekit.config import load
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError, printable
from balancekit.outcome import CheckResult

__all__ = ["run_check"]

DEFAULT_TIMEOUT_S: Final = 2.0
SCHEMES: Final = ("dns", "dns_ttl", "srv", "file", "http_sd", "kubernetes", "static")
"""Schemes of sources of endpoints that :func:`balancekit.discovery.source` supports."""


def run_check(options: argparse.Namespace) -> int:
    """Check each endpoint once and print the results; return 1 if a check failed."""
    endpoints, check = _subjects(options)
    timeout = DEFAULT_TIMEOUT_S if options.timeout is None else options.timeout
    valid.number("--timeout", timeout, above=0.0, unit="seconds")
    found = asyncio.run(check_once(endpoints, check, timeout=timeout))
    print_answer(_json_of(found) if options.json else _text_of(found))
    return 0 if all(result.passed for result in found.values()) else 1


def _subjects(options: argparse.Namespace) -> tuple[list[Endpoint[Any]], Any]:
    """Return the endpoints and the check that the arguments describe."""
    first = options.what[0]
    if options.tcp and options.path is not None:
        raise ConfigurationError("--path", options.path, "--path without --tcp: a TCP check has no path")
    check: Any = TcpCheck() if options.tcp else HttpCheck(options.path or "/")
    if len(options.what) == 1 and _is_source(first):
        return first_list(first), check
    if len(options.what) == 1 and are_files(first):
        configuration = load(first, environ=os.environ)
        if configuration.check is not None and options.path is None and not options.tcp:
            check = configuration.check
        if configuration.source is not None:
            return first_list(configuration.source), check
        return list(configuration.balancer.endpoints), check
    return [Endpoint(_address(text)) for text in options.what], check


def _address(text: str) -> str:
    """Return an address, if it can be checked and may be printed.

    Raises
    ------
    ConfigurationError
        If it has no port and is no HTTP URL, or has a user name or password.
    """
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        has_port = parts.port is not None or parts.scheme in {"http", "https"}
        whole = bool(parts.hostname) and has_port and parts.port != 0
    except ValueError:
        parts, whole = None, False
    if not whole or parts is None or parts.username is not None:
        raise ConfigurationError(
            "WHAT", without_secrets(text), "host:port, or an http(s) URL, without a password"
        )
    return text


def _is_source(text: str) -> bool:
    """Return whether a text is a source of endpoints rather than a host and a port."""
    scheme, _, rest = text.partition(":")
    return scheme in SCHEMES and not rest.isdecimal()


def _text_of(found: Mapping[str, CheckResult]) -> str:
    ids = [*map(printable, found)]
    width = max(map(len, ids))
    lines = [
        f"{'passed' if result.passed else 'FAILED'}  {id:{width}}  {printable(result.detail)}".rstrip()
        for id, result in zip(ids, found.values(), strict=True)
    ]
    return "\n".join(lines) + "\n"


def _json_of(found: Mapping[str, CheckResult]) -> str:
    data = {id: {"passed": result.passed, "detail": result.detail} for id, result in found.items()}
    return json.dumps(data, indent=1) + "\n"
