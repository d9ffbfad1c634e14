"""HAProxy's ``balance``, ``hash-type`` and ``hash-balance-factor`` as the method that the machine takes.

Source: HAProxy 2.6 configuration manual, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from balancekit.compat import haproxy
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._haproxy_lines import Line, whole_number
from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["read_balance"]

COOKIE: Final = re.compile(r"(?:req\.)?cook\([^(),]+\)")
BALANCE: Final = re.compile(r"([a-z_-]+)(?:\((.*)\))?")
FUNCTIONS: Final = frozenset({"sdbm", "djb2", "wt6", "crc32", "none"})
"""The functions of ``hash-type``; ``none`` came after HAProxy 2.6."""
OTHERS: Final = frozenset({"hash", "rdp-cookie", "log-hash", "sticky"})
"""Methods that are not followed, for each key; the last two came after HAProxy 2.6."""
NOT_HASHED: Final = frozenset({"roundrobin", "static-rr", "leastconn", "first"})


def read_balance(
    line: Line, directives: Mapping[str, Sequence[str]], origins: Mapping[str, Any]
) -> tuple[haproxy.Balance, str, str]:
    """Return the balancing, what it hashes, and what of it is not modelled, empty if all is.

    Parameters
    ----------
    line
        ``balance`` and its words.
    directives
        The words of ``hash-type`` and ``hash-balance-factor``, empty if they are not written.
    origins
        Where they are written, as ``hash-type.origin``.

    Raises
    ------
    ProxyConfigError
        If a value is not allowed, with the line that has it.
    """
    found = BALANCE.fullmatch(line.words[1] or "roundrobin")
    if found is None:
        raise ProxyConfigError(line.origin, "balance has a method")
    name, argument, words = found[1], found[2], line.words[2:]
    key = ""
    if name == "random":
        options: dict[str, Any] = {
            "method": name,
            "draws": whole_number(line, argument, 1) if argument else 2,
        }
    elif name in NOT_HASHED:
        options = {"method": name}
    else:
        by, key, unread = _hashed_by(line, name, argument, words)
        if by is None or unread:
            return haproxy.Balance(), "", unread
        options = {"method": "hash", "by": by}
    hash_type = (
        _hash_type(directives["hash-type"], origins["hash-type.origin"]) if directives["hash-type"] else {}
    )
    options |= hash_type if key else {}
    if directives["hash-balance-factor"]:
        written = Line(line.words, origins["hash-balance-factor.origin"])
        options["balance_factor"] = whole_number(written, directives["hash-balance-factor"][0], 0)
    try:
        return haproxy.Balance(**options), key, ""
    except ConfigurationError as error:
        if error.parameter == "function":
            return haproxy.Balance(), "", f"hash function {error.value}"
        name = "hash-balance-factor" if error.parameter == "balance_factor" else ""
        raise ProxyConfigError(origins[f"{name}.origin"] if name else line.origin, str(error)) from None


def _hashed_by(
    line: Line, name: str, argument: str | None, words: Sequence[str]
) -> tuple[haproxy.HashedBy | None, str, str]:
    """Return what a method hashes, for the machine and in words, and what of it is not modelled."""
    if name == "source":
        return haproxy.Source(), "source", ""
    if name == "hdr":
        if not argument or list(words) not in ([], ["use_domain_only"]):
            raise ProxyConfigError(line.origin, "balance hdr(NAME) has a name, and perhaps use_domain_only")
        return haproxy.Header(use_domain_only=len(words) > 0), f"hdr({argument})", ""
    if not words and name in {"url_param", "hash"}:
        raise ProxyConfigError(line.origin, f"balance {name} has an argument")
    if name == "url_param":
        if list(words[1:]) not in ([], ["check_post"]):
            raise ProxyConfigError(line.origin, "balance url_param has a name, and perhaps check_post")
        return haproxy.UrlParam(), f"url_param {words[0]}", " ".join(words[1:])
    if name == "hash" and len(words) == 1 and COOKIE.fullmatch(words[0]):
        return haproxy.Sample(), words[0].removeprefix("req."), ""
    if name == "uri":
        return haproxy.Uri(**_uri_options(line, list(words))), "uri", ""
    if name not in OTHERS:
        raise ProxyConfigError(line.origin, f"balance has no method {name!r}")
    return None, "", name


def _uri_options(line: Line, words: list[str]) -> dict[str, Any]:
    """Return the options of ``balance uri``."""
    options: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word in {"whole", "path-only"}:
            options[word.replace("-", "_")] = True
        elif word in {"len", "depth"}:
            if not words:
                raise ProxyConfigError(line.origin, f"{word} needs a value")
            options["length" if word == "len" else "depth"] = whole_number(line, words.pop(0), 1)
        else:
            raise ProxyConfigError(line.origin, f"balance uri has no parameter {word!r}")
    return options


def _hash_type(given: Sequence[str], origin: Origin) -> dict[str, Any]:
    """Return the options of ``hash-type``."""
    kind, *rest = given
    if kind not in {"map-based", "consistent"}:
        raise ProxyConfigError(origin, f"hash-type {kind!r} is not map-based or consistent")
    found: dict[str, Any] = {"consistent": kind == "consistent"}
    if rest:
        found["function"] = rest.pop(0)
    if rest[:1] not in ([], ["avalanche"]) or found.get("function", "sdbm") not in FUNCTIONS:
        raise ProxyConfigError(origin, "hash-type has a function, and perhaps avalanche behind it")
    found["avalanche"] = True if rest else None
    return found
