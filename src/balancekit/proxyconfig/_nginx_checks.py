"""What nginx refuses of directives that an explanation does not follow: blocks, places, values.

nginx does not start with such a file, so there are no decisions to explain.

Source: nginx 1.22; ``nginx -t`` for what is refused.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from balancekit.proxyconfig._model import ProxyConfigError
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_misspelt import meant_by
from balancekit.proxyconfig._nginx_words import METHODS, PASSES, is_neutral

__all__ = ["check_directives"]

WITH_BLOCK: Final = frozenset(
    "http events server location upstream map types if limit_except geo split_clients".split()
)
IN_UPSTREAM: Final = frozenset(
    "keepalive keepalive_requests keepalive_time keepalive_timeout resolver resolver_timeout zone".split()
)
"""Directives without effect on a decision that an ``upstream`` has."""
NOT_IN_HTTP: Final = (
    frozenset({"http", "events", "location", "if", "set", "return", "rewrite", "limit_except"}) | PASSES
)
NOT_IN_SERVER: Final = frozenset({"http", "events", "server", "upstream", "map", "limit_except"}) | PASSES
FLAGS: Final = frozenset(
    """sendfile tcp_nodelay tcp_nopush merge_slashes underscores_in_headers ignore_invalid_headers proxy_buffering
    proxy_request_buffering proxy_intercept_errors log_not_found chunked_transfer_encoding recursive_error_pages
    absolute_redirect port_in_redirect server_name_in_redirect proxy_pass_request_body proxy_pass_request_headers
    real_ip_recursive gzip multi_accept autoindex_exact_size""".split()
)
TIME: Final = re.compile(r"(?:[0-9]{1,12}(?:ms|[yMwdhms])? ?)+")
TIMES: Final = ("_timeout", "_time")
"""How the names of directives end whose value is a time."""
SIZE: Final = re.compile(r"[0-9]{1,12}[kKmM]?")
LONG_SIZE: Final = re.compile(r"[0-9]{1,12}[kKmMgG]?")


def check_directives(directives: Iterable[Directive], inside: str = "", around: str = "") -> None:
    """Refuse what nginx does not start with, in these directives and their blocks.

    Parameters
    ----------
    directives
        The directives.
    inside
        The name of the block that they are in; empty at the top.
    around
        The name of the block around that one. A ``server`` of ``stream`` or ``mail`` has other directives than one of ``http``.

    Raises
    ------
    ProxyConfigError
        With the line of the first.
    """
    for one in directives:
        _check_block(one, inside, around)
        if one.name in FLAGS and one.args not in {("on",), ("off",)}:
            raise ProxyConfigError(one.origin, f"{one.name} is on or off")
        if (
            one.name.endswith(TIMES)
            and is_neutral(one.name)
            and not (one.args and TIME.fullmatch(one.args[0]))
        ):
            raise ProxyConfigError(one.origin, f"{one.name} has a time, as 500ms, 10s or 1m30s")
        if (
            one.name.endswith("_size")
            and one.name not in FLAGS
            and is_neutral(one.name)
            and not LONG_SIZE.fullmatch("".join(one.args[:1]))
        ):
            raise ProxyConfigError(one.origin, f"{one.name} has a size, as 8192, 8k or 1m")
        if inside == "upstream" and is_neutral(one.name):
            _check_in_upstream(one)
        if one.name == "server_name" and not one.args:
            raise ProxyConfigError(one.origin, "server_name has a name")
        if one.name not in {"map", "types", "geo", "split_clients"}:
            check_directives(one.block or (), one.name, inside)


def _check_block(one: Directive, inside: str, around: str) -> None:
    """Refuse a block that a directive has not, which a semicolon that is missing before it makes, and one that is missing."""
    if one.block is not None and one.name not in WITH_BLOCK and (is_neutral(one.name) or one.name in METHODS):
        raise ProxyConfigError(one.origin, f"{one.name} has no block: a ; is missing behind it")
    if one.block is None and one.name in WITH_BLOCK and inside != "upstream":
        meant = meant_by(inside)
        hint = "" if meant is None else f"; {meant} was probably meant by the {inside} around it"
        raise ProxyConfigError(one.origin, f"{one.name} has a block{hint}")
    if inside == "http" and one.name in NOT_IN_HTTP:
        raise ProxyConfigError(one.origin, f"{one.name} is not allowed in a http block")
    if inside == "server" and around in {"", "http"} and one.name in NOT_IN_SERVER:
        raise ProxyConfigError(one.origin, f"{one.name} is not allowed in a server block")


def _check_in_upstream(one: Directive) -> None:
    """Refuse directives that an upstream has not, and values of those that it has."""
    if one.name not in IN_UPSTREAM:
        raise ProxyConfigError(one.origin, f"{one.name} is not allowed in an upstream block")
    first = one.args[0] if one.args else ""
    if one.name == "keepalive" and (len(one.args) != 1 or not re.fullmatch("0*[1-9][0-9]{0,9}", first)):
        raise ProxyConfigError(one.origin, "keepalive has a number of connections >= 1")
    if one.name == "zone" and not (first and all(SIZE.fullmatch(size) for size in one.args[1:])):
        raise ProxyConfigError(one.origin, "zone has a name, and a size such as 64k")
