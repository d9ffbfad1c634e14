"""nginx's choice of a server and a location for a request.

*Path.* Every escape is decoded once. Then dot segments are removed and slashes are merged. So ``%2f`` is a separator, and
``%2e%2e`` removes the segment before it. The query is not part of the path.

*Server.* The first of these that exists: the exact name, the longest ``*.suffix``, the longest ``prefix.*``, the first
matching expression, the default server. A server without names has the empty name. A request without a host gets that server
or the default server; no expression is matched.

*Location.* The steps at one level are:

1. A location ``=`` that equals the path is the answer.
2. The longest matching prefix is kept. If no location equals the path, but one equals path + ``/`` and has a pool, the answer
   is a redirect to it.
3. The same steps are done among the locations inside of the kept prefix. An ``=`` or an expression found there is the answer.
4. Unless the kept prefix has ``^~``, the first matching expression of this level is taken, and the first matching expression
   inside of it, if any, is the answer. nginx never finds other kinds of locations inside of an expression.
5. Otherwise the innermost kept prefix is the answer.

Cost: O(locations of the level). Source: nginx 1.22.1, observed; ``ngx_http_core_find_location``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, final
from urllib.parse import quote

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.url_paths import nginx as read_path
from balancekit.compat._documents import documents_of, texts_of
from balancekit.compat._routing import RawRequest, Routed, compiled, raw_bytes, split_target
from balancekit.compat.nginx._host_names import HostNames
from balancekit.errors import ConfigurationError

__all__ = ["Locations", "host_name", "locations", "path_and_query"]

MODIFIERS: Final = ("", "=", "^~", "~", "~*")
METHOD: Final = re.compile(r"[A-Z_\-]+")
REFUSED: Final = ("CONNECT", "TRACE")
OF_FILES: Final = ("GET", "HEAD", "POST")
"""Methods that may request a file. Without a pool, nginx looks for a file and answers 405 to other methods."""
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
        """The place of the server in the order of declaration, from 0. It is only set at the outermost level."""
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
        """Return the location of a path, and whether it is final: no expression of an outer level may replace it."""
        if path in self.exact:
            return self.exact[path], True
        found = next((location for location in self.prefixes if path.startswith(location.pattern)), None)
        if found is None or found.pattern != path:
            with_slash = self._with_slash(path)
            if with_slash is not None:
                return _Redirect(with_slash.pattern), True
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
        """Return the first expression that matches the path, or the first one inside of it that does."""
        for expression, location in self.expressions:
            if expression.search(path):
                return location.level.expression(path) or location
        return None

    def _with_slash(self, path: str) -> _Location | None:
        wanted = path + "/"
        named = [self.exact[wanted]] if wanted in self.exact else []
        named += [location for location in self.prefixes if location.pattern == wanted]
        return next((location for location in named if location.redirects), None)


class _Location:
    """One location and the locations inside of it."""

    __slots__ = ("level", "modifier", "pattern", "pool", "redirects")

    def __init__(self, rule: Mapping[str, Any]) -> None:
        self.modifier: str = rule.get("modifier", "")
        if self.modifier not in MODIFIERS:
            raise ConfigurationError("modifier", self.modifier, f"one of {', '.join(map(repr, MODIFIERS))}")
        self.pattern: str = valid.text("pattern", rule["pattern"], empty=True, any_text=True)
        self.pool: str | None = rule.get("pool")
        self.redirects: bool = rule.get("redirects", self.pool is not None)
        self.level: _Level = _Level(documents_of("locations", rule.get("locations")))


class _Redirect:
    """The answer for a path that only lacks the slash at the end of a location's name."""

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
        "locations"}]}``. ``redirects``: whether a path that lacks only the last slash is redirected to the location. If left
        out, it is so for a location with a pool.
    merge_slashes
        Whether slashes are merged, unless the default server has its own ``merge_slashes``. Other servers' values are ignored.

    Raises
    ------
    ConfigurationError
        If there is no server, a modifier is unknown, or an expression does not compile.

    Example
    -------
    >>> from balancekit.compat.nginx import Locations, RawRequest
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
        """Whether slashes are merged: the setting of the default server, which applies to all servers."""
        self._names: HostNames[_Level] = HostNames()
        self._expressions: list[tuple[re.Pattern[str], _Level]] = []
        self._default: _Level | None = None
        marked = False
        for number, server in enumerate(servers):
            level = _Level(documents_of("locations", server.get("locations")), number)
            if self._default is None or (server.get("default") and not marked):
                self._default = level
                self.merge_slashes = server.get("merge_slashes", merge_slashes)
                marked = bool(server.get("default"))
            for name in texts_of("names", server.get("names")) or ("",):
                self._add(name, level)
        if self._default is None:
            raise ConfigurationError("servers", [], "at least one server")

    def _add(self, name: str, level: _Level) -> None:
        if name.startswith("~"):
            self._expressions.append((compiled("names", name[1:], ignore_case=True), level))
        else:
            self._names.add(name, level)

    @checked_arguments
    def route(self, request: RawRequest, /) -> Routed:
        """Return the answer of nginx to a request: a pool with the path ``$uri``, a redirect, or an error status."""
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
        """Return the place, from 0, of the server that a request is for. A request without a valid host counts as hostless."""
        return self._server(self._host(request, split_target(request.target)[0]) or "").number

    def _host(self, request: RawRequest, authority: str | None) -> str | None:
        """Return the host name of a request, empty if it has none; ``None`` for a bad request."""
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
    """Return the blocks of a mapping with ``servers`` and optionally ``merge_slashes``."""
    return Locations(rules["servers"], merge_slashes=rules.get("merge_slashes", True) not in {False, "off"})


def path_and_query(target: str) -> tuple[str, str]:
    """Return the path, with its escapes, and the query of a target without scheme and authority. A ``#`` ends both."""
    path, _, query = target.partition("#")[0].partition("?")
    return path if path.startswith("/") else "/" + path, query


def host_name(value: str) -> str | None:
    """Return a host in lower case, without its port and one trailing dot; ``None`` if nginx refuses the host."""
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
