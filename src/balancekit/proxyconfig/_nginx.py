"""Reader of nginx's configuration: ``upstream`` blocks, servers, locations, maps.

Followed: balancing methods and parameters of servers, ``server_name``, ``listen``, ``location`` in all forms, nested ones
too, ``proxy_pass`` with or without variables, ``return``, ``map``, ``merge_slashes``. Everything that is neither followed
nor known to decide nothing is listed as not modelled.

Source: nginx 1.22; :mod:`balancekit.compat.nginx` decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.text import to_bytes
from balancekit.compat import nginx
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
from balancekit.proxyconfig._nginx_decide import (
    DEFAULT_PORT,
    NETWORK,
    Action,
    Guard,
    UpstreamChooser,
    guard_of,
    refuse_repeated,
)
from balancekit.proxyconfig._nginx_files import Directive, nginx_directives
from balancekit.proxyconfig._nginx_listen import Listens
from balancekit.proxyconfig._nginx_values import Template, Variables
from balancekit.proxyconfig._nginx_words import (
    METHODS,
    NEUTRAL,
    PASSES,
    ROUTING,
    SERVER_FLAGS,
    SERVER_NUMBERS,
)

__all__ = ["read_nginx"]

UNITS_S: Final = (31_536_000, 2_592_000, 604_800, 86_400, 3_600, 60, 1)
TIME: Final = re.compile(
    "".join([f"(?:([0-9]{{1,9}}){unit} ?)?" for unit in "yMwdhm"]) + "(?:([0-9]{1,9})s?)?"
)
"""As nginx reads seconds: units in this order, each once; milliseconds are refused."""


@checked_arguments
def read_nginx(path: str, *, files: Files | None = None) -> ProxyConfig:
    """Read a configuration of nginx and all that it includes.

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
        self.locations: list[dict[str, Any]] = []
        self.listens = Listens(self.variables.tls_ports)

    def config(self) -> ProxyConfig:
        if all(one.block is None and one.name not in NEUTRAL | {*ROUTING} for one in self.directives):
            raise ProxyConfigError(Origin(self.path, 1), "no directive of nginx in this file")
        blocks = [one for one in self.directives if one.name == "http"]
        for one in self.directives:
            if one.name not in {"http", "events"}:
                self._unread(one)
        if not blocks and any(one.name in {"upstream", "server"} for one in self.directives):
            blocks = [Directive("http", (), Origin(self.path, 1), self.directives)]  # a part, as in conf.d
            self.not_modelled.clear()
        everything = [one for block in blocks for one in block.block or ()]
        for one in everything:
            if one.name == "map":
                self.variables.add_map(one)
        self.variables.read_maps()
        for one in everything:
            if one.name == "upstream":
                self._upstream(one)
        listeners: dict[int, list[dict[str, Any]]] = {}
        merge_slashes = True
        for one in everything:
            if one.name == "server":
                self._server(one, listeners)
            elif one.name == "merge_slashes":
                merge_slashes = one.args != ("off",)
            elif one.name == "underscores_in_headers":
                self.variables.underscores |= one.args == ("on",)
            elif one.name not in {"upstream", "map"}:
                self._unread(one)
        self.variables.first_port = next(iter(listeners), None)
        machines: dict[int, nginx.Locations] = {}
        for port, servers in listeners.items():
            try:
                machines[port] = nginx.Locations(servers, merge_slashes=merge_slashes)
            except ConfigurationError as error:
                raise ProxyConfigError(self._culprit(error), str(error)) from None
        return ProxyConfig(
            "nginx", self.path, self.pools, self._router(machines), tuple(self.not_modelled), self.owners
        )

    def _culprit(self, error: ConfigurationError) -> Origin:
        """Return the line of the location or the name that does not compile."""
        for location in self.locations:
            if location["pattern"] == error.value or location["pattern"] == f"~{error.value}":
                return Origin(*location["origin"])
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
        for one in block.block:
            self.owners[one.origin] = name
            if one.name == "server":
                if len(servers) >= MAX_SERVERS:
                    raise ProxyConfigError(one.origin, f"more than {MAX_SERVERS} servers in a pool")
                servers.append(self._peer(one, counts))
                if servers[-1].backup and method is not None and method.name != "least_conn":
                    raise ProxyConfigError(one.origin, f"{method.name} does not support backup servers")
            elif one.name in METHODS:
                method = one
            elif one.name in {"least_time", "sticky", "fair", "queue", "sticky_cookie_insert"}:
                unknown = str(one)
                self.note(one, "it decides which server serves")
            elif one.name not in NEUTRAL:
                self._unread(one)
        if not servers:
            raise ProxyConfigError(block.origin, f"upstream {name!r} has no server")
        if all(server.backup for server in servers):
            raise ProxyConfigError(block.origin, f"upstream {name!r} has only backup servers")
        if method is not None and method.name != "least_conn" and any(server.backup for server in servers):
            unknown = unknown or f"{method} with backups"  # nginx refuses them only after the method
            self.note(method, "backups that come before it are not followed")
        self.pools[name] = self._pool(name, block.origin, servers, method, unknown)

    def _pool(
        self, name: str, origin: Origin, servers: list[PoolServer], method: Directive | None, unknown: str
    ) -> Pool:
        machine, key, template, deterministic = self._method(method)
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

    def _method(self, one: Directive | None) -> tuple[nginx.Method, str, Template | None, bool]:
        """Return the method, what it hashes in words and as a template, and whether it draws nothing."""
        if one is None:
            return nginx.RoundRobin(), "", None, True
        if one.name == "least_conn":
            return nginx.LeastConn(), "", None, True
        if one.name == "ip_hash":
            return nginx.IpHash(), NETWORK, None, True
        if one.name == "random":
            if " ".join(one.args) not in {"", "two", "two least_conn"}:
                self.note(one, "only random and random two least_conn are modelled")
            return nginx.Random(two=len(one.args) > 0), "", None, False
        key, *rest = one.args or ("",)
        if not key or rest not in ([], ["consistent"]):
            raise ProxyConfigError(one.origin, "hash has a key, and perhaps consistent")
        template = Template(key, self.variables)
        return (nginx.ConsistentHash() if rest else nginx.Hash()), key, template, True

    def _peer(self, one: Directive, before: Counter[str]) -> PoolServer:
        if not one.args:
            raise ProxyConfigError(one.origin, "a server has an address")
        address, options = one.args[0], {"weight": 1}
        flags: dict[str, Any] = {}
        for word in one.args[1:]:
            name, equals, value = word.partition("=")
            if not equals and name in SERVER_FLAGS:
                flags[name] = True
                if name == "resolve":
                    self.note(one, "addresses that change at run time are not followed")
            elif equals and name in SERVER_NUMBERS:
                options[name] = _whole(one, name, value, minimum=1 if name == "weight" else 0)
            elif equals and name == "fail_timeout":
                flags[name] = _seconds(one, value)
            elif equals and name in {"slow_start", "route", "service"}:
                self.note(one, f"{name} is not followed")
                flags[name] = value
            else:
                raise ProxyConfigError(one.origin, f"server has no parameter {word!r}")
        before[address] += 1
        return PoolServer(
            name=address if before[address] == 1 else f"{address}#{before[address]}",
            address=address,
            origin=one.origin,
            weight=options.pop("weight"),
            backup=bool(flags.pop("backup", False)),
            down=bool(flags.pop("down", False)),
            options={**options, **flags},
        )

    # ------------------------------------------------------------------ servers and locations

    def _server(self, block: Directive, listeners: dict[int, list[dict[str, Any]]]) -> None:
        names: list[str] = []
        ports: dict[int, bool] = {}
        level: list[dict[str, Any]] = []
        answer: Directive | None = None
        options: dict[str, Any] = {}
        for one in block.block or ():
            if one.name == "listen":
                self.listens.add(one, ports, self.note)
            elif one.name == "merge_slashes":
                options["merge_slashes"] = one.args != ("off",)
            elif one.name == "underscores_in_headers":
                self.variables.underscores |= one.args == ("on",)
            elif one.name == "server_name":
                names += [*one.args]
            elif one.name == "location":
                level.append(self._location(one))
            elif one.name == "return":
                answer = answer or one
            elif one.name not in NEUTRAL:
                self._unread(one)
        refuse_repeated(level)
        if answer is not None:
            level = [{"modifier": "", "pattern": "/", "pool": self._action(answer, "return of the server")}]
        for name in names:
            self.locations.append({"pattern": name, "origin": block.origin, "server": True})
        for port, default in (ports or {DEFAULT_PORT: False}).items():
            listeners.setdefault(port, []).append(
                {"names": names, "default": default, "locations": level, "origin": block.origin, **options}
            )

    def _location(self, block: Directive) -> dict[str, Any]:
        args = block.args
        if len(args) == 1:
            text = args[0]
            modifier = next((sign for sign in ("~*", "^~", "=", "~") if text.startswith(sign)), "")
            args = (modifier, text[len(modifier) :]) if modifier else ("", text)
        if len(args) != 2 or args[0] not in {"", "=", "~", "~*", "^~"}:
            raise ProxyConfigError(block.origin, "a location is written [= | ~ | ~* | ^~] pattern { }")
        rule: dict[str, Any] = {
            "modifier": args[0],
            "pattern": byte_text(args[1]),
            "redirects": False,
            "locations": [],
            "origin": block.origin,
        }
        target: Directive | None = None
        guards: list[Guard] = []
        for one in block.block or ():
            guard = guard_of(one, self.variables) if one.name == "if" else None
            if guard is not None:
                guards.append(guard)
            elif one.name == "location":
                rule["locations"].append(self._location(one))
            elif one.name in PASSES:
                target = target or one
                rule["redirects"] = True
            elif one.name == "return":
                target = one if target is None or target.name != "return" else target
            elif one.name not in NEUTRAL:
                self._unread(one)
        refuse_repeated(rule["locations"])
        written = " ".join(("location", *block.args))
        rule["pool"] = self._action(target, written, block.origin, guards)
        self.locations.append(rule)
        return rule

    def _action(
        self,
        target: Directive | None,
        written: str,
        origin: Origin | None = None,
        guards: Sequence[Guard] = (),
    ) -> str:
        where = origin or (target.origin if target else Origin(self.path, 1))
        self.actions.append(Action(self, target, written, where, guards=guards))
        return str(len(self.actions) - 1)

    def implicit(self, address: str, one: Directive) -> str:
        """Return the pool of an address that is no upstream: one server."""
        name = self.names.setdefault(address.lower(), address)
        if name not in self.pools:
            server = PoolServer(name=name, address=name, origin=one.origin)
            self.pools[name] = self._pool(name, one.origin, [server], None, "")
        return name

    # ------------------------------------------------------------------ what is left

    def _unread(self, one: Directive) -> None:
        if one.name in ROUTING:
            if one.args != ("off",):
                self.note(one, ROUTING[one.name])
        elif one.name not in NEUTRAL and not one.name.startswith(
            ("ssl_", "gzip", "proxy_buffer", "client_", "log_")
        ):
            self.note(one, "")

    def note(self, one: Directive, why: str) -> None:
        self.not_modelled.append(NotModelled(origin=one.origin, text=str(one), why=why))

    def _router(self, machines: Mapping[int, nginx.Locations]) -> Callable[[ProxyRequest], Routing]:
        def route(request: ProxyRequest) -> Routing:
            if not machines:
                return Routing(None, "there is no server block")
            port = next(iter(machines)) if request.port is None else request.port
            if port not in machines:
                return Routing(None, f"nothing listens on port {port}")
            found = machines[port].route(request.raw.replace(target=byte_text(request.target)))
            if found.pool is not None:
                return self.actions[int(found.pool)].routing(request)
            if found.status == 301:
                return Routing(None, "a location is named like the path with a slash", 301, found.location)
            if found.status == 404:
                return Routing(None, "no location matches: nginx looks for a file")
            return Routing(None, "nginx refuses the request", found.status)

        return route


def byte_text(text: str) -> str:
    """Return a text with one letter a byte, as paths are compared."""
    return text if text.isascii() else to_bytes(text).decode("latin-1")


def _whole(one: Directive, name: str, value: str, *, minimum: int) -> int:
    if not value.isdecimal() or not value.isascii() or not minimum <= int(value[:12]) <= 2**31:
        raise ProxyConfigError(one.origin, f"{name}={value} is not a whole number >= {minimum}")
    return int(value[:12])


def _seconds(one: Directive, value: str) -> float:
    found = TIME.fullmatch(value)
    if found is None or not value:
        raise ProxyConfigError(one.origin, f"{value!r} is no time in seconds, as 10s or 1m30s")
    return float(sum([int(number or 0) * unit for number, unit in zip(found.groups(), UNITS_S, strict=True)]))
