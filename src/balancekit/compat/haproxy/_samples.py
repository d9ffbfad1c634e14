"""HAProxy's sample fetches: functions that read a part of a request.

They normalize and decode nothing. A fetch yields several samples if a header is repeated or has commas.

Cost: O(length) per fetch. Source: HAProxy 2.6.12, observed; its configuration manual, section 7.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from balancekit._support.record import Record
from balancekit.compat._routing import RawRequest
from balancekit.errors import ConfigurationError

__all__ = ["FETCHES", "FIRST", "Parsed", "convert", "parse", "split_unquoted"]

FORBIDDEN: Final = re.compile(r"[^\x21-\x7e]|#")
SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/]*)")
PORTS: Final = {"http": "80", "https": "443"}
"""The default port of each scheme: an authority and a Host header may differ in it."""
PORT: Final = re.compile(r":([0-9]*)$")


class Parsed(Record):
    """A request that HAProxy accepts.

    Parameters
    ----------
    request
        The request as it arrived.
    target
        The target of the request line, normalized.
    path
        The target up to the query, without the scheme and the authority. ``None`` if it is empty or begins with a star.
    query
        The text after the first ``?`` of the target; ``None`` without a ``?``.
    """

    request: RawRequest
    target: str
    path: str | None
    query: str | None


def parse(request: RawRequest) -> Parsed | None:
    """Return the parts of a request, ``None`` if the answer is 400.

    A target that has no scheme and begins with neither a slash nor a star is an authority. If there are an authority and a
    Host header, they must be equal; user information before an ``@`` is not compared.
    """
    target = request.target
    hosts = request.values("host")
    if FORBIDDEN.search(target) or len(set(hosts)) > 1:
        return None
    authority, port, rest = "", None, target
    found = SCHEME.match(target)
    if found is not None:
        authority, port, rest = (
            found[2].rpartition("@")[2],
            PORTS.get(found[1].lower(), ""),
            target[found.end() :],
        )
    elif not target.startswith(("/", "*")):
        authority, rest = target.partition("/")[0].rpartition("@")[2], ""
    if authority and hosts and not _same_authority(authority, hosts[0], port):
        return None
    path = None if target.startswith("*") else rest.partition("?")[0] or None
    _, mark, query = target.partition("?")
    return Parsed(request=request, target=target, path=path, query=query if mark else None)


def _same_authority(one: str, other: str, port: str | None) -> bool:
    """Whether two authorities are equal, apart from case.

    ``port`` is the default port of the scheme, empty if the scheme has none, ``None`` without a scheme. With a scheme, an
    authority with the default port, with a colon but no port, or without both are equal.
    """
    if one.lower() == other.lower():
        return True
    found = [PORT.search(text) for text in (one, other)]
    if port is None or any(match is not None and match[1] not in {"", port} for match in found):
        return False
    return PORT.sub("", one.lower()) == PORT.sub("", other.lower())


def _path(parsed: Parsed, _: str) -> Iterator[str]:
    if parsed.path is not None:
        yield parsed.path


def _method(parsed: Parsed, _: str) -> Iterator[str]:
    yield parsed.request.method


def _header(parsed: Parsed, name: str) -> Iterator[str]:
    for value in parsed.request.values(name):
        yield from [part.strip(" \t") for part in split_unquoted(value, ",")]


def _whole_header(parsed: Parsed, name: str) -> Iterator[str]:
    yield from parsed.request.values(name)


def _parameter(parsed: Parsed, name: str) -> Iterator[str]:
    for part in re.split("[&;?]", parsed.query or ""):
        key, equals, value = part.partition("=")
        if equals and key == name:
            yield value


def _cookie(parsed: Parsed, name: str) -> Iterator[str]:
    """Yield the values of a cookie. An empty value counts, except at the end of the header or before a comma."""
    for header in parsed.request.values("cookie"):
        for line in split_unquoted(header, ","):
            parts = split_unquoted(line.strip(" \t"), ";")
            for number, part in enumerate(parts, 1):
                key, equals, value = part.partition("=")
                last = number == len(parts) and len(part) <= len(name) + 1
                if equals and key.strip(" \t") == name and not last:
                    yield value.strip(" \t")


def _query(parsed: Parsed, _: str) -> Iterator[str]:
    if parsed.query is not None:
        yield parsed.query


def _target(parsed: Parsed, _: str) -> Iterator[str]:
    yield parsed.target


FETCHES: Final[dict[str, Callable[[Parsed, str], Iterator[str]]]] = {
    "path": _path,
    "method": _method,
    "hdr": _header,
    "req.hdr": _header,
    "req.fhdr": _whole_header,
    "urlp": _parameter,
    "url_param": _parameter,
    "req.cook": _cookie,
    "cook": _cookie,
    "query": _query,
    "url": _target,
}

FIRST: Final = frozenset({"urlp", "url_param"})
"""Fetches of which the first sample counts where only one does; of others it is the last."""


def convert(sample: str, converter: str) -> str:
    """Apply a converter to a sample.

    Raises
    ------
    ConfigurationError
        If the converter is not ``lower`` or ``upper``.
    """
    if converter == "lower":
        return sample.lower() if sample.isascii() else _ascii(sample, str.lower)
    if converter == "upper":
        return sample.upper() if sample.isascii() else _ascii(sample, str.upper)
    raise ConfigurationError("converters", converter, "'lower' or 'upper'")


def _ascii(sample: str, change: Callable[[str], str]) -> str:
    return "".join([change(letter) if letter.isascii() else letter for letter in sample])


def split_unquoted(text: str, separators: str) -> list[str]:
    """Split at separators outside of double quotes. Inside of quotes, a backslash escapes the next character."""
    if '"' not in text:
        return re.split(f"[{separators}]", text)
    parts, quoted, escaped = [""], False, False
    for letter in text:
        if not quoted and letter in separators:
            parts.append("")
            continue
        parts[-1] += letter
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
    return parts
