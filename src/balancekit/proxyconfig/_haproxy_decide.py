"""HAProxy's decisions: the backend by the rules of a frontend, and the server of a backend that was just started."""

from __future__ import annotations

from collections.abc import Container, Sequence
from random import Random
from typing import Any, Final, final

from balancekit.compat import haproxy
from balancekit.compat.haproxy._samples import FETCHES, Parsed
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._haproxy_lines import Line
from balancekit.proxyconfig._model import Origin, PoolServer, ProxyConfigError, ProxyRequest, Routing

__all__ = ["RULE", "BackendChooser", "Frontend", "backend_server", "hashed_of"]

RULE: Final = "%"
"""Begins the number of a rule where the machine has the name of a pool; no backend is named so. Alone: no rule."""


@final
class Frontend:
    """A frontend, or the front half of a ``listen``."""

    def __init__(self, name: str, origin: Origin) -> None:
        self.name = name
        self.origin = origin
        self.default: str | None = None
        """The backend of requests that no rule matches."""
        self.default_origin = origin
        self.ports: list[int] = []
        self.rules: list[dict[str, Any]] = []
        """The rules of ``use_backend``, as :class:`balancekit.compat.haproxy.UseBackend` takes them."""
        self.lines: list[Line] = []
        """The line of each rule."""
        self.named: list[tuple[str, Origin]] = []
        """Backends that have to exist, each with the line that names it."""
        self.steps: list[str] = []
        """The steps of ``normalize-uri``."""
        self.monitor: str | None = None
        """The target that the proxy answers by itself, of ``monitor-uri``."""
        self.disabled = False
        self.mode = "tcp"
        self.unused: frozenset[str] = frozenset()
        """Names of conditions that no rule uses."""
        self._machine: haproxy.UseBackend | None = None

    def compile(self) -> None:
        """Compile the rules, once all lines have been read.

        Raises
        ------
        ProxyConfigError
            With the line of the frontend, if the machine cannot have them.
        """
        numbered = [
            {**rule, "pool": f"{RULE}{number}"} if "pool" in rule else rule
            for number, rule in enumerate(self.rules)
        ]
        try:
            self._machine = haproxy.UseBackend(numbered, default=RULE, normalize=self.steps)
        except ConfigurationError as error:
            raise ProxyConfigError(self.origin, str(error)) from None

    def route(self, request: ProxyRequest, pools: Container[str]) -> Routing:
        """Return where its rules lead a request; a name out of a map that is no pool's leads to the default backend."""
        machine = self._machine
        assert machine is not None, "compile() comes before route()"
        if request.target == self.monitor:
            return Routing(None, f"frontend {self.name}: monitor-uri {self.monitor}", 200)
        found = machine.route(request.raw)
        where = f"frontend {self.name}"
        target = machine.normalized(request.target) if self.steps else None
        if found.pool is None:
            return Routing(None, f"{where} refuses the request", found.status)
        if not found.pool.startswith(RULE) and found.pool in pools:
            return Routing(found.pool, f"{where}: a map names {found.pool}", target=target)
        if found.pool == RULE or not found.pool.startswith(RULE):
            what = (
                "no rule matches" if found.pool == RULE else f"a map names {found.pool}, which is no backend"
            )
            if self.default is None:
                return Routing(None, f"{where}: {what} and there is no default_backend", 503)
            return Routing(
                self.default,
                f"{where}: {what}, default_backend {self.default} ({self.default_origin})",
                target=target,
            )
        number = int(found.pool.removeprefix(RULE))
        line = self.lines[number]
        return Routing(self.rules[number]["pool"], f"{where}: {line} ({line.origin})", target=target)


def backend_server(server: PoolServer) -> haproxy.Server:
    """Return a server as that of a backend.

    Raises
    ------
    ProxyConfigError
        With its line, if the machine cannot have it.
    """
    try:
        return haproxy.Server(
            server.name,
            weight=server.weight,
            backup=server.backup,
            cookie=str(server.options.get("cookie", "")),
            id=server.options.get("id"),
            maxconn=server.options.get("maxconn", 0),
        )
    except ConfigurationError as error:
        raise ProxyConfigError(server.origin, str(error)) from None


@final
class BackendChooser:
    """A backend that was just started."""

    def __init__(
        self,
        servers: Sequence[PoolServer],
        balance: haproxy.Balance,
        key: str,
        cookie: str,
        rng: Random,
        *,
        allbackups: bool,
    ) -> None:
        self._key = key
        self._cookie = cookie
        self._named = {str(server.options.get("cookie", "")) for server in servers if not server.down}
        self._backend = haproxy.Backend(
            [backend_server(server) for server in servers],
            balance,
            cookies=bool(cookie),
            allbackups=allbackups,
            rng=rng,
        )
        for server in servers:
            if server.down:
                self._backend.set_state(server.name, haproxy.State.MAINT)

    def pick(self, request: ProxyRequest, routing: Routing, /) -> str | None:
        """Return the server of a request that ends at once."""
        cookie = bound_to(self._named, request, self._cookie) if self._cookie else ""
        served = self._backend.request(hashed_of(self._key, request, routing), cookie=cookie)
        server = served.server
        if server is not None:
            served.done()
        return server


def bound_to(names: Container[str], request: ProxyRequest, cookie: str) -> str:
    """Return the first value of a cookie that is one of ``names``, without the dates behind it; empty if none is."""
    values = [value.partition("|")[0] for value in _cookies(request, cookie)]
    return next((value for value in values if value in names), "")


def _cookies(request: ProxyRequest, name: str) -> list[str]:
    """Return the values of a cookie, in order, as the sample fetch finds them."""
    parsed = Parsed(request=request.raw, target=request.raw.target, path=None, query=None)
    return list(FETCHES["cook"](parsed, name))


def hashed_of(key: str, request: ProxyRequest, routing: Routing) -> str | None:
    """Return what of a request is hashed, once the rules have changed its target."""
    return hashed_value(key, request if routing.target is None else request.replace(target=routing.target))


def hashed_value(key: str, request: ProxyRequest) -> str | None:
    """Return what of a request is hashed, before ``len`` and the like cut it."""
    if key == "source":
        return request.client
    if key == "uri":
        return request.target
    if key.startswith("hdr("):
        values = request.raw.values(key[4:-1])
        return values[0] if values else None
    if key.startswith("cook("):
        return next(reversed(_cookies(request, key[5:-1])), None)
    if key.startswith("url_param "):
        name = key.partition(" ")[2]
        for part in request.query.split("&"):
            found, equals, value = part.partition("=")
            if equals and found == name:
                return value
    return None
