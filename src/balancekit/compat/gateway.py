"""The choice of an ``HTTPRoute`` rule for a request by the Kubernetes Gateway API.

First a listener is chosen by its hostname. Then the most specific match of all routes on that listener is chosen. Matches are
compared by, in this order: longest exact hostname, longest wildcard hostname, exact path, longest path prefix, method, number of
headers, number of query parameters, oldest route, name of the route in alphabetical order, position of the rule.

Each match becomes a :class:`~balancekit.l7.Route`. So this module can also run the routes of a cluster in a program.

Cost: that of a :class:`~balancekit.l7.RouteTable`.
Source: Gateway API v1 specification, ``HTTPRouteRule``, ``HTTPRouteMatch`` and ``Listener``. No server was observed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.compat._documents import document_of, documents_of, texts_of
from balancekit.compat._routing import RawRequest, Routed, split_target
from balancekit.errors import ConfigurationError
from balancekit.l7 import (
    PathPattern,
    Request,
    Route,
    RouteTable,
    Spelling,
    exact,
    header,
    prefix,
    query,
    regex,
)
from balancekit.l7._index import specificity
from balancekit.l7._spelling import host_name

__all__ = ["HttpRoutes", "http_routes"]

NOT_FOUND: Final = Routed(status=404)
PATHS: Final[dict[str, Callable[[str], PathPattern]]] = {
    "Exact": exact,
    "PathPrefix": prefix,
    "RegularExpression": regex,
}
VALUES: Final = ("Exact", "RegularExpression")
"""Types of matches of headers and query parameters."""


@final
class HttpRoutes(ConstructorRepr):
    """Listeners and the routes attached to them.

    Parameters
    ----------
    listeners
        Documents ``{"name", "hostname"}``. A listener without a hostname accepts all hosts.
    routes
        Documents ``{"name", "created", "hostnames", "listeners", "rules": [{"pool", "matches"}]}`` with fields as in the API.
        Use ``namespace/name`` as name if there are several namespaces. A route without ``listeners`` is attached to all.

    Raises
    ------
    ConfigurationError
        If a listener or route has no name, a route no rules, or a rule no pool. If a type of match is unknown, a path or
        an expression is not valid, or a field is no text or list where it should be one.

    Example
    -------
    >>> from balancekit.compat.envoy import RawRequest
    >>> from balancekit.compat.gateway import HttpRoutes
    >>> table = HttpRoutes([{"name": "web"}], [{"name": "shop", "rules": [
    ...     {"pool": "all"}, {"pool": "v2", "matches": [{"path": {"type": "PathPrefix", "value": "/v2"}}]}]}])
    >>> table.route(RawRequest(target="/v2/cart", host="shop.test")).pool
    'v2'
    """

    @checked_arguments
    def __init__(self, listeners: Iterable[Mapping[str, Any]], routes: Iterable[Mapping[str, Any]]) -> None:
        every = list(routes)
        for route in every:
            if not {"name", "rules"} <= route.keys():
                raise ConfigurationError("routes", dict(route), "a document with 'name' and 'rules'")
        self._tables: list[tuple[str, RouteTable[str]]] = []
        for listener in listeners:
            if "name" not in listener:
                raise ConfigurationError("listeners", dict(listener), "a document with 'name'")
            hostname, name = listener.get("hostname") or "*", _text(listener, "name")
            attached = [
                route
                for route in every
                if "listeners" not in route or name in texts_of("listeners", route.get("listeners"))
            ]
            self._tables.append((host_name(hostname), _table(attached, host_name(hostname))))

    @checked_arguments
    def route(self, request: RawRequest, /) -> Routed:
        """Return the pool of a request; status 404 if no listener or no route matches."""
        authority, rest = split_target(request.target)
        path, _, parameters = rest.partition("?")
        host = host_name((authority if authority is not None else request.host) or "")
        serving = [one for one in self._tables if _covers(one[0], host)]
        if not serving:
            return NOT_FOUND
        table = max(serving, key=lambda one: (not one[0].startswith("*"), len(one[0])))[1]
        match = table.match(
            Request(path or "/", method=request.method, host=host, query=parameters, headers=request.headers)
        )
        return NOT_FOUND if match is None else Routed(pool=match.pool())


@checked_arguments
def http_routes(rules: Mapping[str, Any]) -> HttpRoutes:
    """Return the routes of a document with the fields ``listeners`` and ``routes``."""
    return HttpRoutes(rules["listeners"], rules["routes"])


def _table(routes: list[Mapping[str, Any]], hostname: str) -> RouteTable[str]:
    """Compile the matches of a listener's routes in the order of precedence."""
    found: list[tuple[tuple[Any, ...], Route[str]]] = []
    for route in routes:
        hosts = _shared(hostname, [host_name(name) for name in texts_of("hostnames", route.get("hostnames"))])
        if hosts is None:
            continue
        age = (str(route.get("created", "")), _text(route, "name"))
        for place, rule in enumerate(documents_of("rules", route.get("rules"))):
            for position, match in enumerate(documents_of("matches", rule.get("matches")) or [{}]):
                for host in hosts or [""]:
                    name = f"{route['name']} rule {place} match {position} {host}"
                    compiled = _route(name, _text(rule, "pool"), host, match)
                    found.append(((*specificity(compiled, host), *age, place, position), compiled))
    found.sort(key=lambda one: one[0])
    return RouteTable([compiled for _, compiled in found], spelling=Spelling.RAW)


def _route(name: str, pool: str, host: str, match: Mapping[str, Any]) -> Route[str]:
    pattern: PathPattern = prefix("/")
    if "path" in match:
        path = document_of("path", match["path"])
        kind = _type(path, "PathPrefix", PATHS)
        value = valid.text("value", path.get("value", "/"), empty=True)
        pattern = regex(f"^(?:{value})$") if kind == "RegularExpression" else PATHS[kind](value)
    conditions = []
    for make, field in ((header, "headers"), (query, "queryParams")):
        seen: set[str] = set()
        for wanted in documents_of(field, match.get(field)):
            found = make(_text(wanted, "name"))
            if found.name in seen:  # only the first match with a name is used
                continue
            seen.add(found.name)
            test = found.matches if _type(wanted, "Exact", VALUES) == "RegularExpression" else found.is_
            conditions.append(test(_text(wanted, "value", empty=True)))
    return Route(name, pool, host=host or None, path=pattern, method=match.get("method"), headers=conditions)


def _type(match: Mapping[str, Any], usual: str, types: Collection[str]) -> str:
    """Return the type of a match."""
    found = match.get("type", usual)
    if not isinstance(found, str) or found not in types:
        raise ConfigurationError("type", found, f"one of {', '.join(types)}")
    return found


def _text(document: Mapping[str, Any], field: str, *, empty: bool = False) -> str:
    """Return a field that must be there."""
    return valid.text(field, document.get(field), empty=empty)


def _shared(listener: str, hostnames: list[str]) -> list[str] | None:
    """Return the hosts of a route on a listener; empty for all hosts, ``None`` for no host."""
    if not hostnames:
        return []
    if listener == "*":
        return hostnames
    found = [name for name in hostnames if name == listener or _covers(listener, name.removeprefix("*"))]
    found += [
        listener
        for name in hostnames
        if name.startswith("*") and name != listener and _covers(name, listener.removeprefix("*"))
    ]
    return list(dict.fromkeys(found)) or None


def _covers(hostname: str, host: str) -> bool:
    """Return whether a hostname covers a host. A wildcard covers one or more labels before its suffix."""
    if hostname == "*":
        return True
    if hostname.startswith("*."):
        return host.endswith(hostname[1:]) and len(host) > len(hostname) - 1
    return host == hostname
