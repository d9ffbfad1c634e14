"""Redirects of Envoy's routes: status and location."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from balancekit._support.record import Record
from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._model import ProxyRequest

__all__ = ["Redirect", "read_redirect"]

CODES: Final[Mapping[str, int]] = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
PORTS: Final[Mapping[str, str]] = {"http": "80", "https": "443"}


class Redirect(Record):
    """Where a route sends a client.

    Parameters
    ----------
    status
        The status of the answer.
    scheme, host, port
        What replaces that of the request; empty or 0 to keep it.
    path
        What replaces the path; with its query if it has one.
    matched, prefix
        The beginning of the path that the route matches, and what replaces it; empty to keep it.
    strip_query
        Whether the request's query is left out.
    """

    status: int = 301
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    matched: str = ""
    prefix: str = ""
    strip_query: bool = False

    def location(self, request: ProxyRequest) -> str:
        """Return the location of the answer."""
        scheme = self.scheme or "http"
        host, port = _split(request.host or "")
        if self.host:
            host, port = self.host, ""
        if self.port:
            port = str(self.port)
        elif scheme != "http" and port == PORTS["http"]:
            port = ""
        path, mark, query = request.target.partition("?")
        if self.path:
            path = self.path
        elif self.prefix:
            path = self.prefix + path[len(self.matched) :]
        rest = "" if self.strip_query or "?" in path else mark + query
        return f"{scheme}://{host}{':' + port if port else ''}{path}{rest}"


def _split(host: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*):([0-9]+)", host)
    return (found[1], found[2]) if found is not None else (host, "")


def read_redirect(one: Message, words: Mapping[str, Any]) -> Redirect:
    """Return the redirect of a route, whose match is given in words.

    Raises
    ------
    ProxyConfigError
        For an unknown code.
    """
    one.one_of("https_redirect", "scheme_redirect")
    one.one_of("path_redirect", "prefix_rewrite", "regex_rewrite")
    scheme = one.text("scheme_redirect")
    if one.flag("https_redirect"):
        scheme = "https"
    matched = next(
        (words[name] for name in ("prefix", "path", "path_separated_prefix") if name in words), None
    )
    if matched is None:
        one.note("prefix_rewrite", "the location is shown without it")
    one.note("regex_rewrite", "the location is shown without it")
    return Redirect(
        status=CODES[one.choice("response_code", CODES, "MOVED_PERMANENTLY")],
        scheme=scheme,
        host=one.text("host_redirect"),
        port=one.whole("port_redirect", 0, maximum=65535),
        path=one.text("path_redirect"),
        matched=matched or "",
        prefix="" if matched is None else one.text("prefix_rewrite"),
        strip_query=one.flag("strip_query"),
    )
