"""Envoy's choice of a cluster for a request: a virtual host by its domain, then its first route that matches.

If a header has several values, each is matched, except for headers whose values Envoy joins. Only one virtual host is used: if it has
no matching route, the result is 404, even if there is a virtual host for ``*``. All parts of a match must match.

Cost: O(length of the host) for the virtual host, O(routes) for the route.
Source: Envoy 1.40.0, observed; ``RouteConfiguration``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.url_paths import ESCAPED_SLASH
from balancekit._support.url_paths import envoy as read_path
from balancekit.compat._documents import document_of, documents_of, texts_of
from balancekit.compat._routing import RawRequest, Routed, raw_bytes, split_target
from balancekit.compat.envoy._hash import header_hash
from balancekit.compat.envoy._matchers import (
    MatchedRequest,
    cookie_matcher,
    fold,
    header_matcher,
    path_matcher,
    query_matcher,
    read_cookies,
)
from balancekit.errors import ConfigurationError

__all__ = ["RouteConfig", "route_config"]

ACTIONS: Final = {
    "IMPLEMENTATION_SPECIFIC_DEFAULT": "keep",
    "KEEP_UNCHANGED": "keep",
    "REJECT_REQUEST": "reject",
    "UNESCAPE_AND_FORWARD": "unescape",
    "UNESCAPE_AND_REDIRECT": "redirect",
}
AUTHORITY: Final = re.compile(r"[A-Za-z0-9!$%&'()*+,\-.:;=@\[\]_~]*")
IN_URL: Final = re.compile(
    r"(?:[A-Za-z0-9!$%&'()*+,\-.:;=_~]*@)?((?:[A-Za-z0-9.\-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]+))?)"
)
"""The authority of an absolute target, the address in brackets and the port. User information before an at sign is dropped."""
MAX_PORT: Final = 65_535
DECIMAL: Final = re.compile(r"\+?[0-9]+")
MAX_DIGITS_64: Final = 20
"""Digits of the largest number of 64 bits."""
NOT_SENT: Final = re.compile(r"[^\x21-\x7e]")
SCHEMES: Final = ("http://", "https://")
METHODS: Final = frozenset(
    [
        "ACL",
        "BIND",
        "CHECKOUT",
        "COPY",
        "DELETE",
        "GET",
        "HEAD",
        "LINK",
        "LOCK",
        "MERGE",
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MOVE",
        "MSEARCH",
        "NOTIFY",
        "OPTIONS",
        "PATCH",
        "POST",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "PUT",
        "REBIND",
        "REPORT",
        "SEARCH",
        "SOURCE",
        "SUBSCRIBE",
        "TRACE",
        "UNBIND",
        "UNLINK",
        "UNLOCK",
        "UNSUBSCRIBE",
    ]
)
JOINED: Final = frozenset(
    [
        "accept",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
        "access-control-request-private-network",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-type",
        "expect",
        "grpc-accept-encoding",
        "grpc-timeout",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "origin",
        "pragma",
        "referer",
        "user-agent",
        "via",
        "x-client-trace-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-request-id",
    ]
)
"""Headers whose values Envoy joins with a comma."""
NOT_FOUND: Final = Routed(status=404)
BAD_REQUEST: Final = Routed(status=400)


@final
class RouteConfig(ConstructorRepr):
    """A ``RouteConfiguration`` behind an HTTP connection manager.

    Parameters
    ----------
    virtual_hosts
        Virtual hosts with Envoy's field names. The action of a route is ``{"pool"}`` or
        ``{"weighted": [[pool, weight]], "by", "header"}``, where ``by`` is ``"header"`` (its value is a decimal number) or
        ``"hash"`` (its value is hashed).
    connection_manager
        Options of the connection manager: ``normalize_path``, ``merge_slashes``, ``path_with_escaped_slashes_action``,
        ``strip_any_host_port`` and ``strip_trailing_host_dot``.
    options
        Options of the route configuration: ``ignore_port_in_host_matching``.

    Raises
    ------
    ConfigurationError
        If a match or an action is unknown, or an expression is not valid.

    Example
    -------
    >>> from balancekit.compat.envoy import RawRequest, RouteConfig
    >>> table = RouteConfig([{"name": "all", "domains": ["*"], "routes": [
    ...     {"match": {"path_separated_prefix": "/api"}, "action": {"pool": "api"}}]}])
    >>> table.route(RawRequest(target="/api/x", host="shop.test")).pool
    'api'
    >>> table.route(RawRequest(target="/apiary", host="shop.test")).status
    404
    """

    @checked_arguments
    def __init__(
        self,
        virtual_hosts: Iterable[Mapping[str, Any]],
        *,
        connection_manager: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        manager, route_options = connection_manager or {}, options or {}
        action = manager.get("path_with_escaped_slashes_action", "KEEP_UNCHANGED")
        if action not in ACTIONS:
            raise ConfigurationError(
                "path_with_escaped_slashes_action", action, f"one of {', '.join(ACTIONS)}"
            )
        self._slashes = ACTIONS[action]
        self._normalize = bool(manager.get("normalize_path"))
        self._merge = bool(manager.get("merge_slashes"))
        self._strip_port = bool(manager.get("strip_any_host_port"))
        self._strip_dot = bool(manager.get("strip_trailing_host_dot"))
        self._ignore_port = bool(route_options.get("ignore_port_in_host_matching"))
        self._exact: dict[str, list[_Route]] = {}
        self._suffixes: dict[str, list[_Route]] = {}
        self._prefixes: dict[str, list[_Route]] = {}
        self._any: list[_Route] | None = None
        for host in virtual_hosts:
            routes = [_Route(route) for route in documents_of("routes", host.get("routes"))]
            for domain in texts_of("domains", host["domains"]):
                self._add(fold(domain), routes)

    def _add(self, domain: str, routes: list[_Route]) -> None:
        if domain == "*":
            self._any = routes
        elif domain.startswith("*"):
            self._suffixes[domain[1:]] = routes
        elif domain.endswith("*"):
            self._prefixes[domain[:-1]] = routes
        else:
            self._exact[domain] = routes

    @checked_arguments
    def route(self, request: RawRequest, /) -> Routed:
        """Return Envoy's decision for a request: a cluster, a redirect or an error status."""
        read = _read_line(request)
        if read is None:
            return BAD_REQUEST
        if request.http == "1.0":
            return Routed(status=426)
        host, rest = read
        if host is None or not AUTHORITY.fullmatch(host):
            return BAD_REQUEST
        if not rest.startswith("/"):
            return NOT_FOUND
        if "#" in rest:
            return BAD_REQUEST
        if self._strip_dot:
            host = _without_dot(host)
        if self._strip_port:
            host = _without_port(host, digits=True)
        sent, mark, query = rest.partition("?")
        unescapes = self._slashes in {"unescape", "redirect"}
        path = read_path(
            sent,
            normalize=self._normalize,
            merge_slashes=self._merge,
            escaped_slashes="unescape" if unescapes else self._slashes,
        )
        if path is None:
            return BAD_REQUEST
        if self._slashes == "redirect" and ESCAPED_SLASH.search(sent):
            return Routed(status=307, location=path + mark + query)
        routes = self._virtual_host(host)
        parts = MatchedRequest(
            path=path,
            headers=_headers(request, host, path + mark + query),
            query=_parameters(query),
            cookies=read_cookies(request.values("cookie")),
        )
        found = None if routes is None else next((one for one in routes if one.matches(parts)), None)
        pool = None if found is None else found.choose(parts)
        return NOT_FOUND if pool is None else Routed(pool=pool)

    def _virtual_host(self, authority: str) -> list[_Route] | None:
        host = fold(_without_port(authority, digits=False) if self._ignore_port else authority)
        if host in self._exact:
            return self._exact[host]
        for place in range(1, len(host)):
            if host[place:] in self._suffixes:
                return self._suffixes[host[place:]]
        for place in range(len(host) - 1, 0, -1):
            if host[:place] in self._prefixes:
                return self._prefixes[host[:place]]
        return self._any


@checked_arguments
def route_config(rules: Mapping[str, Any]) -> RouteConfig:
    """Return the routes of a document with the fields ``virtual_hosts``, ``connection_manager`` and ``route_config``."""
    return RouteConfig(
        rules["virtual_hosts"],
        connection_manager=rules.get("connection_manager"),
        options=rules.get("route_config"),
    )


def _weighted(pairs: object) -> list[tuple[str, int]]:
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
    ):
        raise ConfigurationError("weighted", pairs, "a list of [pool, weight]")
    return [(pool, valid.integer("weight", weight, minimum=0)) for pool, weight in pairs]


class _Route:
    """One route: its match and its action."""

    __slots__ = ("_by", "_clusters", "_cookies", "_header", "_headers", "_path", "_query", "_total")

    def __init__(self, route: Mapping[str, Any]) -> None:
        match, action = document_of("match", route["match"]), document_of("action", route["action"])
        self._path = path_matcher(match)
        self._headers: list[Callable[[MatchedRequest], bool]] = [
            header_matcher(one) for one in documents_of("headers", match.get("headers"))
        ]
        self._query: list[Callable[[MatchedRequest], bool]] = [
            query_matcher(one) for one in documents_of("query_parameters", match.get("query_parameters"))
        ]
        self._cookies: list[Callable[[MatchedRequest], bool]] = [
            cookie_matcher(one) for one in documents_of("cookies", match.get("cookies"))
        ]
        self._clusters: list[tuple[str, int]] = [(action["pool"], 1)] if "pool" in action else []
        self._clusters += _weighted(action.get("weighted", ()))
        self._total = sum(weight for _, weight in self._clusters)
        self._by: str | None = action.get("by")
        self._header: str = action.get("header", "").lower()
        if not self._total:
            raise ConfigurationError("action", dict(action), "a pool, or weighted pools with a sum > 0")

    def matches(self, parts: MatchedRequest) -> bool:
        """Return whether all parts of the match hold."""
        return (
            self._path(parts.path)
            and all(holds(parts) for holds in self._headers)
            and all(holds(parts) for holds in self._query)
            and all(holds(parts) for holds in self._cookies)
        )

    def choose(self, parts: MatchedRequest) -> str | None:
        """Return the cluster at the value modulo the sum of weights, by cumulative weights.

        If there is no value, or several, or one that is no number of 64 bits, Envoy chooses a random cluster. Here it is the first.
        """
        value = 0
        texts = parts.headers.get(self._header, ())
        if self._by == "hash":
            value = header_hash(map(raw_bytes, texts))
        elif len(texts) == 1 and self._by == "header":
            value = whole_64(texts[0]) or 0
        place = value % self._total
        for pool, weight in self._clusters:
            place -= weight
            if place < 0:
                return pool
        return None


def _read_line(request: RawRequest) -> tuple[str | None, str] | None:
    """Return the authority, or ``None`` if there is none, and the path; ``None`` if Envoy's parser rejects the request line."""
    target = request.target
    if NOT_SENT.search(target) or request.method not in METHODS:
        return None
    if target.startswith("/"):
        hosts = request.values("host")
        return (",".join(filter(None, hosts)) if hosts else None), target
    authority, rest = split_target(target)
    found = None if authority is None else IN_URL.fullmatch(authority)
    if found is None or not target.lower().startswith(SCHEMES) or rest.startswith("#"):
        return None
    port = (found[3] or "").lstrip("0")
    if len(port) > len(str(MAX_PORT)) or int(port or "0") > MAX_PORT or not _is_address(found[2] or "::"):
        return None
    return found[1], rest or "/"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _headers(request: RawRequest, host: str, path: str) -> dict[str, list[str]]:
    found = {
        ":method": [request.method],
        ":authority": [host],
        "host": [host],
        ":path": [path],
        ":scheme": ["http"],
    }
    for name, value in request.headers:
        key, text = name.lower(), value.strip(" \t")
        if key != "host":
            found.setdefault(key, []).append(text)
    for name in JOINED & found.keys():
        found[name] = [",".join(filter(None, found[name]))]
    return found


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        found.setdefault(name, value)
    return found


def _without_dot(host: str) -> str:
    """Return a host without a dot at its end or before its port."""
    place = host.rfind(".")
    if place >= 0 and host[place + 1 : place + 2] in {"", ":"}:
        return host[:place] + host[place + 1 :]
    return host


def _without_port(host: str, *, digits: bool) -> str:
    """Return a host without its last colon and the text after it; with ``digits``, only if that text is a number."""
    place = host.rfind(":")
    if place < 0 or host.rfind("]") > place:
        return host
    return host[:place] if not digits or host[place + 1 :].isdecimal() else host


def whole_64(text: str) -> int | None:
    """Return the whole number of 64 bits that a text is, ``None`` for any other text."""
    digits = text.removeprefix("+").lstrip("0")
    if DECIMAL.fullmatch(text) is None or len(digits) > MAX_DIGITS_64:
        return None
    value = int(digits or "0")
    return value if value < 1 << 64 else None
