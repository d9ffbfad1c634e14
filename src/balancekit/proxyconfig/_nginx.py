"""Reader of nginx's configuration: ``upstream`` blocks, servers, locations, maps.

Followed: balancing methods and parameters of servers, ``server_name``, ``listen``, ``location`` in all forms, nested ones
too, ``proxy_pass`` with or without variables, ``return``, ``map``, ``set`` outside of ``if``, ``merge_slashes``. Everything
that is neither followed nor known to decide nothing is listed as not modelled.

Source: nginx 1.22; :mod:`balancekit.compat.nginx` decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.text import to_bytes
from balancekit.compat import nginx
from balancekit.compat._routing import UnsupportedExpressionError, compiled
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._model import (
    MAX_SERVERS,
    NotModelled,
    Origin,
    Pool,
    PoolServer,
    ProxyConfigError,
    ProxyRequest,
    Routing,
)
from balancekit.proxyconfig._nginx_blocks import (
    LocationBlock,
    LocationName,
    ServerBlock,
    location_name,
    refuse_repeated,
    server_name,
)
from balancekit.proxyconfig._nginx_checks import check_directives
from balancekit.proxyconfig._nginx_decide import (
    DEFAULT_PORT,
    NETWORK,
    Action,
    Guard,
    UpstreamChooser,
    guard_of,
    refuse_path,
    running,
)
from balancekit.proxyconfig._nginx_files import Directive, nginx_directives
from balancekit.proxyconfig._nginx_grammar import blocks_around, check_grammar
from balancekit.proxyconfig._nginx_listen import Listens, refuse_repeated_listens
from balancekit.proxyconfig._nginx_misspelt import effect_or_meant
from balancekit.proxyconfig._nginx_names import check_names
from balancekit.proxyconfig._nginx_set import SetVariables
from balancekit.proxyconfig._nginx_template import VariableSource
from balancekit.proxyconfig._nginx_upstream import method_problem, read_method, read_server
from balancekit.proxyconfig._nginx_values import Port, Variables
from balancekit.proxyconfig._nginx_words import METHODS, PASSES, effect_of

__all__ = ["read_nginx"]

NEVER: Final = "(?!)"
"""An expression that matches nothing."""
DECIDING: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ["least_time", "sticky", "fair", "queue", "sticky_cookie_insert"], "it decides which server serves"
    ),
    "state": "servers are read from a file that is not read here",
}
"""Directives of an ``upstream`` without which its choice is not known."""
OF_REQUESTS: Final = frozenset({"merge_slashes", "underscores_in_headers", "ignore_invalid_headers"})
"""Directives of a server that set how requests are read. For slashes, the default server of the port decides."""


@checked_arguments
def read_nginx(path: str, *, files: Files | None = None) -> ProxyConfig:
    """Read a configuration of nginx and all that it includes.

    Parameters
    ----------
    path
        The path of the main file. Includes are relative to its folder.
    files
        The reader of files, with its limits; one of its own if left out.

    Raises
    ------
    ProxyConfigError
        If it cannot be read, with file and line.
    """
    return _Reader(nginx_directives(path, files or Files()), path).config()


@final
class _Reader:
    """What is known while a configuration is read."""

    def __init__(self, directives: Iterable[Directive], path: str) -> None:
        self.directives = tuple(directives)
        self.path = path
        self.pools: dict[str, Pool] = {}
        self.names: dict[str, str] = {}
        """Pools by their name in lower case: names of hosts have no case."""
        self.upstreams: set[str] = set()
        self.variables = Variables()
        self.not_modelled: list[NotModelled] = []
        self.owners: dict[Origin, str] = {}
        self.actions: list[Action] = []
        self.patterns: list[tuple[str, Origin]] = []
        """Patterns of locations and names of servers, which may be expressions, and where they are written."""
        self.listens = Listens()

    def config(self) -> ProxyConfig:
        http = self._http()
        check_directives(self.directives)
        self._read_maps(http)
        for directive in http:
            if directive.name == "upstream":
                self._upstream(directive)
        machines = self._machines(self._listeners(http))
        check_grammar(self.directives, blocks_around(self.directives))
        check_names(self.directives)
        return ProxyConfig(
            "nginx", self.path, self.pools, self._router(machines), tuple(self.not_modelled), self.owners
        )

    def _http(self) -> Sequence[Directive]:
        """Return the directives of the ``http`` block, or all of them in a file that is included into one."""
        if all(directive.block is None and effect_of(directive.name) == "" for directive in self.directives):
            raise ProxyConfigError(Origin(self.path, 1), "no directive of nginx in this file")
        blocks = [directive for directive in self.directives if directive.name == "http"]
        if len(blocks) > 1:
            raise ProxyConfigError(blocks[1].origin, "a second http block")
        if not blocks and any(directive.name in {"upstream", "server"} for directive in self.directives):
            return self.directives
        for directive in self.directives:
            if directive.name not in {"http", "events"}:
                self._unread(directive)
        return [directive for block in blocks for directive in block.block or ()]

    def _read_maps(self, http: Iterable[Directive]) -> None:
        for directive in http:
            if directive.name == "map":
                self.variables.add_map(directive)
        self.variables.read_maps()

    def _listeners(self, http: Sequence[Directive]) -> dict[int, list[ServerBlock]]:
        """Return the servers of each port, in the order in which they are written."""
        listeners: dict[int, list[ServerBlock]] = {}
        inherited = {directive.name: directive.args for directive in http if directive.name in OF_REQUESTS}
        for directive in http:
            if directive.name == "server":
                self._server(directive, listeners, inherited)
            elif directive.name not in {"upstream", "map"}:
                self._unread(directive)
        self.variables.first_port = next(iter(listeners), None)
        return listeners

    def _machines(self, listeners: Mapping[int, list[ServerBlock]]) -> dict[int, nginx.Locations]:
        """Compile the locations of each port."""
        machines: dict[int, nginx.Locations] = {}
        for port, servers in listeners.items():
            try:
                machines[port] = nginx.Locations([server.rule() for server in servers])
            except ConfigurationError as error:
                raise ProxyConfigError(self._culprit(error), str(error)) from None
            underscores = tuple([server.underscores for server in servers])
            self.variables.ports[port] = Port(machines[port], underscores, port in self.listens.tls_ports)
        return machines

    def _culprit(self, error: ConfigurationError) -> Origin:
        """Return the line of the location or the name that does not compile."""
        for pattern, origin in self.patterns:
            if pattern in (error.value, f"~{error.value}"):
                return origin
        return Origin(self.path, 1)

    # ------------------------------------------------------------------ upstreams

    def _upstream(self, block: Directive) -> None:
        if len(block.args) != 1 or block.block is None:
            raise ProxyConfigError(block.origin, "an upstream has a name and a block")
        name = block.args[0]
        if name.lower() in self.names:
            raise ProxyConfigError(block.origin, f"a second upstream {name!r}")
        self.names[name.lower()] = name
        self.upstreams.add(name.lower())
        servers: list[PoolServer] = []
        counts: Counter[str] = Counter()
        method: Directive | None = None
        unknown = ""
        for directive in block.block:
            self.owners[directive.origin] = name
            if directive.name == "server":
                if len(servers) >= MAX_SERVERS:
                    raise ProxyConfigError(directive.origin, f"more than {MAX_SERVERS} servers in a pool")
                servers.append(read_server(directive, counts, self.note))
                if servers[-1].backup and method is not None and method.name != "least_conn":
                    raise ProxyConfigError(directive.origin, f"{method.name} does not support backup servers")
            elif directive.name in METHODS:
                method = directive
            elif directive.name in DECIDING:
                unknown = str(directive)
                self.note(directive, DECIDING[directive.name])
            else:
                self._unread(directive)
        if not servers and block.last("state") is None:
            raise ProxyConfigError(block.origin, f"upstream {name!r} has no server")
        if servers and all(server.backup for server in servers):
            raise ProxyConfigError(block.origin, f"upstream {name!r} has only backup servers")
        if method is not None and method.name != "least_conn" and any(server.backup for server in servers):
            unknown = unknown or f"{method} with backups"  # nginx refuses them only after the method
            self.note(method, "backups that come before it are not followed")
        self.pools[name] = self._pool(name, block.origin, servers, method, unknown)

    def _pool(
        self, name: str, origin: Origin, servers: list[PoolServer], method: Directive | None, unknown: str
    ) -> Pool:
        problem = method_problem(method, servers)
        if method is not None and problem:
            unknown = unknown or str(method)
            self.note(method, problem)
        machine, key, template, deterministic = read_method(method, self.variables)
        missing = ", ".join([*template.unknown, *template.doubtful]) if template is not None else ""
        if missing:
            unknown = unknown or f"{method}: {missing}"
            if method is not None:
                self.note(method, f"the value of {missing} is not known here")
        start = None if unknown else partial(UpstreamChooser, servers, machine, template, key)

        def key_of(request: ProxyRequest, _: Routing) -> str | None:
            if key == NETWORK:
                return request.client
            if template is None or missing:
                return None
            return template.value(request).decode("utf-8", "backslashreplace") or None

        return Pool(
            name=name,
            origin=origin,
            method=unknown or (str(method) if method is not None else "round robin"),
            servers=tuple(servers),
            key=key,
            deterministic=deterministic,
            start=start,
            key_of=key_of if key else None,
            settings={
                "directive": method.name if method is not None else "",
                "origin": method.origin if method else None,
            },
        )

    # ------------------------------------------------------------------ servers and locations

    def _server(
        self,
        block: Directive,
        listeners: dict[int, list[ServerBlock]],
        inherited: Mapping[str, tuple[str, ...]],
    ) -> None:
        names: list[str] = []
        ports: dict[int, bool] = {}
        level: list[LocationBlock] = []
        answer: Directive | None = None
        settings = dict(inherited)
        variables = SetVariables(self.variables, block.block or ())
        refuse_repeated_listens(block)
        for directive in running(block):
            if directive.name == "listen":
                self.listens.add(directive, ports, self.note)
            elif directive.name in OF_REQUESTS:
                settings[directive.name] = directive.args
            elif directive.name == "server_name":
                names += [self._name(directive, name) for name in directive.args]
            elif directive.name == "location":
                level.append(self._location(directive, variables))
            elif directive.name == "return":
                answer = directive
            else:
                self._unread(directive)
        refuse_repeated([location.name for location in level])
        if answer is not None:
            action = self._action(answer, "return of the server", answer.origin, variables)
            level = [LocationBlock(LocationName("", "/", answer.origin), action)]
        self.patterns += [(name, block.origin) for name in names]
        for port, default in (ports or {DEFAULT_PORT: False}).items():
            listeners.setdefault(port, []).append(
                ServerBlock(
                    names=tuple(names),
                    default=default,
                    locations=tuple(level),
                    merge_slashes=settings.get("merge_slashes") != ("off",),
                    underscores=settings.get("underscores_in_headers") == ("on",)
                    or settings.get("ignore_invalid_headers") == ("off",),
                )
            )

    def _location(self, block: Directive, server: VariableSource) -> LocationBlock:
        name = location_name(block)
        variables = SetVariables(server, block.block or ())
        if name.is_expression and self._unsupported(block, name.pattern):
            name = name._replace(pattern=NEVER)
        target: Directive | None = None
        proxies = False
        guards: list[Guard] = []
        inner: list[LocationBlock] = []
        for directive in block.block or ():
            refuse_path(directive)
        refuse_path(block, name)
        for directive in running(block):
            guard = guard_of(directive, self.variables) if directive.name == "if" else None
            if guard is not None:
                guards.append(guard)
            elif directive.name == "location":
                inner.append(self._location(directive, server))
                name.refuse_inner(inner[-1].name)
            elif directive.name in PASSES:
                if target is not None and target.name == directive.name:
                    raise ProxyConfigError(directive.origin, f"a second {directive.name}")
                target = target or directive
                proxies = True
            elif directive.name == "return":
                target = directive
            else:
                self._unread(directive)
        refuse_repeated([location.name for location in inner])
        action = self._action(target, " ".join(("location", *block.args)), block.origin, variables, guards)
        self.patterns.append((name.pattern, block.origin))
        return LocationBlock(name, action, proxies, tuple(inner))

    def _name(self, one: Directive, name: str) -> str:
        """Return a name of a server; one that holds never for an expression that cannot be compiled here."""
        found = server_name(one, name)
        return f"~{NEVER}" if name.startswith("~") and self._unsupported(one, name[1:]) else found

    def _unsupported(self, one: Directive, expression: str) -> bool:
        """Return whether an expression is one that only PCRE has; note that it is not followed."""
        try:
            compiled("pattern", expression)
        except UnsupportedExpressionError:
            self.note(one, "its expression has what Python's have not: it is taken not to match")
            return True
        except ConfigurationError:
            pass  # what is no expression is refused with its line when the machines are made
        return False

    def _action(
        self,
        target: Directive | None,
        written: str,
        origin: Origin,
        variables: VariableSource,
        guards: Sequence[Guard] = (),
    ) -> str:
        self.actions.append(Action(self, target, written, origin, variables=variables, guards=guards))
        return str(len(self.actions) - 1)

    def implicit(self, address: str, directive: Directive) -> str:
        """Return the pool of an address that is no upstream: one server."""
        name = self.names.setdefault(address.lower(), address)
        if name not in self.pools:
            server = PoolServer(name=name, address=name, origin=directive.origin)
            self.pools[name] = self._pool(name, directive.origin, [server], None, "")
        return name

    # ------------------------------------------------------------------ what is left

    def _unread(self, directive: Directive) -> None:
        if directive.name == "set" and self.variables.find("".join(directive.args[:1]).lstrip("$")) is None:
            return  # a line that uses the variable is listed if its value is not known
        why = effect_or_meant(directive.name)
        if why is not None and not (why and directive.args == ("off",)):
            self.note(directive, why)

    def note(self, directive: Directive, why: str) -> None:
        self.not_modelled.append(NotModelled(origin=directive.origin, text=str(directive), why=why))

    def _router(self, machines: Mapping[int, nginx.Locations]) -> Callable[[ProxyRequest], Routing]:
        def route(request: ProxyRequest) -> Routing:
            if not machines:
                return Routing(None, "there is no server block")
            port = next(iter(machines)) if request.port is None else request.port
            if port not in machines:
                return Routing(None, f"nothing listens on port {port}")
            found = machines[port].route(
                request.raw.replace(target=to_bytes(request.target).decode("latin-1"))
            )
            if found.pool is not None:
                return self.actions[int(found.pool)].routing(request)
            if found.status == 301:
                return Routing(None, "a location is named like the path with a slash", 301, found.location)
            if found.status == 404:
                return Routing(None, "no location matches: nginx looks for a file")
            return Routing(None, "nginx refuses the request", found.status)

        return route
