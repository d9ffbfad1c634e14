"""Where directives of nginx may stand, how many arguments they have, and what some of them look like.

The places and numbers are those of ``crossplane``. Directives of modules that are not part of nginx are left alone.

Source: nginx 1.22, ``ngx_http_rewrite_module.c``, ``ngx_http_split_clients_module.c``, ``ngx_http_geo_module.c``,
``ngx_http_core_module.c``; ``nginx -t`` for what is refused.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from balancekit._support.extras import extra
from balancekit.compat._routing import UnsupportedExpressionError, compiled
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._model import ProxyConfigError
from balancekit.proxyconfig._nginx_files import Directive

with extra("proxyconfig"):
    from crossplane.analyzer import analyze, enter_block_ctx
    from crossplane.errors import NgxParserDirectiveError

__all__ = ["blocks_around", "check_grammar"]

NEWER: Final = (
    "api",
    "auth_jwt",
    "health_check",
    "js_",
    "keyval",
    "session_log",
    "state",
    "status",
    "sticky",
    "zone_sync",
)
"""Beginnings of directives that later versions take in more places, or with other arguments."""
IN_NEWER_UPSTREAM: Final = frozenset({"keepalive_requests", "keepalive_time", "resolver", "resolver_timeout"})
TABLES: Final = frozenset({"map", "split_clients", "geo", "types"})
VARIABLE: Final = re.compile(r"\$[A-Za-z0-9_]+")
FILE_TESTS: Final = frozenset(sign + test for sign in ("", "!") for test in ("-f", "-d", "-e", "-x"))
COMPARISONS: Final = frozenset({"=", "!="})
MATCHES: Final = frozenset({"~", "~*", "!~", "!~*"})
FLAGS: Final = frozenset({"last", "break", "redirect", "permanent"})
STATUS: Final = re.compile("=[0-9]+")
PERCENT: Final = re.compile(r"([0-9]{0,3})(?:\.([0-9]{0,2}))?%")
LEADING_ZEROS: Final = re.compile(r"(?<![0-9])0+(?=[0-9])")
MAX_STATUS: Final = 999
ALL_PERCENT: Final = 10_000
GEO_FLAGS: Final = frozenset({"ranges", "proxy_recursive"})
GEO_ADDRESSES: Final = frozenset({"delete", "proxy"})


METHODS: Final = frozenset(
    "GET HEAD POST PUT DELETE MKCOL COPY MOVE OPTIONS PROPFIND PROPPATCH LOCK UNLOCK PATCH".split()
)
CHOICES: Final[Mapping[str, tuple[slice, frozenset[str]]]] = MappingProxyType(
    {
        "satisfy": (slice(0, 1), frozenset({"all", "any"})),
        "proxy_http_version": (slice(0, 1), frozenset({"1.0", "1.1", "2"})),
        "server_tokens": (slice(0, 1), frozenset({"on", "off", "build"})),
        "add_header": (slice(2, None), frozenset({"always"})),
        "limit_except": (slice(0, None), METHODS),
    }
)
"""Arguments that have a few values only, by directive."""


def blocks_around(directives: Iterable[Directive]) -> tuple[str, ...] | None:
    """Return the blocks around the directives of a file, as ``crossplane`` names them; ``None`` if they are not known.

    A file without one of the outermost blocks may be included into ``http``.
    """
    names = {one.name for one in directives}
    if names & {"http", "events"}:
        return ()
    return ("http",) if names & {"server", "upstream"} else None


def check_grammar(directives: Iterable[Directive], context: tuple[str, ...] | None) -> None:
    """Refuse directives that nginx does not have in a place, or not with these arguments.

    Parameters
    ----------
    directives
        The directives.
    context
        The blocks that they are in, as ``crossplane`` names them; ``None`` if that is not known.

    Raises
    ------
    ProxyConfigError
        With the line of the first.
    """
    for one in directives:
        if context is not None:
            _check_place(one, context)
        place, allowed = CHOICES.get(one.name, (slice(0), frozenset[str]()))
        for argument in one.args[place]:
            if argument not in allowed and "$" not in argument:
                choices = ", ".join(sorted(allowed))
                raise ProxyConfigError(one.origin, f"{one.name}: {argument!r} is none of {choices}")
        check = CHECKS.get(one.name)
        if check is not None:
            check(one)
        if one.name not in TABLES and one.block is not None:
            inner = None if context is None else enter_block_ctx({"directive": one.name}, context)
            check_grammar(one.block, inner)


def _check_place(one: Directive, context: tuple[str, ...]) -> None:
    if one.name.startswith(NEWER) or (context[-1:] == ("upstream",) and one.name in IN_NEWER_UPSTREAM):
        return
    written = {"directive": one.name, "line": one.origin.line, "args": list(one.args)}
    try:
        analyze(one.origin.file, written, ";" if one.block is None else "{", context)
    except NgxParserDirectiveError as error:
        raise ProxyConfigError(one.origin, str(error.strerror)) from None


def _check_expression(one: Directive, text: str) -> None:
    with suppress(UnsupportedExpressionError):
        try:
            compiled(one.name, text)
        except UnsupportedExpressionError:
            raise
        except ConfigurationError as error:
            raise ProxyConfigError(one.origin, str(error)) from None


def _check_if(one: Directive) -> None:
    first, *rest = one.args or ("",)
    if first in FILE_TESTS:
        right = len(rest) == 1
    else:
        sign = rest[0] if len(rest) == 2 else ""
        right = VARIABLE.fullmatch(first) is not None and (not rest or sign in COMPARISONS | MATCHES)
        if right and sign in MATCHES:
            _check_expression(one, rest[1])
    if not right:
        raise ProxyConfigError(
            one.origin,
            f"{one}: a condition is a $variable alone, one with =, !=, ~, ~*, !~ or !~* and a text, or -f FILE",
        )


def _check_rewrite(one: Directive) -> None:
    for flag in one.args[2:3]:
        if flag not in FLAGS:
            raise ProxyConfigError(one.origin, f"rewrite has no flag {flag!r}: {', '.join(sorted(FLAGS))}")
    if one.args[1:2] == ("",):
        raise ProxyConfigError(one.origin, "rewrite has a path or a URL, which is empty here")
    _check_expression(one, "".join(one.args[:1]))


def _check_error_page(one: Directive) -> None:
    codes = one.args[:-1]
    if len(codes) > 1 and codes[-1].startswith("="):
        if codes[-1] != "=" and STATUS.fullmatch(codes[-1]) is None:
            raise ProxyConfigError(one.origin, f"{codes[-1]}: a status is expected behind the =")
        codes = codes[:-1]
    for code in codes:
        if not (code.isascii() and code.isdecimal() and 300 <= int(code[:9]) <= 599 and int(code) != 499):
            raise ProxyConfigError(
                one.origin, f"{code}: statuses of an error_page are 300 to 599, without 499"
            )


def _check_try_files(one: Directive) -> None:
    last = "".join(one.args[-1:])
    if last.startswith("=") and (STATUS.fullmatch(last) is None or int(last[1:10]) > MAX_STATUS):
        raise ProxyConfigError(one.origin, f"{last}: a status is expected behind the =")


def _is_network(text: str) -> bool:
    address, slash, length = text.partition("/")
    if "." in address and (address.count(".") != 3 or (slash and not length.isdecimal())):
        return False
    try:
        ipaddress.ip_network(LEADING_ZEROS.sub("", text), strict=False)
    except ValueError:
        return False
    return True


def _is_range(text: str) -> bool:
    """Whether a text is a range of IPv4 addresses."""
    first, _, last = text.partition("-")
    try:
        return ipaddress.IPv4Address(first) <= ipaddress.IPv4Address(last)
    except ValueError:
        return False


def _check_access(one: Directive) -> None:
    text = "".join(one.args[:1])
    if text not in {"all", "unix:"} and not _is_network(text):
        raise ProxyConfigError(
            one.origin, f"{one.name} has an address, a network, unix: or all, not {text!r}"
        )


def _check_split_clients(one: Directive) -> None:
    total = 0
    for entry in one.block or ():
        found = PERCENT.fullmatch(entry.name)
        if not entry.args:
            raise ProxyConfigError(entry.origin, "a line of split_clients is a share and a value")
        hundredths = int(f"0{found[1]}{(found[2] or '').ljust(2, '0')}") if found is not None else 0
        if entry.name != "*" and not hundredths:
            raise ProxyConfigError(entry.origin, f"{entry.name}: a share is a percentage such as 12.5%, or *")
        total = ALL_PERCENT if entry.name == "*" else total + hundredths
        if total > ALL_PERCENT:
            raise ProxyConfigError(entry.origin, "the shares are more than 100 % together")


def _check_geo(one: Directive) -> None:
    in_ranges = False
    for entry in one.block or ():
        if entry.name in GEO_FLAGS and not entry.args:
            in_ranges = in_ranges or entry.name == "ranges"
            continue
        if len(entry.args) != 1:
            raise ProxyConfigError(entry.origin, "a line of geo is a network and a value")
        text = entry.args[0] if entry.name in GEO_ADDRESSES else entry.name
        is_right = _is_range if in_ranges and entry.name != "proxy" else _is_network
        if entry.name != "default" and not is_right(text):
            raise ProxyConfigError(
                entry.origin,
                f"{text}: {'a range of IPv4 addresses' if in_ranges else 'a network'} is expected",
            )


CHECKS: Final[Mapping[str, Callable[[Directive], None]]] = MappingProxyType(
    {
        "if": _check_if,
        "rewrite": _check_rewrite,
        "error_page": _check_error_page,
        "try_files": _check_try_files,
        "deny": _check_access,
        "allow": _check_access,
        "split_clients": _check_split_clients,
        "geo": _check_geo,
    }
)
"""What nginx checks of arguments and of tables, by directive."""
