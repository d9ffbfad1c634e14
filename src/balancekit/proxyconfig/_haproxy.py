"""Reader of HAProxy's configuration: ``defaults``, ``frontend``, ``backend``, ``listen``, server lines, maps.

Followed: ``balance``, ``hash-type``, ``hash-balance-factor``, ``server``, ``server-template`` with an address,
``default-server``, ``cookie NAME insert``, ``option allbackups``, ``acl``, ``use_backend`` (maps too), ``default_backend``,
``http-request normalize-uri``, ``bind``, ``monitor-uri``, ``disabled``, ``.if``. Everything that is neither followed nor known to
decide nothing is listed as not modelled. Without ``balance`` the method is that of HAProxy 2.6, ``roundrobin``; without
``mode http`` requests are not read.

Source: HAProxy 2.6 configuration manual; :mod:`balancekit.compat.haproxy` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, final

from balancekit._support.arguments import checked_arguments
from balancekit.compat import haproxy
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._facts import HaproxyFacts
from balancekit.proxyconfig._files import Files, without_mark
from balancekit.proxyconfig._haproxy_backend import BackendLines, Choice
from balancekit.proxyconfig._haproxy_balance import read_balance
from balancekit.proxyconfig._haproxy_checks import check_bind, check_head, check_line, check_name
from balancekit.proxyconfig._haproxy_decide import BackendChooser, Frontend, backend_server, hashed_of
from balancekit.proxyconfig._haproxy_lines import (
    VARIABLE,
    Environment,
    Line,
    Section,
    bound_ports,
    haproxy_sections,
)
from balancekit.proxyconfig._haproxy_rules import Acls, UnknownTestError, backend_rule
from balancekit.proxyconfig._haproxy_servers import (
    check_references,
    server_address,
    server_options,
    template_servers,
)
from balancekit.proxyconfig._haproxy_words import effect_of
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

__all__ = ["read_haproxy"]

NAMED_BY_ONE: Final = frozenset({"retries", "fullconn", "http-check", "mode"})
NAMED_BY_TWO: Final = frozenset({"timeout", "option"})
"""Settings of a backend that are kept for ``lint`` and ``simulate``, by their first word or their first two."""


@checked_arguments
def read_haproxy(
    path: str, *, files: Files | None = None, environment: Mapping[str, str] | None = None
) -> ProxyConfig:
    """Read a configuration of HAProxy, with its maps and files of patterns.

    Raises
    ------
    ProxyConfigError
        If it cannot be read, with file and line.
    """
    limits = files or Files()
    text = without_mark(path, limits.read(path, Origin(path, 1)))
    return _Reader(path, limits, environment or {}).config(text)


@final
class _Reader:
    def __init__(self, path: str, files: Files, environment: Mapping[str, str]) -> None:
        self.path = path
        self.files = files
        self.given = environment
        self.environment = Environment(environment)
        self.pools: dict[str, Pool] = {}
        self.not_modelled: list[NotModelled] = []
        self.owners: dict[Origin, str] = {}
        self.defaults: list[Line] = []
        self.named_defaults: dict[str, list[Line]] = {}
        self.frontends: list[Frontend] = []
        self.resolvers: set[str] = set()
        self.bound: dict[int, str] = {}
        """The first frontend of each port."""

    def config(self, text: str) -> ProxyConfig:
        found = 0
        for section in haproxy_sections(self.path, text, self.environment, self._note):
            found += 1
            self._check(section)
            if section.kind == "defaults":
                self.defaults = [*self._inherited(section, []), *section.lines]
                if section.name:
                    self.named_defaults[section.name] = self.defaults
                for line in section.lines:
                    self._unread(line)
            elif section.kind in {"frontend", "backend", "listen"}:
                self._proxy(section)
            elif section.kind == "global":
                for line in section.lines:
                    self._unread(line, in_global=True)
            else:
                self._note(Line(section.words, section.origin), "")
        if not found:
            raise ProxyConfigError(Origin(self.path, 1), "no section of HAProxy in this file")
        for frontend in self.frontends:
            self._check_pools(frontend)
        check_references(self.pools, self.resolvers)
        facts = HaproxyFacts(self.given, self.frontends)
        return ProxyConfig(
            "haproxy", self.path, self.pools, self._route, tuple(self.not_modelled), self.owners, facts
        )

    def _read(self, path: str, origin: Origin) -> str:
        return self.files.read(str(Path(self.path).absolute().parent / path), origin)

    # ------------------------------------------------------------------ what HAProxy refuses

    def _check(self, section: Section) -> None:
        check_head(section)
        if section.kind == "resolvers":
            self.resolvers.add(section.name)
        if section.kind not in {"defaults", "frontend", "backend", "listen"}:
            return
        assumed = {
            note.origin for note in self.not_modelled
        }  # a variable that is not known is empty here, not there
        for line in section.lines:
            if line.origin not in assumed:
                check_line(line, section.kind)
        if section.kind in {"frontend", "listen"} and any(one.name == section.name for one in self.frontends):
            raise ProxyConfigError(section.origin, f"a second frontend {section.name!r}")

    def _check_pools(self, frontend: Frontend) -> None:
        for name, origin in frontend.named:
            pool = self.pools.get(name)
            if pool is None:
                raise ProxyConfigError(origin, f"there is no backend {name!r}")
            if frontend.mode == "http" and pool.settings.get("mode", "tcp") != "http":
                raise ProxyConfigError(
                    origin, f"backend {name!r} is not in mode http, as frontend {frontend.name!r} is"
                )

    # ------------------------------------------------------------------ sections

    def _proxy(self, section: Section) -> None:
        inherited = [
            line
            for line in self._inherited(section, self.defaults)
            if line.words[0] not in {"acl", "use_backend", "bind", "server", "server-template"}
        ]
        if section.kind in {"backend", "listen"}:
            self._backend(section, inherited)
        if section.kind in {"frontend", "listen"}:
            self._frontend(section, inherited)
        acls = Acls(self._read)
        for line in section.lines:
            if section.kind == "backend":
                self.owners[line.origin] = section.name
                if line.words[0] == "acl":
                    acls.add(line)  # for what it refuses: what a backend's rules do is not followed
                if line.words[:2] == ("http-request", "normalize-uri"):
                    self._note(line, "what is hashed is taken as it came")
            if line.words[0] != "server-template" or template_servers(line) is None:
                self._unread(line)

    def _inherited(self, section: Section, default: list[Line]) -> list[Line]:
        """Return the lines of the defaults that a section names."""
        if "from" not in section.words[2:]:
            return default
        name = section.words[-1]
        if name not in self.named_defaults:
            raise ProxyConfigError(section.origin, f"there is no defaults section {name!r}")
        return self.named_defaults[name]

    def _backend(self, section: Section, inherited: Sequence[Line]) -> None:
        if section.name in self.pools:
            raise ProxyConfigError(section.origin, f"a second backend {section.name!r}")
        written = BackendLines(section.origin)
        for line in (*inherited, *section.lines):
            self._backend_line(written, line)
        choice = self._choice(written)
        balance, key, cookie, unread = choice
        servers = written.pool_servers()
        start = None
        if servers and not unread and not written.found_later:
            start = partial(BackendChooser, servers, balance, key, cookie, allbackups=written.allbackups)
        self.pools[section.name] = Pool(
            name=section.name,
            origin=section.origin,
            method=written.method(key),
            servers=servers,
            key=key,
            deterministic=balance.method != "random",
            start=start,
            key_of=partial(hashed_of, key) if key else None,
            settings=written.pool_settings(choice),
        )

    def _choice(self, written: BackendLines) -> Choice:
        """Return how a backend chooses; note what of it is not modelled."""
        directives, settings = written.directives, written.settings
        balance, key, unread = read_balance(written.balance, directives, settings)
        if unread:
            self._note(written.balance, f"{unread} is not modelled: it decides which server serves")
        if key.lower() == "hdr(x-forwarded-for)" and "option forwardfor" in settings:
            self._note(
                written.balance,
                "requests without that header are hashed by the one that option forwardfor adds",
            )
        if settings.get("mode", "tcp") != "http":
            if key and key != "source":
                self._note(written.balance, "outside of mode http servers take turns")
                balance, key = haproxy.Balance(), ""
            return Choice(balance, key, "", unread)
        cookie = directives["cookie"][0] if directives["cookie"] else ""
        if cookie and "insert" not in directives["cookie"][1:]:
            unread = unread or "cookies that are not inserted are not modelled"
            self._note(Line(("cookie", *directives["cookie"]), settings["cookie.origin"]), unread)
        return Choice(balance, key, cookie, unread)

    def _backend_line(self, written: BackendLines, line: Line) -> None:
        first = line.words[0]
        if first == "balance":
            written.balance = line
        elif first in written.directives:
            if len(line.words) < 2:
                raise ProxyConfigError(line.origin, f"{first} needs a value")
            written.directives[first] = line.words[1:]
            written.settings[f"{first}.origin"] = line.origin
        elif first == "option" and line.words[1:2] == ("allbackups",):
            written.allbackups = True
        elif first in {"no", "default"} and line.words[1:2] == ("option",):
            written.allbackups = written.allbackups and line.words[2:3] != ("allbackups",)
            written.settings.pop(" ".join(line.words[1:3]), None)
        elif first == "default-server":
            written.default_server |= server_options(line, line.words[1:], self._note)
        elif first == "server":
            self._server(line, written)
        elif first == "server-template":
            servers = template_servers(line)
            written.found_later = written.found_later or servers is None
            for one in servers or ():
                self._server(one, written)
        elif first in {"disabled", "enabled"}:
            written.disabled = first == "disabled"
        elif first in NAMED_BY_ONE | NAMED_BY_TWO:
            length = 2 if first in NAMED_BY_TWO else 1
            written.settings[" ".join(line.words[:length])] = " ".join(line.words[length:]) or True

    def _server(self, line: Line, written: BackendLines) -> None:
        if len(line.words) < 3:
            raise ProxyConfigError(line.origin, "a server has a name and an address")
        name, address = line.words[1:3]
        check_name(line, name, "name of a server")
        if name in written.servers:
            raise ProxyConfigError(line.origin, f"a second server {name!r}")
        if len(written.servers) >= MAX_SERVERS:
            raise ProxyConfigError(line.origin, f"more than {MAX_SERVERS} servers in a backend")
        address = VARIABLE.sub(self.environment.value, address)  # in addresses outside of quotes, too
        address = server_address(line, address)
        self._note_unknown(line)
        options = {**written.default_server, **server_options(line, line.words[3:], self._note)}
        weight = options.pop("weight", 1)
        if weight > 256:
            raise ProxyConfigError(line.origin, "weight is 0 to 256")
        number = options.get("id")
        if number is not None and (not 0 < number < 2**31 or number in written.numbers):
            raise ProxyConfigError(line.origin, f"id {number} is not a number > 0 that no other server has")
        written.numbers |= {number} if number else set()
        server = written.servers[name] = PoolServer(
            name=name,
            address=address,
            origin=line.origin,
            weight=weight,
            backup=bool(options.pop("backup", False)),
            down=bool(options.pop("disabled", False)),
            options=options,
        )
        backend_server(server)

    def _frontend(self, section: Section, inherited: Sequence[Line]) -> None:
        frontend = Frontend(section.name, section.origin)
        if section.kind == "listen" and self.pools[section.name].servers:
            frontend.default = section.name
        acls = Acls(self._read)
        default_backend: Line | None = None
        for line in (*inherited, *section.lines):
            if line.words[0] == "default_backend" and len(line.words) > 1:
                default_backend = line  # the last one is in force
            else:
                self._frontend_line(line, frontend, acls)
        if default_backend is not None:
            frontend.default, frontend.default_origin = default_backend.words[1], default_backend.origin
            frontend.named.append((frontend.default, frontend.default_origin))
        for rule, line in zip(frontend.rules, frontend.lines, strict=True):
            if any(rule["if"]) and frontend.mode != "http":
                self._note(line, "outside of mode http it holds only if the bytes are there in time")
        frontend.unused = acls.names - acls.used
        frontend.compile()
        self.frontends.append(frontend)

    def _frontend_line(self, line: Line, frontend: Frontend, acls: Acls) -> None:
        first = line.words[0]
        if first == "bind":
            self._bind(line, frontend)
        elif first == "monitor-uri":
            frontend.monitor = line.words[1] if len(line.words) > 1 else None
        elif first in {"disabled", "enabled"}:
            frontend.disabled = first == "disabled"
        elif first == "acl":
            if acls.add(line):
                self._note(line, "")
        elif first == "http-request" and line.words[1:2] == ("normalize-uri",):
            self._normalize(line, frontend)
        elif first == "use_backend":
            self._use(line, frontend, acls)
        elif first == "mode":
            frontend.mode = " ".join(line.words[1:])

    def _normalize(self, line: Line, frontend: Frontend) -> None:
        name, *rest = line.words[2:] or ("",)
        if rest[:1] in (["full"], ["strict"]):
            name = f"{name} {rest.pop(0)}"
        if rest:
            self._note(line, "its condition is not followed: it is taken to hold")
        if name in {"fragment-strip", "fragment-encode"}:
            return  # a target with a fragment has been refused by then
        try:
            haproxy.UseBackend([], normalize=[name])
        except ConfigurationError as error:
            raise ProxyConfigError(line.origin, str(error)) from None
        frontend.steps.append(name)

    def _bind(self, line: Line, frontend: Frontend) -> None:
        ports = bound_ports(line, self.environment)
        if not self.environment.unknown and all(note.origin != line.origin for note in self.not_modelled):
            for address in line.words[1].split(","):
                check_bind(line, VARIABLE.sub(self.environment.value, address))
            if line.words[2:] and line.words[2].startswith((":", "*")):
                raise ProxyConfigError(
                    line.origin, f"a blank before {line.words[2]!r} in a list of addresses"
                )
        self._note_unknown(line)
        others = {self.bound.setdefault(port, frontend.name) for port in ports} - {frontend.name}
        if others:
            self._note(line, f"addresses are not distinguished: its port is taken to lead to {min(others)}")
        frontend.ports += ports

    def _note_unknown(self, line: Line) -> None:
        """List a line that uses variables of the environment which are not known."""
        if self.environment.unknown:
            names = ", ".join(self.environment.unknown)
            self._note(line, f"the environment's {names} is not known here, and taken to be empty")
            self.environment.unknown.clear()

    def _use(self, line: Line, frontend: Frontend, acls: Acls) -> None:
        if len(line.words) < 2:
            raise ProxyConfigError(line.origin, "use_backend has a backend")
        try:
            rule, pools = backend_rule(line.words[1], line.origin, self._read)
            condition = acls.condition(line.words[2:], line.origin)
        except UnknownTestError as error:
            self._note(line, f"{error}; it is taken not to match")
            return
        if line.words[2:] and not condition:
            return  # never
        frontend.rules.append({**rule, "if": condition})
        frontend.lines.append(line)
        if "pool" in rule:
            frontend.named += [(pool, line.origin) for pool in pools]

    # ------------------------------------------------------------------ what is left

    def _unread(self, line: Line, *, in_global: bool = False) -> None:
        why = effect_of(line.words, in_global=in_global)
        if why is not None:
            self._note(line, why)

    def _note(self, line: Line, why: str) -> None:
        self.not_modelled.append(NotModelled(origin=line.origin, text=str(line), why=why))

    def _route(self, request: ProxyRequest) -> Routing:
        if not self.frontends:
            return Routing(None, "there is no frontend")
        frontend = next(
            (
                one
                for one in self.frontends
                if not one.disabled and (request.port is None or request.port in one.ports)
            ),
            None,
        )
        if frontend is None:
            return Routing(
                None,
                "every frontend is disabled"
                if request.port is None
                else f"nothing is bound to port {request.port}",
            )
        return frontend.route(request, self.pools)
