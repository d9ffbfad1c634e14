"""nginx's choice of a server and a location for a request.

*Path.* Every escape is decoded once, then dot segments are removed and slashes merged. So ``%2f`` separates and ``%2e%2e``
climbs. The query is not part of it.

*Server.* Exact name; longest ``*.suffix``; longest ``prefix.*``; first expression; the default server. A server without names
has the empty one, which a request without a host looks for; expressions are not tried then.

*Location,* at one level: (1) an ``=`` equal to the path. (2) The longest prefix is remembered; if a location is named path +
``/`` and has a pool, and none is named path, the answer is a redirect there. (3) The same rule inside of the remembered one; an
``=`` or expression there wins. (4) Unless the remembered one is ``^~``, the first expression of this level, then the expressions
inside of it: nginx never finds other locations there. (5) The innermost remembered prefix.

Cost: O(locations of the level). Source: nginx 1.22.1, observed; ``ngx_http_core_find_location``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, final
from urllib.parse import quote

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.url_paths import nginx as read_path
from balancekit.compat._routing import RawRequest, Routed, compiled, raw_bytes, split_target
from balancekit.compat.nginx._host_names import HostNames
from balancekit.errors import ConfigurationError

__all__ = ["Locations", "host_name", "locations", "path_and_query"]

MODIFIERS: Final = ("", "=", "^~", "~", "~*")
METHOD: Final = re.compile(r"[A-Z_\-]+")
REFUSED: Final = ("CONNECT", "TRACE")
OF_FILES: Final = ("GET", "HEAD", "POST")
"""Methods that may request a file, which nginx looks for where no location has a pool."""
CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
AUTHORITY: Final = re.compile(r"[A-Za-z0-9.\-]*(?::[0-9]*)?|\[[0-9A-Za-z:.]*\](?::[0-9]*)?")
ESCAPED: Final = "/!$&'()*+,;=:@-._~<>[]\\^`{|}"
BAD_REQUEST: Final = Routed(status=400)
NOT_FOUND: Final = Routed(status=404)


class _Level:
    """The locations of one level: of a server, or nested in a location."""

    __slots__ = ("exact", "expressions", "number", "prefixes")

    def __init__(self, rules: Iterable[Mapping[str, Any]], number: int = 0) -> None:
        self.number: int = number
        """Of the server that it belongs to."""
        self.exact: dict[str, _Location] = {}
        self.prefixes: list[_Location] = []
        self.expressions: list[tuple[re.Pattern[str], _Location]] = []
        for rule in rules:
            location = _Location(rule)
            if location.modifier == "=":
                self.exact[location.pattern] = location
            elif location.modifier.startswith("~"):
                ignore_case = location.modifier == "~*"
                self.expressions.append(
                    (compiled("pattern", location.pattern, ignore_case=ignore_case), location)
                )
            else:
                self.prefixes.append(location)
        self.prefixes.sort(key=lambda location: len(location.pattern), reverse=True)

    def find(self, path: str) -> tuple[_Location | _Redirect | None, bool]:
        """Return the location of a path, and whether the search ends with it; outer expressions come before others."""
        if path in self.exact:
            return self.exact[path], True
        found = next((location for location in self.prefixes if path.startswith(location.pattern)), None)
        if found is None or found.pattern != path:
            slashed = self._slashed(path)
            if slashed is not None:
                return _Redirect(slashed.pattern), True
        answer: _Location | _Redirect | None = found
        if found is not None:
            inner, ends = found.level.find(path)
            answer = inner or found
            if ends:
                return answer, True
        if found is None or found.modifier != "^~":
            matched = self.expression(path)
            if matched is not None:
                return matched, True
        return answer, False

    def expression(self, path: str) -> _Location | None:
        """Return the first expression that matches, or the one that does inside of it."""
        for expression, location in self.expressions:
            if expression.search(path):
                return location.level.expression(path) or location
        return None

    def _slashed(self, path: str) -> _Location | None:
        wanted = path + "/"
        named = [self.exact[wanted]] if wanted in self.exact else []
        named += [location for location in self.prefixes if location.pattern == wanted]
        return next((location for location in named if location.redirects), None)


class _Location:
    """One location with those inside of it."""

    __slots__ = ("level", "modifier", "pattern", "pool", "redirects")

    def __init__(self, rule: Mapping[str, Any]) -> None:
        self.modifier: str = rule.get("modifier", "")
        if self.modifier not in MODIFIERS:
            raise ConfigurationError("modifier", self.modifier, f"one of {', '.join(map(repr, MODIFIERS))}")
        self.pattern: str = rule["pattern"]
        self.pool: str | None = rule.get("pool")
        self.redirects: bool = rule.get("redirects", self.pool is not None)
        self.level: _Level = _Level(rule.get("locations", ()))


class _Redirect:
    """The answer for a path that lacks the slash of the location it is meant for."""

    __slots__ = ("target",)

    def __init__(self, name: str) -> None:
        self.target: str = quote(raw_bytes(name), safe=ESCAPED)


@final
class Locations(ConstructorRepr):
    """The ``server`` and ``location`` blocks of one listening address.

    Parameters
    ----------
    servers
        In order: ``{"names", "default", "merge_slashes", "locations": [{"modifier", "pattern", "pool", "redirects",
        "locations"}]}``. ``redirects`` says whether a location proxies, so that a path without its last slash is redirected
        to it; left out, a location with a pool does.
    merge_slashes
        As the directive, for servers without their own; the default server's counts.

    Raises
    ------
    ConfigurationError
        For an unknown modifier or an expression that does not compile.

    Example
    -------
    >>> table = Locations([{"names": ["shop.test"], "locations": [
    ...     {"modifier": "", "pattern": "/a/", "pool": "a"}, {"modifier": "~", "pattern": "b$", "pool": "b"}]}])
    >>> table.route(RawRequest(target="/a/x%2fb", host="shop.test"))
    Routed(pool='b', path='/a/x/b', status=None, location=None)
    >>> table.route(RawRequest(target="/a", host="shop.test")).location
    '/a/'
    """

    @checked_arguments
    def __init__(self, servers: Iterable[Mapping[str, Any]], *, merge_slashes: bool = True) -> None:
        self.merge_slashes: bool = merge_slashes
        """Whether the default server merges slashes, which counts for all."""
        self._names: HostNames[_Level] = HostNames()
        self._expressions: list[tuple[re.Pattern[str], _Level]] = []
        self._default: _Level | None = None
        marked = False
        for number, server in enumerate(servers):
            level = _Level(server.get("locations", ()), number)
            if self._default is None or (server.get("default") and not marked):
                self._default = level
                self.merge_slashes = server.get("merge_slashes", merge_slashes)
                marked = bool(server.get("default"))
            for name in server.get("names") or ("",):
                self._add(name, level)
        if self._default is None:
            raise ConfigurationError("servers", [], "one server at least")

    def _add(self, name: str, level: _Level) -> None:
        if name.startswith("~"):
            self._expressions.append((compiled("names", name[1:], ignore_case=True), level))
        else:
            self._names.add(name, level)

    @checked_arguments
    def route(self, request: RawRequest, /) -> Routed:
        """Return what nginx does with a request: a pool with ``$uri``, a redirect or an error."""
        authority, rest = split_target(request.target)
        if CONTROL.search(request.target) or not METHOD.fullmatch(request.method):
            return BAD_REQUEST
        if rest.startswith("#") if authority is not None else not rest.startswith("/"):
            return BAD_REQUEST
        if authority is not None and not AUTHORITY.fullmatch(authority):
            return BAD_REQUEST
        host = self._host(request, authority)
        if host is None:
            return BAD_REQUEST
        sent, query = path_and_query(rest)
        path = read_path(sent, merge_slashes=self.merge_slashes)
        if path is None:
            return BAD_REQUEST
        if request.method in REFUSED:
            return Routed(status=405)
        location = self._server(host).find(path)[0]
        if isinstance(location, _Redirect):
            return Routed(status=301, location=f"{location.target}?{query}" if query else location.target)
        if location is None or location.pool is None:
            return NOT_FOUND if request.method in OF_FILES else Routed(status=405)
        return Routed(pool=location.pool, path=path)

    @checked_arguments
    def server_of(self, request: RawRequest, /) -> int:
        """Return the place of the server that a request is for, of a bad one that of the default server."""
        return self._server(self._host(request, split_target(request.target)[0]) or "").number

    def _host(self, request: RawRequest, authority: str | None) -> str | None:
        """Return the name that servers are looked up by, ``None`` for a bad request."""
        given = request.values("host")
        names = [host_name(value) for value in given]
        if None in names or len(names) > 1 or (not given and request.http != "1.0"):
            return None
        if authority is not None:
            return host_name(authority)
        return names[0] if names else ""

    def _server(self, host: str) -> _Level:
        assert self._default is not None
        found = self._names.find(host)
        if found is not None:
            return found
        if not host:
            return self._default
        return next(
            (level for expression, level in self._expressions if expression.search(host)), self._default
        )


@checked_arguments
def locations(rules: Mapping[str, Any]) -> Locations:
    """Return the machine for rules as they are recorded: ``servers`` and perhaps ``merge_slashes``."""
    return Locations(rules["servers"], merge_slashes=rules.get("merge_slashes", True) not in {False, "off"})


def path_and_query(target: str) -> tuple[str, str]:
    """Return the path as sent and the query of a target.

    Of an absolute target, what follows its authority; ``#`` ends both.
    """
    path, _, query = target.partition("#")[0].partition("?")
    return path if path.startswith("/") else "/" + path, query


def host_name(value: str) -> str | None:
    """Return a host without port and one trailing dot, in lower case; ``None`` if it is not allowed."""
    end, state, dot = len(value), "name", -2
    for place, letter in enumerate(value):
        if letter == ".":
            if dot == place - 1:
                return None
            dot = place
        elif letter == ":":
            if state == "name":
                end, state = place, "port"
        elif letter == "[" and not place:
            state = "literal"
        elif letter == "]" and state == "literal":
            end, state = place + 1, "port"
        elif letter == "/" or CONTROL.match(letter):
            return None
    if dot == end - 1:
        end -= 1
    return value[:end].lower() if end > 0 else None
